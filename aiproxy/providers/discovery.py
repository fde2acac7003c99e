"""
What providers with ``discover: true`` offer, for ``GET /v1/models``.

Nobody waits for it: what is known is told, and asked for anew in the
background when it has become old.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from aiproxy.config.schema import Config, Model
from aiproxy.dialects.model_lists import ListedModel
from aiproxy.errors import AIProxyError
from aiproxy.policy.routing import Candidate
from aiproxy.providers.http import HTTPProvider
from aiproxy.providers.registry import ProviderRegistry

__all__ = ["Discovery"]

#: Seconds until a list is asked for anew, and until one that failed is.
_FRESH_SECONDS: Final = 600.0
_FAILED_SECONDS: Final = 60.0
#: Seconds that a provider has for its list.
_TIMEOUT_SECONDS: Final = 30.0


@define
class _Catalog:
    """
    What is known of one wildcard's provider.

    :ivar due: the clock's time from which it is asked for anew.
    """

    models: list[ListedModel] = field(factory=list)
    due: float = 0.0
    asking: Deferred[None] | None = None


class Discovery:
    """
    Keeps the lists.

    :param clock: says when a list is old.
    """

    _log = Logger()

    def __init__(self, config: Config, registry: ProviderRegistry, clock: IReactorTime) -> None:
        self._clock = clock
        self._registry = registry
        self._models: dict[str, Model] = {}
        self._catalogs: dict[str, _Catalog] = {}
        self._closed = False
        self.change(config)

    def change(self, config: Config) -> None:
        """Go on under another configuration; lists of wildcards that it leaves alone stay."""
        before, self._models = self._models, _find_wildcards(config)
        for name, catalog in self._catalogs.items():
            if self._models.get(name) != before[name] and catalog.asking is not None:
                catalog.asking.cancel()
        self._catalogs = {
            name: self._catalogs[name] if model == before.get(name) else _Catalog()
            for name, model in self._models.items()
        }

    def find(self) -> Mapping[str, Iterable[ListedModel]]:
        """
        Return what is known now, by wildcard: full names, as a client asks for them.

        What is old is asked for in the background.
        """
        self.refresh()
        return {
            name: [
                ListedModel(name[:-1] + listed.name, listed.context_window)
                for listed in catalog.models
            ]
            for name, catalog in self._catalogs.items()
        }

    def refresh(self) -> None:
        """Ask for what is old; nobody waits for it."""
        now = self._clock.seconds()
        for name, catalog in self._catalogs.items():
            if catalog.asking is None and now >= catalog.due and not self._closed:
                asking = Deferred.fromCoroutine(self._ask(self._models[name], catalog))
                if not asking.called:
                    catalog.asking = asking

    def open(self) -> None:
        """Ask for what is old, also after :meth:`close`."""
        self._closed = False
        self.refresh()

    def close(self) -> None:
        """Ask for nothing any more."""
        self._closed = True
        for catalog in self._catalogs.values():
            if catalog.asking is not None:
                catalog.asking.cancel()

    async def _ask(self, model: Model, catalog: _Catalog) -> None:
        try:
            provider = self._registry.find(model)
            if isinstance(provider, HTTPProvider):
                token = model.tokens[0] if model.tokens else None
                listing = provider.list_models(Candidate(model, model.name, token))
                listing.addTimeout(_TIMEOUT_SECONDS, self._clock)
                catalog.models = await listing
            catalog.due = self._clock.seconds() + _FRESH_SECONDS
        except CancelledError:
            pass
        except Exception as error:
            catalog.due = self._clock.seconds() + _FAILED_SECONDS
            self._log.warn(
                "the models of {provider} are not known: {error_type} {code}",
                provider=model.provider,
                error_type=type(error).__name__,
                code=error.word if isinstance(error, AIProxyError) else "",
            )
        finally:
            catalog.asking = None


def _find_wildcards(config: Config) -> dict[str, Model]:
    return {
        model.name: model
        for model in config.models
        if model.wildcard and model.disabled is None and config.providers[model.provider].discover
    }

"""
Which adapter serves a model.

Built-in adapters go by the dialect of a provider's type.  Others can join: an
embedder's own by the name of a provider (``Proxy(providers={…})``), and whole
types by :func:`register_provider` or the packaging entry point
``aiproxy.providers``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

from attrs import Factory, frozen
from twisted.internet.interfaces import IReactorTime

from aiproxy.config import known_providers
from aiproxy.config.schema import Model
from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.azure import AzureDialect
from aiproxy.dialects.cloudflare import CloudflareDialect
from aiproxy.dialects.cohere import CohereDialect
from aiproxy.dialects.dialect import Dialect
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.gigachat import GigaChatDialect
from aiproxy.dialects.huggingface import HuggingFaceDialect
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.quirks import quirks_of
from aiproxy.dialects.signatures import SignatureMemory
from aiproxy.errors import ConfigurationError, Problem
from aiproxy.interfaces import IImageFetcher, IProvider
from aiproxy.providers.azure import AzureProvider
from aiproxy.providers.chaos.provider import ChaosProvider
from aiproxy.providers.demo import DemoProvider
from aiproxy.providers.gigachat import GigaChatProvider
from aiproxy.providers.gigachat_credentials import GigaChatCredentials
from aiproxy.providers.http import HTTPProvider
from aiproxy.providers.operations import NATIVE, Operations, compatible_operations
from aiproxy.transport.client import UpstreamClient

__all__ = ["ProviderFactory", "ProviderParts", "ProviderRegistry", "register_provider"]


@frozen
class ProviderParts:
    """
    What adapters are made of; one set lives as long as the proxy.

    :param client: asks upstreams, over one pool of connections.
    :param clock: for all times.
    :param images: fetches images for providers that do not.
    :param signatures: what models have signed, for the next turn.
    :param wall: seconds since the epoch.
    """

    client: UpstreamClient
    clock: IReactorTime
    images: IImageFetcher | None = None
    signatures: SignatureMemory = Factory(SignatureMemory)
    wall: Callable[[], float] = time.time


#: Makes the adapter for one type of provider, once for each proxy.
ProviderFactory = Callable[[ProviderParts], IProvider]

#: Of types that speak OpenAI's API at URLs of their own kinds.
_COMPATIBLE: Mapping[str, type[OpenAIDialect]] = {
    "azure": AzureDialect,
    "huggingface": HuggingFaceDialect,
}

_factories: dict[str, ProviderFactory] = {}


def register_provider(name: str, factory: ProviderFactory) -> None:
    """
    Let configurations use a type of provider of one's own, in this process.

    Call it before the configuration is loaded.  A later call for the same
    name replaces the earlier one, for proxies that are made from then on.

    :param name: the ``type`` in the configuration, or the name of a provider
        or in a model's ``provider`` that stands for it.
    :param factory: makes the adapter from :class:`ProviderParts`.
    :raises ValueError: a built-in type has this name.
    """
    known_providers.add_provider_type(name)
    _factories[name] = factory


class ProviderRegistry:
    """
    The adapters, by what a model's provider needs.

    :param more: adapters of an embedder's own, by the name of the provider in
        the configuration; they go before ours.
    """

    def __init__(self, parts: ProviderParts, more: Mapping[str, IProvider]) -> None:
        self._parts = parts
        self._more = dict(more)
        self._by_type: dict[str, IProvider | None] = {}
        #: By the model's name; a script goes on as long as its model stays as it is.
        self._drills: dict[str, tuple[Model, ChaosProvider]] = {}
        self._by_dialect: dict[str, IProvider] = {
            "demo": DemoProvider(parts.clock),
            "gigachat": GigaChatProvider(
                parts.client,
                GigaChatDialect(),
                GigaChatCredentials(parts.client, parts.wall),
                parts.images,
                NATIVE["gigachat"].dialects,
                clock=parts.clock,
            ),
            "anthropic": self._http(AnthropicDialect(parts.signatures), NATIVE["anthropic"]),
            "cloudflare": self._http(CloudflareDialect(), NATIVE["cloudflare"]),
            "cohere": self._http(CohereDialect(), NATIVE["cohere"]),
            "google": self._http(GeminiDialect(parts.signatures), NATIVE["google"]),
        }

    def find(self, model: Model) -> IProvider | None:
        """
        Return the adapter for a model; ``None`` where this version has none.

        :raises ConfigurationError: the adapter of a package cannot be loaded,
            or a drill's script is none.
        """
        if model.provider in self._more:
            return self._more[model.provider]
        if model.provider_type == known_providers.CHAOS:
            return self._find_drill(model)
        if model.speaks_openai or model.dialect == known_providers.PLUGIN_DIALECT:
            provider_type = model.provider_type
            if provider_type not in self._by_type:
                self._by_type[provider_type] = self._make(model)
            return self._by_type[provider_type]
        return self._by_dialect.get(model.dialect)

    def _find_drill(self, model: Model) -> ChaosProvider:
        of, drill = self._drills.get(model.name, (None, None))
        if drill is None or of != model:
            drill = ChaosProvider(self._parts.clock, model)
            self._drills[model.name] = (model, drill)
        return drill

    def _http(self, dialect: Dialect, operations: Operations) -> HTTPProvider:
        adapter = AzureProvider if isinstance(dialect, AzureDialect) else HTTPProvider
        return adapter(
            self._parts.client,
            dialect,
            images=self._parts.images,
            others=operations.dialects,
            bases=operations.bases,
        )

    def _make(self, model: Model) -> IProvider | None:
        if model.dialect == known_providers.PLUGIN_DIALECT:
            return _find_factory(model.provider_type)(self._parts)
        kind = model.provider_type
        dialect = _COMPATIBLE.get(kind, OpenAIDialect)(quirks=quirks_of(kind))
        return self._http(dialect, compatible_operations(kind))


def _find_factory(name: str) -> ProviderFactory:
    if name in _factories:
        return _factories[name]
    try:
        entry, *_ = entry_points(group=known_providers.ENTRY_POINTS, name=name)
        factory: ProviderFactory = entry.load()
    except Exception as problem:
        what = f"the adapter for providers of type {name} cannot be loaded: {problem!r}"
        raise ConfigurationError([Problem(what)]) from problem
    return factory

"""The configuration, compiled: what is swapped as a whole when it is reloaded."""

from __future__ import annotations

from attrs import field, frozen

from aiproxy.config.schema import Config
from aiproxy.dialects.operations import CHAT
from aiproxy.errors import ModelUnavailable
from aiproxy.interfaces import IProvider
from aiproxy.policy.access import Access, Principal
from aiproxy.policy.routing import Candidate, Candidates, Situation, find_candidates, is_simple
from aiproxy.providers.registry import ProviderRegistry

__all__ = ["Plan"]


@frozen
class Plan:
    """
    Routes, adapters and credentials of one configuration.

    Each request keeps the one it began with.
    """

    config: Config
    access: Access
    providers: ProviderRegistry
    _candidates: Candidates = field(init=False, factory=Candidates, eq=False, repr=False)
    #: The names for which there is nothing to choose.
    _simple: dict[str, list[tuple[Candidate, IProvider]]] = field(init=False, eq=False, repr=False)

    @_simple.default
    def _find_simple(self) -> dict[str, list[tuple[Candidate, IProvider]]]:
        return {
            model.name: [(self._candidates.find(model, model.name, 0)[0], provider)]
            for model in self.config.models
            if is_simple(self.config, model)
            and (provider := self.providers.find(model)) is not None
        }

    def find_simple(
        self, requested: str, principal: Principal, operation: str
    ) -> list[tuple[Candidate, IProvider]] | None:
        """Return who serves a request where there is nothing to choose; else :meth:`find` does."""
        simple = self._simple.get(requested) if operation == CHAT else None
        if simple is None or not (principal.models is None or principal.may_use(requested)):
            return None
        return simple

    def find(
        self,
        requested: str,
        situation: Situation,
        principal: Principal,
        operation: str = CHAT,
    ) -> list[tuple[Candidate, IProvider]]:
        """
        Return who can serve a request, in order, with the adapter of each.

        :raises AIProxyError: as :func:`aiproxy.policy.routing.find_candidates`.
        """
        candidates = find_candidates(
            self.config, requested, situation, principal.may_use, operation, self._candidates
        )
        found = [
            (candidate, provider)
            for candidate in candidates
            if (provider := self.providers.find(candidate.model)) is not None
        ]
        if not found:
            model = candidates[0].model
            raise ModelUnavailable(
                f"{model.provider_type} is not served by this version", model=model.name
            )
        return found

    @property
    def can_serve(self) -> bool:
        """Whether there is any model that can be called."""
        return any(
            model.disabled is None and self.providers.find(model) is not None
            for model in self.config.models
        )

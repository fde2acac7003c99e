"""The models that a client can ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from attrs import frozen

from aiproxy.config.sections import SIZES
from aiproxy.dialects.model_lists import ListedModel
from aiproxy.gateway.plan import Plan
from aiproxy.policy.model_names import not_found, offered_names
from aiproxy.web.request import ClientRequest

__all__ = ["ModelRoutes"]


@frozen
class ModelRoutes:
    """
    ``GET /v1/models`` and ``GET /v1/models/{id}``.

    :param plan: gives the plan of now.
    :param discovered: what is known of the providers' own lists, by wildcard.
    """

    plan: Callable[[], Plan]
    discovered: Callable[[], Mapping[str, Iterable[ListedModel]]] = dict

    async def list_models(self, request: ClientRequest) -> None:
        """List what this client may use."""
        allowed = _allowed(request)
        names = {name: None for name in self._names() if allowed(name)}
        models = [model for name in names for model in self._describe(name)]
        for wildcard in self.discovered().values():
            for listed in wildcard:
                if listed.name not in names and allowed(listed.name):
                    names[listed.name] = None
                    models += self._describe(listed.name, listed.context_window)
        request.write_json({"object": "list", "data": models})

    async def show_model(self, request: ClientRequest) -> None:
        """Show one; its id may hold slashes, escaped or not."""
        name = request.found["model"]
        allowed = _allowed(request)
        described = next(self._describe(name), None) if allowed(name) else None
        if described is None:
            raise not_found(name, filter(allowed, self._names()))
        request.write_json(described)

    def _names(self) -> list[str]:
        return offered_names(self.plan().config)

    def _describe(self, name: str, window: int | None = None) -> Iterator[dict[str, Any]]:
        config = self.plan().config
        model = config.find_model(name)
        owner = "aiproxy"
        if model is not None:
            owner, window = model.provider, model.context_window or window
        elif name not in config.groups and not (name in SIZES and name in self._names()):
            return
        described: dict[str, Any] = {
            "id": name,
            "object": "model",
            "created": 0,
            "owned_by": owner,
        }
        if window is not None:
            described["context_window"] = window
        yield described


def _allowed(request: ClientRequest) -> Callable[[str], bool]:
    """Return whether the client may use a name."""
    assert request.principal is not None  # The routes have a guard.
    return request.principal.may_use

"""Which adapter serves a model."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime

from aiproxy.config.schema import Model
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.interfaces import IProvider
from aiproxy.providers.demo import DemoProvider
from aiproxy.providers.http import HTTPProvider
from aiproxy.transport.client import UpstreamClient

__all__ = ["ProviderRegistry"]


class ProviderRegistry:
    """
    The adapters, by the dialect that a model's provider needs.

    :param more: adapters of an embedder's own, by the name of the provider in
        the configuration; they go before ours.
    """

    def __init__(
        self, client: UpstreamClient, clock: IReactorTime, more: Mapping[str, IProvider]
    ) -> None:
        self._more = dict(more)
        self._by_dialect: dict[str, IProvider] = {
            "demo": DemoProvider(clock),
            "openai": HTTPProvider(client, OpenAIDialect()),
        }

    def find(self, model: Model) -> IProvider | None:
        """Return the adapter for a model; ``None`` where this version has none."""
        if model.provider in self._more:
            return self._more[model.provider]
        return self._by_dialect.get("openai" if model.speaks_openai else model.dialect)

"""Tests of :mod:`aiproxy.providers.azure`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Model
from aiproxy.config.secret import Secret
from aiproxy.dialects.operations import CHAT, COMPLETIONS, EMBEDDINGS
from aiproxy.dialects.raw import RAW_REQUEST, RawRequest
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call
from aiproxy.providers.registry import ProviderParts, ProviderRegistry
from aiproxy.transport.client import UpstreamClient
from tests.transport.upstreams import MemoryUpstream

HI = [{"role": "user", "content": "Hi"}]


class AzureTests(SynchronousTestCase):
    """Where Azure is asked."""

    def target(
        self, base_url: str, operation: str, version: str | None = None, url: str | None = None
    ) -> bytes:
        """Return the target that is asked, and check the key's header."""
        upstream = MemoryUpstream()
        parts = ProviderParts(UpstreamClient(upstream.reactor), upstream.reactor)
        model = Model(
            "m", "azure", "azure", "openai", "dep", base_url, url=url, api_version=version
        )
        provider = ProviderRegistry(parts, {}).find(model)
        assert provider is not None
        request: dict[str, Any] = {"messages": HI} if operation == CHAT else {"input": "x"}
        if operation == COMPLETIONS:
            request[RAW_REQUEST] = RawRequest("/completions", b'{"model":"m"}', document={})
        provider.start(
            Call("r", request, Candidate(model, "m", Secret("k")), False, operation=operation)
        )
        sent = upstream.accept().take()
        self.assertIn(b"api-key: k\r\n", sent.lower())
        return sent.split(b" ")[1]

    def test_deployments(self) -> None:
        """A resource's own URL has the deployment and the version in it, for all alike."""
        for operation, route in ((CHAT, b"chat/completions"), (EMBEDDINGS, b"embeddings")):
            target = self.target("http://127.0.0.1", operation, "2025-01-01")
            expected = b"/openai/deployments/dep/" + route + b"?api-version=2025-01-01"
            self.assertEqual(target, expected)

    def test_v1(self) -> None:
        """The newer API has neither."""
        for operation, route in ((CHAT, b"chat/completions"), (EMBEDDINGS, b"embeddings")):
            target = self.target("http://127.0.0.1/openai/v1", operation)
            self.assertEqual(target, b"/openai/v1/" + route)

    def test_own_urls(self) -> None:
        """A model's whole URL is for chat; other operations have their route in its place."""
        whole = "http://127.0.0.1/openai/deployments/d/chat/completions"
        routes = {
            CHAT: b"chat/completions",
            EMBEDDINGS: b"embeddings",
            COMPLETIONS: b"completions",
        }
        for url, version in ((f"{whole}?api-version=7", "8"), (whole, "7")):
            for operation, route in routes.items():
                target = self.target("http://127.0.0.1", operation, version, url)
                expected = b"/openai/deployments/d/" + route + b"?api-version=7"
                self.assertEqual(target, expected)

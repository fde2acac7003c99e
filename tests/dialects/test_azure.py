"""Tests of :mod:`aiproxy.dialects.azure`."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.azure import (
    DEPLOYMENTS_VERSION,
    MODELS_VERSION,
    AzureDialect,
    azure_route,
)
from aiproxy.dialects.quirks import quirks_of
from aiproxy.errors import InvalidRequest
from aiproxy.wire.urls import join_url
from tests.dialects.recordings import read_recordings

OPENAI = "https://r.openai.azure.com"
COGNITIVE = "https://r.cognitiveservices.azure.com"
SERVICES = "https://r.services.ai.azure.com"


def ask(where: str, model: str = "gpt-4.1", version: str | None = None) -> str:
    """Give the URL that a chat request goes to."""
    dialect = AzureDialect(quirks=quirks_of("azure")).at(where, version)
    wire = dialect.write_request({"messages": []}, model=model, stream=False)
    return join_url(where, wire.route)


class URLTests(SynchronousTestCase):
    """Where requests go."""

    def test_deployments(self) -> None:
        """A resource, or what is below it, is completed; the version is always told."""
        for host in (OPENAI, COGNITIVE):
            whole = f"{host}/openai/deployments/d/chat/completions?api-version="
            for where in ("", "/", "/openai", "/openai/", "/openai/deployments/d"):
                self.assertEqual(ask(host + where, "d"), whole + DEPLOYMENTS_VERSION)
                self.assertEqual(ask(host + where, "d", "2024-02-01"), f"{whole}2024-02-01")

    def test_openai_v1(self) -> None:
        """The model is in the request; a version only where one is configured."""
        for host in (OPENAI, COGNITIVE, SERVICES):
            whole = f"{host}/openai/v1/chat/completions"
            for where in ("/openai/v1", "/openai/v1/"):
                self.assertEqual(ask(host + where), whole)
                self.assertEqual(ask(host + where, "d", "preview"), f"{whole}?api-version=preview")

    def test_models(self) -> None:
        """Azure AI has all of them at one place."""
        whole = f"{SERVICES}/models/chat/completions?api-version="
        for where in ("", "/", "/models", "/models/"):
            self.assertEqual(ask(SERVICES + where), whole + MODELS_VERSION)
            self.assertEqual(ask(SERVICES + where, "d", "x y"), f"{whole}x+y")

    def test_other_places(self) -> None:
        """A gateway in front of Azure knows where things are."""
        where = "https://gateway.example/azure"
        self.assertEqual(ask(where), f"{where}/chat/completions")
        self.assertEqual(ask(where, "d", "1"), f"{where}/chat/completions?api-version=1")

    def test_own_version(self) -> None:
        """One in the URL goes before the configured one, and other queries stay."""
        self.assertEqual(
            ask(f"{OPENAI}?api-version=1&x=2", "d", "3"),
            f"{OPENAI}/openai/deployments/d/chat/completions?api-version=1&x=2",
        )
        self.assertEqual(
            ask(f"{SERVICES}/models?x=2", "d", "3"),
            f"{SERVICES}/models/chat/completions?x=2&api-version=3",
        )

    def test_names(self) -> None:
        """A deployment's name cannot lead elsewhere."""
        self.assertEqual(
            ask(OPENAI, "a/../b?c", "1"),
            f"{OPENAI}/openai/deployments/a%2F..%2Fb%3Fc/chat/completions?api-version=1",
        )
        for model in ("", ".", ".."):
            with self.assertRaises(InvalidRequest) as caught:
                ask(OPENAI, model)
            self.assertEqual(caught.exception.param, "model")
            self.assertEqual(ask(f"{OPENAI}/openai/v1", model)[-17:], "/chat/completions")

    def test_other_routes(self) -> None:
        """They have the same forms."""
        self.assertEqual(
            azure_route(OPENAI, "/embeddings", "d", "1"),
            "/openai/deployments/d/embeddings?api-version=1",
        )
        self.assertEqual(
            azure_route(SERVICES, "/embeddings", "d", "1"), "/models/embeddings?api-version=1"
        )

    def test_whole_url(self) -> None:
        """It is kept; the configured version is added where it has none."""
        url = f"{OPENAI}/openai/deployments/d/chat/completions"
        for version, where, expected in (
            (None, url, url),
            ("1", url, f"{url}?api-version=1"),
            ("1", f"{url}?x=2", f"{url}?x=2&api-version=1"),
            ("1", f"{url}?api-version=2", f"{url}?api-version=2"),
        ):
            dialect = AzureDialect().at(where, version)
            wire = dialect.write_request({"messages": []}, model="d", stream=False)
            self.assertEqual(dialect.locate(where, wire), expected)

    def test_request(self) -> None:
        """All else is OpenAI's, with the quirks and whatever was dropped."""
        dialect = AzureDialect(quirks=quirks_of("azure"), asks_usage=False).at(OPENAI)
        request = {"messages": [], "max_tokens": 3, "stop": "x"}
        wire = dialect.write_request(request, model="o3", stream=True)
        self.assertEqual(
            json.loads(wire.body),
            {"messages": [], "max_completion_tokens": 3, "model": "o3", "stream": True},
        )
        self.assertIsNotNone(wire.reader)

    def test_recorded(self) -> None:
        """Each recorded URL comes of its resource's."""
        seen = 0
        for recording in read_recordings("chat", "azure"):
            url = recording.request["url"]
            head, found, rest = url.partition("/deployments/")
            path, _, version = url.partition("?api-version=")
            where = (
                head.removesuffix("/openai") if found else path.removesuffix("/chat/completions")
            )
            model = rest.partition("/")[0] if found else "m"
            if found and not version:
                # A recording without its query.
                url += f"?api-version={DEPLOYMENTS_VERSION}"
            self.assertEqual(ask(where, model, version or None), url, recording.name)
            seen += 1
        self.assertGreater(seen, 0)

"""Tests of :mod:`aiproxy.config.known_providers`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.known_providers import KNOWN_PROVIDERS, find_known_provider
from aiproxy.wire.urls import read_url


class KnownProvidersTests(SynchronousTestCase):
    """The table."""

    def test_promised(self) -> None:
        """Every type that the documentation promises is there."""
        promised = (
            "openai openrouter groq google anthropic cohere gigachat cloudflare mistral deepseek "
            "xai cerebras huggingface github together fireworks perplexity zai arliai aimlapi "
            "glama azure ollama vllm lmstudio demo"
        )
        self.assertLessEqual(set(promised.split()), set(KNOWN_PROVIDERS))

    def test_spellings(self) -> None:
        """A type is found by its name and its aliases, and no spelling is taken twice."""
        spellings = [
            (spelling, row)
            for row in KNOWN_PROVIDERS.values()
            for spelling in (row.name, *row.aliases)
        ]
        self.assertEqual(len(spellings), len(dict(spellings)))
        for spelling, row in spellings:
            self.assertIs(find_known_provider(spelling), row)
        self.assertIs(find_known_provider("gemini"), KNOWN_PROVIDERS["google"])
        self.assertIsNone(find_known_provider("homemade"))

    def test_rows(self) -> None:
        """Base URLs are URLs over TLS, or local; who needs a token says where it is."""
        for row in KNOWN_PROVIDERS.values():
            if row.base_url is not None:
                url = read_url(row.base_url.replace("{account_id}", "1"))
                self.assertFalse(url.endswith("/"), row)
                self.assertRegex(url, r"^https://|^http://localhost:[0-9]+/v1$")
            self.assertEqual(row.needs_token, bool(row.token_variables), row)
            self.assertTrue(row.chat_route.startswith("/"), row)

    def test_own_servers(self) -> None:
        """Servers of one's own need no key."""
        free = {name for name, row in KNOWN_PROVIDERS.items() if not row.needs_token}
        self.assertEqual(free, {"demo", "ollama", "vllm", "lmstudio"})

"""LiteLLM's providers in our words."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.known_providers import find_known_provider
from aiproxy.convert.litellm_providers import (
    OWN_SERVER,
    UPSTREAMS,
    WITHOUT_ADAPTER,
    Upstream,
    fit_base_url,
    labels_of,
    prefix_of,
)


class TableTests(SynchronousTestCase):
    """The table of prefixes."""

    def test_types(self) -> None:
        """Each prefix leads to a type that there is, by its own name."""
        for prefix, upstream in UPSTREAMS.items():
            known = find_known_provider(upstream.type)
            if upstream.type != OWN_SERVER:
                self.assertEqual(known and known.name, upstream.type, prefix)
            self.assertNotIn(prefix, WITHOUT_ADAPTER)

    def test_prefixes(self) -> None:
        """Clients of LiteLLM go on with the prefixes that they know."""
        for type_name, prefix in (("google", "gemini"), ("together", "together_ai"), ("x", "x")):
            self.assertEqual(prefix_of(type_name), prefix)


class UrlTests(SynchronousTestCase):
    """Base URLs."""

    def test_fit_again(self) -> None:
        """A URL that fits is left alone."""
        for upstream in UPSTREAMS.values():
            once = fit_base_url("https://h.example/a/", upstream)
            self.assertEqual(fit_base_url(once, upstream), once)

    def test_no_url(self) -> None:
        """What is no URL, or none without its route, is refused without being shown."""
        for text in ("", "secret", "ftp://secret", "https://chat/completions"):
            with self.assertRaises(ValueError) as caught:
                fit_base_url(text, Upstream("openai"))
            self.assertNotIn("secret", str(caught.exception))

    def test_labels(self) -> None:
        """A server is named after its host, then with its port."""
        for url, labels in (
            ("https://eu.openai.azure.com/x", ["eu", "eu.openai.azure.com"]),
            ("http://gpu:8000/v1", ["gpu", "gpu", "gpu-8000"]),
            ("http://10.0.0.1:80", ["10.0.0.1", "10.0.0.1-80"]),
            ("http://[::1]/v1", ["1"]),
            ("${MY_API_BASE}/v1", ["my"]),
        ):
            self.assertEqual(list(labels_of(url)), labels)

"""Tests of :mod:`aiproxy.config.unknown_keys`, through the file."""

from __future__ import annotations

from tests.config.loading import LoadingTestCase

FILE = """
models:
  - name: a
    provider: demo
    {model}
providers:
  demo:
    {provider}
server:
  {server}
{top}
"""


class UnknownKeyTests(LoadingTestCase):
    """Where a key belongs, or which one is meant."""

    def said(self, **lines: str) -> str:
        """Return what is said of one line."""
        written = {name: lines.get(name, "") for name in ("model", "provider", "server", "top")}
        [problem] = self.problems(FILE.format(**written))
        return problem.split(" unknown key; ")[1]

    def test_elsewhere(self) -> None:
        """A key of another section is told its own, whatever is alike where it stands."""
        self.assertEqual(self.said(server="max_retries: 2"), "it belongs to `retry`")
        self.assertEqual(self.said(server="total: 2m"), "it belongs to `timeouts`")
        self.assertEqual(self.said(top="drain_timeout: 2m"), "it belongs to `server`")
        self.assertEqual(
            self.said(model="base_url: http://a.example"), "it belongs to `providers.NAME`"
        )
        self.assertEqual(
            self.said(provider="requests_per_minute: 3"), "it belongs to `keys[]` or `models[]`"
        )
        self.assertEqual(
            self.said(server="timeouts: {total: 2m}"),
            "it belongs to the top level, `providers.NAME` or `models[]`",
        )
        self.assertEqual(
            self.said(model="timeout_seconds: 3"), "it belongs to `models[].http_client_config`"
        )

    def test_other_words(self) -> None:
        """What others call a key is told ours."""
        for word, key in [
            ("rpm", "requests_per_minute"),
            ("api_key", "token"),
            ("model", "name"),
            ("timeout", "timeouts"),
        ]:
            self.assertEqual(self.said(model=f"{word}: 1"), f"did you mean `{key}`?")
        self.assertEqual(
            self.said(model="api_base: http://a.example"),
            "did you mean `base_url` of `providers.NAME`?",
        )
        self.assertEqual(
            self.said(model="max_tokens: 5"),
            "below `body` it is laid over requests: `body: {max_tokens: …}`",
        )

    def test_outside(self) -> None:
        """What stands in no file is told where it is said."""
        for key, where in [
            ("port", "set PORT in the environment, or give --addr"),
            ("auth_token", "set AUTH_TOKEN in the environment"),
            ("workers", "give --workers"),
        ]:
            self.assertEqual(self.said(server=f"{key}: 1"), where)
            self.assertEqual(self.said(top=f"{key}: 1"), where)
        self.assertNotIn("PORT", self.said(model="port: 1"))

    def test_other_files(self) -> None:
        """A file of LiteLLM's is told what reads it."""
        self.assertIn("`aiproxy convert`", self.said(top="model_list: []"))
        self.assertNotIn("convert", self.said(model="model_list: []"))

    def test_nearest(self) -> None:
        """A slip is told the nearest key, and what is like none all there are."""
        self.assertEqual(self.said(top="modles: []"), "did you mean `models`?")
        self.assertEqual(self.said(top="model: []"), "did you mean `models`?")
        self.assertEqual(self.said(top="RETRY: {}"), "did you mean `retry`?")
        self.assertRegex(self.said(server="zzz: 1"), "^the keys here are max_request_bytes, ")

"""Tests of :mod:`aiproxy.config.report`."""

from __future__ import annotations

from datetime import UTC, datetime

from aiproxy.config.load import load
from aiproxy.config.report import describe
from aiproxy.config.schema import Secret
from tests.config.loading import LoadingTestCase

NOW = datetime(2029, 12, 31, 23, 59, tzinfo=UTC)


class DescribeTests(LoadingTestCase):
    """What a configuration comes to."""

    def test_everything(self) -> None:
        """All parts are there, tokens as fingerprints."""
        config = self.load(
            """
            server: {cors: ["*"], max_event_bytes: 1000, state: /s}
            keys:
              - {name: k, token: t, models: [a], requests_per_minute: 5, expires: 2030-01-01}
              - {name: l, token: u, expires: 2029-12-31T23:59:00Z}
            providers:
              groq: {token: x}
              spare: {type: mistral, token: "${NONE}"}
            models:
              - {name: a, provider: groq, model_size: BIG, fallbacks: [b], headers: {x-a: v},
                 body: {seed: 1}, requests_per_day: 7}
              - {name: b, provider: spare, kind: image, url: "https://me:word@a.example/x"}
            groups: {g: {models: [a, b]}}
            """,
            {"AUTH_TOKEN": "p,q", "ADMIN_TOKEN": "r"},
        ).config
        x = Secret("x").fingerprint
        off = "OFF: the environment variable NONE is not set; provider spare is off"
        text = describe(config, NOW)
        self.assertTrue(text.endswith("\n"))
        self.assertEqual(
            text.splitlines()[:16],
            [
                "port: 8080",
                "clients: 2 in AUTH_TOKEN, 2 in `keys`",
                "admin: ADMIN_TOKEN is set",
                "providers:",
                f"  groq: type groq, https://api.groq.com/openai/v1, token {x}",
                f"  spare: type mistral, https://api.mistral.ai/v1, no token, {off}",
                "models:",
                f"  a: a of groq, token {x}, priority 1, BIG, requests_per_day 7, headers x-a, "
                "body seed, then b",
                f"  b: b of spare, image, https://***@a.example/x, no token, priority 1, {off}",
                "groups:",
                "  g: priority of a, b",
                "keys:",
                "  k: models a, requests_per_minute 5, until 2030-01-01T00:00:00+00:00",
                "  l: all models, OFF: expired 2029-12-31T23:59:00+00:00",
                "server:",
                "  max_request_bytes: 32MiB",
            ],
        )
        for line in (
            "  max_event_bytes: 1000",
            "  drain_timeout: 30s",
            "  state: /s",
            "  cors: [*]",
            "  explain: false",
            "  jitter: 0.1",
            "  takeover: true",
            "  attempt: 2m",
        ):
            self.assertIn(line, text.splitlines())

    def test_first_run(self) -> None:
        """Nothing configured."""
        text = describe(load(env={}, folder=self.folder).config, NOW)
        self.assertIn("clients: no AUTH_TOKEN and no keys: for this machine only\n", text)
        self.assertIn("admin: off, ADMIN_TOKEN is not set\n", text)
        self.assertIn("  demo/echo: echo of demo, no token, priority 1\n", text)
        self.assertIn("  state: none\n", text)
        self.assertNotIn("groups:", text)

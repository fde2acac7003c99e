"""Tests of :mod:`aiproxy.config.report`."""

from __future__ import annotations

from aiproxy.config import report
from aiproxy.config.entries import File
from aiproxy.config.kinds import walk_keys
from aiproxy.config.load import load
from aiproxy.config.report import describe, without_effect
from aiproxy.config.schema import Secret
from tests.config.loading import LoadingTestCase

DEMO = "models: [{name: a, provider: demo}]\n"


class WithoutEffectTests(LoadingTestCase):
    """What is configured for a later version."""

    def lines(self, text: str, **env: str) -> list[str]:
        """Return what has no effect."""
        return without_effect(self.load(text, env))

    def test_nothing(self) -> None:
        """A plain configuration has its full effect."""
        self.assertEqual(self.lines(DEMO), [])
        self.assertEqual(
            self.lines(
                """
                server: {max_request_bytes: 1MiB, drain_timeout: 1s, shutdown_delay: 1s}
                keys: [{name: k, token: t, models: [a], expires: 2030-01-01}]
                providers: {mine: {base_url: "https://a.example", headers: {a: b}, body: {a: b}}}
                models:
                  - {name: a, provider: mine, priority: 2, model_size: BIG, fallbacks: [a],
                     reasoning: true, timeouts: {idle: 1s}}
                groups: {g: {models: [a]}}
                timeouts: {idle: 1s}
                """
            ),
            [],
        )

    def test_places(self) -> None:
        """Each key has its line, in order of the lines."""
        self.assertEqual(
            self.lines(
                """
                server:
                  http: llhttp
                  cors: ["*"]
                  keep_alive: 1s
                models:
                  - name: a
                    provider: demo
                    weight: 2
                    max_request_length: 0
                    stream_upstream: true
                groups:
                  g:
                    models: [a]
                    strategy: fastest
                    hedge: {after: 1s}
                breaker: {probe: 1s}
                """,
                RETRY_JITTER="0.2",
                ADMIN_TOKEN="sk-admin",
            ),
            [
                "c.yaml:3: server.cors: has no effect in this version",
            ],
        )

    def test_what_is_so_already(self) -> None:
        """A key that asks for what this version does anyway is no news."""
        self.assertEqual(
            self.lines(
                """
                server: {http: stock, state: none, cors: [], explain: false, keep_alive: 0s}
                models:
                  - {name: a, provider: demo, kind: chat, weight: 1, requests_per_minute: 0,
                     stream_upstream: false, min_interval: 0s}
                groups: {g: {models: [a], strategy: priority}}
                retry: {max_retries: 0, takeover: false}
                """
            ),
            [],
        )

    def test_table(self) -> None:
        """Every row of the table is a key of the schema."""
        keys = {documented.path for documented in walk_keys(File)}
        for row in report._LATER:
            self.assertIn(row.key, keys)


class DescribeTests(LoadingTestCase):
    """What a configuration comes to."""

    def test_everything(self) -> None:
        """All parts are there, tokens as fingerprints."""
        config = self.load(
            """
            server: {cors: ["*"], max_event_bytes: 1000, state: /s}
            keys:
              - {name: k, token: t, models: [a], requests_per_minute: 5, expires: 2030-01-01}
              - {name: l, token: u}
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
        text = describe(config)
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
                "  l: all models",
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
        text = describe(load(env={}, folder=self.folder).config)
        self.assertIn("clients: no AUTH_TOKEN and no keys: for this machine only\n", text)
        self.assertIn("admin: off, ADMIN_TOKEN is not set\n", text)
        self.assertIn("  demo/echo: echo of demo, no token, priority 1\n", text)
        self.assertIn("  state: none\n", text)
        self.assertNotIn("groups:", text)

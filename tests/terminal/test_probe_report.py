"""Tests of :mod:`aiproxy.terminal.probe_report`."""

from __future__ import annotations

import json
from io import StringIO

from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Model, Secret
from aiproxy.config.sections import Timeouts
from aiproxy.errors import (
    AIProxyError,
    ConnectFailed,
    InternalError,
    UpstreamAuthFailed,
    UpstreamModelNotFound,
    UpstreamRateLimited,
)
from aiproxy.policy.routing import Candidate
from aiproxy.terminal.probe_report import (
    ProbeResult,
    find_hint,
    first_line,
    make_table,
    write_plain,
    write_summary,
    write_trouble,
)

GOOD = ProbeResult(
    "up/one", "up", "ok", connect_seconds=0.012, first_token_seconds=0.25, total_seconds=1.5,
    tokens=1234,
)  # fmt: skip
BAD = ProbeResult(
    "up/two", "up", "failed", key=2, fingerprint="abcd", message="no such key", status=401,
    code="upstream_authentication_failed", hint="change it", total_seconds=0.004,
)  # fmt: skip
LISTED = ProbeResult("up/*", "up", "ok", models=3, total_seconds=0.1)
SKIPPED = ProbeResult("up/painter", "up", "not asked", message="image")


class ResultTests(SynchronousTestCase):
    """One result."""

    def test_verdict(self) -> None:
        """The outcome in a few words."""
        self.assertEqual(
            [one.verdict for one in (GOOD, BAD, LISTED, SKIPPED)],
            ["ok", "401 authentication failed", "ok, 3 models", "not asked (image)"],
        )
        self.assertEqual(ProbeResult("a", "b", "failed").verdict, "failed")

    def test_json(self) -> None:
        """One line, with all that is known."""
        told = json.loads(GOOD.write_json())
        self.assertEqual((told["model"], told["tokens"]), ("up/one", 1234))
        self.assertEqual((told["connect_seconds"], told["hint"]), (0.012, None))
        self.assertNotIn("\n", GOOD.write_json())

    def test_first_line(self) -> None:
        """Of an upstream's words the first line that says something, printable and short."""
        self.assertEqual(first_line("\n \x1b[31mno\tway\nreally"), "[31mno way")
        self.assertEqual(first_line(""), "")
        self.assertEqual(len(first_line("x" * 1000)), 200)


class HintTests(SynchronousTestCase):
    """What the operator can do."""

    def hint(self, error: AIProxyError, name: str = "up/one", model: str = "up/one") -> str | None:
        """Return the hint for an error."""
        entry = Model(
            model, "up", "openai", "openai", model.removeprefix("up/"), timeouts=Timeouts(),
            base_url="http://user:secret@up.example/v1",
        )  # fmt: skip
        return find_hint(error, Candidate(entry, name), {"OPENAI_API_KEY": "sk-1"})

    def test_hints(self) -> None:
        """Each says what to change, and no credentials."""
        self.assertEqual(
            self.hint(UpstreamAuthFailed("no")),
            "up wants a key, and the configuration has none",
        )
        self.assertEqual(
            self.hint(UpstreamModelNotFound("no")),
            "up has no model one, or is not at http://***@up.example/v1",
        )
        self.assertIn(
            "ask one by --only NAME", self.hint(UpstreamModelNotFound("no"), "up/*", "up/*") or ""
        )
        self.assertEqual(self.hint(ConnectFailed("no")), "up was asked at http://***@up.example/v1")
        self.assertEqual(
            self.hint(UpstreamRateLimited("no", retry_after=7.0)), "it may be asked again in 7 s"
        )
        self.assertIsNone(self.hint(UpstreamRateLimited("no")))
        self.assertIsNone(self.hint(InternalError("no")))

    def test_key(self) -> None:
        """A key that is refused is named by its variables, else by its fingerprint."""
        token = Secret("sk-ours")
        entry = Model("up/one", "up", "openai", "openai", "one", tokens=(token,))
        refused = UpstreamAuthFailed("no")
        for environment, name in (
            ({"B": "sk-ours", "A": " sk-ours\n", "C": "sk-other"}, "in A or B"),
            ({"C": "sk-other"}, f"{token.fingerprint} of up"),
        ):
            hint = find_hint(refused, Candidate(entry, "up/one", token), environment)
            self.assertEqual(hint, f"the key {name} is refused")


class LayoutTests(SynchronousTestCase):
    """Tables and lines."""

    def test_plain(self) -> None:
        """Columns are aligned; those without a cell are left out, and a provider in the name."""
        self.assertEqual(
            write_plain([GOOD, BAD]),
            [
                "Model   Key      Result                     Connect   First   Total  Tokens",
                "up/one           ok                           12 ms  0.25 s  1.50 s   1,234",
                "up/two  #2 abcd  401 authentication failed                     4 ms",
            ],
        )
        other = ProbeResult("alias", "up", "ok")
        self.assertEqual(write_plain([other]), ["Model  Provider  Result", "alias  up        ok"])

    def test_table(self) -> None:
        """A narrow terminal does without what matters least."""
        for width, has in ((100, True), (60, False)):
            console = Console(width=width, file=StringIO())
            console.print(make_table([GOOD, BAD, SKIPPED], width))
            drawn = console.file.getvalue()  # type: ignore[attr-defined]
            self.assertIn("401 authentication failed", drawn)
            self.assertEqual("Connect" in drawn, has)

    def test_room(self) -> None:
        """No cell is broken where there are columns to do without, and keys keep their number."""
        for width in range(57, 101):
            console = Console(width=width, file=StringIO())
            console.print(make_table([GOOD, BAD, SKIPPED], width))
            drawn = console.file.getvalue()  # type: ignore[attr-defined]
            self.assertIn("401 authentication failed", drawn, width)
            self.assertIn("#2 abcd" if width > 90 else "#2 ", drawn, width)

    def test_trouble(self) -> None:
        """What failed, with what can be done."""
        self.assertEqual(
            list(write_trouble([GOOD, BAD, SKIPPED])),
            [("up/two #2 abcd: 401 upstream_authentication_failed: no such key", "change it")],
        )

    def test_summary(self) -> None:
        """One line for all."""
        self.assertEqual(
            write_summary([GOOD, BAD, SKIPPED]),
            "1 of 2 upstreams answered; fastest up/one 0.25 s; 1 not asked",
        )
        self.assertEqual(write_summary([LISTED]), "1 of 1 upstream answered")

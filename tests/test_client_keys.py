"""``aiproxy key``."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout

from hypothesis import example, given
from hypothesis import strategies as st

from aiproxy.cli import main
from aiproxy.policy.access import Access, token_digest
from tests.config.loading import LoadingTestCase

DEMO = "models: [{name: demo/echo, provider: demo}]\nkeys:\n"


class KeyTests(LoadingTestCase):
    """What it makes can be used."""

    def run_key(self, *arguments: str, given: str = "") -> tuple[int, str, str]:
        """Run the command; return the status and what it has written."""
        self.patch(sys, "stdin", io.StringIO(given))
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(["key", *arguments])
            except SystemExit as ended:
                status = int(str(ended.code))
        return status, out.getvalue(), err.getvalue()

    def test_new(self) -> None:
        """The entry lets the token in, and what it may is as asked for."""
        status, token, told = self.run_key(
            *(
                "new",
                "--name",
                "team: ä",
                "--models",
                "demo/echo, demo/*",
                "--expires",
                "2099-01-31",
            ),
            *("--requests-per-minute", "7", "--max-concurrent", "2"),
        )
        self.assertEqual(status, 0)
        entry = told.partition("\n\n")[2]
        self.assertNotIn(token.strip(), told)
        config = self.load(
            DEMO.replace("demo}]", "demo}, {name: 'demo/*', provider: demo}]") + entry
        )
        [key] = config.config.keys
        self.assertEqual((key.name, key.models), ("team: ä", ("demo/echo", "demo/*")))
        self.assertEqual(key.limits.requests_per_minute, 7)
        self.assertEqual(key.limits.max_concurrent, 2)
        assert key.expires
        self.assertEqual(key.expires.year, 2099)
        access = Access([], config.config.keys)
        self.assertTrue(access.identify(token_digest(token.strip()), 0.0))

    def test_different(self) -> None:
        """Each token is another one, and long."""
        tokens = {self.run_key("new")[1].strip() for _ in range(5)}
        self.assertEqual(len(tokens), 5)
        for token in tokens:
            self.assertRegex(token, r"sk-aiproxy-[\w-]{43}")

    def test_json(self) -> None:
        """For programs there is one object."""
        _, out, err = self.run_key("new", "--json", "--name", "x", "--expires", "90d")
        told = json.loads(out)
        self.assertEqual(err, "")
        self.assertRegex(told["entry"]["expires"], r"\d{4}-\d\d-\d\d")
        _, hashed, _ = self.run_key("hash", given=f"{told['token']}\n")
        self.assertEqual(hashed.strip(), told["entry"]["hash"])

    def test_refused(self) -> None:
        """What cannot be is refused."""
        for arguments in (
            ("new", "--expires", "soon"),
            ("new", "--requests-per-day", "0"),
            ("new", "--requests-per-day", "x"),
            ("new", "--requests-per-day", "1000000000000000"),
            ("new", "--expires", "2020-01-31"),
            ("new", "--name", " "),
            ("new", "--name", "a\nb"),
            ("new", "--models", ""),
            ("new", "--models", "a,"),
            ("old",),
        ):
            status, out, _ = self.run_key(*arguments)
            self.assertEqual((status, out), (2, ""), arguments)
        self.assertEqual(self.run_key("hash", given="two words")[0], 1)

    @example("a${HOME}$$b")
    @given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1))
    def test_names(self, name: str) -> None:
        """Whatever a key is called, its entry says so."""
        told = self.run_key("new", f"--name={name}")[2].partition("\n\n")[2]
        self.assertEqual(self.load(DEMO + told).config.keys[0].name, name)

    def test_rotation(self) -> None:
        """While one token is changed for another, both are one client's."""
        first, second = (json.loads(self.run_key("new", "--json")[1]) for _ in range(2))
        hashes = f"[{first['entry']['hash']}, {second['entry']['hash']}]"
        config = self.load(f"{DEMO}  - {{name: team, hash: {hashes}}}\n").config
        access = Access([], config.keys)
        found = [access.identify(token_digest(one["token"]), 0.0) for one in (first, second)]
        self.assertEqual(found[0], found[1])
        assert found[0]
        self.assertEqual(found[0].key, "team")

"""``aiproxy models``."""

from __future__ import annotations

import json

from aiproxy.terminal import models
from tests.terminal.chat_servers import (
    MODELS,
    TOKEN,
    CannedTestCase,
    ServedTestCase,
    answer,
    missing,
    run_command,
)


class ServedTests(ServedTestCase):
    """With a server of ours."""

    async def test_names(self) -> None:
        """Scripts get one name a line."""
        told = await self.call(run_command, models, "--url", self.url, "--key", TOKEN)
        self.assertEqual(told, (0, "demo/echo\ndemo/other\nboth\n", ""))

    async def test_json(self) -> None:
        """Or all that is known, as JSON."""
        arguments = ("--json", "--url", self.url, "--key", TOKEN)
        _, out, _ = await self.call(run_command, models, *arguments)
        first = {"name": "demo/echo", "owner": "demo", "context_window": 8000, "kind": "model"}
        self.assertEqual(json.loads(out)[0], first)
        self.assertEqual([row["kind"] for row in json.loads(out)], ["model", "model", "group"])

    async def test_refused(self) -> None:
        """A refusal is one line on the error stream."""
        status, out, err = await self.call(run_command, models, "--url", self.url)
        self.assertEqual((status, out), (1, ""))
        self.assertTrue(err.startswith("aiproxy models: http://127.0.0.1"))
        self.assertEqual(err.count("\n"), 1)


class TerminalTests(CannedTestCase):
    """At a terminal."""

    def test_table(self) -> None:
        """A person gets a table."""
        listed = {"data": [{"id": "a/b", "owned_by": "a", "context_window": 128000}]}
        server = self.serve(answer(200, json.dumps(listed).encode()))
        status, out, _ = run_command(models, "--url", server.url, terminal=True)
        self.assertEqual(status, 0)
        rows = [line.split() for line in out.splitlines()]
        self.assertIn(["a/b", "a", "model", "128,000"], rows)

    def test_escapes(self) -> None:
        """What a server says does not control the terminal, be it a name or an error's code."""
        listed = {"data": [{"id": "a\x1b[2J", "owned_by": "b\x1b[3J"}]}
        error = {"error": {"message": "no\x1b[4J", "code": "c\x1b[5J"}}
        for status, told in ((200, listed), (500, error)):
            server = self.serve(answer(status, json.dumps(told).encode()))
            _, out, err = run_command(models, "--url", server.url, terminal=True)
            self.assertNotRegex(out + err, "\x1b\\[[2345]J")
            self.assertRegex(out + err, r"a\[2J +b\[3J|no\[4J \(c\[5J\)")

    def test_group(self) -> None:
        """A group has no provider."""
        server = self.serve(answer(200, MODELS))
        _, out, _ = run_command(models, "--url", server.url, terminal=True)
        self.assertIn(["two", "group"], [line.split() for line in out.splitlines()])

    def test_without_extra(self) -> None:
        """Without rich it is the names, as in a script."""
        server = self.serve(answer(200, MODELS))
        with missing("rich.console"):
            told = run_command(models, "--url", server.url, terminal=True)
        self.assertEqual(told, (0, "one\ntwo\n", ""))

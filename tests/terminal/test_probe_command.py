"""Tests of :mod:`aiproxy.terminal.probe_command`: the command in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from aiproxy.testing import ChaosUpstream
from tests.integration.servers import Server, ServersTestCase

DEMO = "models: [{name: demo/echo, provider: demo}, {name: off/one, provider: groq, token: x}]\n"


class ProbeCommandTests(ServersTestCase):
    """``aiproxy check --probe``."""

    def check(self, *arguments: str) -> Server:
        """Start it."""
        program = str(Path(sys.executable).with_name("aiproxy"))
        return self.spawn([program, "check", "--probe", *arguments], {})

    async def play(self, *faults: object) -> tuple[ChaosUpstream, str]:
        """Start an upstream that plays these faults; return its base URL."""
        from twisted.internet import reactor

        upstream = ChaosUpstream(list(faults), clock=reactor, name="up")
        self.addCleanup(upstream.stop)
        return upstream, await upstream.listen(reactor)

    async def test_good(self) -> None:
        """A table, a line that sums up, and the exit status 0; not the configuration."""
        self.write("models: [{name: demo/echo, provider: demo}]\n")
        run = self.check()
        self.assertEqual(await run.ended(), 0)
        self.assertIn("demo/echo", run.output)
        self.assertIn("1 of 1 upstream answered; fastest demo/echo", run.output)
        self.assertNotIn("drain_timeout", run.output)

    async def test_bad(self) -> None:
        """What failed is told with a hint, and the exit status is 1."""
        _, base_url = await self.play("bad_key")
        self.write(
            f"providers: {{up: {{type: openai, base_url: '{base_url}', token: sk-our-own-key}}}}\n"
            "models: [{name: up/one, provider: up}]\n"
        )
        run = self.check()
        self.assertEqual(await run.ended(), 1)
        self.assertIn("is refused", run.output)
        self.assertIn("0 of 1 upstream answered", run.output)
        self.assertNotIn("sk-our-own-key", run.output)

    async def test_json(self) -> None:
        """One object for each answer."""
        self.write("models: [{name: demo/echo, provider: demo}, {name: demo/b, provider: demo}]\n")
        run = self.check("--json", "--only", "demo/b")
        self.assertEqual(await run.ended(), 0)
        told = [json.loads(line) for line in run.output.splitlines() if line.startswith("{")]
        self.assertEqual([(one["model"], one["outcome"]) for one in told], [("demo/b", "ok")])

    async def test_unknown(self) -> None:
        """A model that there is not is a mistake of the caller."""
        self.write("models: [{name: demo/echo, provider: demo}]\n")
        run = self.check("--only", "demo/none")
        self.assertEqual(await run.ended(), 2)
        self.assertIn("there is no model demo/none", run.output)
        run = self.check("--probe-timeout", "0")
        self.assertEqual(await run.ended(), 2)
        self.assertIn("must be more than 0", run.output)

    async def test_interrupted(self) -> None:
        """Ctrl-C tells what has come so far, and hangs up."""
        upstream, base_url = await self.play("silent")
        self.write(
            f"providers: {{up: {{type: openai, base_url: '{base_url}', token: sk-a-key}}}}\n"
            "models: [{name: up/one, provider: up}, {name: demo/echo, provider: demo}]\n"
        )
        run = self.check()
        await upstream.until(lambda: len(upstream.requests) == 1)
        run.signal(signal.SIGINT)
        self.assertEqual(await run.ended(), 130)
        self.assertIn("interrupted", run.output)
        await upstream.until(lambda: upstream.open_connections == 0)

    async def test_terminal(self) -> None:
        """At a terminal there are a bar and a table in colors."""
        self.write("models: [{name: demo/echo, provider: demo}]\n")
        program = str(Path(sys.executable).with_name("aiproxy"))
        wrapped = f"import pty, sys; sys.exit(pty.spawn([{program!r}, 'check', '--probe']) >> 8)"
        run = self.spawn([sys.executable, "-c", wrapped], {"TERM": "xterm-256color", **os.environ})
        self.assertEqual(await run.ended(), 0)
        self.assertIn("Asking", run.output)
        self.assertIn("\x1b[", run.output)
        self.assertIn("1 of 1 upstream answered", run.output)

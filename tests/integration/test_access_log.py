"""The access log of a real process."""

from __future__ import annotations

import json
import os
import signal
import stat
from typing import Any

from twisted.internet.task import deferLater

from tests.integration.servers import ServersTestCase, write_chat

CONFIG = "models: [{name: demo/echo, provider: demo}]\nserver: {%s}\n"


class AccessLogTests(ServersTestCase):
    """``server.access_log`` under twistd."""

    async def eventually(self, condition: Any) -> None:
        """Wait until the condition holds; the test's own time bounds it."""
        from twisted.internet import reactor

        while not condition():
            await deferLater(reactor, 0.02)

    async def test_file(self) -> None:
        """A file that was moved keeps its lines, and USR1 begins a new one."""
        path, old = self.folder / "access.log", self.folder / "access.log.1"
        self.write(CONFIG % f"access_log: {path.absolute()}, log_format: json")
        server = await self.serve()
        await self.eventually(path.exists)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode) & ~0o640, 0)
        self.assertEqual((await self.ask(server.port, write_chat("one"))).status, 200)
        os.rename(path, old)
        server.signal(signal.SIGUSR1)
        await self.eventually(path.exists)
        self.assertEqual((await self.ask(server.port, write_chat("two"))).status, 200)
        server.signal(signal.SIGTERM)
        self.assertEqual(await server.ended(), 0)
        for one, said in ((old, "one"), (path, "two")):
            [line] = one.read_text().splitlines()
            document = json.loads(line)
            self.assertEqual((document["model"], document["attempts"]), ("demo/echo", 1))
            self.assertNotIn(said, line)
        self.assertNotIn(" client=", server.output)

    async def test_standard_output(self) -> None:
        """Without a setting, lines are written to standard output as text."""
        server = await self.serve()
        await self.ask(server.port, write_chat("one"))
        await server.until_bytes(b" client=")
        [line] = [line for line in server.output.splitlines() if " client=" in line]
        self.assertRegex(line, r"\A\d{4}-\d\d-\d\dT\S+Z .* demo/echo .* id=\S+\Z")

    async def test_nowhere(self) -> None:
        """A place that there is not is refused at the start, with its key."""
        self.write(CONFIG % "access_log: /dev/null/log")
        server = self.twistd("-a", "127.0.0.1:0")
        self.assertEqual(await server.ended(), 1)
        self.assertIn("server.access_log", server.output)
        self.assertNotIn("Traceback", server.output)

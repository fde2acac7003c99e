"""The body log of a real process."""

from __future__ import annotations

import json
import os
import signal

from tests.integration.servers import ServersTestCase, write_chat

CONFIG = "models: [{name: demo/echo, provider: demo}]\nserver: {%s}\n"


class BodyLogTests(ServersTestCase):
    """``server.body_log`` under twistd."""

    async def test_file(self) -> None:
        """Plain, streamed and refused calls are there with their ids; USR1 begins a new file."""
        path, old = self.folder / "bodies.log", self.folder / "bodies.log.1"
        self.write(CONFIG % f"body_log: {path.absolute()}, access_log: none")
        server = await self.serve()
        await self.until(path.exists)
        answers = [
            await self.ask(server.port, write_chat("one")),
            await self.ask(server.port, write_chat("two", stream=True)),
            await self.ask(server.port, write_chat("three", model="nobody")),
        ]
        os.rename(path, old)
        server.signal(signal.SIGUSR1)
        await self.until(path.exists)
        server.signal(signal.SIGTERM)
        self.assertEqual(await server.ended(), 0)
        lines = [json.loads(line) for line in old.read_text().splitlines()]
        for line, answer in zip(lines, answers, strict=True):
            self.assertIn(f"x-request-id: {line['id']}".encode(), answer.received.lower())
        self.assertEqual(
            [line["request"]["messages"][-1]["content"] for line in lines], ["one", "two", "three"]
        )
        self.assertEqual(lines[0]["answer"]["choices"][0]["message"]["content"], "one")
        self.assertEqual(lines[1]["answer"], {"choices.0.delta.content": "two"})
        self.assertIn("nobody", lines[2]["answer"]["error"])
        self.assertNotIn("three", server.output)

    async def test_default(self) -> None:
        """Without a word in the configuration, nothing of what is said is kept."""
        self.write("models: [{name: demo/echo, provider: demo}]\n")
        server = await self.serve()
        await self.ask(server.port, write_chat("a very special word"))
        server.signal(signal.SIGTERM)
        self.assertEqual(await server.ended(), 0)
        kept = [path for path in self.folder.rglob("*") if path.is_file()]
        self.assertNotIn("a very special word", server.output)
        self.assertEqual([path for path in kept if b"special word" in path.read_bytes()], [])

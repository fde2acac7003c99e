"""Counts of hours and days over whole servers: stopped, killed, and started twice."""

from __future__ import annotations

import json

from tests.integration.servers import (
    TOKEN,
    Connection,
    Server,
    ServersTestCase,
    write_chat,
)
from tests.transport.upstreams import SocketConnection

COMPLETION = {
    "id": "c",
    "choices": [{"index": 0, "message": {"content": "ok"}, "finish_reason": "stop"}],
}
ANSWER = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n"
    + json.dumps(COMPLETION).encode()
)
CONFIG = """
server: {{state: counts}}
providers:
  up: {{base_url: "http://127.0.0.1:{port}/v1", token: sk-up}}
models:
  - {{name: up/one, provider: up, requests_per_day: 4}}
"""


class RestartTests(ServersTestCase):
    """A server with ``server.state``."""

    timeout = 60

    def setUp(self) -> None:
        """Write the configuration."""
        super().setUp()

        def respond(connection: SocketConnection) -> None:
            connection.write(ANSWER)
            connection.close()

        self.seen, port = self.upstream(respond)
        self.write(CONFIG.format(port=port))

    async def start(self) -> Server:
        """Start a server."""
        return await self.serve()

    async def chat(self, server: Server, times: int) -> list[int]:
        """Ask so many times; return the statuses."""
        answers: list[Connection] = []
        for _ in range(times):
            answers.append(await self.ask(server.port, write_chat(model="up/one")))
        return [answer.status for answer in answers]

    async def test_stopped(self) -> None:
        """After a stop the exact counts go on."""
        server = await self.start()
        self.assertEqual(await self.chat(server, 3), [200] * 3)
        server.signal(15)
        self.assertEqual(await server.ended(), 0)
        self.assertEqual(await self.chat(await self.start(), 2), [200, 429])
        self.assertEqual(len(self.seen.requests), 4)

    async def test_killed(self) -> None:
        """After a crash not one too many goes out, and at most a second's are held back."""
        server = await self.start()
        self.assertEqual(await self.chat(server, 1), [200])
        server.signal(9)
        await server.ended()
        statuses = await self.chat(await self.start(), 4)
        self.assertIn(statuses.count(200), (2, 3))
        self.assertEqual(statuses[-1], 429)

    async def test_second(self) -> None:
        """A second server is refused, and told which folder is the first one's."""
        first = await self.start()
        second = self.twistd("-a", "127.0.0.1:0", env={"AUTH_TOKEN": TOKEN})
        self.assertNotEqual(await second.ended(), 0)
        self.assertIn("another server uses this folder", second.output)
        self.assertIn("counts", second.output)
        self.assertNotIn("Traceback", second.output)
        self.assertEqual(await self.chat(first, 1), [200])

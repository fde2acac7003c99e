"""Sockets that systemd holds: a restart refuses no connection."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import Any

from twisted.internet.defer import Deferred

from tests.integration.servers import TOKEN, TWISTD, Server, ServersTestCase, write_request

#: What systemd does between fork and exec: see sd_listen_fds(3).
_ACTIVATE = """
import os, sys
os.setsid()
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="http")
os.execv(sys.argv[1], sys.argv[1:])
"""


class ActivationTests(ServersTestCase):
    """A server that is given its socket."""

    def setUp(self) -> None:
        super().setUp()
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(100)
        self.addCleanup(self.socket.close)
        self.number = self.socket.getsockname()[1]

    def activate(self, *options: str) -> Server:
        """Start a server as systemd does."""
        from twisted.internet import reactor

        server = Server()
        listen = "systemd:domain=INET:index=0"
        command = [TWISTD, "-n", "--pidfile=", "aiproxy", "-l", listen, *options]
        running: Any = reactor
        running.spawnProcess(
            server,
            sys.executable,
            [sys.executable, "-ISc", _ACTIVATE, *command],
            self.environment({"AUTH_TOKEN": TOKEN}),
            str(self.folder),
            childFDs={0: "w", 1: "r", 2: "r", 3: self.socket.fileno()},
        )
        self.addCleanup(self._kill, server)
        return server

    async def check(self, *options: str) -> None:
        """Restart it while clients come all the time."""
        request = write_request("GET", "/ping")
        first = self.activate(*options)
        self.assertEqual((await self.ask(self.number, request)).status, 200)
        os.kill(first.pid, 15)
        self.assertEqual(await first.ended(), 0)
        # Nobody reads the socket now, and nobody is refused.
        asking = [Deferred.fromCoroutine(self.ask(self.number, request)) for _ in range(20)]
        self.activate(*options)
        for asked in asking:
            self.assertEqual((await asked).status, 200)

    async def test_one_process(self) -> None:
        """Without workers."""
        await self.check()

    async def test_workers(self) -> None:
        """With workers, who have it from their supervisor."""
        await self.check("-w", "2")

    async def test_hand_over(self) -> None:
        """A supervisor that follows another has the socket from that one."""
        server = self.activate("-w", "1")
        await server.serves()
        first = server.pid
        server.signal(signal.SIGUSR2)
        await server.until(lambda: b"; this one" in server.received)
        self.assertIn("the other supervisor serves; this one ends", server.output)
        await self.until(lambda: server.left)
        self.assertEqual((await self.ask(self.number, write_request("GET", "/ping"))).status, 200)
        os.killpg(first, signal.SIGTERM)
        await server.ended()

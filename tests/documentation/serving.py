"""A server for the blocks: a process of its own, before an upstream that always answers."""

from __future__ import annotations

import sys
from typing import Any

from tests.documentation.shell import ADMIN_TOKEN, AUTH_TOKEN
from tests.documentation.upstream import make_upstream, write_config
from tests.integration.servers import Server, ServersTestCase

__all__ = ["ServedTestCase"]


class ServedTestCase(ServersTestCase):
    """Runs blocks beside a server whose tokens the pages know."""

    timeout = 120

    async def start(self) -> int:
        """Start the server; return its port."""
        from twisted.internet import reactor

        running: Any = reactor
        port = running.listenTCP(0, make_upstream(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.config = write_config(port.getHost().port)
        self.write(self.config)
        tokens = {"AUTH_TOKEN": AUTH_TOKEN, "ADMIN_TOKEN": ADMIN_TOKEN}
        server = await self.serve(env=tokens)
        return server.port

    async def run_python(self, text: str) -> Server:
        """Run a program in a process of its own; return that when it has ended."""
        client = self.spawn([sys.executable, "-c", text])
        await client.ended(60)
        return client

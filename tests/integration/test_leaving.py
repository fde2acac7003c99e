"""Clients that leave: the upstream is let go at once, and nothing stays behind."""

from __future__ import annotations

import contextlib
import gc
import os
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from aiproxy.config.load import load
from aiproxy.proxy import Proxy
from aiproxy.service import Listening
from aiproxy.transport.http.stock import StockSite
from tests.integration.servers import TOKEN, ServersTestCase, config_for, write_chat
from tests.transport.upstreams import SocketConnection

STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n'
)


def open_descriptors() -> list[str]:
    """What this process has open, but for what lists it."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(f"{number} {os.readlink('/proc/self/fd/' + number)}")
    return sorted(found)


class LeavingTests(ServersTestCase):
    """A client leaves before the headers and in mid-stream, by FIN and by RST."""

    async def check(self, *, streaming: bool, reset: bool) -> None:
        """The upstream's connection ends within a second, and all is as it was before."""
        from twisted.internet import reactor
        from twisted.internet.endpoints import TCP4ServerEndpoint

        running: Any = reactor
        asked: Deferred[SocketConnection] = Deferred()

        def respond(connection: SocketConnection) -> None:
            if streaming:
                connection.write(STREAM)
            asked.callback(connection)

        _, upstream_port = self.upstream(respond)
        self.write(config_for(upstream_port))
        loaded = load(None, env={"AUTH_TOKEN": TOKEN}, folder=self.folder)
        proxy = Proxy(loaded.config, running)
        site = StockSite(proxy.resource(), running, max_request_bytes=10_000)
        endpoint = TCP4ServerEndpoint(running, 0, interface="127.0.0.1")
        proxy.service.listening = Listening(site, [("here", endpoint)])
        proxy.service.privilegedStartService()
        proxy.service.startService()
        self.addCleanup(proxy.service.stopService)
        listening: Any = proxy.service.ports[0]
        # The reactor opens a pipe of its own when it starts.
        await deferLater(running, 0)
        gc.collect()
        descriptors = open_descriptors()
        calls = set(running.getDelayedCalls())
        client = await self.connect(
            listening.getHost().port, write_chat(model="up/one", stream=streaming)
        )
        connection = await asked
        if streaming:
            await client.until_bytes(b"hi")
        transport: Any = client.transport
        if reset:
            transport.abortConnection()
        else:
            transport.loseConnection()
        before = running.seconds()
        connection.lost.addTimeout(1, running)
        await connection.lost
        self.assertLess(running.seconds() - before, 1)
        connection.lost = Deferred()
        connection.lost.callback(None)
        await deferLater(running, 0.05)
        self.assertEqual(len(site.channels), 0)
        self.assertEqual(open_descriptors(), descriptors)
        new = [call for call in running.getDelayedCalls() if call not in calls]
        ours = [call for call in new if "trial" not in repr(call)]
        self.assertEqual(ours, [])

    async def test_before_headers_fin(self) -> None:
        """It leaves by FIN before there is an answer."""
        await self.check(streaming=False, reset=False)

    async def test_before_headers_rst(self) -> None:
        """It leaves by RST before there is an answer."""
        await self.check(streaming=False, reset=True)

    async def test_streaming_fin(self) -> None:
        """It leaves by FIN in mid-stream."""
        await self.check(streaming=True, reset=False)

    async def test_streaming_rst(self) -> None:
        """It leaves by RST in mid-stream."""
        await self.check(streaming=True, reset=True)

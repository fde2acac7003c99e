"""Streams through a whole server: each event as it arrives, and never more than fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from zope.interface import implementer

from tests.integration.servers import ServersTestCase, config_for, write_chat
from tests.sites import over_http
from tests.transport.upstreams import SocketConnection

HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n\r\n"
#: One event holds so much text, and a long stream so many events.
WORD = "x" * 50_000
EVENTS = 4000


def event(content: str) -> bytes:
    """Write an event with some text."""
    chunk = {"id": "c1", "choices": [{"index": 0, "delta": {"content": content}}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


END = (
    b'data: {"id":"c1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)


def resident_mib(pid: int) -> float:
    """Return how much memory a process has."""
    [line] = [
        line
        for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        if line.startswith("VmRSS:")
    ]
    return int(line.split()[1]) / 1024


@implementer(IPushProducer)
class Flood:
    """
    Sends a long stream, as fast as it is taken.

    :ivar sent: how many events are sent.
    """

    def __init__(self, connection: SocketConnection) -> None:
        self.sent = 0
        self.paused = False
        self._event = event(WORD)
        transport: Any = connection.transport
        self._transport = transport
        transport.write(HEAD)
        transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self.paused = False
        while not self.paused and self.sent < EVENTS:
            self.sent += 1
            self._transport.write(self._event)
        if self.sent == EVENTS:
            self.sent += 1
            self._transport.unregisterProducer()
            self._transport.write(END)
            self._transport.loseConnection()

    def pauseProducing(self) -> None:
        self.paused = True

    def stopProducing(self) -> None:
        self.paused = True


class StreamTests(ServersTestCase):
    """What passes through a server's process."""

    async def test_slow_client(self) -> None:
        """A client that reads nothing stops the upstream, not fills the memory; then all comes."""
        from twisted.internet import reactor

        clock: Any = reactor
        floods: list[Flood] = []
        _, port = self.upstream(lambda connection: floods.append(Flood(connection)))
        self.write(over_http(config_for(port)))
        server = await self.serve()
        await self.ask(server.port, write_chat())
        idle = resident_mib(server.pid)
        self.assertLess(idle, 90)
        client = await self.connect(
            server.port, write_chat(model="up/one", stream=True, max_tokens=9)
        )
        await client.until_bytes(b"xxx")
        transport: Any = client.transport
        transport.pauseProducing()
        readings = []
        sent = []
        for _ in range(3):
            await deferLater(clock, 0.67)
            readings.append(resident_mib(server.pid))
            sent.append(floods[0].sent)
        self.assertLess(max(readings), idle + 20)
        self.assertTrue(floods[0].paused)
        self.assertEqual(sent[1], sent[2])
        self.assertLess(sent[2], EVENTS / 4)
        counted = len(client.received)
        tail = bytes(client.received)
        client.received.clear()

        def count(data: bytes) -> None:
            nonlocal counted, tail
            counted += len(data)
            tail = (tail + data)[-200:]
            client.look()

        client.arrived = count  # type: ignore[method-assign]
        transport.resumeProducing()
        await client.until(lambda: client.reason is not None, 30)
        self.assertGreater(counted, EVENTS * len(WORD))
        self.assertIn(b"data: [DONE]", tail)
        self.assertLess(resident_mib(server.pid), idle + 20)

    async def test_at_once(self) -> None:
        """An event is with the client before the upstream sends the next one."""
        asked: Deferred[SocketConnection] = Deferred()
        _, port = self.upstream(asked.callback)
        self.write(over_http(config_for(port)))
        server = await self.serve()
        client = await self.connect(server.port, write_chat(model="up/one", stream=True))
        upstream = await asked
        upstream.write(HEAD)
        for number in range(20):
            upstream.write(event(f"word{number}."))
            await client.until_bytes(f"word{number}.".encode(), 2)
        upstream.write(END)
        await client.until_bytes(b"data: [DONE]", 2)

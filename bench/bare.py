"""
The ceiling: llhttp on both sides of Twisted's reactor, and no gateway.

``python -m bench.bare PORT UPSTREAM_PORT``.  It reads and writes the JSON of each
request, reads that of each answer, and does nothing else: no errors, no limits,
no timeouts.  So it shows what parsers, reactor and sockets take of a request's
time on a machine; what aiproxy takes more is the gateway.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import orjson
from httptools import HttpRequestParser, HttpResponseParser
from twisted.internet import reactor
from twisted.internet.protocol import ClientFactory, Factory, Protocol

HOST = "127.0.0.1"
POST = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
HEAD = POST + b"authorization: Bearer x\r\ncontent-length: %d\r\n\r\n"
ANSWER = b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"

loop: Any = reactor
idle: list[Upstream] = []


class Upstream(Protocol):
    """A connection to the upstream, for one request after the other."""

    transport: Any

    def __init__(self, ready: Callable[[Upstream], None]) -> None:
        self.ready = ready

    def connectionMade(self) -> None:
        """Take the request that it was opened for."""
        self.transport.setTcpNoDelay(True)
        self.ready(self)

    def ask(self, request: bytes, answered: Callable[[int, bytes], None]) -> None:
        """Send a request."""
        self.answered = answered
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []
        self.parser = HttpResponseParser(self)
        self.transport.write(request)

    def dataReceived(self, data: bytes) -> None:
        """Read on."""
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self.headers.append((name, value))

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body."""
        self.pieces.append(data)

    def on_message_complete(self) -> None:
        """Answer, and wait for the next request."""
        idle.append(self)
        self.answered(self.parser.get_status_code(), b"".join(self.pieces))


class Client(Protocol):
    """A client's connection."""

    transport: Any

    def connectionMade(self) -> None:
        """Wait for a request."""
        self.transport.setTcpNoDelay(True)
        self.parser = HttpRequestParser(self)

    def dataReceived(self, data: bytes) -> None:
        """Read on."""
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        """Forget the last request."""
        self.headers: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        """Keep where it goes."""
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        self.headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        """Keep a piece of the body."""
        self.pieces.append(data)

    def on_message_complete(self) -> None:
        """Ask the upstream, over a connection that is idle or a new one."""
        document = orjson.loads(b"".join(self.pieces))
        document["model"] = "gpt-4.1"
        body = orjson.dumps(document)
        request = HEAD % (self.url, len(body)) + body
        if idle:
            idle.pop().ask(request, self.answered)
        else:
            factory = ClientFactory.forProtocol(
                lambda: Upstream(lambda upstream: upstream.ask(request, self.answered))
            )
            loop.connectTCP(HOST, int(sys.argv[2]), factory)

    def answered(self, status: int, body: bytes) -> None:
        """Answer the client."""
        orjson.loads(body)
        self.transport.write(ANSWER % (status, len(body)) + body)


if __name__ == "__main__":
    loop.listenTCP(int(sys.argv[1]), Factory.forProtocol(Client), backlog=512, interface=HOST)
    loop.run()

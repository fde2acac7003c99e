"""Clients in memory for the tests of our HTTP server."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field, frozen
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock

from aiproxy.transport.http.site import GatewaySite
from tests.transport.upstreams import MemoryTransport


@frozen
class Answer:
    """
    One answer, read from the wire.

    :param headers: names in lower case.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's document."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error in the body's envelope."""
        error: dict[str, Any] = self.json["error"]
        assert {"message", "type", "param", "code"} <= set(error), error
        return error


def read_answers(data: bytes, *, head: bool = False) -> list[Answer]:
    """
    Read whole answers, with nothing before, between or after them.

    :param head: they answer HEAD: no body follows.
    """
    answers = []
    while data:
        written, end, data = data.partition(b"\r\n\r\n")
        assert end, written
        first, *lines = written.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version.startswith("HTTP/1."), first
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers, line
            headers[name.lower()] = value
        body = b""
        if not (head or status == "100"):
            if headers.get("transfer-encoding") == "chunked":
                body, data = _read_chunks(data)
            elif "content-length" in headers:
                length = int(headers["content-length"])
                body, data = data[:length], data[length:]
                assert len(body) == length, body
            else:
                body, data = data, b""
        answers.append(Answer(int(status), headers, body))
    return answers


def _read_chunks(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        body += data[:length]
        assert data[length : length + 2] == b"\r\n", data
        data = data[length + 2 :]
        if length == 0:
            return body, data


class ClientTransport(MemoryTransport):
    """
    A server's end of a connection.

    :ivar half_closed: all was said.
    """

    half_closed = False

    def write(self, data: bytes) -> None:
        assert not self.half_closed, data
        super().write(data)

    def loseWriteConnection(self) -> None:
        assert self.producer is None, "the end would wait for the producer"
        self.half_closed = True

    def unregisterProducer(self) -> None:
        if self.producer is not None:
            super().unregisterProducer()


@define
class Client:
    """A client's end of one connection in memory."""

    site: GatewaySite
    clock: MemoryReactorClock
    transport: ClientTransport = field(init=False)
    channel: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        channel: Any = self.site.buildProtocol(None)
        self.channel = channel
        self.transport = ClientTransport(self.clock, channel)
        channel.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Send some bytes."""
        self.channel.dataReceived(data)

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> None:
        """Send a request."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)

    def take(self) -> bytes:
        """Return what came since the last time."""
        taken: bytes = self.transport.value()
        self.transport.clear()
        return taken

    def answers(self, *, head: bool = False) -> list[Answer]:
        """Return the answers that came since the last time."""
        return read_answers(self.take(), head=head)

    def answer(self, *, head: bool = False) -> Answer:
        """Return the only answer that came."""
        [answer] = self.answers(head=head)
        return answer

    def leave(self) -> None:
        """Close the connection."""
        self.transport.lose(ConnectionDone())

    @property
    def closed(self) -> bool:
        """The server has closed in order."""
        return self.transport.disconnecting

"""
The upstream of ``upstream.c`` in Python, for where there is no C compiler.

It takes the same command line and does the same at a tenth of the speed, so
that against it only proxies that are slow themselves can be told apart.
"""

from __future__ import annotations

import heapq
import json
import re
import selectors
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_ASK = re.compile(rb"Ask (\w+) (\d{10})")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_MISSING = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Script:
    """One kind of answer, as ``bench/answers.py`` writes it."""

    def __init__(self, text: bytes) -> None:
        first, _, rest = text.partition(b"\n")
        interval, hold = first.split()
        self.interval, self.hold = int(interval) / 1e6, hold == b"1"
        self.packets: list[bytes] = []
        while rest:
            length, _, rest = rest.partition(b"\n")
            self.packets.append(rest[: int(length)])
            rest = rest[int(length) :]


class Counts:
    """What came: each request once, or not."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.repeated = self.others = self.cut = self.open = 0

    def note(self, number: int) -> None:
        """Count a request."""
        self.repeated += number in self.seen
        self.seen.add(number)
        self.open += 1

    def write(self) -> bytes:
        """Write the answer that tells all."""
        body = json.dumps(
            {
                "requests": len(self.seen) + self.repeated,
                "repeated": self.repeated,
                "others": self.others,
                "cut": self.cut,
                "open": self.open,
            }
        ).encode()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        return head % len(body) + body


class Connection:
    """One connection, with at most one answer under way."""

    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.received = b""
        self.waiting = b""
        self.script: Script | None = None
        self.number = self.packet = 0
        self.due = 0.0
        self.closed = False

    def take_packet(self) -> bytes:
        """Take the next packet, filled in."""
        assert self.script is not None
        packet = self.script.packets[self.packet]
        self.packet += 1
        packet = packet.replace(b"@@number@@", b"%010d" % self.number)
        return packet.replace(b"@@microseconds@", b"%015d" % (time.monotonic_ns() // 1000))


class Upstream:
    """All connections."""

    def __init__(self, port: int, scripts: Mapping[str, Script]) -> None:
        self._scripts = scripts
        self._counts = Counts()
        self._selector = selectors.DefaultSelector()
        self._paced: list[tuple[float, int, Connection]] = []
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve for ever."""
        while True:
            wait = self._paced[0][0] - time.monotonic() if self._paced else None
            for key, events in self._selector.select(wait if wait is None else max(wait, 0)):
                if key.data is None:
                    self._accept()
                elif events & selectors.EVENT_READ:
                    self._read(key.data)
                else:
                    self._play(key.data)
            while self._paced and self._paced[0][0] <= time.monotonic():
                self._play(heapq.heappop(self._paced)[2])

    def _accept(self) -> None:
        peer, _ = self._listener.accept()
        peer.setblocking(False)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(peer, selectors.EVENT_READ, Connection(peer))

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.peer.recv(262144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            return self._close(connection)
        connection.received += data
        head, end, body = connection.received.partition(b"\r\n\r\n")
        found = _LENGTH.search(head)
        if not end or len(body) < (int(found[1]) if found else 0):
            return None
        connection.received = b""
        return self._begin(connection, head, body)

    def _begin(self, connection: Connection, head: bytes, body: bytes) -> None:
        asked = _ASK.search(body)
        script = self._scripts.get(asked[1].decode()) if asked else None
        if asked and script:
            connection.script, connection.packet = script, 0
            connection.number, connection.due = int(asked[2]), time.monotonic()
            self._counts.note(connection.number)
        elif head.startswith(b"GET /count "):
            connection.waiting = self._counts.write()
        else:
            self._counts.others += 1
            connection.waiting = _MISSING
        self._play(connection)

    def _play(self, connection: Connection) -> None:
        """Send the next packet, one a turn: others are served in between."""
        if connection.closed:
            return
        script = connection.script
        if script and not connection.waiting and connection.packet < len(script.packets):
            connection.waiting = connection.take_packet()
        try:
            sent = connection.peer.send(connection.waiting)
        except BlockingIOError:
            sent = 0
        except OSError:
            return self._close(connection)
        connection.waiting = connection.waiting[sent:]
        more = bool(connection.waiting)
        if script and not more:
            ended = connection.packet == len(script.packets)
            if ended and not script.hold:
                connection.script = None
                self._counts.open -= 1
            elif not ended and script.interval:
                connection.due += script.interval
                heapq.heappush(self._paced, (connection.due, id(connection), connection))
            more = not ended and not script.interval
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if more else 0)
        self._selector.modify(connection.peer, events, connection)

    def _close(self, connection: Connection) -> None:
        if connection.script:
            self._counts.cut += 1
            self._counts.open -= 1
        connection.closed = True
        self._selector.unregister(connection.peer)
        connection.peer.close()


def main(arguments: Sequence[str]) -> None:
    """Serve the scripts that are named."""
    port, *named = arguments
    pairs = (argument.split("=", 1) for argument in named)
    Upstream(int(port), {name: Script(Path(file).read_bytes()) for name, file in pairs}).run()


if __name__ == "__main__":
    main(sys.argv[1:])

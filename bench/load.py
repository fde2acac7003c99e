"""
The load: so many connections, each with one request after the other.

``python -m bench.load PORT CONNECTIONS SECONDS plain|stream`` prints answers
per second and the median time of one in milliseconds.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol

TOKEN = "bench-token"


def write_request(stream: bool) -> bytes:
    """Write one chat request of about 200 bytes."""
    messages = [{"role": "user", "content": "How fast is it?"}]
    body = json.dumps({"model": "up/m", "stream": stream, "messages": messages}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    )
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Client(Protocol):
    """One connection."""

    def __init__(self, request: bytes, times: list[float]) -> None:
        self._request = request
        self._times = times
        self._received = b""
        self._asked = 0.0

    def connectionMade(self) -> None:
        self._ask()

    def _ask(self) -> None:
        self._received = b""
        self._asked = time.perf_counter()
        transport: Any = self.transport
        transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(self._received.decode())
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if (length and len(body) >= int(length)) or body.endswith(b"0\r\n\r\n"):
            self._times.append(time.perf_counter() - self._asked)
            self._ask()


def main() -> None:
    """Run."""
    loop: Any = reactor
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    request = write_request(sys.argv[4] == "stream")
    times: list[float] = []
    for _ in range(connections):
        connectProtocol(TCP4ClientEndpoint(loop, "127.0.0.1", port), Client(request, times))

    def measure() -> None:
        times.clear()
        loop.callLater(seconds, loop.stop)

    loop.callLater(1, measure)  # connections and caches are warm by then
    loop.run()
    print(len(times) / seconds, statistics.median(times) * 1000)


if __name__ == "__main__":
    main()

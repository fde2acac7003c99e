"""
An upstream that costs as little as possible: it answers without looking.

``python -m bench.upstream PORT``.  A request whose body asks for a stream gets
200 events of 280 bytes, ten in a packet; any other an answer of 800 bytes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

EVENTS = 200
_EVENTS_IN_A_PACKET = 10


def _make_answer() -> bytes:
    message = {"role": "assistant", "content": "x" * 560}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    usage = {"prompt_tokens": 9, "completion_tokens": 90, "total_tokens": 99}
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    body = json.dumps({**answer, "choices": [choice], "usage": usage}).encode()
    head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _make_stream() -> list[bytes]:
    events = []
    for number in range(EVENTS):
        delta = {"content": f"word{number} " + "x" * 120}
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        events.append(b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n")
    end = {"id": "chatcmpl-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events.append(b"data: " + json.dumps(end).encode() + b"\n\ndata: [DONE]\n\n")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    packets = [head + b"Transfer-Encoding: chunked\r\n\r\n"]
    for start in range(0, len(events), _EVENTS_IN_A_PACKET):
        data = b"".join(events[start : start + _EVENTS_IN_A_PACKET])
        packets.append(b"%x\r\n%s\r\n" % (len(data), data))
    packets.append(b"0\r\n\r\n")
    return packets


ANSWER = _make_answer()
STREAM = _make_stream()


class Upstream(Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._received = b""

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        self._received = body[length:]
        asks_stream = b'"stream":true' in body[:length].replace(b" ", b"")
        transport: Any = self.transport
        for packet in STREAM if asks_stream else [ANSWER]:
            transport.write(packet)


if __name__ == "__main__":
    loop: Any = reactor
    loop.listenTCP(int(sys.argv[1]), Factory.forProtocol(Upstream), 1024, "127.0.0.1")
    loop.run()

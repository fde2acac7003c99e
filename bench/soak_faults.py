"""The answers of the mixed soak's upstream, good and bad."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any, Final, TypeAlias

from attrs import frozen

__all__ = ["FAULTS", "GOOD", "Answer", "CallerGone", "answer_well"]

_WORDS_PER_EVENT: Final = 5
#: An answer without faults: how fast it comes.
GOOD: Final = ("brisk", "brisk", "paced", "dribbled")
#: Answers longer than this come at once, whatever was chosen.
_LONG_BYTES: Final = 50_000


class CallerGone(Exception):
    """Who has asked has closed the connection."""


@frozen
class Answer:
    """
    One answer that is written.

    :param gone: is done when the caller has gone.
    :param asked: the request.
    :param text: what is said.
    :param stall_seconds: how long it is silent, when it is: longer than the proxy waits.
    """

    _writer: asyncio.StreamWriter
    _gone: asyncio.Future[bytes]
    random: Random
    asked: Mapping[str, Any]
    text: str
    stall_seconds: float

    @property
    def stream(self) -> bool:
        """Whether events are wanted."""
        return bool(self.asked.get("stream"))

    async def write(self, data: bytes) -> None:
        """Write, as fast as the caller reads."""
        if self._gone.done():
            raise CallerGone
        self._writer.write(data)
        await self._writer.drain()

    async def pause(self, seconds: float) -> None:
        """Wait."""
        done, _ = await asyncio.wait((self._gone,), timeout=seconds)
        if done:
            raise CallerGone

    async def write_head(self, status: str, kind: str, framing: str, more: str = "") -> None:
        """Write a head, all in one."""
        head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{framing}\r\n{more}\r\n"
        await self.write(head.encode())

    async def write_json(
        self, document: object, status: str = "200 OK", more: str = "", cut: int = 0
    ) -> bool:
        """Write a whole answer, or one whose end is missing."""
        body = json.dumps(document).encode()
        await self.write_head(status, "application/json", f"Content-Length: {len(body)}", more)
        await self.write(body[: len(body) - cut])
        return not cut

    async def write_events(self, events: list[bytes], pace: float = 0.0, size: int = 0) -> None:
        """Write events, each in a chunk: ``pace`` seconds apart, in pieces of ``size`` bytes."""
        for event in events:
            chunk = b"%x\r\n%s\r\n" % (len(event), event)
            for start in range(0, len(chunk), size or len(chunk)):
                await self.write(chunk[start : start + (size or len(chunk))])
                if pace:
                    await self.pause(pace)

    async def write_vectors(self) -> bool:
        """Answer a request for embeddings."""
        wanted = self.asked["input"]
        data = [
            {"object": "embedding", "index": index, "embedding": [0.25, float(index)]}
            for index in range(1 if isinstance(wanted, str) else len(wanted))
        ]
        usage = {"prompt_tokens": 3, "total_tokens": 3}
        return await self.write_json(
            {"object": "list", "model": "vectors", "data": data, "usage": usage}
        )

    def completion(self) -> dict[str, Any]:
        """A plain answer."""
        return {
            "id": "up-1",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": self.asked["model"],
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": self.text},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16},
        }

    def events(self) -> list[bytes]:
        """A streamed one: text, finish, usage, end."""
        words = self.text.split(" ")
        # Blanks go before the words, and some pieces end within one.
        pieces = []
        for start in range(0, len(words), _WORDS_PER_EVENT):
            pieces.append(
                (" " if start else "") + " ".join(words[start : start + _WORDS_PER_EVENT])
            )
        for index in range(len(pieces) - 1):
            if self.random.random() < 0.3:
                pieces[index + 1] = pieces[index][-2:] + pieces[index + 1]
                pieces[index] = pieces[index][:-2]
        events = [self._event({"content": piece}) for piece in pieces]
        return [*events, self._event({}, "stop"), b"data: [DONE]\n\n"]

    def _event(self, delta: object, finish: str | None = None) -> bytes:
        chunk = {
            "id": "up-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": self.asked["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
        return b"data: %s\n\n" % json.dumps(chunk).encode()

    def reset(self) -> None:
        """Close at once, so that the caller sees a reset."""
        peer: socket.socket = self._writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


_CHUNKED = "Transfer-Encoding: chunked"
_EVENTS = "text/event-stream"


async def answer_well(answer: Answer, speed: str) -> bool:
    """Give a whole answer."""
    if len(answer.text) > _LONG_BYTES:
        speed = "brisk"
    if not answer.stream:
        await answer.pause(0.02 if speed == "paced" else 0.0)
        return await answer.write_json(answer.completion())
    await answer.write_head("200 OK", _EVENTS, _CHUNKED)
    pace, size = {"brisk": (0.0, 0), "paced": (0.01, 0), "dribbled": (0.0005, 60)}[speed]
    await answer.write_events(answer.events(), pace, size)
    await answer.write(b"0\r\n\r\n")
    return True


async def _begin(answer: Answer) -> bool:
    """Write the first part of an answer; whether it is a stream."""
    if not answer.stream:
        await answer.write_json(answer.completion(), cut=20)
        return False
    await answer.write_head("200 OK", _EVENTS, _CHUNKED)
    events = answer.events()
    # Not even the finish reason: then nothing is missing.
    await answer.write_events(events[: answer.random.randrange(len(events) - 1)], 0.002)
    return True


async def _refuse_for_now(answer: Answer) -> bool:
    error = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}
    told = "Retry-After: 1\r\n" if answer.random.random() < 0.5 else ""
    return await answer.write_json(error, "429 Too Many Requests", told)


async def _fail(answer: Answer) -> bool:
    status = answer.random.choice(("500 Internal Server Error", "503 Service Unavailable"))
    return await answer.write_json({"error": {"message": "a bad day"}}, status)


async def _reset(answer: Answer) -> bool:
    answer.reset()
    return False


async def _close(answer: Answer) -> bool:
    return False


async def _say_nothing(answer: Answer) -> bool:
    await answer.pause(answer.stall_seconds)
    return False


async def _cut(answer: Answer) -> bool:
    await _begin(answer)
    return False


async def _cut_by_reset(answer: Answer) -> bool:
    await _begin(answer)
    answer.reset()
    return False


async def _stall(answer: Answer) -> bool:
    await _begin(answer)
    await answer.pause(answer.stall_seconds)
    return False


async def _end_too_soon(answer: Answer) -> bool:
    """In proper HTTP."""
    if await _begin(answer):
        await answer.write(b"0\r\n\r\n")
        return True
    return False


async def _write_garbage(answer: Answer) -> bool:
    await answer.write(answer.random.randbytes(answer.random.randrange(1, 3000)))
    return False


async def _garble(answer: Answer) -> bool:
    """An event that looks like a delta and is none."""
    if await _begin(answer):
        await answer.write_events([b'data: {"choices": [{"delta": {"content": "lo\n\n'])
        await answer.pause(0.05)
    return False


async def _write_html(answer: Answer) -> bool:
    body = b"<html><body>It works!</body></html>"
    await answer.write_head("200 OK", "text/html", f"Content-Length: {len(body)}")
    await answer.write(body)
    return True


async def _fail_inside(answer: Answer) -> bool:
    document = {"error": {"message": "overloaded", "type": "server_error", "code": 503}}
    return await answer.write_json(document)


async def _never_done(answer: Answer) -> bool:
    """All is said, but the end of the stream does not come."""
    if not answer.stream:
        return await answer_well(answer, "brisk")
    await answer.write_head("200 OK", _EVENTS, _CHUNKED)
    await answer.write_events(answer.events()[:-1])
    await answer.pause(answer.stall_seconds)
    return False


Fault: TypeAlias = Callable[[Answer], Awaitable[bool]]
#: What may go wrong; each tells whether the connection can be used again.
FAULTS: Final[Mapping[str, Fault]] = {
    "close": _close,
    "cut": _cut,
    "cut_by_reset": _cut_by_reset,
    "end_too_soon": _end_too_soon,
    "error": _fail,
    "error_inside": _fail_inside,
    "garbage": _write_garbage,
    "garbled": _garble,
    "html": _write_html,
    "never_done": _never_done,
    "rate_limit": _refuse_for_now,
    "reset": _reset,
    "silent": _say_nothing,
    "stall": _stall,
}

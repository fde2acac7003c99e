"""
What a chaos upstream plays for one request: bytes, waits and ends.

Nothing here has a connection or a clock; whoever plays an act writes the bytes
when the ones before are gone, so an endless act needs no memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, auto
from typing import Final, TypeAlias

from attrs import frozen

from aiproxy.providers.chaos.answers import Answer
from aiproxy.providers.chaos.script import Step

__all__ = ["GARBAGE", "JSON", "STREAM", "Act", "End", "Scene", "write_chunk"]


class End(Enum):
    """What becomes of the connection when an act is over."""

    DONE = auto()  #: The answer is whole; a kept connection serves the next request.
    CLOSE = auto()  #: Closed in order.
    RESET = auto()  #: Closed by RST.
    HANG = auto()  #: Nothing more comes, until the other side closes.


#: Bytes to be written, or seconds to wait, or the end.
Act: TypeAlias = bytes | float | End

#: What no TLS record and no status line begins with.
GARBAGE: Final = b"\x00\xff\x00\xffthis is neither TLS nor HTTP\r\n\r\n"

_NO_HEADERS: Final[Mapping[str, str]] = {}
_ENDS: Final = {"clean": End.DONE, "close": End.CLOSE, "reset": End.RESET, "open": End.HANG}
_LAST_CHUNK: Final = b"0\r\n\r\n"
JSON: Final = "application/json"
STREAM: Final = "text/event-stream"
_PINGS: Final = {
    # OpenRouter's way, and Anthropic's.
    "comment": b": DRILL PROCESSING\n\n",
    "event": b'event: ping\ndata: {"type":"ping"}\n\n',
}


def write_chunk(data: bytes) -> bytes:
    """Frame a part of a body without a length."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@frozen
class Scene:
    """
    A request and what it shall meet.

    :param stream: a stream was asked for.
    :param keep: the connection may serve again.
    :param pace: seconds between events.
    :param now: seconds since the epoch.
    """

    step: Step
    answer: Answer
    stream: bool
    keep: bool
    pace: float
    now: float

    def head(
        self, status: int, kind: str, length: int | None, more: Mapping[str, str] = _NO_HEADERS
    ) -> bytes:
        """Write a head; without a length the body comes in chunks."""
        fields = {"content-type": kind, "connection": "keep-alive" if self.keep else "close"}
        framing = {"transfer-encoding": "chunked"}
        if length is not None:
            framing = {"content-length": str(length)}
        lines = "".join(
            f"{name}: {value}\r\n" for name, value in {**fields, **framing, **more}.items()
        )
        return f"HTTP/1.1 {status} Drill\r\n{lines}\r\n".encode()

    def whole(
        self,
        body: bytes,
        kind: str = JSON,
        *,
        status: int = 200,
        more: Mapping[str, str] = _NO_HEADERS,
    ) -> Iterator[Act]:
        """Answer with a body of known length."""
        yield self.head(status, kind, len(body), more) + body
        yield End.DONE

    def parts(self) -> tuple[list[bytes], list[bytes]]:
        """Divide the good answer's body at the step's place; the parts joined are all of it."""
        step, events = self.step, self.answer.events()
        if not self.stream:
            body = self.answer.whole()
            place = len(body) // 2 if step.after_bytes is None else step.after_bytes
            return [body[:place]], [body[place:]]
        if step.after_events is not None:
            return events[: step.after_events], events[step.after_events :]
        if step.after_characters is None and step.after_bytes is not None:
            body = b"".join(events)
            return [body[: step.after_bytes]], [body[step.after_bytes :]]
        characters = step.after_characters
        return self.answer.split(len(self.answer.text) // 2 if characters is None else characters)

    def start(self, length: int | None = None) -> bytes:
        """
        Write the head of a good answer.

        :param length: of a plain body, where it is not the good one's.
        """
        if self.stream:
            return self.head(200, STREAM, None)
        return self.head(200, JSON, len(self.answer.whole()) if length is None else length)

    def write(self, data: bytes) -> bytes:
        """Frame a part of the body."""
        if not self.stream or not data:
            return data
        return write_chunk(data)

    def body(self, parts: list[bytes]) -> Iterator[Act]:
        """Write parts of the body, at the script's pace."""
        for number, part in enumerate(parts):
            if number and self.pace:
                yield self.pace
            yield self.write(part)

    def finish(self, end: str = "clean") -> Iterator[Act]:
        """End the body."""
        if end == "clean":
            yield _LAST_CHUNK if self.stream else b""
        yield _ENDS[end]

    def wait(self) -> Iterator[Act]:
        """Wait as long as the step says, with its pings."""
        left, every = self.step.delay, self.step.ping_every
        if every and self.stream:
            ping = self.write(_PINGS[self.step.ping])
            while left is None or left > 0:
                yield every if left is None else min(every, left)
                yield ping
                left = None if left is None else left - every
        elif left is not None:
            yield float(left)
        else:
            yield End.HANG

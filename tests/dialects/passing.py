"""Bodies that pass through, for the tests: read in pieces, written for a client."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiproxy.dialects.raw import RAW_REQUEST, RawDialect
from aiproxy.dialects.raw_face import RawFace
from aiproxy.errors import AIProxyError
from aiproxy.wire.json import dumps

ROOM = 4 * 1024 * 1024


class Passage:
    """
    What becomes of a streamed answer on its way.

    :ivar out: what the client gets, up to an error.
    :ivar failure: how the client is told of the error.
    """

    def __init__(
        self,
        face: RawFace,
        pieces: Iterable[bytes],
        *,
        room: int = ROOM,
        cut: bool = False,
        **request: Any,
    ) -> None:
        asked = face.read_request(dumps({"model": "mine", "stream": True, **request}))
        wire = RawDialect(face.operation).write_request(asked, model="theirs", stream=True)
        assert wire.reader is not None
        reader = wire.reader.stream_reader(choices=1, max_event_bytes=room)
        writer = face.stream_writer(asked, identity="made-up", created=7, model="mine")
        self.out = b""
        self.open_calls: list[bool] = []
        for piece in pieces:
            self.out += b"".join(writer.write(chunk) for chunk in reader.feed(piece))
            self.open_calls.append(reader.tool_call_open)
        self.finished = reader.finished
        if cut:
            reader.cut()  # type: ignore[attr-defined]
        self.out += b"".join(writer.write(chunk) for chunk in reader.close())
        self.ended = reader.ended
        self.said = reader.said
        self.usage = reader.usage
        self.characters = reader.characters  # type: ignore[attr-defined]
        self.skipped = reader.skipped
        self.error: AIProxyError | None = reader.error
        self.failure = b"" if reader.error is None else writer.fail(reader.error)
        self.out += b"" if reader.error is not None else writer.end()
        self.broken = writer.broken

    @property
    def told(self) -> tuple[object, ...]:
        """All of it, as values that can be compared, whatever the pieces were."""
        fault = None if self.error is None else (type(self.error), vars(self.error))
        return self.out, self.ended, self.said, self.usage, self.skipped, fault, self.failure

    @property
    def tokens(self) -> tuple[int, int]:
        """What it has cost."""
        assert self.usage is not None
        return self.usage["prompt_tokens"], self.usage["completion_tokens"]


def raw_body(request: dict[str, Any]) -> bytes:
    """Return the client's body within a request."""
    body: bytes = request[RAW_REQUEST].body
    return body

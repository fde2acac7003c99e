"""What a stream has said by its end, in whatever dialect: the texts of its deltas, joined."""

from __future__ import annotations

from typing import Any, Final

from aiproxy.errors import AnswerTooLarge
from aiproxy.wire.json import JSONError, loads
from aiproxy.wire.sse import SSEDecoder

__all__ = ["Transcript"]

#: Characters that are kept of a stream, with those of the places where they stand.
KEPT_CHARACTERS: Final = 256 * 1024
#: Texts are looked for no deeper; events may have a thousand levels.
_LEVELS: Final = 64
_MOST_EVENT_BYTES: Final = 2**20

#: Fields whose texts are pieces: of OpenAI's chunks and completions, of its
#: Responses' events (``delta``), of Anthropic's deltas.
_PIECES: Final = frozenset(
    {
        "arguments",
        "content",
        "delta",
        "name",
        "partial_json",
        "reasoning",
        "reasoning_content",
        "refusal",
        "text",
        "thinking",
    }
)
#: Number the part of an answer that an event belongs to.
_NUMBERS: Final = ("output_index", "content_index", "index")


class Transcript:
    """
    Gathers what a stream of events says.  It never fails: what is no event is passed over.

    A text that comes in pieces cannot be looked through for secrets before it
    is joined; so nothing of it is shown before the end.
    """

    def __init__(self) -> None:
        self._decoder: SSEDecoder | None = SSEDecoder(_MOST_EVENT_BYTES)
        self._texts: dict[str, list[str]] = {}
        self._left = KEPT_CHARACTERS
        self.bytes = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes, split anywhere."""
        self.bytes += len(data)
        if self._decoder is None or self._left <= 0:
            return
        try:
            for event in self._decoder.feed(data):
                self._read(event.data)
        except AnswerTooLarge:
            self._decoder = None

    def texts(self) -> dict[str, str]:
        """Return what was said so far, by where it stands: ``choices.0.delta.content``."""
        return {where: "".join(pieces) for where, pieces in self._texts.items()}

    def _read(self, data: bytes) -> None:
        if data == b"[DONE]":
            return
        try:
            event = loads(data)
        except JSONError:
            return
        if not isinstance(event, dict):
            return
        kind = event.get("type")
        # Of what comes in deltas, the events without one only say it again.
        if isinstance(kind, str) and "delta" not in kind and "error" not in kind:
            return
        where = [str(event[name]) for name in _NUMBERS if isinstance(event.get(name), int)]
        self._gather(event, ".".join(where), _LEVELS)

    def _gather(self, value: dict[str, Any], where: str, levels: int) -> None:
        if not levels:
            return
        for name, item in value.items():
            place = f"{where}.{name}" if where else name
            if isinstance(item, str):
                if name in _PIECES or name == "message":
                    self._add(place, item)
            elif isinstance(item, dict):
                self._gather(item, place, levels - 1)
            elif isinstance(item, list):
                for position, one in enumerate(item):
                    if isinstance(one, dict):
                        number = one.get("index")
                        entry = f"{place}.{number if number is not None else position}"
                        self._gather(one, entry, levels - 1)

    def _add(self, where: str, text: str) -> None:
        if not text or self._left <= 0:
            return
        if where not in self._texts:
            self._left -= len(where)
            if self._left <= 0:
                return
            self._texts[where] = []
        self._texts[where].append(text[: self._left])
        self._left -= len(text)

"""Streams for the tests: written, split, read; and what was made of them."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any

from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from aiproxy.dialects.dialect import AnswerReader, StreamReader
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.wire.json import dumps
from tests.untraced import untraced

ROOMY = 1024 * 1024
#: Streams up to so many bytes are split at every single place.
SHORT_BYTES = 3 * 1024
#: Places at which one event of a long stream is split; how many of the whole stream.
_MOST_OF_AN_EVENT = 64
_MOST_OF_THE_WHOLE = 100

#: Where a split is likeliest to do harm.
_SORE = re.compile(rb"[\r\n:\x80-\xff]")
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


class Outcome:
    """All that a reader made of some bytes."""

    def __init__(
        self,
        pieces: Iterable[bytes],
        *,
        choices: int = 1,
        max_event_bytes: int = ROOMY,
        dialect: AnswerReader | None = None,
    ) -> None:
        reader = (dialect or OpenAIDialect()).stream_reader(
            choices=choices, max_event_bytes=max_event_bytes
        )
        self.chunks: list[dict[str, Any]] = []
        for piece in pieces:
            self.chunks += reader.feed(piece)
        self.finished = reader.finished
        self.tool_call_open = reader.tool_call_open
        self.chunks += reader.close()
        self.ended = reader.ended
        self.said = reader.said
        self.skipped = reader.skipped
        self.usage = reader.usage
        self.error = reader.error
        #: As values that can be compared.
        self.fault = None if reader.error is None else (type(reader.error), vars(reader.error))

    def __eq__(self, other: object) -> bool:
        """All of it is the same, but for the error's own identity."""
        if not isinstance(other, Outcome):
            return NotImplemented
        mine, others = dict(vars(self)), dict(vars(other))
        del mine["error"], others["error"]
        return mine == others

    def __repr__(self) -> str:
        return f"Outcome({vars(self)})"

    def deltas(self, index: int = 0) -> list[dict[str, Any]]:
        """Give the deltas of one choice."""
        return [
            choice["delta"]
            for chunk in self.chunks
            for choice in chunk["choices"]
            if choice["index"] == index
        ]

    def text(self, name: str = "content", index: int = 0) -> str:
        """Give all that the deltas of one choice say in one field."""
        return "".join(delta.get(name) or "" for delta in self.deltas(index))

    def calls(self, index: int = 0) -> list[dict[str, Any]]:
        """Give the tool calls of one choice, put together as a client does."""
        return fold_calls(self.deltas(index))

    def reasons(self, index: int = 0) -> list[str]:
        """Give the finish reasons of one choice."""
        return [
            choice["finish_reason"]
            for chunk in self.chunks
            for choice in chunk["choices"]
            if choice["index"] == index and choice["finish_reason"] is not None
        ]


def client_message(outcome: Outcome) -> dict[str, Any]:
    """Return the message that OpenAI's own client puts together from a stream."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for chunk in outcome.chunks:
        frame = {"id": "", "object": "chat.completion.chunk", "created": 1, "model": ""}
        state.handle_chunk(ChatCompletionChunk.model_validate({**frame, **chunk}))
    return state.current_completion_snapshot.choices[0].message.to_dict()


def new_reader(*, choices: int = 1, max_event_bytes: int = ROOMY) -> StreamReader:
    """Make a reader of OpenAI's streams."""
    return OpenAIDialect().stream_reader(choices=choices, max_event_bytes=max_event_bytes)


def fold_calls(deltas: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put tool calls together as openai-python does: by index, the first delta with all names."""
    calls: dict[int, dict[str, Any]] = {}
    for delta in deltas:
        for piece in delta.get("tool_calls", ()):
            kind = "custom" if "custom" in piece else "function"
            field = "input" if kind == "custom" else "arguments"
            if piece["index"] not in calls:
                assert {"index", "id", "type"} <= piece.keys(), piece
                assert kind not in piece or piece[kind]["name"], piece
                calls[piece["index"]] = deepcopy(piece)
            elif kind in piece:
                assert "id" not in piece and "name" not in piece[kind], piece
                calls[piece["index"]][kind][field] += piece[kind][field]
    assert list(calls) == list(range(len(calls))), calls
    return list(calls.values())


def write_events(*documents: object, end: bytes = b"\n\n") -> bytes:
    """Write a stream: objects as JSON, bytes and text as they are."""
    stream = b""
    for document in documents:
        if isinstance(document, str):
            document = document.encode()
        stream += b"data: " + (document if isinstance(document, bytes) else dumps(document)) + end
    return stream


def chunk(
    delta: object = None, reason: object = None, *, index: object = 0, **fields: object
) -> dict[str, Any]:
    """Make a chunk with one choice."""
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": reason}
    return {"id": "c-1", "object": "chat.completion.chunk", "choices": [choice], **fields}


def split_at(stream: bytes, *places: int) -> list[bytes]:
    """Return the stream in pieces that begin at these places."""
    edges = [0, *sorted(places), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(edges)]


def bytewise(stream: bytes) -> list[bytes]:
    """Return the stream in single bytes."""
    return [stream[place : place + 1] for place in range(len(stream))]


def sore_places(stream: bytes, reach: int = 4) -> list[int]:
    """Find the places within *reach* bytes of a line end, a colon or a byte that is not ASCII."""
    places: set[int] = set()
    for found in _SORE.finditer(stream):
        places.update(range(max(0, found.start() - reach), found.start() + reach + 1))
    return sorted(place for place in places if place < len(stream))


def windows(stream: bytes) -> Iterator[tuple[bytes, range]]:
    """
    Cut a long stream into overlapping short ones, for each of its events one.

    A split changes nothing but how the event is read in which it is.  So a
    stream of that event between its neighbors shows what the whole one would,
    in a small part of the time.  Together with the range of the event in it.
    """
    ends = [0, *(found.end() for found in _BLANK_LINE.finditer(stream))]
    if ends[-1] < len(stream):
        ends.append(len(stream))
    for number, (begin, end) in enumerate(pairwise(ends)):
        before = ends[max(0, number - 1)]
        after = ends[min(len(ends) - 1, number + 2)]
        yield stream[before:after], range(begin - before, end - before + 1)


def find_difference(
    stream: bytes, read: Callable[[list[bytes]], object], seed: int = 20_251_125
) -> str | None:
    """
    Read a stream in all ways that could do harm; say where one differs from the whole.

    In single bytes, in many pieces, and in two: short streams at every place,
    long ones wherever a split could do harm within an event (a big event at
    some of these places), and at some of them in the whole.

    :param read: returns all that was made of some pieces, to be compared.
    """
    chance = random.Random(seed)
    expected = read([stream])
    if read(bytewise(stream)) != expected:
        return "in single bytes"
    with untraced():
        return _find_split(stream, read, expected, chance)


def _find_split(
    stream: bytes,
    read: Callable[[list[bytes]], object],
    expected: object,
    chance: random.Random,
) -> str | None:
    for _ in range(10):
        places = [chance.randrange(len(stream)) for _ in range(chance.randrange(2, 60))]
        if read(split_at(stream, *places)) != expected:
            return f"split at {places}"
    whole: Sequence[int] = range(1, len(stream))
    if len(stream) > SHORT_BYTES:
        whole = _some(sore_places(stream), _MOST_OF_THE_WHOLE, chance)
        for window, event in windows(stream):
            expected_part = read([window])
            within = [place for place in sore_places(window) if place in event]
            for place in _some(within, _MOST_OF_AN_EVENT, chance):
                if read(split_at(window, place)) != expected_part:
                    return f"split at {place} of {window!r}"
    for place in whole:
        if read(split_at(stream, place)) != expected:
            return f"split at {place}"
    return None


def _some(places: Sequence[int], most: int, chance: random.Random) -> Sequence[int]:
    return places if len(places) <= most else chance.sample(places, most)


def call(*pieces: dict[str, Any], **fields: object) -> dict[str, Any]:
    """Make a chunk with pieces of tool calls."""
    return chunk({"tool_calls": list(pieces)}, **fields)


def piece(
    index: object = None, identity: object = None, name: object = None, arguments: object = None
) -> dict[str, Any]:
    """Make a piece of a tool call out of what is told."""
    told = {"index": index, "id": identity}
    function = {"name": name, "arguments": arguments}
    return {
        **{key: value for key, value in told.items() if value is not None},
        "function": {key: value for key, value in function.items() if value is not None},
    }

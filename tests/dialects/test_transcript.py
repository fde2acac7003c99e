"""Tests of :mod:`aiproxy.dialects.transcript`."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.transcript import KEPT_CHARACTERS, Transcript


def events(*said: Any) -> bytes:
    """Write a stream."""
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in said)


def chunk(index: int = 0, **delta: Any) -> dict[str, Any]:
    """Make a chunk of OpenAI's."""
    return {"id": "x", "choices": [{"index": index, "delta": delta, "finish_reason": None}]}


def call(index: int, **function: str) -> dict[str, Any]:
    """Make a piece of a tool call."""
    return {"index": index, "type": "function", "function": function}


CHAT = events(
    chunk(role="assistant"),
    chunk(content="Hel"),
    chunk(1, content="Hi"),
    chunk(content="lo"),
    chunk(tool_calls=[call(0, name="add", arguments='{"a"')]),
    chunk(tool_calls=[call(0, arguments=":1}")]),
    {"choices": [], "usage": {"prompt_tokens": 1}},
)


class TranscriptTests(SynchronousTestCase):
    """What a stream has said."""

    def read(self, data: bytes) -> dict[str, str]:
        """Read a stream in one piece."""
        transcript = Transcript()
        transcript.feed(data)
        return transcript.texts()

    @given(st.lists(st.integers(0, len(CHAT))))
    def test_chat(self, cuts: list[int]) -> None:
        """Deltas are joined by choice and by call, at any split."""
        transcript = Transcript()
        places = [0, *sorted(cuts), len(CHAT)]
        for start, end in pairwise(places):
            transcript.feed(CHAT[start:end])
        self.assertEqual(
            transcript.texts(),
            {
                "choices.0.delta.content": "Hello",
                "choices.1.delta.content": "Hi",
                "choices.0.delta.tool_calls.0.function.name": "add",
                "choices.0.delta.tool_calls.0.function.arguments": '{"a":1}',
            },
        )
        self.assertEqual(transcript.bytes, len(CHAT))

    def test_messages(self) -> None:
        """Anthropic's blocks are kept apart."""
        stream = events(
            {"type": "message_start", "message": {"content": [], "role": "assistant"}},
            {"type": "content_block_delta", "index": 0, "delta": {"thinking": "Hm", "type": "t"}},
            {"type": "content_block_delta", "index": 1, "delta": {"text": "Hel", "type": "t"}},
            {"type": "content_block_delta", "index": 1, "delta": {"text": "lo", "type": "t"}},
            {"type": "message_stop"},
        )
        self.assertEqual(self.read(stream), {"0.delta.thinking": "Hm", "1.delta.text": "Hello"})

    def test_responses(self) -> None:
        """Of the Responses API the deltas count, not what repeats them."""
        delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0}
        stream = events(
            delta | {"delta": "Hel"},
            delta | {"delta": "lo"},
            {"type": "response.output_text.done", "text": "Hello"},
        )
        self.assertEqual(self.read(stream), {"0.0.delta": "Hello"})

    def test_error(self) -> None:
        """An error's message is said, too."""
        error = {"error": {"message": "it broke", "type": "provider_error"}}
        self.assertEqual(self.read(events(error)), {"error.message": "it broke"})

    def test_nonsense(self) -> None:
        """What is no event is passed over."""
        self.assertEqual(self.read(b"data: {\n\ndata: [1]\n\n\x00\xff\n\ndata: [DONE]\n\n"), {})

    def test_bounds(self) -> None:
        """A long answer is cut; an event without end is given up."""
        transcript = Transcript()
        piece = events(chunk(content="x" * 100_000))
        for _ in range(5):
            transcript.feed(piece)
        [(where, text)] = transcript.texts().items()
        self.assertEqual(where, "choices.0.delta.content")
        self.assertEqual(len(where) + len(text), KEPT_CHARACTERS)
        transcript = Transcript()
        for _ in range(3):
            transcript.feed(b"x" * 2**20)
        self.assertEqual((transcript.texts(), transcript.bytes), ({}, 3 * 2**20))

    def test_odd_places(self) -> None:
        """A text may stand at a place with a long name, each at another, or deep within."""
        transcript = Transcript()
        for number in range(10):
            transcript.feed(events({f"{number:100000}": {"text": "a"}}))
        self.assertEqual(len(transcript.texts()), 2)
        deep = b'{"a":' * 1_000 + b"1" + b"}" * 1_000
        stream = b"data: " + deep + b"\n\n" + events(chunk(content="Hi"))
        self.assertEqual(self.read(stream), {"choices.0.delta.content": "Hi"})

"""Tests of :mod:`aiproxy.dialects.whole_answer`."""

from __future__ import annotations

import tracemalloc
from copy import deepcopy
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.cohere import CohereDialect
from aiproxy.dialects.dialect import StreamReader
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.whole_answer import WholeAnswerReader, unfold
from aiproxy.wire.json import dumps
from tests.dialects.streams import bytewise, fold_calls

CALLS = [
    {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}, "index": 0},
    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}, "index": 0},
]
ANSWER: dict[str, Any] = {
    "id": "c-1",
    "object": "chat.completion",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello", "reasoning_content": "why"},
            "finish_reason": "length",
            "native_finish_reason": "max",
            "logprobs": {"content": []},
        },
        {
            "index": 1,
            "message": {"role": "assistant", "content": None, "tool_calls": CALLS},
            "finish_reason": "tool_calls",
        },
    ],
    "usage": {"total_tokens": 7},
    "service_tier": "default",
}


def new_reader(limit_bytes: int = 10_000) -> WholeAnswerReader:
    """Make a reader of OpenAI's answers."""
    return WholeAnswerReader(OpenAIDialect().read_reply, limit_bytes=limit_bytes)


class UnfoldTests(SynchronousTestCase):
    """A whole answer, told as a stream."""

    def test_long_fields(self) -> None:
        """What is no part of its identity, or is long, stands in the first chunk only."""
        choice = {"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}
        long = {"id": "c-1", "x": "x", "system_fingerprint": "f" * 1_000, "service_tier": None}
        first, *others = unfold({**long, "choices": [choice] * 3})
        self.assertEqual({name: first[name] for name in long}, long)
        for chunk in others:
            self.assertEqual((chunk["id"], chunk["service_tier"]), ("c-1", None))
            self.assertFalse({"x", "system_fingerprint"} & chunk.keys())

    def test_chunks(self) -> None:
        """What is said, then the finish reasons, then the usage, in chunks of one answer."""
        before = deepcopy(ANSWER)
        first, second, end, other_end, usage = unfold(ANSWER)
        self.assertEqual(ANSWER, before)
        frame = {"id": "c-1", "object": "chat.completion.chunk", "service_tier": "default"}
        for chunk in (first, second, end, other_end, usage):
            told = {name: value for name, value in chunk.items() if name in frame}
            self.assertEqual(told, frame)
        self.assertEqual(
            first["choices"],
            [
                {
                    "index": 0,
                    "delta": {"role": "assistant", "content": "Hello", "reasoning_content": "why"},
                    "logprobs": {"content": []},
                    "finish_reason": None,
                }
            ],
        )
        self.assertEqual(
            fold_calls([second["choices"][0]["delta"]]), [CALLS[0], {**CALLS[1], "index": 1}]
        )
        self.assertEqual(
            end["choices"],
            [
                {
                    "index": 0,
                    "delta": {},
                    "finish_reason": "length",
                    "native_finish_reason": "max",
                }
            ],
        )
        self.assertEqual(
            other_end["choices"], [{"index": 1, "delta": {}, "finish_reason": "tool_calls"}]
        )
        self.assertEqual((usage["choices"], usage["usage"]), ([], {"total_tokens": 7}))

    def test_no_usage(self) -> None:
        """Where none is told, none is made."""
        for usage in ({}, {"usage": None}):
            answer = {"choices": ANSWER["choices"], **usage}
            self.assertEqual(len(unfold(answer)), 4)


class ReaderTests(SynchronousTestCase):
    """The same protocol as that of a real stream."""

    def test_whole(self) -> None:
        """Nothing before the end, everything at it, the same for any split."""
        body = dumps(ANSWER)
        for pieces in ([body], bytewise(body), [b"", body, b"\n"]):
            reader = new_reader()
            protocol: StreamReader = reader
            for piece in pieces:
                self.assertEqual(protocol.feed(piece), [])
            self.assertFalse(reader.ended or reader.said or reader.finished)
            self.assertEqual(reader.close(), unfold(ANSWER))
            self.assertTrue(reader.ended and reader.said)
            self.assertFalse(reader.tool_call_open)
            self.assertIsNone(reader.error)
            self.assertEqual(reader.usage, {"total_tokens": 7})
            self.assertEqual(reader.skipped, 0)
            self.assertEqual((reader.feed(b"x"), reader.close()), ([], []))

    def test_nothing_said(self) -> None:
        """A finish reason alone is an answer, but says nothing."""
        reader = new_reader()
        reader.feed(b'{"choices":[{"message":{},"finish_reason":"length"}]}')
        self.assertEqual(len(reader.close()), 2)
        self.assertFalse(reader.said)
        self.assertIsNone(reader.usage)

    def test_errors(self) -> None:
        """What is no answer is an error, once."""
        for body, kind in (
            (b"", errors.UpstreamFailed),
            (dumps(ANSWER)[:-1], errors.UpstreamFailed),
            (b'{"error":{"code":429}}', errors.UpstreamRateLimited),
        ):
            reader = new_reader()
            reader.feed(body)
            self.assertEqual(reader.close(), [])
            self.assertTrue(reader.ended)
            self.assertFalse(reader.said)
            error = reader.error
            self.assertIsInstance(error, kind)
            self.assertEqual(reader.close(), [])
            self.assertIs(reader.error, error)

    def test_misshapen(self) -> None:
        """So is one over which its translator stumbles."""
        reader = WholeAnswerReader(CohereDialect().read_reply, limit_bytes=1000)
        reader.feed(b'{"message": {"content": []}, "finish_reason": {}}')
        self.assertEqual(reader.close(), [])
        self.assertIsInstance(reader.error, errors.UpstreamFailed)
        self.assertIn("another shape", str(reader.error))

    def test_bound(self) -> None:
        """A body over the bound is an error at once, and is not kept."""
        body = dumps(ANSWER)
        reader = new_reader(len(body))
        reader.feed(body)
        self.assertEqual(len(reader.close()), 5)
        reader = new_reader(len(body) - 1)
        for piece in bytewise(body):
            self.assertFalse(reader.ended)
            reader.feed(piece)
        self.assertTrue(reader.ended)
        self.assertIsInstance(reader.error, errors.AnswerTooLarge)
        tracemalloc.start()
        try:
            for _ in range(1_000):
                reader.feed(body)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(peak, 50_000)
        self.assertEqual(reader.close(), [])

"""Tests of :mod:`aiproxy.gateway.delivered`: what a takeover goes on from."""

from __future__ import annotations

import tracemalloc
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.gateway.delivered import LEGACY_CALL, Delivered, join_halves, without_half


def chunk(delta: dict[str, Any], reason: str | None = None, index: int = 0) -> dict[str, Any]:
    """Make a chunk."""
    return {"choices": [{"index": index, "delta": delta, "finish_reason": reason}]}


class DeliveredTests(SynchronousTestCase):
    """Collecting chunks."""

    def test_text(self) -> None:
        """Content, thoughts and refusal are kept apart; the finish is noted."""
        delivered = Delivered()
        for delta in (
            {"role": "assistant", "content": ""},
            {"reasoning_content": "Hm", "reasoning": "Hm"},
            {"reasoning": "m."},
            {"content": "One "},
            {"content": "two", "refusal": None},
            {"refusal": "No."},
        ):
            delivered.take(chunk(delta))
        choice = delivered.choices[0]
        self.assertEqual(choice.content, "One two")
        self.assertEqual(choice.reasoning, "Hmm.")
        self.assertEqual(choice.refusal, "No.")
        self.assertFalse(choice.finished)
        delivered.take(chunk({}, "stop"))
        self.assertTrue(choice.finished)
        self.assertIsNone(delivered.obstacle)

    def test_empty_texts(self) -> None:
        """Nothing is kept of empty texts, of which there may be any number."""
        delivered = Delivered()
        call = {"index": 0, "function": {"arguments": ""}}
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(20_000):
            delivered.take(chunk({"content": ""}))
            delivered.take(chunk({"tool_calls": [call]}))
        self.assertLess(tracemalloc.get_traced_memory()[0], 20_000)

    def test_says(self) -> None:
        """What a chunk says is told, each thing once."""
        delivered = Delivered()
        call = {"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}
        said = delivered.take(
            chunk(
                {"content": "a", "reasoning": "b", "reasoning_content": "b", "tool_calls": [call]}
            )
        )
        self.assertEqual(sorted(said), sorted("abf{}"))
        self.assertEqual(delivered.take(chunk({"role": "assistant"})), "")

    def test_calls(self) -> None:
        """Calls are kept by index, with id, name and arguments so far."""
        delivered = Delivered()
        pieces: list[dict[str, Any]] = [
            {"index": 0, "id": "c0", "function": {"name": "f", "arguments": '{"a'}},
            {"index": 0, "function": {"arguments": '": 1'}},
            {"index": 1, "id": "c1", "custom": {"name": "g", "input": "free"}},
            {"index": 1, "custom": {"input": " text"}},
        ]
        for piece in pieces:
            delivered.take(chunk({"tool_calls": [piece]}))
        delivered.take(chunk({"function_call": {"name": "old", "arguments": "{}"}}))
        calls = delivered.choices[0].calls
        self.assertEqual(
            {
                index: (call.id, call.name, call.kind, call.arguments)
                for index, call in calls.items()
            },
            {
                0: ("c0", "f", "function", '{"a": 1'),
                1: ("c1", "g", "custom", "free text"),
                LEGACY_CALL: ("", "old", "function", "{}"),
            },
        )

    def test_bound(self) -> None:
        """Beyond the bound nothing is kept, and it says so."""
        delivered = Delivered(limit_bytes=6)
        delivered.take(chunk({"content": "äöü"}))
        self.assertFalse(delivered.overflowed)
        delivered.take(chunk({"content": "s"}))
        self.assertTrue(delivered.overflowed)
        self.assertEqual(delivered.choices, {})
        self.assertEqual(delivered.take(chunk({"content": "more"})), "")
        self.assertEqual(delivered.choices, {})
        self.assertIn("too long", str(delivered.obstacle))

    def test_obstacles(self) -> None:
        """Nothing, several choices, and sound cannot be gone on with."""
        delivered = Delivered()
        self.assertIn("nothing", str(delivered.obstacle))
        delivered.take(chunk({"audio": {"data": "AAAA"}}))
        self.assertIn("audio", str(delivered.obstacle))
        delivered.take(chunk({"content": "b"}, index=1))
        self.assertIn("several choices", str(delivered.obstacle))

    def test_halves(self) -> None:
        """The halves of an emoji that came in two deltas are one again."""
        delivered = Delivered()
        delivered.take(chunk({"content": "a\ud83c"}))
        self.assertEqual(delivered.choices[0].content, "a\ud83c")
        self.assertEqual(without_half(delivered.choices[0].content), "a")
        delivered.take(chunk({"content": "\udf89b"}))
        self.assertEqual(delivered.choices[0].content, "a🎉b")
        self.assertEqual(join_halves("\udf89\ud83c"), "\udf89\ud83c")

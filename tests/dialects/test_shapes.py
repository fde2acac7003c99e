"""Tests of :mod:`aiproxy.dialects.shapes`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.shapes import says_something


class SaysSomethingTests(SynchronousTestCase):
    """What counts as a word of the model's."""

    def test_something(self) -> None:
        """Content in each form, reasoning, refusals, calls, audio, pictures."""
        deltas: list[dict[str, Any]] = [
            {"content": " "},
            {"content": [{"type": "text", "text": "x"}]},
            {"content": {"answer": 1}},
            {"reasoning": "x"},
            {"reasoning_details": [{}]},
            {"refusal": "x"},
            {"tool_calls": [{}]},
            {"function_call": {"name": "f"}},
            {"audio": {"id": "a"}},
            {"role": "assistant", "content": "", "annotations": [{}]},
        ]
        for delta in deltas:
            self.assertTrue(says_something(delta), delta)

    def test_nothing(self) -> None:
        """A role, empty fields, bare numbers, who speaks."""
        deltas: list[dict[str, Any]] = [
            {},
            {"role": "assistant"},
            {"content": "", "refusal": None, "tool_calls": []},
            {"token_id": 7, "index": 1, "done": True},
            {"name": "assistant", "channel": "analysis"},
        ]
        for delta in deltas:
            self.assertFalse(says_something(delta), delta)

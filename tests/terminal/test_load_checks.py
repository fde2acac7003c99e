"""Tests of :mod:`aiproxy.terminal.load_checks`."""

from __future__ import annotations

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import AnswerTooLarge, StreamCut
from aiproxy.terminal.load_checks import Failed, StreamCheck, WholeCheck, read_reason
from tests.terminal.memory_client import DONE, write_delta


def judge_stream(*pieces: bytes) -> Failed | None:
    """Judge a stream."""
    check = StreamCheck()
    for now, piece in enumerate(pieces):
        check.feed(piece, float(now))
    return check.judge()


def judge_whole(body: bytes, status: int = 200) -> Failed | None:
    """Judge a whole answer."""
    check = WholeCheck(status)
    check.feed(body, 0.0)
    return check.judge()


def write_message(**message: object) -> bytes:
    """Write a whole answer."""
    return json.dumps({"choices": [{"message": message}]}).encode()


class StreamTests(SynchronousTestCase):
    """Answers in events."""

    def test_good(self) -> None:
        """A stream with a token and its end is good."""
        self.assertIsNone(judge_stream(write_delta("a"), DONE))

    def test_last_line_without_an_end(self) -> None:
        """``[DONE]`` counts without the blank line that should follow."""
        self.assertIsNone(judge_stream(write_delta("a"), b"data: [DONE]"))

    def test_tokens_of_all_kinds(self) -> None:
        """Reasoning and tool calls are tokens too; a role, and an empty text, are none."""
        for delta in ({"reasoning_content": "a"}, {"tool_calls": [{"index": 0}]}):
            event = b"data: " + json.dumps({"choices": [{"delta": delta}]}).encode() + b"\n\n"
            self.assertIsNone(judge_stream(event, DONE))
        role = b'data: {"choices": [{"delta": {"role": "assistant", "content": ""}}]}\n\n'
        self.assertEqual(self._kind(role, DONE), "200 empty")

    def test_no_done(self) -> None:
        """A stream without its end has failed."""
        self.assertEqual(self._kind(write_delta("a")), "200 no_done")

    def test_nothing(self) -> None:
        """A body without an event is no stream."""
        self.assertEqual(self._kind(), "200 no_event")
        self.assertEqual(self._kind(b'{"choices": []}'), "200 no_event")

    def test_error_inside(self) -> None:
        """An error in a stream counts by its code, whatever comes after."""
        error = b'data: {"error": {"message": "too much", "code": "overloaded"}}\n\n'
        self.assertEqual(
            judge_stream(write_delta("a"), error, error.replace(b"over", b"un"), DONE),
            Failed("200 overloaded", "too much"),
        )

    def test_not_json(self) -> None:
        """An event that is not JSON is a failure."""
        self.assertEqual(self._kind(write_delta("a"), b"data: {\n\n", DONE), "200 not_json")

    def test_odd_json(self) -> None:
        """JSON of another shape than a chunk's is no token."""
        for odd in (b"3", b"[]", b'{"choices": 3}', b'{"choices": [3]}', b'{"usage": []}'):
            self.assertEqual(self._kind(b"data: " + odd + b"\n\n", DONE), "200 empty")

    def test_too_long(self) -> None:
        """An event without an end is not kept without one."""
        check = StreamCheck()
        with self.assertRaises(AnswerTooLarge):
            for _ in range(17):
                check.feed(b"data: " + b"a" * 2**20, 0.0)

    def test_gap(self) -> None:
        """A comment is no event, nor is half of one: a gap reaches over them."""
        check = StreamCheck()
        check.feed(write_delta("a"), 1.0)
        self.assertIsNone(check.gap)
        check.feed(b": still here\n\n", 2.0)
        whole = write_delta("b")
        check.feed(whole[:9], 3.0)
        check.feed(whole[9:], 4.0)
        check.feed(DONE, 5.0)
        self.assertEqual((check.first, check.gap), (1.0, 3.0))

    @given(st.lists(st.integers(0, 200), max_size=5))
    def test_any_split(self, cuts: list[int]) -> None:
        """How a stream is cut into packets says nothing of whether it is good."""
        stream = write_delta("a") + write_delta("b", usage={"completion_tokens": 2}) + DONE
        edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
        check = StreamCheck()
        for begin, end in pairwise(edges):
            check.feed(stream[begin:end], 0.0)
        self.assertIsNone(check.judge())
        self.assertEqual(check.tokens, 2)

    def _kind(self, *pieces: bytes) -> str:
        failed = judge_stream(*pieces)
        assert failed is not None
        return failed.kind


class WholeTests(SynchronousTestCase):
    """Answers in one piece."""

    def test_good(self) -> None:
        """An answer with a message is good, and tells its tokens."""
        check = WholeCheck(200)
        for piece in (b'{"usage": {"completion_tokens": 5},', write_message(content="a")[1:]):
            check.feed(piece, 0.0)
        self.assertIsNone(check.judge())
        self.assertEqual((check.tokens, check.first, check.gap), (5, None, None))

    def test_bad(self) -> None:
        """A 200 that is no answer has failed."""
        for body, kind in (
            (write_message(content=""), "200 empty"),
            (b"{}", "200 empty"),
            (b"<html>", "200 not_json"),
            (b'{"error": {"message": "no", "code": 503}}', "200 503"),
        ):
            failed = judge_whole(body)
            assert failed is not None
            self.assertEqual(failed.kind, kind)

    def test_error(self) -> None:
        """An error's kind is its status and its code, the code where it says more."""
        for body, failed in (
            (b'{"error": {"message": "m", "code": "c"}}', Failed("429 c", "m")),
            (b'{"error": {"message": "m", "code": 429}}', Failed("429", "m")),
            (b'{"error": {"message": "m"}}', Failed("429", "m")),
            (b"", Failed("429", "the answer is an error")),
        ):
            self.assertEqual(judge_whole(body, 429), failed)

    def test_words_for_a_terminal(self) -> None:
        """What a server says cannot steer the terminal, nor fill it."""
        error = {"message": "a\x1b[2J\nb " + "c" * 1000, "code": "d\x1b[2J"}
        failed = judge_whole(json.dumps({"error": error}).encode(), 400)
        assert failed is not None
        self.assertEqual(failed.kind, "400")  # A code with such in it is none.
        self.assertEqual(failed.words, "a[2J b " + "c" * 293)

    def test_too_long(self) -> None:
        """An answer without an end is not kept without one."""
        check = WholeCheck(200)
        with self.assertRaises(AnswerTooLarge):
            for _ in range(17):
                check.feed(b"a" * 2**20, 0.0)


class ReasonTests(SynchronousTestCase):
    """Requests without an answer."""

    def test_ours(self) -> None:
        """An error of the client's is told by its code, with the status if there was one."""
        self.assertEqual(read_reason(0, StreamCut("cut")), Failed("stream_cut", "cut"))
        self.assertEqual(read_reason(200, StreamCut("cut")), Failed("200 stream_cut", "cut"))

    def test_other(self) -> None:
        """Whatever else is a mistake in here, and is shown as one."""
        self.assertEqual(read_reason(0, KeyError("a")), Failed("internal_error", "KeyError('a')"))

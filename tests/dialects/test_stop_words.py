"""Tests of :mod:`aiproxy.dialects.stop_words`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.shapes import ChatChunk, says_something
from aiproxy.dialects.stop_words import StopReader, cut_answer, stops_of
from tests.dialects.streams import bytewise, chunk, fold_calls, new_reader, split_at, write_events

USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}

#: Letters that often make stop sequences, and beginnings of them.
TEXTS = st.text("ab#", max_size=24)
STOPS = st.lists(st.text("ab#", min_size=1, max_size=4), min_size=1, max_size=4)


def call(arguments: str = "{}", name: str | None = "f") -> dict[str, Any]:
    """Make a piece of a tool call: the first, or without a name a later one."""
    function = {"arguments": arguments}
    if name is None:
        return {"index": 0, "function": function}
    return {"index": 0, "id": "k", "type": "function", "function": {"name": name, **function}}


def new_answer(**message: object) -> dict[str, Any]:
    """Make a whole answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "one. two", **message},
        "finish_reason": "length",
        "native_finish_reason": "max",
    }
    return {"choices": [choice], "usage": USAGE}


class Prepared(OpenAIStreamReader):
    """
    A reader of another kind, which gives finish reasons beside the text.

    :param chunks: what it gives.
    """

    def __init__(self, chunks: list[ChatChunk]) -> None:
        super().__init__(choices=1, max_event_bytes=1)
        self._chunks = chunks

    def feed(self, data: bytes) -> list[ChatChunk]:
        """Give all there is."""
        self.ended = True
        return self._chunks


class Run:
    """All that a reader made of a stream's pieces."""

    def __init__(
        self, pieces: Iterable[bytes], stops: Sequence[str], *, choices: int = 1, close: bool = True
    ) -> None:
        self.reader = StopReader(new_reader(choices=choices), stops, choices=choices)
        self.chunks: list[dict[str, Any]] = []
        for piece in pieces:
            self.chunks += self.reader.feed(piece)
        if close:
            self.chunks += self.reader.close()

    def told(self, index: int = 0) -> list[dict[str, Any]]:
        """Give what was told of one choice."""
        return [
            choice
            for chunk in self.chunks
            for choice in chunk["choices"]
            if choice["index"] == index
        ]

    def deltas(self, index: int = 0) -> list[dict[str, Any]]:
        """Give its deltas."""
        return [choice["delta"] for choice in self.told(index)]

    def text(self, name: str = "content", index: int = 0) -> str:
        """Give all that its deltas say in one field."""
        return "".join(delta.get(name) or "" for delta in self.deltas(index))

    def reasons(self, index: int = 0) -> list[str]:
        """Give its finish reasons."""
        return [choice["finish_reason"] for choice in self.told(index) if choice["finish_reason"]]


def cut_one_by_one(text: str, stops: Sequence[str]) -> str:
    """Cut a text as a server does that looks after each character."""
    for end in range(1, len(text) + 1):
        met = [stop for stop in stops if text[:end].endswith(stop)]
        if met:
            return text[: end - max(map(len, met))]
    return text


class StopsTests(SynchronousTestCase):
    """What of a request is a stop sequence."""

    def test_forms(self) -> None:
        """A text, a list of them, or none."""
        self.assertEqual(stops_of({"stop": "a"}), ("a",))
        self.assertEqual(stops_of({"stop": ["b", "a", "b"]}), ("b", "a"))
        self.assertEqual(stops_of({"stop": None}), ())
        self.assertEqual(stops_of({}), ())

    def test_blank(self) -> None:
        """What is empty or no text ends nothing; a line end does."""
        self.assertEqual(stops_of({"stop": ""}), ())
        self.assertEqual(stops_of({"stop": ["", 7, None, "\n"]}), ("\n",))

    def test_too_many(self) -> None:
        """Each piece of an answer is looked through for all of them: so they are bounded."""
        many = [f"{number:128}" for number in range(33)]
        self.assertEqual(len(stops_of({"stop": many[1:]})), 32)
        for stop in (many, "x" * 4_097, [*many[2:], "x" * 129]):
            error = self.assertRaises(errors.InvalidRequest, stops_of, {"stop": stop})
            self.assertEqual(error.param, "stop")


class AnswerTests(SynchronousTestCase):
    """Whole answers."""

    def test_cut(self) -> None:
        """The text ends before the sequence, and its finish reason is ``stop``."""
        answer = new_answer(reasoning_content="a. b", tool_calls=[call()])
        cut_answer(answer, ["."])
        message = {"role": "assistant", "content": "one", "reasoning_content": "a. b"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.assertEqual(answer, {"choices": [choice], "usage": USAGE})

    def test_not_cut(self) -> None:
        """Without a sequence in its text the answer stays as it is."""
        for content in ("one, two", "", None, [{"type": "text", "text": "."}]):
            answer = new_answer(content=content, reasoning_content=".", tool_calls=[call()])
            before = deepcopy(answer)
            cut_answer(answer, ["."])
            self.assertEqual(answer, before)

    def test_each_choice(self) -> None:
        """Each choice is cut at its own place."""
        answer = new_answer()
        answer["choices"].append({"message": {"content": "t."}, "finish_reason": "length"})
        cut_answer(answer, ["two", "."])
        texts = [choice["message"]["content"] for choice in answer["choices"]]
        self.assertEqual(texts, ["one", "t"])

    @given(TEXTS, STOPS)
    @example("abab#", ["abab", "ba"])
    @example("ab", ["b", "ab"])
    def test_first(self, text: str, stops: list[str]) -> None:
        """The sequence that is complete first counts, of two the longer one."""
        answer = new_answer(content=text)
        cut_answer(answer, stops)
        self.assertEqual(answer["choices"][0]["message"]["content"], cut_one_by_one(text, stops))


class StreamTests(SynchronousTestCase):
    """Streams."""

    @given(st.lists(st.text("ab#", max_size=6), max_size=8), STOPS, st.booleans())
    @example(["a#", "#b"], ["##"], True)
    @example(["a#", "b"], ["##"], True)
    @example(["a#"], ["##"], False)
    def test_any_pieces(self, pieces: list[str], stops: list[str], apart: bool) -> None:
        """Whatever pieces a text comes in, the caller gets the same, and one finish reason."""
        text = "".join(pieces)
        expected = cut_one_by_one(text, stops)
        deltas: list[dict[str, str]] = [{"content": piece} for piece in pieces]
        events = [*map(chunk, deltas), chunk({}, "length")]
        if not apart and deltas:
            events = [*map(chunk, deltas[:-1]), chunk(deltas[-1], "length")]
        run = Run([write_events(*events, "[DONE]")], stops)
        self.assertEqual(run.text(), expected)
        self.assertEqual(run.reasons(), ["stop" if expected != text else "length"])
        self.assertTrue(run.told()[-1]["finish_reason"])
        self.assertEqual([delta.get("role") for delta in run.deltas()][:1], ["assistant"])
        self.assertEqual(run.reader.said, any(map(says_something, run.deltas())))
        self.assertIsNone(run.reader.error)

    @given(st.lists(st.text("ab#", min_size=1, max_size=3), max_size=8), STOPS)
    def test_promptness(self, pieces: list[str], stops: list[str]) -> None:
        """No more is held back at any time than what may be the beginning of a sequence."""
        reader = StopReader(new_reader(), stops)
        come = told = ""
        for piece in pieces:
            come += piece
            for out in reader.feed(write_events(chunk({"content": piece}))):
                told += out["choices"][0]["delta"].get("content", "")
            if reader.finished:
                self.assertEqual(told, cut_one_by_one(come, stops))
                break
            held = come[len(told) :]
            self.assertTrue(come.startswith(told))
            self.assertTrue(not held or any(stop.startswith(held) for stop in stops))
            self.assertNotIn(held, stops)

    def test_every_split(self) -> None:
        """No split of the bytes changes anything."""
        stream = write_events(
            chunk({"content": "é#", "reasoning_content": "##"}),
            chunk({"content": "x#"}),
            chunk({"content": "#y"}),
            chunk({}, "length"),
            {"id": "c-1", "choices": [], "usage": USAGE},
            "[DONE]",
        )
        expected = Run([stream], ["##"]).chunks
        self.assertEqual(Run([stream], ["##"]).text(), "é#x")
        self.assertEqual(Run(bytewise(stream), ["##"]).chunks, expected)
        for place in range(1, len(stream)):
            self.assertEqual(Run(split_at(stream, place), ["##"]).chunks, expected, place)

    def test_after_the_cut(self) -> None:
        """Nothing more of a choice is told, but the usage is."""
        stream = write_events(
            chunk({"content": "one. two"}),
            chunk({"reasoning_content": "hm", "content": " three"}),
            chunk({"tool_calls": [call()]}),
            chunk({}, "tool_calls", native="x"),
            {"choices": [], "usage": USAGE},
            "[DONE]",
        )
        run = Run([stream], ["."])
        self.assertEqual(run.deltas(), [{"role": "assistant", "content": "one"}, {}])
        self.assertEqual(run.reasons(), ["stop"])
        self.assertEqual(run.chunks[-1]["choices"], [])
        self.assertEqual(run.chunks[-1]["usage"], USAGE)
        self.assertEqual(run.reader.usage, USAGE)
        self.assertTrue(run.reader.ended)

    def test_cut_beside_a_call(self) -> None:
        """A call that begins in the delta that is cut is not told."""
        stream = write_events(
            chunk({"content": "one.", "tool_calls": [call("{")]}),
            chunk({"tool_calls": [call("}", None)]}),
        )
        run = Run([stream], ["."], close=False)
        self.assertFalse(run.reader.tool_call_open)
        run.chunks += run.reader.feed(write_events(chunk({}, "tool_calls"), "[DONE]"))
        self.assertEqual(fold_calls(run.deltas()), [])
        self.assertEqual(run.reasons(), ["stop"])

    def test_known_call(self) -> None:
        """A call that the caller knows of becomes whole, although the text is cut."""
        stream = write_events(
            chunk({"tool_calls": [call("{")]}),
            chunk({"content": "one. two"}),
            chunk({"content": " three"}),
            chunk({"tool_calls": [call("}", None)]}),
        )
        reader = StopReader(new_reader(), ["."])
        chunks = reader.feed(stream)
        self.assertTrue(reader.tool_call_open)
        self.assertFalse(reader.finished)
        chunks += reader.feed(write_events(chunk({}, "tool_calls"), "[DONE]"))
        deltas = [choice["delta"] for told in chunks for choice in told["choices"]]
        self.assertEqual(fold_calls(deltas), [call()])
        self.assertEqual("".join(delta.get("content") or "" for delta in deltas), "one")
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "tool_calls")

    def test_calls_without_text(self) -> None:
        """Calls without a cut stay as they are."""
        stream = write_events(
            chunk({"content": "one"}), chunk({"tool_calls": [call()]}), chunk({}, "tool_calls")
        )
        plain = new_reader()
        expected = [*plain.feed(stream), *plain.close()]
        self.assertEqual(Run([stream], ["."]).chunks, expected)

    def test_each_choice(self) -> None:
        """Each choice has its own text, and the answer goes on until all are cut."""
        stream = write_events(
            chunk({"content": "a#"}, index=0),
            chunk({"content": "#b#"}, index=1),
            chunk({"content": "#c"}, index=0),
        )
        run = Run([stream], ["##"], choices=2, close=False)
        self.assertEqual([run.text(index=0), run.text(index=1)], ["a", "#b"])
        self.assertFalse(run.reader.finished)
        run.chunks += run.reader.feed(write_events(chunk({"content": "#"}, index=1)))
        self.assertTrue(run.reader.finished)
        run.chunks += run.reader.close()
        self.assertEqual(run.text(index=1), "#b")
        self.assertEqual([run.reasons(0), run.reasons(1)], [["stop"], ["stop"]])

    def test_without_stops(self) -> None:
        """Without a stop sequence all passes as it is."""
        stream = write_events(chunk({"content": "a"}), chunk({"content": ""}), chunk({}, "stop"))
        plain = new_reader()
        expected = [*plain.feed(stream), *plain.close()]
        self.assertEqual(Run([stream], []).chunks, expected)

    def test_finish_beside_the_text(self) -> None:
        """The finish reason is told last and alone, also where it came with some text."""
        for text, told, reason in (("b#", "ab#", "length"), ("b##c", "ab", "stop")):
            reader = StopReader(
                Prepared([chunk({"content": "a"}), chunk({"content": text}, "length")]), ["##"]
            )
            chunks = reader.feed(b"")
            deltas = [each["choices"][0]["delta"] for each in chunks]
            self.assertEqual("".join(delta.get("content", "") for delta in deltas), told)
            self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], reason)
            self.assertEqual(deltas[-1], {})


class EndTests(SynchronousTestCase):
    """Ends that are none of the upstream's."""

    def test_left_after_the_cut(self) -> None:
        """Whoever does not wait for the upstream's end has a whole answer, with what it told."""
        told = {**chunk({"content": "one. two"}), "usage": USAGE}
        run = Run([write_events(told)], ["."], close=False)
        self.assertTrue(run.reader.finished)
        self.assertFalse(run.reader.ended)
        self.assertEqual(run.reasons(), [])
        run.chunks += run.reader.close()
        self.assertTrue(run.reader.ended)
        self.assertIsNone(run.reader.error)
        self.assertEqual(run.reasons(), ["stop"])
        self.assertEqual([told["id"] for told in run.chunks], ["c-1"] * 3)
        self.assertEqual(run.chunks[-1]["usage"], USAGE)
        self.assertEqual(run.reader.close() + run.reader.feed(b"data: {}\n\n"), [])

    def test_error_after_the_cut(self) -> None:
        """An error after all that counts is none."""
        stream = write_events(chunk({"content": "one. two"}), {"error": {"message": "no"}})
        run = Run([stream], ["."], close=False)
        self.assertTrue(run.reader.ended)
        self.assertIsNone(run.reader.error)
        self.assertEqual(run.reasons(), ["stop"])

    def test_error_before_it(self) -> None:
        """An error before the answer is whole stays one; what is held back is not told."""
        stream = write_events(chunk({"content": "one#"}), {"error": {"message": "no"}})
        run = Run([stream], ["##"])
        self.assertIsInstance(run.reader.error, errors.UpstreamFailed)
        self.assertEqual((run.text(), run.reasons()), ("one", []))

    def test_other_choice_fails(self) -> None:
        """An error counts as long as one choice is not cut, be it not begun."""
        stream = write_events(chunk({"content": "one."}, index=0))
        run = Run([stream], ["."], choices=2)
        self.assertIsInstance(run.reader.error, errors.StreamCut)
        self.assertEqual(run.reasons(), [])

    def test_skipped(self) -> None:
        """Events that were passed over are counted."""
        stream = write_events(chunk({"content": "a"}), "{", chunk({}, "stop"))
        self.assertEqual(Run([stream], ["."]).reader.skipped, 1)

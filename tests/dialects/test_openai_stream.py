"""Tests of :mod:`aiproxy.dialects.openai_stream`."""

from __future__ import annotations

import tracemalloc
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.openai_repairs import FINISH_REASONS
from aiproxy.wire.json import dumps
from tests.dialects.streams import (
    Outcome,
    bytewise,
    call,
    chunk,
    new_reader,
    piece,
    split_at,
    write_events,
)

DONE = "[DONE]"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


class EndTests(SynchronousTestCase):
    """Which ends are real."""

    def test_whole(self) -> None:
        """Role first, content as it comes, the finish reason last, the usage after it."""
        stream = write_events(
            chunk({"role": "assistant", "content": ""}),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, "stop"),
            {"id": "c-1", "choices": [], "usage": USAGE},
            DONE,
        )
        outcome = Outcome([stream])
        self.assertEqual(
            outcome.chunks,
            [
                chunk({"role": "assistant", "content": ""}),
                chunk({"content": "Hel"}),
                chunk({"content": "lo"}),
                chunk({}, "stop"),
                {"id": "c-1", "choices": [], "usage": USAGE},
            ],
        )
        self.assertIsNone(outcome.error)
        self.assertEqual(outcome.usage, USAGE)

    def test_at_once(self) -> None:
        """A chunk is given with its last byte; what is held comes with the end."""
        reader = new_reader()
        for document, expected in (
            (chunk({"content": "a"}), 1),
            (chunk({}, "stop"), 0),
            ({"choices": [], "usage": USAGE}, 0),
            (DONE, 2),
        ):
            self.assertEqual(len(reader.feed(write_events(document))), expected)
        self.assertTrue(reader.ended)

    def test_ends(self) -> None:
        """A finish reason or ``[DONE]`` is an end; anything else is a cut, or nothing at all."""
        said = chunk({"content": "a"})
        for stream, error in (
            (write_events(said, chunk({}, "stop")), None),
            (write_events(said, chunk({}, "stop"), DONE), None),
            (write_events(said, chunk({}, "stop"))[:-2], None),
            (write_events(said, DONE), None),
            (write_events(said, "[DONE] "), None),
            (write_events(said, DONE)[:-2], None),
            (write_events(chunk({"content": "a"}, "stop")), None),
            (write_events(chunk({}, "stop")), None),
            (write_events(chunk({}, "length"), DONE), None),
            (write_events(said), errors.StreamCut),
            (write_events(said, chunk({"content": "b"}))[:-20], errors.StreamCut),
            (b"", errors.UpstreamFailed),
            (b": PING\n\n", errors.UpstreamFailed),
            (write_events(DONE), errors.UpstreamFailed),
            (write_events(chunk({"role": "assistant", "content": ""})), errors.UpstreamFailed),
            (write_events(chunk({"role": "assistant"}), DONE), errors.UpstreamFailed),
            (write_events({"choices": [], "usage": USAGE}, DONE), errors.UpstreamFailed),
        ):
            outcome = Outcome([stream])
            self.assertTrue(outcome.ended)
            kind = None if outcome.error is None else type(outcome.error)
            self.assertEqual(kind, error, stream)
            reasons = outcome.reasons()
            self.assertEqual(len(reasons), 0 if error else 1, stream)

    def test_nothing_counts_after_the_end(self) -> None:
        """Neither after ``[DONE]`` nor after an error, in the same piece or later."""
        said = chunk({"content": "a"})
        for end, error in ((DONE, False), ({"error": {"code": 500}}, True)):
            reader = new_reader()
            chunks = reader.feed(write_events(said, end, said, "{garbage", end))
            self.assertEqual(chunks[0]["choices"][0]["delta"]["content"], "a")
            self.assertEqual(len(chunks), 1 if error else 2)
            self.assertTrue(reader.ended)
            self.assertEqual(reader.error is not None, error)
            self.assertEqual(reader.feed(write_events(said)), [])
            self.assertEqual(reader.close(), [])
            self.assertEqual(reader.skipped, 0)

    def test_finished(self) -> None:
        """Only when every choice that was asked for has its finish reason."""
        reader = new_reader(choices=2)
        self.assertFalse(reader.finished)
        reader.feed(write_events(chunk({"content": "a"}, "stop")))
        self.assertFalse(reader.finished)
        reader.feed(write_events(chunk({"content": "a"}, "stop", index=1)))
        self.assertTrue(reader.finished)
        self.assertFalse(reader.ended)
        self.assertEqual(len(reader.close()), 2)

    def test_said(self) -> None:
        """Content, reasoning, a refusal or a call; no role, no empty delta, no finish reason."""
        for delta, said in (
            ({"role": "assistant"}, False),
            ({"role": "assistant", "content": "", "refusal": None}, False),
            ({"content": None, "tool_calls": []}, False),
            ({"content": "a"}, True),
            ({"content": [{"type": "text", "text": "a"}]}, True),
            ({"reasoning": "a"}, True),
            ({"reasoning_content": "a"}, True),
            ({"refusal": "a"}, True),
            ({"tool_calls": [piece(0, "a", "f", "")]}, True),
            ({"tool_calls": [piece(0, "a", "", "")]}, False),
            ({"function_call": {"name": "f", "arguments": ""}}, True),
        ):
            reader = new_reader()
            reader.feed(write_events(chunk(delta)))
            self.assertEqual(reader.said, said, delta)
        reader.feed(write_events(chunk({}, "stop")))


class ShapeTests(SynchronousTestCase):
    """What is put right, and what is left alone."""

    def deltas(self, *documents: object, index: int = 0) -> list[dict[str, Any]]:
        """Give the deltas of a stream that is whole."""
        outcome = Outcome([write_events(*documents, DONE)])
        self.assertIsNone(outcome.error)
        return outcome.deltas(index)

    def test_role(self) -> None:
        """Told once, first, whether the upstream tells it always, never, late or empty."""
        for roles in (["assistant"] * 3, [None] * 3, ["absent"] * 3, ["absent", "assistant", ""]):
            documents = [
                chunk({"content": text, **({} if role == "absent" else {"role": role})})
                for text, role in zip("abc", roles, strict=True)
            ]
            expected = [{"role": "assistant", "content": "a"}, {"content": "b"}, {"content": "c"}]
            self.assertEqual(self.deltas(*documents), [*expected, {}])

    def test_finish_reasons(self) -> None:
        """One, last, of OpenAI's words; the upstream's own stays beside it."""
        table: list[tuple[object, bool, str, object]] = [
            ("stop", False, "stop", None),
            ("length", False, "length", None),
            ("eos", False, "stop", "eos"),
            ("eos_token", True, "tool_calls", "eos_token"),
            ("stop", True, "tool_calls", "stop"),
            ("tool_calls", True, "tool_calls", None),
            ("MAX_TOKENS", False, "length", "MAX_TOKENS"),
            (["odd"], False, "stop", ["odd"]),
        ]
        for told, called, expected, native in table:
            said = call(piece(0, "a", "f", "{}")) if called else chunk({"content": "a"})
            (*_, last) = Outcome([write_events(said, chunk({}, told))]).chunks
            (choice,) = last["choices"]
            self.assertEqual(choice["finish_reason"], expected)
            self.assertEqual(choice.get("native_finish_reason"), native)

    def test_finish_beside_content(self) -> None:
        """Content beside a finish reason goes out at once, the reason with the end."""
        first = chunk({"content": "a"}, "stop", x="y")
        first["choices"][0] |= {"native_finish_reason": "END", "seed": 7}
        outcome = Outcome([write_events(first)])
        said, finish = outcome.chunks
        self.assertEqual(said["choices"][0]["delta"], {"role": "assistant", "content": "a"})
        self.assertEqual(said["choices"][0]["seed"], 7)
        self.assertEqual(said["x"], "y")
        self.assertEqual(
            finish,
            {
                "id": "c-1",
                "object": "chat.completion.chunk",
                "choices": [
                    {
                        "index": 0,
                        "delta": {},
                        "finish_reason": "stop",
                        "native_finish_reason": "END",
                    }
                ],
            },
        )

    def test_finish_repeated(self) -> None:
        """One is told, the most telling; what stood beside each of them survives."""
        for reasons, expected in (
            (["stop", "stop"], "stop"),
            (["length", "stop"], "length"),
            (["stop", "length"], "length"),
            (["length", "stop", "stop"], "length"),
        ):
            finishes = []
            for number, reason in enumerate(reasons):
                finish = chunk({}, reason, x=number)
                finish["choices"][0] |= {"y": number, "native_finish_reason": f"n-{reason}"}
                finishes.append(finish)
            outcome = Outcome([write_events(chunk({"content": "a"}), *finishes)])
            self.assertEqual(outcome.reasons(), [expected])
            self.assertEqual(outcome.chunks[-1]["choices"][0]["finish_reason"], expected)
            self.assertEqual(
                outcome.chunks[-1]["choices"][0]["native_finish_reason"], f"n-{expected}"
            )
            numbers = list(range(len(reasons)))
            self.assertEqual([x["x"] for x in outcome.chunks if "x" in x], numbers)
            self.assertEqual([x["choices"][0].get("y") for x in outcome.chunks[1:]], numbers)

    def test_content_after_finish(self) -> None:
        """What comes after a finish reason goes out before it (OpenRouter)."""
        outcome = Outcome(
            [
                write_events(
                    chunk({"reasoning": "a"}, "length"), chunk({"reasoning": "b"}, "length"), DONE
                )
            ]
        )
        self.assertEqual(outcome.text("reasoning"), "ab")
        self.assertEqual(outcome.reasons(), ["length"])
        self.assertEqual(outcome.chunks[-1]["choices"][0]["finish_reason"], "length")

    def test_late_call(self) -> None:
        """A call after its choice's finish reason still counts for it."""
        outcome = Outcome([write_events(chunk({}, "stop"), call(piece(0, "a", "f", "{}")), DONE)])
        self.assertEqual(outcome.reasons(), ["tool_calls"])

    def test_done_without_finish(self) -> None:
        """``[DONE]`` alone ends with the finish reason that fits."""
        for delta, reason in (
            ({"content": "a"}, "stop"),
            ({"tool_calls": [piece(0, "a", "f", "{}")]}, "tool_calls"),
            ({"function_call": {"name": "f", "arguments": "{}"}}, "function_call"),
        ):
            outcome = Outcome([write_events(chunk(delta), DONE)])
            self.assertEqual(outcome.reasons(), [reason])
            self.assertIn(reason, FINISH_REASONS)

    def test_missing_fields(self) -> None:
        """Index, delta and finish reason are filled in; a message in place of a delta is one."""
        for choice in (
            {"delta": {"content": "a"}},
            {"index": None, "delta": {"content": "a"}},
            {"index": "0", "delta": {"content": "a"}, "finish_reason": ""},
            {"index": True, "delta": {"content": "a"}},
            {"message": {"role": "assistant", "content": "a"}},
        ):
            outcome = Outcome([write_events({"choices": [choice]}, {"choices": [{}]}, DONE)])
            self.assertEqual(
                outcome.chunks[0],
                {
                    "choices": [
                        {
                            "index": 0,
                            "delta": {"role": "assistant", "content": "a"},
                            "finish_reason": None,
                        }
                    ]
                },
            )

    def test_unknown_fields(self) -> None:
        """Whatever a chunk, a choice or a delta holds beside the known comes through."""
        first = chunk(
            {
                "content": "a",
                "audio": {"id": "a", "data": "AA=="},
                "annotations": [{"type": "url_citation"}],
                "images": [{"type": "image_url"}],
                "extra_content": {"google": {"thought_signature": "s"}},
            },
            service_tier="default",
            obfuscation="xxxx",
            prompt_filter_results=[{}],
        )
        first["choices"][0] |= {"logprobs": {"content": [{}]}, "content_filter_results": {"a": 1}}
        expected = {**first, "choices": [{**first["choices"][0]}]}
        expected["choices"][0]["delta"] = {"role": "assistant", **first["choices"][0]["delta"]}
        self.assertEqual(Outcome([write_events(first, DONE)]).chunks[0], expected)

    def test_content_is_text(self) -> None:
        """Whatever content is, the client gets a string or null, and thoughts in their field."""
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "7"}]}
        for told, expected in (
            ({"content": {"answer": 1}}, {"content": '{"answer":1}'}),
            ({"content": 7}, {"content": "7"}),
            ({"content": None, "reasoning": None}, {"content": None, "reasoning": None}),
            ({"content": [thinking]}, {"content": "", "reasoning_content": "7"}),
            (
                {"content": [thinking, {"type": "text", "text": "a"}, {"type": "x"}]},
                {"content": "a", "reasoning_content": "7", "content_parts": [{"type": "x"}]},
            ),
            ({"reasoning": "7"}, {"reasoning": "7", "reasoning_content": "7"}),
        ):
            outcome = Outcome([write_events(chunk(told, "stop"), DONE)])
            self.assertEqual(outcome.deltas()[0], {"role": "assistant", **expected})
            self.assertEqual(outcome.said, any(expected.values()))
            # What stands with the finish reason is told before it.
            self.assertEqual(outcome.reasons(), ["stop"])

    def test_chunks_without_choices(self) -> None:
        """Azure's filter results before, OpenAI's moderation after; an empty one is nothing."""
        for stray, kept in (
            ({"id": "", "choices": [], "prompt_filter_results": [{}]}, True),
            ({"id": "c-1", "choices": [], "moderation": {}}, True),
            ({"choices": None, "x": 1}, True),
            ({"x": 1}, True),
            ({"choices": []}, False),
            ({}, False),
            ({"choices": [None]}, False),
        ):
            outcome = Outcome([write_events(stray, chunk({"content": "a"}), stray, DONE)])
            expected = [{**stray, "choices": []}] * kept
            self.assertEqual(outcome.chunks[:1] if kept else [], expected, stray)
            self.assertEqual(len(outcome.chunks), 2 + 2 * kept, stray)

    def test_filter_results_after_the_finish(self) -> None:
        """Azure's asynchronous filter tells a choice's results without a delta."""
        late = {"choices": [{"index": 0, "content_filter_offsets": {"start": 1}}]}
        outcome = Outcome([write_events(chunk({"content": "a"}, "stop"), late, DONE)])
        self.assertEqual(
            outcome.chunks[1]["choices"],
            [
                {
                    "index": 0,
                    "delta": {},
                    "finish_reason": None,
                    "content_filter_offsets": {"start": 1},
                }
            ],
        )

    def test_several_choices(self) -> None:
        """Each has its role, its calls and its finish reason, whichever chunks they share."""
        both = {
            "choices": [
                *chunk({"content": "a"})["choices"],
                *chunk({"content": "b"}, index=1)["choices"],
            ]
        }
        ends = {
            "choices": [*chunk({}, "stop")["choices"], *chunk({}, "length", index=1)["choices"]]
        }
        stream = write_events(
            both, call(piece(0, "x", "f", "{}"), index=1), chunk({"content": "c"}), ends, DONE
        )
        outcome = Outcome([stream], choices=2)
        self.assertTrue(outcome.finished)
        self.assertEqual((outcome.text(), outcome.text(index=1)), ("ac", "b"))
        self.assertEqual((outcome.reasons(0), outcome.reasons(1)), (["stop"], ["length"]))
        for index in (0, 1):
            roles = [delta.get("role") for delta in outcome.deltas(index)]
            self.assertEqual(roles, ["assistant"] + [None] * (len(roles) - 1))
        self.assertEqual(len(outcome.calls(1)), 1)

    def test_lone_surrogates(self) -> None:
        """An emoji split over two deltas comes through as its two halves."""
        stream = rb'data: {"choices":[{"delta":{"content":"\ud83d"}}]}' + b"\n\n"
        stream += rb'data: {"choices":[{"delta":{"content":"\ude00"}}]}' + b"\n\n"
        outcome = Outcome([stream + write_events(DONE)])
        self.assertEqual(
            [delta.get("content") for delta in outcome.deltas()[:2]], ["\ud83d", "\ude00"]
        )


class UsageTests(SynchronousTestCase):
    """Wherever it stands, it is told once, in a last chunk of its own."""

    def test_places(self) -> None:
        """Beside the finish, on its own, in each chunk, in ``x_groq``, in a choice."""
        said, end = chunk({"content": "a"}), chunk({}, "stop")
        in_choice = chunk({}, "stop")
        in_choice["choices"][0]["usage"] = USAGE
        old = {"total_tokens": 1}
        for documents in (
            [said, {**end, "usage": USAGE}],
            [said, end, {"id": "c-1", "choices": [], "usage": USAGE}],
            [said, end, {"id": "c-1", "usage": USAGE}],
            [{**said, "usage": old}, {**end, "usage": USAGE}],
            [{**said, "usage": None}, {**end, "usage": USAGE}],
            [said, {**end, "x_groq": {"usage": USAGE}}],
            [said, {**end, "x_groq": {"id": 1, "usage": USAGE}, "usage": {}}],
            [said, in_choice],
            # With a choice that says nothing, after the finish (OpenRouter, Together, Z.ai).
            [said, end, chunk({"role": "assistant", "content": ""}, usage=USAGE)],
            [said, end, chunk({"content": ""}, "stop", usage=USAGE)],
        ):
            outcome = Outcome([write_events(*documents, DONE)])
            self.assertEqual(outcome.usage, USAGE, documents)
            (*before, last) = outcome.chunks
            self.assertEqual((last["choices"], last["usage"]), ([], USAGE), documents)
            self.assertEqual(last["id"], "c-1", documents)
            self.assertFalse(any("usage" in x for x in before), documents)
            self.assertEqual(before[-1]["choices"][0]["finish_reason"], "stop", documents)
            self.assertEqual(outcome.text(), "a", documents)

    def test_no_usage(self) -> None:
        """What is no usage is none."""
        values: list[object] = [None, {}, [], 7, "x"]
        for told in values:
            documents = [chunk({"content": "a"}, "stop", usage=told, x_groq={"usage": told}), DONE]
            outcome = Outcome([write_events(*documents)])
            self.assertIsNone(outcome.usage)
            self.assertEqual(len(outcome.chunks), 2)

    def test_what_stands_with_it(self) -> None:
        """Fields of the chunk that told it go with it, if they went nowhere else."""
        outcome = Outcome(
            [
                write_events(
                    chunk({"content": "a"}, "stop"),
                    {"choices": [], "usage": USAGE, "latency": 5},
                    DONE,
                )
            ]
        )
        self.assertEqual(outcome.chunks[-1], {"choices": [], "usage": USAGE, "latency": 5})
        outcome = Outcome(
            [write_events(chunk({"content": "a"}, usage=USAGE, citations=["u"]), DONE)]
        )
        self.assertEqual(outcome.chunks[0]["citations"], ["u"])
        self.assertNotIn("citations", outcome.chunks[-1])

    def test_cut(self) -> None:
        """What was told before a cut or an error is still known."""
        said = chunk({"content": "a"}, usage={"total_tokens": 1})
        self.assertEqual(Outcome([write_events(said)]).usage, {"total_tokens": 1})
        failed = chunk({}, usage=USAGE, error={"code": 500})
        self.assertEqual(Outcome([write_events(said, failed)]).usage, USAGE)


class ErrorTests(SynchronousTestCase):
    """Errors inside a 200, and what cannot be read."""

    def test_errors(self) -> None:
        """In every shape, before and after content, after a finish reason: an error, no end."""
        beside = chunk({"content": ""}, "error", error={"code": 502, "message": "m"})
        in_choice = chunk({})
        in_choice["choices"][0]["error"] = {"code": 502, "message": "m"}
        for event in (
            b'event: error\ndata: {"error":{"message":"m","status_code":502}}\n\n',
            b'event: error\ndata: {"message":"m"}\n\n',
            b"event: error\ndata: m\n\n",
            write_events({"error": {"message": "m", "code": 502}}),
            write_events({"error": "m"}),
            write_events([{"error": {"message": "m"}}]),
            write_events({"object": "error", "message": "m", "code": "x"}),
            write_events({"choices": [], "x_groq": {"error": "m"}}),
            write_events(beside),
            write_events(in_choice),
        ):
            for before in ([], [chunk({"content": "a"})], [chunk({"content": "a"}, "stop")]):
                outcome = Outcome([write_events(*before) + event + write_events(DONE)])
                self.assertIs(type(outcome.error), errors.UpstreamFailed, event)
                assert outcome.error is not None
                self.assertEqual(outcome.error.message, "m", event)
                self.assertEqual(len(outcome.chunks), len(before), event)
                self.assertEqual(outcome.reasons(), [], event)

    def test_meaning(self) -> None:
        """It means what it would as a status."""
        for error, kind in (
            ({"code": 429}, errors.UpstreamRateLimited),
            ({"code": 400, "message": "m"}, errors.UpstreamRefused),
            ({"code": 401}, errors.UpstreamAuthFailed),
            ({"code": "context_length_exceeded"}, errors.ContextTooLong),
        ):
            outcome = Outcome([write_events({"error": error})])
            self.assertIs(type(outcome.error), kind)

    def test_broken_off(self) -> None:
        """A finish reason that is none."""
        outcome = Outcome([write_events(chunk({"content": "a"}), chunk({}, "network_error"), DONE)])
        self.assertIsInstance(outcome.error, errors.UpstreamFailed)
        self.assertEqual(outcome.text(), "a")

    def test_garbage(self) -> None:
        """Skipped and counted where nothing can be lost; else the stream is cut."""
        said = chunk({"content": "a"})
        like_a_chunk = dumps(said)
        for garbage, cut in (
            (b"ping", False),
            (b"{oops", False),
            (b"7", False),
            (b"[]", False),
            (b"\xff\xfe", False),
            (b"NaN", False),
            (like_a_chunk[:8], True),
            (like_a_chunk[:-1], True),
            (b'x{"delta":{}}', True),
            (b'{"choices": [}', True),
            (b'{"choices":[{"delta":{"content":"\xff"}}]}', True),
        ):
            outcome = Outcome([write_events(said, garbage, said, DONE)])
            self.assertEqual(outcome.skipped, 0 if cut else 1, garbage)
            self.assertEqual(isinstance(outcome.error, errors.StreamCut), cut, garbage)
            self.assertEqual(outcome.text(), "a" if cut else "aa", garbage)
            # Before the first chunk nobody knows what one looks like.
            outcome = Outcome([write_events(garbage, said, DONE)])
            self.assertEqual(outcome.error is not None, cut and len(garbage) > 8, garbage)
            # While a call is open, arguments may be lost.
            outcome = Outcome([write_events(call(piece(0, "a", "f", "{")), garbage)])
            self.assertIsInstance(outcome.error, errors.StreamCut)
            self.assertEqual(outcome.skipped, 0)
            # After the finish, only what one can do without.
            outcome = Outcome([write_events(said, chunk({}, "stop"), garbage, DONE)])
            self.assertIsNone(outcome.error)
            self.assertEqual(outcome.skipped, 1)

    def test_empty_events(self) -> None:
        """A keep-alive without anything is not even counted."""
        outcome = Outcome([write_events(call(piece(0, "a", "f", "{}")), "", " ", DONE)])
        self.assertIsNone(outcome.error)
        self.assertEqual(outcome.skipped, 0)

    def test_no_stream_at_all(self) -> None:
        """JSON, text or a page in a body that calls itself an event stream."""
        for body, kind, words in (
            (b'{"error":{"message":"m","code":429}}', errors.UpstreamRateLimited, "m"),
            (b'{\n  "error": {\n    "message": "m"\n  }\n}\n', errors.UpstreamFailed, "m"),
            (b'[{"error":{"message":"m","code":400}}]', errors.UpstreamRefused, "m"),
            (b"upstream connect error", errors.UpstreamFailed, "upstream connect error"),
            (b"<html>no</html>", errors.UpstreamFailed, "the upstream answered with an HTML page"),
        ):
            outcome = Outcome([body])
            self.assertIs(type(outcome.error), kind)
            assert outcome.error is not None
            self.assertEqual(outcome.error.message, words)

    def test_stray_lines(self) -> None:
        """Lines that are no fields: an error among them counts, nothing else does."""
        said = write_events(chunk({"content": "a"}))
        outcome = Outcome([said + b"oops\n" + write_events(chunk({}, "stop"))])
        self.assertIsNone(outcome.error)
        self.assertEqual(outcome.skipped, 1)
        outcome = Outcome([said + b"oops\n"])
        self.assertIsInstance(outcome.error, errors.StreamCut)
        outcome = Outcome([said + b'{"error":{"code":429}}\n'])
        self.assertIsInstance(outcome.error, errors.UpstreamRateLimited)
        self.assertEqual(outcome.text(), "a")


class BoundTests(SynchronousTestCase):
    """What is remembered is bounded, however long the stream."""

    def test_event(self) -> None:
        """An event over the bound is an error."""
        stream = write_events(chunk({"content": "a" * 100}), DONE)
        self.assertIsInstance(Outcome([stream], max_event_bytes=200).error, errors.AnswerTooLarge)
        self.assertIsNone(Outcome([stream], max_event_bytes=300).error)

    def test_held_finishes(self) -> None:
        """All finish reasons together may hold back as much as one event."""
        stream = write_events(
            *(chunk({}, "stop", index=index, x="x" * 500) for index in range(3)), DONE
        )
        self.assertIsInstance(
            Outcome([stream], choices=3, max_event_bytes=1_000).error, errors.AnswerTooLarge
        )
        self.assertIsNone(Outcome([stream], choices=3, max_event_bytes=3_000).error)
        # One and the same choice's take each other's place.
        stream = write_events(*(chunk({}, "stop", x="x" * 500) for _ in range(9)), DONE)
        self.assertIsNone(Outcome([stream], max_event_bytes=1_000).error)

    def test_held_arguments(self) -> None:
        """So do arguments whose name never comes; once it is there they count no more."""
        nameless = call(piece(0, "a", "", "x" * 100))
        self.assertIsInstance(
            Outcome([write_events(*[nameless] * 10)], max_event_bytes=500).error,
            errors.AnswerTooLarge,
        )
        named = [
            call(piece(number, f"a{number}", name, "x" * 100))
            for number in range(10)
            for name in ("", "f")
        ]
        self.assertIsNone(Outcome([write_events(*named, DONE)], max_event_bytes=500).error)

    def test_counts(self) -> None:
        """Neither choices nor tool calls without end."""
        for documents in (
            (chunk({"content": "a"}, index=number) for number in range(2_000)),
            (call(piece(number, f"a{number}", "f", "{}")) for number in range(2_000)),
            (chunk({"tool_calls": [piece(n, f"{n}", "f", "{}") for n in range(2_000)]}),),
        ):
            outcome = Outcome([write_events(*documents)])
            self.assertIs(type(outcome.error), errors.UpstreamFailed)

    def test_memory(self) -> None:
        """A stream of any length needs no more than its parts."""
        pieces = [
            write_events(chunk({"content": "a" * 50}, usage=USAGE)),
            write_events(chunk({"content": "b"}, "stop", x="x" * 200)),
            write_events(chunk({}, "stop", x="x" * 200)),
            write_events(call(piece(0, "a", "f", "x" * 200))),
            write_events(call(piece(7, "a", "f", "x" * 200))),
            b": PING\n\n",
            b"event: ping\n\n",
            b"stray\n",
        ]
        reader = new_reader()
        for part in pieces:
            reader.feed(part)
        tracemalloc.start()
        try:
            for number in range(3_000):
                reader.feed(pieces[number % len(pieces)])
                reader.feed(write_events(call(piece(number, "a", None, "x"))))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertFalse(reader.ended)
        self.assertLess(peak, 400_000)


names = st.sampled_from(["f", "g", "", None])
ids = st.sampled_from(["a", "b", "", None, 0, 7])
texts = st.sampled_from(["", "a", "{}", "ж\n", "\ud83d", None])
calls = st.lists(
    st.fixed_dictionaries(
        {
            "function": st.dictionaries(st.sampled_from(["name", "arguments"]), names | texts)
            | texts
        },
        optional={"index": st.sampled_from([0, 1, None, "0"]), "id": ids, "type": names},
    ),
    max_size=2,
)
deltas = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "role": names,
        "content": texts
        | st.sampled_from([7, {"a": 1}, [], [{"type": "text", "text": "a"}, None]])
        | st.just([{"type": "thinking", "thinking": [{"text": "a"}, 7]}, "b"]),
        "reasoning": texts,
        "reasoning_content": texts,
        "tool_calls": calls | texts,
        "function_call": st.just({"name": "f"}),
    },
)
choices = st.fixed_dictionaries(
    {"delta": deltas},
    optional={
        "index": st.sampled_from([0, 1, None, -1]),
        "finish_reason": st.sampled_from(["stop", "length", "eos", None, "error", 7]),
        "error": st.sampled_from([None, {"code": 500}]),
        "logprobs": st.just({}),
    },
)
documents = st.fixed_dictionaries(
    {"choices": st.lists(choices | st.none(), max_size=2) | st.none()},
    optional={
        "id": texts,
        "usage": st.sampled_from([None, {}, USAGE]),
        "x_groq": st.sampled_from([None, {"usage": USAGE}, {"error": "m"}]),
        "error": st.sampled_from([None, None, {"code": 400}]),
    },
)
events = st.one_of(
    documents.map(write_events),
    documents.map(write_events),
    documents.map(lambda document: write_events(document, end=b"\r\n\r\n")),
    st.sampled_from(
        [
            *(
                b"data: [DONE]\n\n",
                b": PING\n\n",
                b"event: error\n",
                b"data:\n\n",
                b'{"error":7}\n',
            ),
            *(b"data: {\n\n", b"data: x\n\n", b"\r", b"\n", b"oops\n", b"id: 7\n"),
        ]
    ),
    st.binary(max_size=6),
)
streams = st.lists(events, max_size=8).map(b"".join)


class AnyStreamTests(SynchronousTestCase):
    """Whatever is sent."""

    @given(streams, st.lists(st.integers(0, 900), max_size=8), st.integers(1, 2))
    def test_any_split(self, stream: bytes, places: list[int], choices: int) -> None:
        """The same chunks and the same end for any split of the bytes."""
        expected = Outcome([stream], choices=choices)
        inside = [min(place, len(stream)) for place in places]
        self.assertEqual(Outcome(split_at(stream, *inside), choices=choices), expected)
        self.assertEqual(Outcome(bytewise(stream), choices=choices), expected)

    @given(streams, st.sampled_from([30, 200, 10_000]))
    @example(
        write_events({"choices": [{"delta": None, "finish_reason": "stop", "index": 0}] * 2}), 200
    )
    @example(write_events(chunk({"tool_calls": [{"function": "", "index": 0, "type": "f"}]})), 200)
    def test_rules(self, stream: bytes, bound: int) -> None:
        """Every stream ends, in our errors or by the rules that the readers' protocol names."""
        outcome = Outcome([stream], max_event_bytes=bound)
        self.assertTrue(outcome.ended)
        started = {choice["index"] for x in outcome.chunks for choice in x["choices"]}
        for index in started:
            roles = ["role" in delta for delta in outcome.deltas(index)]
            self.assertEqual(roles, [True] + [False] * (len(roles) - 1))
            outcome.calls(index)
            for delta in outcome.deltas(index):
                self.assertIsInstance(delta.get("content"), str | None)
            reasons = [
                choice["finish_reason"]
                for x in outcome.chunks
                for choice in x["choices"]
                if choice["index"] == index
            ]
            self.assertEqual(set(reasons[:-1]) - {None}, set())
            if outcome.error is None:
                self.assertIn(reasons[-1], FINISH_REASONS)
            else:
                self.assertIsInstance(outcome.error, errors.UpstreamError)
                self.assertIsNone(reasons[-1])
        for x in outcome.chunks:
            dumps(x)

"""Tests of :mod:`aiproxy.dialects.raw_stream` and its taps."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.messages_face import MessagesFace
from aiproxy.dialects.operations import AUDIO, COMPLETIONS, RERANK
from aiproxy.dialects.raw_face import RawFace
from aiproxy.dialects.responses_face import ResponsesFace
from aiproxy.errors import AnswerTooLarge, StreamCut, UpstreamError, UpstreamFailed
from aiproxy.wire.json import dumps
from tests.dialects.passing import Passage
from tests.dialects.streams import bytewise, split_at, write_events

COMPLETE = RawFace(COMPLETIONS, "/completions")
SPEECH = RawFace(AUDIO, "/audio/speech", as_it_comes=True)
HEARD = RawFace(AUDIO, "/audio/transcriptions")
RANKED = RawFace(RERANK, "/rerank")
MESSAGES = MessagesFace()
RESPONSES = ResponsesFace()
DONE = b"data: [DONE]\n\n"


def text(said: str, reason: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    """Make a chunk of completions."""
    return {"choices": [{"text": said, "index": index, "finish_reason": reason}], **more}


def block(kind: str) -> dict[str, Any]:
    """Begin a block of a message."""
    return {"type": "content_block_start", "index": 0, "content_block": {"type": kind}}


def delta(said: str) -> dict[str, Any]:
    """Go on with a block of a message."""
    return {"type": "content_block_delta", "index": 0, "delta": {"text": said}}


START = {"type": "message_start", "message": {"model": "x", "usage": {"input_tokens": 3}}}
STOP = {"type": "message_stop"}


class SplitTests(SynchronousTestCase):
    """Any bytes in any pieces."""

    @given(st.sampled_from(["\n", "\r\n", "\r"]), st.data())
    def test_events(self, end: str, data: st.DataObject) -> None:
        """Comments, line ends and spacing pass as they came, wherever the pieces end."""
        stream = (
            f": hello{end}{end}event: x{end}data: {dumps(text('é')).decode()}  {end}id: 7{end}{end}"
            f"{end}data:{dumps(text('', 'stop')).decode()}{end}{end}data: [DONE]{end}{end}"
        ).encode()
        places = data.draw(st.lists(st.integers(1, len(stream) - 1), max_size=4))
        expected = Passage(COMPLETE, [stream])
        self.assertIsNone(expected.error)
        for pieces in (split_at(stream, *places), bytewise(stream)):
            passed = Passage(COMPLETE, pieces)
            # Whether the last line end is one byte or two is known too late.
            self.assertEqual(passed.out.rstrip(), stream.rstrip())
            self.assertEqual((passed.error, passed.said), (None, True))

    @given(st.binary(min_size=1), st.data())
    def test_sound(self, sound: bytes, data: st.DataObject) -> None:
        """Sound passes at once, whatever it looks like."""
        places = data.draw(st.lists(st.integers(0, len(sound)), max_size=3))
        passed = Passage(SPEECH, split_at(sound, *places))
        self.assertEqual((passed.out, passed.error, passed.said), (sound, None, True))

    @given(st.lists(st.binary(max_size=40), max_size=5))
    def test_anything(self, pieces: list[bytes]) -> None:
        """Whatever comes, it ends; and it is whole, or an error."""
        for face in (COMPLETE, MESSAGES, RESPONSES, HEARD, RANKED):
            passed = Passage(face, pieces)
            self.assertTrue(passed.ended)
            self.assertTrue(passed.error is None or isinstance(passed.error, UpstreamError))


class FramingTests(SynchronousTestCase):
    """Events, and what is none."""

    def test_half_an_event(self) -> None:
        """Half an event never reaches the client: an error would land inside of it."""
        whole = write_events(text("a"))
        passed = Passage(COMPLETE, [whole + b'data: {"choices": [{"te'])
        self.assertEqual(passed.out, whole)
        self.assertIsInstance(passed.error, StreamCut)
        self.assertTrue(passed.failure.startswith(b'data: {"error":'))

    def test_changed_line_ends(self) -> None:
        """Line ends may change from event to event, and within a packet."""
        lf, crlf = write_events(text("a")), write_events(text("b"), end=b"\r\n\r\n")
        end = write_events("[DONE]")
        for pieces in (
            [lf, crlf, lf, end],
            [lf + crlf + lf + end],
            [lf[:-1], b"\n" + crlf, lf + end],
        ):
            passed = Passage(COMPLETE, pieces)
            self.assertEqual((passed.out, passed.error), (lf + crlf + lf + end, None), pieces)

    def test_missing_blank_line(self) -> None:
        """A last event without its blank line counts."""
        for last in (b"data: [DONE]", b"data: [DONE]\n"):
            stream = write_events(text("a")) + last
            passed = Passage(COMPLETE, [stream])
            self.assertEqual((passed.out, passed.error), (stream, None))

    def test_after_the_end(self) -> None:
        """Nothing counts after the end."""
        stream = write_events(text("a")) + DONE
        passed = Passage(COMPLETE, [stream + write_events({"error": "x"}), b"data: {}\n\n"])
        self.assertEqual((passed.out, passed.error), (stream, None))

    def test_whole_in_place_of_a_stream(self) -> None:
        """A whole answer passes when it is there; an error in its place is one."""
        body = b'{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}'
        for pieces in ([body], bytewise(body)):
            passed = Passage(COMPLETE, pieces)
            self.assertEqual((passed.out, passed.error, passed.said), (body, None, True))
            self.assertEqual(passed.tokens, (3, 1))
        failed = Passage(COMPLETE, [b'{"error": {"message": "no", "code": 429}}'])
        self.assertEqual((failed.out, failed.said), (b"", False))
        self.assertEqual(failed.error and failed.error.status, 429)

    def test_whole_model(self) -> None:
        """A whole answer in the place of a stream names the configured model too."""
        for face in (MESSAGES, RESPONSES):
            passed = Passage(face, [b'{"model": "x", "a": {"model": "y"}}'])
            self.assertEqual(passed.out, b'{"model": "mine", "a": {"model": "y"}}')

    def test_no_stream_at_all(self) -> None:
        """A page, a text, nothing: no answers but where texts are."""
        for body in (b"<html><p>", b"busy", b"", b"\n\n"):
            passed = Passage(COMPLETE, [body])
            self.assertIsInstance(passed.error, UpstreamFailed, body)
            self.assertEqual(passed.out, b"")
        self.assertEqual(Passage(HEARD, [b"he", b"llo"]).out, b"hello")
        self.assertIsInstance(Passage(HEARD, [b"<html>"]).error, UpstreamFailed)

    def test_bounds(self) -> None:
        """One event, and what has to be held, have a bound."""
        for face, body in (
            (COMPLETE, b"data: " + b"x" * 200),
            (COMPLETE, b"data: x\n" * 30 + b"\n"),
            (COMPLETE, b'{"a": "' + b"x" * 200),
            (COMPLETE, b"\n" * 200),
        ):
            for pieces in ([body], bytewise(body)):
                passed = Passage(face, pieces, room=100)
                self.assertIsInstance(passed.error, AnswerTooLarge, body)

    def test_not_decodable(self) -> None:
        """What cannot be decoded is left out, or a cut where something may be lost."""
        stream = write_events(text("a"), b"garbage") + DONE
        passed = Passage(COMPLETE, [stream])
        self.assertEqual(passed.out, write_events(text("a")) + DONE)
        self.assertEqual((passed.skipped, passed.error), (1, None))
        lost = Passage(COMPLETE, [write_events(text("a"), b'{"choices": [{') + DONE])
        self.assertIsInstance(lost.error, StreamCut)

    def test_cut(self) -> None:
        """A body that breaks off is told by whoever knows it, unless all was said."""
        self.assertIsInstance(Passage(RANKED, [b'data: {"a": 1}\n\n'], cut=True).error, StreamCut)
        self.assertIsNone(Passage(RANKED, [b'data: {"a": 1}\n\n']).error)
        finished = write_events(text("a", "stop"))
        self.assertIsNone(Passage(COMPLETE, [finished], cut=True).error)


class EmptyTests(SynchronousTestCase):
    """Streams in which nothing is said."""

    def test_done(self) -> None:
        """Nothing but ``[DONE]`` is no answer, and none of it reaches the client."""
        for face, beginning in (
            (COMPLETE, [text("")]),
            (MESSAGES, [START]),
            (RESPONSES, [{"type": "response.created", "response": {}}]),
        ):
            for events in ([], beginning):
                passed = Passage(face, [write_events(*events) + DONE])
                self.assertIsInstance(passed.error, UpstreamFailed, str(events))
                self.assertNotIn(DONE, passed.out)


class CompletionTests(SynchronousTestCase):
    """OpenAI's old completions."""

    def test_ends(self) -> None:
        """They end with ``[DONE]``, or when each choice has its reason."""
        for stream, n, whole in (
            (write_events(text("a")) + DONE, 1, True),
            (write_events(text("a"), text("", "stop")), 1, True),
            (write_events(text("a")), 1, False),
            (write_events(text("a", "stop"), text("b", index=1)), 2, False),
        ):
            passed = Passage(COMPLETE, [stream], n=n)
            self.assertEqual((passed.error is None, passed.said), (whole, True), stream)

    def test_finished(self) -> None:
        """Only the usage may follow when each of the choices asked for has its reason."""
        stream = write_events(text("a", "stop"))
        for more, finished in (
            ({}, True),
            ({"n": 2}, False),
            ({"n": "x"}, True),
            ({"prompt": ["a", "b"]}, False),
            ({"prompt": [1, 2]}, True),
            ({"prompt": []}, True),
        ):
            self.assertIs(Passage(COMPLETE, [stream], **more).finished, finished, more)

    def test_errors(self) -> None:
        """An error among the events, or in a choice, is one; its usage is noted."""
        usage = {"prompt_tokens": 4, "completion_tokens": 1}
        for event in ({"error": {"message": "no", "code": 429}, "usage": usage},):
            passed = Passage(COMPLETE, [write_events(text("a"), event) + DONE])
            self.assertEqual(passed.error and passed.error.status, 429)
            self.assertEqual(passed.tokens, (4, 1))
            self.assertEqual(passed.out, write_events(text("a")))
        broken = Passage(COMPLETE, [write_events(text("a"), text("", "error")) + DONE])
        self.assertIsInstance(broken.error, UpstreamFailed)
        odd = write_events({"choices": 7}, {"choices": [7]}, b"[]")
        passed = Passage(COMPLETE, [odd + write_events(text("", "stop")) + DONE])
        self.assertEqual((passed.error, passed.said), (None, False))


class MessageTests(SynchronousTestCase):
    """Anthropic's messages."""

    def test_said(self) -> None:
        """Nothing is said by a beginning; a delta says something, and so does a call."""
        for events, said in (
            ([START, {"type": "ping"}, block("text")], False),
            ([START, block("text"), delta("a")], True),
            ([START, block("thinking")], False),
            ([START, block("tool_use")], True),
        ):
            passed = Passage(MESSAGES, [write_events(*events)])
            self.assertIs(passed.said, said, events)
            kind = StreamCut if said else UpstreamFailed
            self.assertIsInstance(passed.error, kind)

    def test_call(self) -> None:
        """A call is open until its block ends."""
        stop = {"type": "content_block_stop", "index": 0}
        events = [START, block("text"), stop, block("tool_use"), delta("{"), stop, STOP]
        passed = Passage(MESSAGES, [write_events(one) for one in events])
        self.assertEqual(passed.open_calls, [False, False, False, True, True, False, False])
        self.assertIsNone(passed.error)

    def test_usage(self) -> None:
        """The last event's numbers count, with those that it leaves out."""
        last = {"type": "message_delta", "usage": {"output_tokens": 5, "input_tokens": None}}
        passed = Passage(MESSAGES, [write_events(START, delta("a"), last, STOP)])
        self.assertEqual(passed.tokens, (3, 5))

    def test_broken_off(self) -> None:
        """Before its end the answer's tokens are not told, whatever the beginning says of them."""
        usage = {"input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 1}
        start = {"type": "message_start", "message": {"usage": usage}}
        passed = Passage(MESSAGES, [write_events(start, delta("a"))])
        self.assertEqual(passed.tokens, (5, 0))

    def test_characters(self) -> None:
        """Texts of every kind count, as long as nobody tells their tokens."""
        kinds = ({"text": "abc"}, {"thinking": "de"}, {"partial_json": "{}"}, {"signature": "f"})
        deltas = [{"type": "content_block_delta", "index": 0, "delta": kind} for kind in kinds]
        for face, events in (
            (MESSAGES, [START, *deltas]),
            (
                RESPONSES,
                [{"type": "response.output_text.delta", "delta": said} for said in "abcdefg"],
            ),
            (COMPLETE, [text("abc"), text("defg", index=1)]),
        ):
            self.assertEqual(Passage(face, [write_events(*events)]).characters, 7)

    def test_no_stop(self) -> None:
        """With a stop reason it is whole, however the body ends, and ends as it should."""
        told = [block("text"), delta("message_stop")]
        last = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
        end = b"event: message_stop\n" + write_events(STOP)
        for more in (b"", b"event: mess", write_events({"type": "ping"})):
            for cut in (False, True):
                stream = write_events(*told, last) + more
                passed = Passage(MESSAGES, [stream], cut=cut)
                whole = stream.removesuffix(b"event: mess")
                self.assertEqual((passed.out, passed.error), (whole + end, None))
                self.assertTrue(passed.finished)
        passed = Passage(MESSAGES, [write_events(*told, last) + end])
        self.assertEqual(passed.out, write_events(*told, last) + end)
        last["delta"] = {"stop_reason": None}
        self.assertIsInstance(Passage(MESSAGES, [write_events(*told, last)]).error, StreamCut)

    def test_error(self) -> None:
        """``event: error`` is told as one of ours, in the client's words."""
        fault = {"type": "overloaded_error", "message": "busy"}
        event = b"event: error\n" + write_events({"type": "error", "error": fault})
        passed = Passage(MESSAGES, [write_events(START, delta("a")) + event])
        self.assertNotIn(b"event: error", passed.out)
        self.assertEqual(
            passed.failure,
            b'event: error\ndata: {"type":"error","error":'
            b'{"type":"overloaded_error","message":"busy"}}\n\n',
        )
        words = Passage(MESSAGES, [b"event: error\ndata: busy\n\n"])
        self.assertEqual(words.error and words.error.message, "busy")


class ResponseTests(SynchronousTestCase):
    """OpenAI's responses."""

    def test_said(self) -> None:
        """Items that are told in deltas say nothing by their beginning; others do."""
        for event, said in (
            ({"type": "response.created", "response": {}}, False),
            ({"type": "response.output_item.added", "item": {"type": "reasoning"}}, False),
            ({"type": "response.output_item.added", "item": {"type": "web_search_call"}}, True),
            ({"type": "response.output_text.delta", "delta": "a"}, True),
            ({"type": "response.output_item.done", "item": {"type": "message"}}, True),
        ):
            self.assertIs(Passage(RESPONSES, [write_events(event)]).said, said, event)

    def test_call(self) -> None:
        """A call is open until its item is done."""
        added = {"type": "response.output_item.added", "item": {"type": "function_call"}}
        done = {"type": "response.output_item.done", "item": {"type": "function_call"}}
        passed = Passage(RESPONSES, [write_events(added), write_events(done)])
        self.assertEqual(passed.open_calls, [True, False])

    def test_ends(self) -> None:
        """Completed and incomplete are ends, and ``[DONE]`` may follow; failed is an error."""
        usage = {"input_tokens": 3, "output_tokens": 2}
        for kind in ("response.completed", "response.incomplete"):
            event = write_events({"type": kind, "response": {"usage": usage}})
            for stream in (event, event + DONE):
                passed = Passage(RESPONSES, [stream])
                self.assertEqual((passed.out, passed.error), (stream, None))
                self.assertEqual((passed.finished, passed.tokens), (True, (3, 2)))
        error = {"code": "rate_limit_exceeded", "message": "slow"}
        failed = {"type": "response.failed", "response": {"error": error, "usage": usage}}
        passed = Passage(RESPONSES, [write_events(failed)])
        self.assertEqual(
            passed.error and (passed.error.status, passed.error.message), (429, "slow")
        )
        self.assertEqual(passed.tokens, (3, 2))
        bare = Passage(RESPONSES, [write_events({"type": "response.cancelled"})])
        self.assertIsInstance(bare.error, UpstreamFailed)


class AudioTests(SynchronousTestCase):
    """Transcripts and speech as events."""

    def test_transcript(self) -> None:
        """Events end with the one that says so; JSON in their place passes."""
        done = {"type": "transcript.text.done", "usage": {"input_tokens": 3, "output_tokens": 1}}
        stream = write_events({"type": "transcript.text.delta", "delta": "a"}, done)
        passed = Passage(HEARD, [stream])
        self.assertEqual((passed.out, passed.finished, passed.tokens), (stream, True, (3, 1)))
        self.assertEqual(Passage(HEARD, [b'{"text": "a"}']).out, b'{"text": "a"}')

    def test_speech(self) -> None:
        """Speech comes as events only where it was asked for so."""
        stream = write_events({"type": "speech.audio.done"})
        self.assertTrue(Passage(SPEECH, [stream], stream_format="sse").finished)
        self.assertFalse(Passage(SPEECH, [stream]).finished)

"""Tests of :mod:`aiproxy.wire.sse`."""

from __future__ import annotations

import re
import tracemalloc
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import AnswerTooLarge
from aiproxy.wire.sse import DONE, STRAY_BYTES, Event, SSEDecoder, write_comment, write_event

ROOMY = 1024 * 1024


class Outcome:
    """All that a decoder made of some bytes."""

    def __init__(self, pieces: list[bytes], max_event_bytes: int = ROOMY) -> None:
        self.events: list[Event] = []
        self.too_large = False
        decoder = SSEDecoder(max_event_bytes)
        try:
            for piece in pieces:
                self.events += decoder.feed(piece)
            self.events += decoder.close()
        except AnswerTooLarge:
            self.too_large = True
        self.stray = decoder.stray


class Reference:
    """The standard, step by step and in one go, with our departures from it."""

    def __init__(self, stream: bytes, max_event_bytes: int = ROOMY) -> None:
        self.events: list[Event] = []
        self.too_large = False
        self.stray = b""
        lines = re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))
        data: list[bytes] = []
        name = b""
        size = 0
        # The last line has no end: where it is empty, it stands for the end of the stream.
        for line in [*lines, b""]:
            if line == b"":
                if data:
                    self.events.append(Event(b"\n".join(data), name.decode("utf-8", "replace")))
                data, name, size = [], b"", 0
                continue
            if size + len(line) > max_event_bytes:
                self.too_large = True
                return
            field, value = line.split(b":", 1) if b":" in line else (line, b"")
            value = value[1:] if value[:1] == b" " else value
            if field == b"data":
                data.append(value)
                size += len(line)
            elif field == b"event":
                name = value
                size += len(line)
            elif field not in (b"", b"id", b"retry"):
                self.stray += line + b"\n"


def split_at(stream: bytes, *places: int) -> list[bytes]:
    """Return the stream in pieces that begin at these places."""
    edges = [0, *sorted(places), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(edges)]


def bytewise(stream: bytes) -> list[bytes]:
    """Return the stream in single bytes."""
    return [stream[place : place + 1] for place in range(len(stream))]


#: What a hostile stream is likeliest to trip over, beside bytes of any kind.
fragments = st.sampled_from(
    [
        *(b"data", b"data:", b"data: ", b"event", b"event: ", b"event:", b"id: 7", b"retry: 9"),
        *(b"\n", b"\n\n", b"\r", b"\r\n", b"\r\n\r\n", b"\r\r", b":", b": ", b" ", b"\x00"),
        *(b'{"a":1}', b"[DONE]", b"data: x\n\n", b"event: e\ndata: x\n\n", b'{"error":1}\n'),
        *(b"\xef\xbb\xbf", b"\xef", b"\xbb", b"\xbf", b"\xff", "ж".encode()),
    ]
)
streams = st.lists(fragments | st.binary(max_size=4), max_size=24).map(b"".join)
places = st.lists(st.integers(0, 200), max_size=12)


class SplitTests(SynchronousTestCase):
    """The same events for any split of the bytes."""

    def same(self, outcome: Outcome, expected: Reference) -> None:
        """Assert that all of the outcome is as expected."""
        self.assertEqual(outcome.too_large, expected.too_large)
        if expected.too_large:
            # What stood before in the same piece is lost, but nothing else is made up.
            self.assertEqual(outcome.events, expected.events[: len(outcome.events)])
            return
        self.assertEqual(vars(outcome), vars(expected))

    @given(streams, places, st.integers(1, 40) | st.just(ROOMY))
    @example(b"data: x\r", [8], 7)
    @example(b"\xef\xbb\xbfdata: x\n\n", [1, 2], 7)
    @example(b"\xef\xbb\xbf", [1], 1)
    @example(b"data: x\n\n\ndata: y\n\n", [9], ROOMY)
    @example(b"data: x\n\n\ndata: y\n\n", [], ROOMY)
    @example(b"data: x\ny\n\ndata: z\n\n", [], ROOMY)
    @example(b"event: e\ndata: x\ny\n\nevent: e\nx\n\n", [], ROOMY)
    @example(b"data: x\n\ndata: y\n\n", [], 9)
    def test_against_reference(self, stream: bytes, places: list[int], bound: int) -> None:
        """Whole, in pieces and byte by byte: what the reference decoder makes of it."""
        expected = Reference(stream, bound)
        self.same(Outcome([stream], bound), expected)
        self.same(Outcome(split_at(stream, *places), bound), expected)
        self.same(Outcome(bytewise(stream), bound), expected)

    @given(
        st.lists(
            st.tuples(
                st.lists(st.from_regex(rb"\A[^\r\n]*\Z"), min_size=1, max_size=3),
                st.sampled_from(["", "delta", "ping"]),
                st.sampled_from([b"\n", b"\r\n", b"\r"]),
            ),
            max_size=5,
        ),
        places,
    )
    def test_every_line_end(
        self, written: list[tuple[list[bytes], str, bytes]], places: list[int]
    ) -> None:
        """Events in any mixture of line ends are read as they were written."""
        stream = b""
        for lines, name, end in written:
            fields = [b"event: " + name.encode()] * bool(name) + [b"data: " + x for x in lines]
            stream += end.join([*fields, b"", b""])
        expected = [Event(b"\n".join(lines), name) for lines, name, _ in written]
        for pieces in ([stream], split_at(stream, *places), bytewise(stream)):
            self.assertEqual(Outcome(pieces).events, expected)

    def test_every_pair_of_splits(self) -> None:
        """A stream with everything in it, cut at every two places."""
        stream = (
            "\ufeff: hello\r\n\r\nevent: début\rdata: {\ndata:ж}\r\n\r\n"
            "id: 1\nretry: 2\n\ndata\n\nevent: ping\n\n{\n\ndata: [DONE]"
        ).encode()
        expected = Reference(stream)
        self.assertEqual(
            expected.events,
            [Event("{\nж}".encode(), "début"), Event(b""), Event(b"[DONE]")],
        )
        self.assertEqual(expected.stray, b"{\n")
        for first in range(len(stream) + 1):
            for second in range(first, len(stream) + 1):
                self.same(Outcome(split_at(stream, first, second)), expected)


class StandardTests(SynchronousTestCase):
    """The cases that the standard's own examples show."""

    def events(self, stream: bytes) -> list[Event]:
        """Return the events, having made sure that single bytes bring the same."""
        events = Outcome([stream]).events
        self.assertEqual(Outcome(bytewise(stream)).events, events)
        return events

    def test_several_data_lines(self) -> None:
        """Data lines of one event are joined by LF, without one at the end."""
        stream = b"data: KZN\ndata: +3\ndata: 52\n\n"
        self.assertEqual(self.events(stream), [Event(b"KZN\n+3\n52")])

    def test_names(self) -> None:
        """A name holds for its own event only."""
        stream = b"event: join\ndata: 11\n\ndata: 12\n\nevent: leave\ndata: 13\n\n"
        self.assertEqual(
            self.events(stream), [Event(b"11", "join"), Event(b"12"), Event(b"13", "leave")]
        )

    def test_blocks(self) -> None:
        """A comment, an id set and an id taken back change no event; one space is cut, not two."""
        stream = b": a comment\n\ndata: one\nid: 1\n\ndata:two\nid\n\ndata:  three\n\n"
        self.assertEqual(self.events(stream), [Event(b"one"), Event(b"two"), Event(b" three")])

    def test_empty_data(self) -> None:
        """A field without a colon is an empty one, and empty data are data."""
        self.assertEqual(self.events(b"data\n\ndata\ndata\n\n"), [Event(b""), Event(b"\n")])

    def test_space_after_colon(self) -> None:
        """With and without the space: the same event."""
        self.assertEqual(self.events(b"data:x\n\ndata: x\n\n"), [Event(b"x"), Event(b"x")])

    def test_field_names_are_exact(self) -> None:
        """Neither case nor spaces are forgiven, and nothing that begins alike is the field."""
        for line in (b"DATA: x", b" data: x", b"data : x", b"database: x", b"events: x"):
            self.assertEqual(self.events(line + b"\n\n"), [])

    def test_byte_order_mark(self) -> None:
        """One at the start of the stream is dropped, only one, and only there."""
        mark = b"\xef\xbb\xbf"
        self.assertEqual(self.events(mark + b"data: x\n\n"), [Event(b"x")])
        self.assertEqual(self.events(mark + mark + b"data: x\n\n"), [])
        self.assertEqual(self.events(b"\n" + mark + b"data: x\n\n"), [])
        self.assertEqual(self.events(mark), [])

    def test_last_name_counts(self) -> None:
        """Of two names in one event the last one counts, and it may come after the data."""
        self.assertEqual(self.events(b"event: a\ndata: x\nevent: b\n\n"), [Event(b"x", "b")])
        self.assertEqual(self.events(b"event: a\nevent\ndata: x\n\n"), [Event(b"x")])


class ProviderTests(SynchronousTestCase):
    """What providers send beside the standard's path."""

    def test_between_events(self) -> None:
        """It knows whether it is within an event; a byte order mark may still come at first."""
        decoder = SSEDecoder(ROOMY)
        self.assertFalse(decoder.between_events)
        for data, between in (
            (b"data: a\n\n", True),
            (b"d", False),
            (b"ata: a\n", False),
            (b"\n", True),
            (b"event: b\n", False),
            (b"data: c\n\n: comment\n", True),
            (b"data: d\r\n\r", False),
            (b"\n", True),
        ):
            decoder.feed(data)
            self.assertEqual(decoder.between_events, between, data)

    def test_no_last_blank_line(self) -> None:
        """The last event is delivered at the end, its line ended or not; once."""
        for end in (b"", b"\n", b"\r", b"\r\n"):
            decoder = SSEDecoder(ROOMY)
            self.assertEqual(decoder.feed(b"event: end\ndata: [DONE]" + end), [])
            self.assertEqual(decoder.close(), [Event(b"[DONE]", "end")])
            self.assertEqual(decoder.close(), [])

    def test_dispatch_at_cr(self) -> None:
        """An event whose blank line ends in CR waits for no LF; the LF that follows is no line."""
        decoder = SSEDecoder(ROOMY)
        self.assertEqual(decoder.feed(b"data: 1\r\n\r"), [Event(b"1")])
        self.assertEqual(decoder.feed(b"\n"), [])
        self.assertEqual(decoder.feed(b"event: e\r"), [])
        self.assertEqual(decoder.feed(b""), [])
        self.assertEqual(decoder.feed(b"\ndata: 2\r\n\r\n"), [Event(b"2", "e")])

    def test_each_event_at_once(self) -> None:
        """An event is delivered with its last byte, not with the next event."""
        decoder = SSEDecoder(ROOMY)
        for event in (b"data: x\n\n", b"data:x\n\n", b"event: e\ndata: x\n\n", b"data: x\r\n\r\n"):
            self.assertEqual(len(decoder.feed(event)), 1)

    def test_broken_utf8(self) -> None:
        """Data stay as they came; a name that is not UTF-8 is no error."""
        stream = b"event: \xff\ndata: \xff\n\n"
        self.assertEqual(Outcome([stream]).events, [Event(b"\xff", "\ufffd")])

    def test_comments(self) -> None:
        """They are passed over, between events and inside of them."""
        outcome = Outcome([b": PROCESSING\n\n:\ndata: 1\n: PROCESSING\n\n: half"])
        self.assertEqual((outcome.events, outcome.stray), ([Event(b"1")], b""))

    def test_name_alone(self) -> None:
        """An event without data is not delivered."""
        decoder = SSEDecoder(ROOMY)
        self.assertEqual(decoder.feed(b"event: ping\n\ndata: 1\n\nevent: end"), [Event(b"1")])
        self.assertEqual(decoder.close(), [])

    def test_json_in_place_of_events(self) -> None:
        """A JSON body that is labelled as events can be read from the stray text."""
        body = b'{\r\n  "error": {\r\n    "code": 400\r\n  }\r\n}'
        outcome = Outcome(bytewise(body))
        self.assertEqual(outcome.events, [])
        self.assertEqual(outcome.stray, b'{\n  "error": {\n    "code": 400\n  }\n}\n')

    def test_json_between_events(self) -> None:
        """A bare JSON line between events, or beside data, is stray text, and no event is lost."""
        stream = b'data: 1\n\n{"error":{}}\n\ndata: 2\n{"x":1}\n\ndata: 3\n\n'
        outcome = Outcome([stream])
        self.assertEqual(outcome.events, [Event(b"1"), Event(b"2"), Event(b"3")])
        self.assertEqual(outcome.stray, b'{"error":{}}\n{"x":1}\n')

    def test_fields_are_not_stray(self) -> None:
        """Known fields and comments do not show in the stray text."""
        outcome = Outcome([b": c\nid: 1\nretry: 2\nevent: e\ndata: d\n\nid\n\n"])
        self.assertEqual(outcome.stray, b"")


class BoundTests(SynchronousTestCase):
    """One event is bounded, the stream is not."""

    def test_exact_bound(self) -> None:
        """An event of just so many bytes passes, one more byte does not, in each form."""
        for stream in (
            b"data: 12345678\n\n",
            b"data:1234\ndata:\n\n",
            b"event: 12\ndata:\n\n",
            b": 345678901234\n\n",
            b'{"error": 345}\n\n',
            b"data: 12345678",
        ):
            size = len(stream.replace(b"\n", b""))
            self.assertEqual(size, 14)
            for pieces in ([stream], bytewise(stream), [b"data: 1\n\n", stream]):
                self.assertFalse(Outcome(pieces, size).too_large, stream)
                self.assertTrue(Outcome(pieces, size - 1).too_large, stream)

    def test_many_events_in_one_piece(self) -> None:
        """A piece that is longer than the bound is no fault if its events are not."""
        outcome = Outcome([b"data: 1\n\n: c\n\n" * 100], 8)
        self.assertEqual(outcome.events, [Event(b"1")] * 100)

    def test_dead(self) -> None:
        """After the error every call gives the same one again."""
        decoder = SSEDecoder(10)
        for _ in range(2):
            with self.assertRaisesRegex(AnswerTooLarge, "^one event is longer than 10 bytes$"):
                decoder.feed(b"data: 12345")
        with self.assertRaises(AnswerTooLarge):
            decoder.feed(b"")
        with self.assertRaises(AnswerTooLarge):
            decoder.close()

    def peak(self, piece: bytes, times: int, bound: int) -> int:
        """Return the most memory that a decoder needed until the end, or until its error."""
        decoder = SSEDecoder(bound)
        tracemalloc.start()
        try:
            for _ in range(times):
                decoder.feed(piece)
        except AnswerTooLarge:
            pass
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return peak

    def test_memory(self) -> None:
        """Endless lines and events of any make-up stay within the bound and some."""
        bound = 256 * 1024
        for line in (b"x" * 997, b"data:\n", b"data:xy\n", b"data: xyz\r\n", b"event:xy\n"):
            piece = line * (1000 // len(line))
            self.assertLess(self.peak(piece, 1000, bound), 1.5 * bound, line)

    def test_memory_of_a_long_stream(self) -> None:
        """What needs no keeping is not kept: comments, blank lines, events, stray text."""
        for line in (b": ping\n", b"\n", b"id: 1\n", b"data: 1\n\n", b"event: e\n\n", b"{}\n"):
            piece = line * (1000 // len(line))
            allowed = 60_000 + 2 * STRAY_BYTES * (line == b"{}\n")
            self.assertLess(self.peak(piece, 200, 1000), allowed, line)

    def test_stray_text_is_bounded(self) -> None:
        """The first part of it is kept, up to the byte."""
        page = b"<p>" + b"x" * 97 + b"\n"
        outcome = Outcome([page] * 1000)
        self.assertEqual(outcome.stray, (page * 1000)[:STRAY_BYTES])

    def test_linear(self) -> None:
        """A line that comes byte by byte grows in place: it is never copied to add to it."""
        decoder = SSEDecoder(ROOMY)
        decoder.feed(b"data: ")
        line = decoder._tail
        for _ in range(1000):
            decoder.feed(b"x")
            self.assertIs(decoder._tail, line)
        decoder.feed(b"\ndata: y\ndata: z\n")
        joined = decoder._data
        for _ in range(1000):
            decoder.feed(b"data: y\n")
            self.assertIs(decoder._data, joined)
        (event,) = decoder.feed(b"\n")
        self.assertEqual(event.data, b"x" * 1000 + b"\ny\nz" + b"\ny" * 1000)


class WriteTests(SynchronousTestCase):
    """What we send."""

    def test_event(self) -> None:
        """One line of data, a blank line."""
        self.assertEqual(write_event(b'{"a":1}'), b'data: {"a":1}\n\n')
        self.assertEqual(write_event(b"[DONE]"), DONE)

    def test_event_with_line_ends(self) -> None:
        """No byte of the data can end the event or begin a field."""
        self.assertEqual(
            write_event(b"a\n\nb\r\nevent: c\r"),
            b"data: a\ndata: \ndata: b\ndata: event: c\ndata: \n\n",
        )

    @given(st.lists(st.binary() | streams))
    def test_round_trip(self, payloads: list[bytes]) -> None:
        """What is written is read again, line ends as LF; comments between change nothing."""
        stream = b"".join(write_comment("ping") + write_event(data) for data in payloads)
        outcome = Outcome([stream])
        self.assertEqual(
            [event.data for event in outcome.events],
            [re.sub(rb"\r\n|\r", b"\n", data) for data in payloads],
        )
        self.assertEqual(outcome.stray, b"")

    def test_comment(self) -> None:
        """One comment line a line, ended by a blank line."""
        self.assertEqual(write_comment("ping"), b": ping\n\n")
        self.assertEqual(write_comment("né\nto\r\ndata: x"), b": n\xc3\xa9\n: to\n: data: x\n\n")

    @given(st.text(st.characters(categories=["L", "Zl", "Cc", "Cs"]) | st.sampled_from("\r\n")))
    def test_comment_is_only_a_comment(self, text: str) -> None:
        """Whatever the text, nothing comes of it but comments."""
        written = write_comment(text)
        self.assertTrue(written.endswith(b"\n\n"))
        outcome = Outcome([written])
        self.assertEqual((outcome.events, outcome.stray), ([], b""))

"""Tests of :mod:`aiproxy.wire.json`."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.wire.json import MAX_DEPTH, JSONError, NestedTooDeep, dumps, loads

# "Cs" are the surrogates, which Hypothesis leaves out unless asked.
any_text = st.text()
text_with_surrogates = st.text(st.characters(categories=["L", "N", "P", "S", "Cc", "Cs"]))

numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)

tokens = ["[", "]", "{", "}", ",", ":", '"', '"a"', r'"\ud83d"', "-1", "1e99", "1e999", "NaN", "\n"]


def values(text: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    """Return a strategy of everything that a JSON document can hold."""
    return st.recursive(
        st.none() | st.booleans() | numbers | text,
        lambda inner: st.lists(inner) | st.dictionaries(text, inner),
        max_leaves=12,
    )


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]", core: bytes = b"") -> bytes:
    """Return a document with this many levels."""
    return opening * levels + core + closing * levels


class LoadsTests(SynchronousTestCase):
    """What is read, and as what."""

    @given(values(any_text))
    def test_every_value(self, value: Any) -> None:
        """What the standard library writes is read as the same value."""
        self.assertEqual(loads(json.dumps(value)), value)
        self.assertEqual(loads(json.dumps(value, ensure_ascii=False).encode()), value)

    def test_every_type_of_input(self) -> None:
        """Bytes, bytearray, memoryview and text are read alike, by both parsers."""
        for document, value in (('{"a": [1]}', {"a": [1]}), ('["\\ud83d"]', ["\ud83d"])):
            data = document.encode()
            for form in (document, data, bytearray(data), memoryview(data)):
                self.assertEqual(loads(form), value)

    def test_lone_surrogate(self) -> None:
        """One half of an emoji is kept as it came, whichever half and case of escape."""
        for escape in (r"\ud83d", r"\uD83D", r"\ude00", r"x\udbff y"):
            document = f'{{"content":"{escape}"}}'
            self.assertEqual(loads(document.encode()), json.loads(document))

    def test_lone_surrogate_in_text(self) -> None:
        """Text that itself holds a surrogate (arguments inside of a JSON string) is read."""
        self.assertEqual(loads('{"a":"\ud83d"}'), {"a": "\ud83d"})

    def test_surrogate_pair_beside_a_lone_one(self) -> None:
        """Two halves that belong together become one character in the second parser too."""
        self.assertEqual(loads(rb'["\ud83d\ude00","\ud83d"]'), ["\U0001f600", "\ud83d"])

    def test_large_integers(self) -> None:
        """64 bits stay whole, signed or not; more become floats, in both parsers."""
        for number in (
            *(0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1),
            *(2**64, -(2**63) - 1, -(2**64) + 1, 10**19 + 1, 10**20, -(10**20), 10**300),
        ):
            expected: int | float = number if -(2**63) <= number < 2**64 else float(number)
            for document in (f"[{number}]", f'[{number},"\\ud83d"]'):
                (read, *_) = loads(document)
                self.assertEqual(read, expected, document)
                self.assertIs(type(read), type(expected), document)

    @given(st.integers(-(10**25), 10**25) | st.floats(allow_nan=False, allow_infinity=False))
    def test_both_parsers_agree_on_numbers(self, number: float) -> None:
        """A lone surrogate elsewhere in the document changes no number."""
        (alone,) = loads(f"[{number!r}]")
        (beside, _) = loads(f'[{number!r},"\\ud83d"]')
        self.assertEqual(repr(alone), repr(beside))

    def test_last_of_equal_keys(self) -> None:
        """Of two equal keys the last one counts, in both parsers."""
        self.assertEqual(loads(b'{"a":1,"a":2}'), {"a": 2})
        self.assertEqual(loads(rb'{"a":1,"a":"\ud83d"}'), {"a": "\ud83d"})


class RefusalTests(SynchronousTestCase):
    """What is refused, and what is said about it."""

    def refused(self, document: bytes | str, message: str) -> None:
        """Assert that both parsers refuse *document*, the first one with *message*."""
        with self.assertRaises(JSONError) as caught:
            loads(document)
        self.assertRegex(str(caught.exception), message)
        lone = r'["\ud83d",%s]'
        second = lone % document if isinstance(document, str) else lone.encode() % document
        with self.assertRaises(JSONError):
            loads(second)

    def test_not_json(self) -> None:
        """What is not JSON is refused with its place."""
        for document in (b"[1,]", b"{'a':1}", b"[01]", b'["\t"]', b"[tru]", b"<html>", b"\x0c1"):
            self.refused(document, r": line 1 column \d+$")
        self.refused(b'{"a":1}\n x', "line 2 column 2")
        self.refused(b"", "line 1 column 1")
        self.refused("", "line 1 column 1")
        self.refused(b"\xef\xbb\xbf1", "line 1 column 1")

    def test_not_a_number(self) -> None:
        """NaN, infinities and numbers that only an infinity could hold are not JSON."""
        for document in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"):
            self.refused(document, "line 1")
        self.refused(b"1" * 400, "line 1")
        self.refused(b"1" * 5000, "line 1")

    def test_not_a_number_beside_a_lone_surrogate(self) -> None:
        """The standard library, which reads them, is held to the same."""
        with self.assertRaisesRegex(JSONError, "^NaN is not JSON$"):
            loads(rb'["\ud83d",NaN]')
        with self.assertRaisesRegex(JSONError, "^a number is too large$"):
            loads(rb'["\ud83d",-1e999]')

    def test_not_json_beside_a_lone_surrogate(self) -> None:
        """The place is that of the fault, not that of the surrogate."""
        with self.assertRaisesRegex(JSONError, r": line 1 column 1[12]"):
            loads(rb'["\ud83d",x]')

    def test_not_utf8(self) -> None:
        """Broken UTF-8 is refused with the byte where it breaks, an encoded surrogate too."""
        for broken in (b"\xff", b"\xc3", b"\xed\xa0\xbd"):
            with self.assertRaisesRegex(JSONError, "^not UTF-8 at byte 2$"):
                loads(b'["' + broken + b'"]')
            with self.assertRaisesRegex(JSONError, "^not UTF-8 at byte 2$"):
                loads(b'["' + broken + rb'\ud83d"]')

    def test_document_is_not_quoted(self) -> None:
        """Neither the message nor an exception behind it holds the document: it may be private."""
        for document in (b'{"sesame": sesame}', rb'{"sesame":"\ud83d" sesame}', b'"sesame\xff"'):
            with self.assertRaises(JSONError) as caught:
                loads(document)
            self.assertNotIn("sesame", str(caught.exception))
            self.assertIsNone(caught.exception.__context__)

    @given(
        st.binary()
        | st.text(st.sampled_from('[]{}",:\\ud8e.-1NaI \n\ud83d'))
        | st.lists(st.sampled_from(tokens)).map("".join)
    )
    @example(b"\\ud")
    @example('[{"\ud83d":-1e1}]')
    @example('"\ud83d\\ude00"')
    def test_nothing_but_our_error(self, document: bytes | str) -> None:
        """Hostile input gives a value or a JSONError, and nothing else."""
        try:
            value = loads(document)
        except JSONError as error:
            self.assertTrue(str(error))
        else:
            # As the standard library does it: halves of a character may meet on the way.
            self.assertEqual(loads(dumps(value)), json.loads(json.dumps(value)))


class DepthTests(SynchronousTestCase):
    """How deep a document may be nested."""

    shapes: tuple[Callable[[int], bytes], ...] = (
        nested,
        lambda levels: nested(levels - 1, b'{"a":', b"}", b"{}"),
        lambda levels: nested(levels, core=rb'"\ud83d"'),
        lambda levels: b"[[],{}," + nested(levels - 1, b"[1,", b",2]", b"0") + b",[]]",
    )

    def test_limit(self) -> None:
        """Exactly the levels allowed are read, in arrays, objects, by both parsers."""
        for shape in self.shapes:
            for levels in (1, 2, 7, MAX_DEPTH):
                deepest = shape(levels + 1)
                for document in (deepest, deepest.decode(), memoryview(deepest)):
                    loads(document, max_depth=levels + 1)
                    with self.assertRaisesRegex(NestedTooDeep, f"deeper than {levels} levels"):
                        loads(document, max_depth=levels)

    def test_brackets_are_not_depth(self) -> None:
        """Neither a broad document nor brackets in strings count as levels."""
        broad = b"[" + b"[],{}," * 500 + b"[]]"
        quoted = b'["' + b"[{" * 500 + b'"]'
        for document in (broad, quoted):
            self.assertEqual(loads(document, max_depth=2), json.loads(document))
        with self.assertRaises(NestedTooDeep):
            loads(broad, max_depth=1)

    def test_without_limit(self) -> None:
        """An answer may be as deep as orjson reads: 1024 levels."""
        loads(nested(1024))
        for levels in (1025, 100_000):
            with self.assertRaises(NestedTooDeep):
                loads(nested(levels))

    def test_not_closed(self) -> None:
        """Brackets that nobody closes are told as that: orjson can call it a lack of memory."""
        for levels in (1, 600, 900):
            with self.assertRaisesRegex(JSONError, "^(?!.*memory).*: line 1 column"):
                loads(b"[" * levels)
        for levels in (1025, 100_000):
            with self.assertRaises(JSONError):
                loads(b"[" * levels)

    def test_without_limit_beside_a_lone_surrogate(self) -> None:
        """The standard library's recursion ends in the same error, whatever its own limit."""
        document = b'["\\ud83d",' + nested(1024) + b"]"
        with self.assertRaises(NestedTooDeep):
            loads(document)
        limit = sys.getrecursionlimit()
        self.addCleanup(sys.setrecursionlimit, limit)
        for levels in (100, 5000):
            sys.setrecursionlimit(limit + levels)
            with self.assertRaises(NestedTooDeep):
                loads(document)

    def test_recursion(self) -> None:
        """A caller who is deep in the stack himself gets no RecursionError."""
        document = nested(250, core=rb'"\ud83d"')

        def load_at(depth: int) -> object:
            return load_at(depth - 1) if depth else loads(document)

        deep = sys.getrecursionlimit() - _stack_depth() - 100
        if sys.version_info >= (3, 12):  # Its parser has a stack of its own.
            self.assertEqual(load_at(deep), loads(document))
        else:
            with self.assertRaises(NestedTooDeep):
                load_at(deep)


def _stack_depth() -> int:
    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth


class DumpsTests(SynchronousTestCase):
    """What is written."""

    def test_compact_utf8(self) -> None:
        """No spaces, no escapes that are not needed."""
        self.assertEqual(dumps({"a": [1, "ж\n"], "b": None}), '{"a":[1,"ж\\n"],"b":null}'.encode())

    @given(values(text_with_surrogates))
    def test_round_trip(self, value: Any) -> None:
        """Whatever was read is written, as UTF-8, and read as the same again."""
        read = loads(json.dumps(value))
        written = dumps(read)
        written.decode("utf-8")
        self.assertEqual(loads(written), read)

    @given(values(any_text))
    def test_both_writers_agree(self, value: Any) -> None:
        """A lone surrogate elsewhere in the document changes nothing that is written."""
        self.assertEqual(dumps([value, "\ud83d"]), b"[" + orjson.dumps(value) + rb',"\ud83d"]')

    def test_halves_are_joined(self) -> None:
        """Two halves that deltas brought one by one are one character to the next reader."""
        self.assertEqual(loads(dumps("\ud83d" + "\ude00")), "\U0001f600")

    def test_surrogate_in_key(self) -> None:
        """Keys are written like other strings; only the surrogate is escaped, wherever it is."""
        value = {"\\\ud83d": "\\", "ж": ("ж\ud83d", 1)}
        self.assertEqual(dumps(value), r'{"\\\ud83d":"\\","ж":["ж\ud83d",1]}'.encode())

    def test_deep(self) -> None:
        """Every depth that is read is written, in some wrapping of ours, in a deep stack."""
        for levels in (254, 255, 1023, 1024):
            for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
                document = nested(levels, opening, closing, b"1")
                self.assertEqual(dumps({"x": [loads(document)]}), b'{"x":[' + document + b"]}")

    def test_large_integers(self) -> None:
        """An integer of our own over 64 bits is written digit by digit."""
        self.assertEqual(dumps({"seed": 2**70, "n": [1.5]}), b'{"seed":%d,"n":[1.5]}' % 2**70)

    def test_not_a_number(self) -> None:
        """NaN and infinities are null, in both writers."""
        numbers = [float("nan"), float("inf"), float("-inf")]
        self.assertEqual(dumps(numbers), b"[null,null,null]")
        self.assertEqual(dumps([*numbers, "\ud83d"]), rb'[null,null,null,"\ud83d"]')

    def test_refusals(self) -> None:
        """Keys that are not strings, foreign types, numbers without end: our error, no values."""
        for value, message in (
            ({1: "sesame"}, "a key of an object must be a string, not int"),
            ([{None: "sesame"}], "a key of an object must be a string, not NoneType"),
            ([b"sesame"], "this bytes cannot be written as JSON"),
            ({"a": {"sesame"}}, "this set cannot be written as JSON"),
            (10**5000, "this int cannot be written as JSON"),
        ):
            with self.assertRaisesRegex(JSONError, f"^{re.escape(message)}$"):
                dumps(value)

    def test_value_that_contains_itself(self) -> None:
        """It is refused, in bounded time and memory."""
        loop: list[object] = []
        loop += [loop, loop]
        knot: dict[str, object] = {}
        knot["a"] = [knot]
        for value in (loop, knot):
            with self.assertRaisesRegex(NestedTooDeep, "contains itself"):
                dumps(value)

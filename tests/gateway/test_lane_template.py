"""Tests of :mod:`aiproxy.gateway.lane_template`: what events have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.gateway.lane_template import Template, learn
from aiproxy.wire.json import dumps, loads

HEAD = b'data: {"id":"c-1","choices":[{"index":0,"delta":{"content":'


def event(text: str | bytes, end: bytes = b"}}]}\n\n") -> bytes:
    """Make an event; bytes are a string of JSON as it stands."""
    return HEAD + (text if isinstance(text, bytes) else dumps(text)) + end


def chunk(text: str, **others: Any) -> dict[str, Any]:
    """Make what is read of it."""
    return {"choices": [{"index": 0, "delta": {"content": text, **others}}]}


class Reader:
    """Has read a usage."""

    usage_name = "usage"

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = told

    def tells(self, usage: Mapping[str, Any]) -> bool:
        return self._told == usage


def template(end: bytes = b"}}]}\n\n", told: dict[str, Any] | None = None) -> Template:
    """Make a template of events that are written in brackets."""
    reader = Reader(told) if told is not None else None
    made = learn(event(" one", end), b'<{"c":" one"}>', chunk(" one"), reader)
    assert made is not None
    return made


class LearnTests(SynchronousTestCase):
    """From which events a template is made."""

    def test_text(self) -> None:
        """An event that says only a text gives one."""
        data = event(" two") + event(" three")
        written = b'<{"c":" two"}><{"c":" three"}>'
        self.assertEqual(template().read(data), (" two three", written, len(data), b""))

    def test_twice_written(self) -> None:
        """A text that is written under two names is so in each event."""
        said = chunk(" a", content="", reasoning=" a", reasoning_content=" a")
        made = learn(event(" a"), b'{"r":" a","t":" a"}', said)
        assert made is not None
        passed = made.read(event(" b"))
        assert passed is not None
        self.assertEqual(passed[1], b'{"r":" b","t":" b"}')
        self.assertEqual(made.names, ("reasoning", "reasoning_content"))

    def test_others(self) -> None:
        """None is made where more is said, or it is not clear where the text stands."""
        one, written = event(" one"), b'{"c":" one"}'
        calls = {"tool_calls": [{"index": 0}]}
        for told, became, said in (
            (one, written, chunk(" one", role="assistant")),
            (one, written, chunk(" one", reasoning_content=" two")),
            (one, written, chunk(" one", **calls)),
            (one, b'{"c":" one","d":" one"}', chunk(" one", other=" one")),
            (one, written, {"choices": []}),
            (one, written, {"choices": 2 * chunk(" one")["choices"]}),
            (one, written, chunk("")),
            (one, b"{}", chunk(" one")),
            (one, b'{"c":" one","d":" one"}', chunk(" one")),
            (event("c-1"), b'{"c":"c-1"}', chunk("c-1")),
            (event(":"), b'{"c" :":"}', chunk(":")),
            (event(b'"\\u0020one"'), written, chunk(" one")),
            (b": x\n" + one, written, chunk(" one")),
            (b"data: 1\r\n\r\n" + one, written, chunk(" one")),
            (one.replace(b"\n\n", b"\r\n\r\n"), written, chunk(" one")),
            (one[:-1], written, chunk(" one")),
        ):
            self.assertIsNone(learn(told, became, said), (told, became, said))
        self.assertIsNotNone(learn(one, written, chunk(" one")))


class ReadTests(SynchronousTestCase):
    """Which events pass."""

    def test_other_event(self) -> None:
        """What follows the events of the same frame is left, and what is not whole."""
        two = event(" two")
        for rest in (
            event(" three", b"}}],x}\n\n"),
            b": ping\n\n" + two,
            event(""),
            two[:-1],
            event(" two", b"}}],x}\n\n") + two,
            b"x",
        ):
            passed = template().read(two + two + rest)
            assert passed is not None, rest
            text, _, used, _ = passed
            self.assertEqual((text, used), (" two two", 2 * len(two)), rest)
            self.assertIsNone(template().read(rest), rest)

    def test_no_string(self) -> None:
        """What is no string goes the ordinary way, with what is beside it."""
        good = event(" two")
        for wrong in (b'"a","b"', b'"a" "b"', b'"\\x"', b'"\x01"', b'"\xff"', b'"a\\"'):
            for data in (event(wrong), good + event(wrong), event(wrong) + good):
                self.assertIsNone(template().read(data), data)
        # One has a value too many, and the next one too few.
        self.assertIsNone(template().read(event(b'"x","y"') + event(b'"a\\"') + event(b'"b"')))

    @given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1))
    def test_all_texts(self, texts: list[str]) -> None:
        """Texts of any characters pass, and are written as we write them."""
        data = b"".join(map(event, texts))
        passed = template().read(data)
        written = b"".join(b'<{"c":' + dumps(text) + b"}>" for text in texts)
        self.assertEqual(passed, ("".join(texts), written, len(data), b""))

    def test_string_padding(self) -> None:
        """Padding that is told to the client is told for each event."""
        end = b'}}],"obfuscation":%s}\n\n'
        made = learn(
            event(" one", end % b'"abc"'), b'{"c":" one","obfuscation":"abc","d":1}', chunk(" one")
        )
        assert made is not None
        passed = made.read(event(" two", end % b'""') + event("x", end % b'"\\u002f"'))
        assert passed is not None
        written = b'{"c":" two","obfuscation":"","d":1}{"c":"x","obfuscation":"/","d":1}'
        self.assertEqual(passed[1], written)
        one = event(" two", end % b'"ab"')
        written = b'{"c":" two","obfuscation":"ab","d":1}'
        self.assertEqual(made.read(one), (" two", written, len(one), b""))
        self.assertIsNone(made.read(event(" two", end % b"null")))
        self.assertIsNone(made.read(event(" two", end % b'"a","b":"c"')))

    def test_spaces(self) -> None:
        """Spaces before the last brace may be any number, and nothing else."""
        made = template(b"}}]   }\n\n")
        passed = made.read(event(" two", b"}}]}\n\n") + event(" three", b"}}]      }\n\n"))
        assert passed is not None
        self.assertEqual(passed[0], " two three")
        one = event(" two", b"}}]  }\n\n")
        self.assertEqual(made.read(one), (" two", b'<{"c":" two"}>', len(one), b""))
        self.assertIsNone(made.read(event(" two", b"}}] 1 }\n\n")))

    def test_usage(self) -> None:
        """Usage may have other numbers in each event; the last one's is given."""
        told = b'{"in": 7,"parts":[{"of":"a1","cost":0.5}],"none":null}'
        made = template(b'}}],"usage":' + told + b',"x":1}\n\n', loads(told))
        zero = told.replace(b"7", b"0").replace(b"0.5", b"-12")
        ends = [b'}}],"usage":' + usage + b',"x":1}\n\n' for usage in (told, zero)]
        events = [event(" two", ends[0]), event(" three", ends[1])]
        for data, text, usage in (
            (events[0], " two", told),
            (events[1], " three", zero),
            (b"".join(events), " two three", zero),
        ):
            passed = made.read(data)
            assert passed is not None
            self.assertEqual((passed[0], *passed[2:]), (text, len(data), usage))
        for before, after in (
            (b"7", b""),
            (b"7", b"07"),
            (b"7", b"7e9"),
            (b"7", b"null"),
            (b"7", b"7" * 16),
            (b"7", b'7,"in":8'),
            (b"a1", b"a2"),
            (b"none", b"some"),
        ):
            other = event(" two", ends[0].replace(before, after))
            self.assertIsNone(made.read(other), other)
            passed = made.read(events[1] + other)
            assert passed is not None
            self.assertEqual((passed[0], passed[2]), (" three", len(events[1])))

    def test_no_usage(self) -> None:
        """Usage that is none, has no numbers, or another name, belongs to the frame."""
        for told in (b'"usage":null', b'"usage":{}', b'"usage":{"a":"1"}', b'"used":{"a":1}'):
            made = template(b"}}]," + told + b"}\n\n", {"a": 1})
            self.assertIsNone(made.usage)
            self.assertIsNotNone(made.read(event(" two", b"}}]," + told + b"}\n\n")))
        self.assertIsNone(made.read(event(" two", b'}}],"used":{"a":2}}\n\n')))
        deep = b'"usage":{"a":' + b"[" * 5000 + b"1" + b"]" * 5000 + b"}"
        self.assertIsNone(template(b"}}]," + deep + b"}\n\n", {"a": 1}).usage)
        self.assertIsNone(template(b'}}],"usage":{"a":1}}\n\n', {"a": 2}).usage)

    def test_long_usage(self) -> None:
        """Of a usage that is long no pattern is made: that would take longer than to read it."""
        for fields, is_made in ((50, True), (1_000, False)):
            told = {f"field_{number}": number for number in range(fields)}
            end = b'}}],"usage":' + dumps(told) + b"}\n\n"
            self.assertEqual(template(end, told).usage is not None, is_made, fields)

    def test_doubtful_usage(self) -> None:
        """Where usage stands twice, or goes out with each event, no template is made."""
        told, reader = b'"usage":{"a":1}', Reader({"a": 1})
        for end, written in (
            (b"}}]," + told + b',"other":{' + told + b"}}\n\n", b'{"c":" one"}'),
            (b"}," + told + b"}]}\n\n", b'{"c":" one",' + told + b"}"),
        ):
            self.assertIsNone(learn(event(" one", end), written, chunk(" one"), reader))

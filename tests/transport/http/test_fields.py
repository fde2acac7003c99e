"""Tests of :mod:`aiproxy.transport.http.fields`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.http.fields import read_fields, read_keep_alive, write_fields

OURS = b"Host: h\r\nUser-Agent: u\r\nAccept-Encoding: identity\r\n"


class ReadTests(SynchronousTestCase):
    """Headers of an answer."""

    def test_first(self) -> None:
        """Of repeated ones the first counts, and any byte is legible."""
        fields = [(b"a", b"1"), (b"a", b"2"), (b"b", b"\xc3\xa9"), (b"c", b"\xe9")]
        self.assertEqual(read_fields(fields), {"a": "1", "b": "\u00e9", "c": "\u00e9"})
        self.assertEqual(read_fields(fields[:3]), {"a": "1", "b": "\u00e9"})

    def test_hidden(self) -> None:
        """What the connection is about is nobody else's."""
        hidden = (b"connection", b"content-length", b"keep-alive", b"transfer-encoding", b"upgrade")
        self.assertEqual(read_fields([(name, b"x") for name in hidden]), {})

    def test_keep_alive(self) -> None:
        """The time an upstream names is shortened, by a second or to its half."""
        for value, seconds in (
            (b"timeout=60", 59.0),
            (b"max=5, TIMEOUT=2", 1.0),
            (b"timeout=1", 0.5),
            (b"timeout=0", 0.0),
            (b"timeout=x", float("inf")),
            (b"max=5", float("inf")),
        ):
            self.assertEqual(read_keep_alive([(b"keep-alive", value)]), seconds)
        self.assertEqual(read_keep_alive([(b"timeout", b"1")]), float("inf"))


class WriteTests(SynchronousTestCase):
    """Headers of a request."""

    def test_ours(self) -> None:
        """Host and name are the caller's if it says so; framing and compression never."""
        self.assertEqual(write_fields({}, "h", "u"), OURS)
        told = {"HOST": "h", "user-agent": "u", "TE": "x", "Accept-Encoding": "br", "X-A": "1"}
        self.assertEqual(write_fields(told, "other", "other"), OURS + b"X-A: 1\r\n")

    def test_names(self) -> None:
        """A name that is none is not sent."""
        for name in ("", "a b", "a:", "\u00e9", "a\r\nb"):
            self.assertRaises(ValueError, write_fields, {name: "x"}, "h", "u")

    @given(st.text(alphabet="ab:\r\n\0 \u00e9", max_size=20))
    def test_one_line(self, value: str) -> None:
        """No value makes a line of its own, nor changes another."""
        written = write_fields({"x-a": value, "x-b": "1"}, "h", "u")
        lines = written.split(b"\r\n")
        self.assertEqual([it.partition(b":")[0] for it in lines[3:]], [b"x-a", b"x-b", b""])
        self.assertTrue(written.startswith(OURS))
        for byte in (b"\r", b"\n", b"\0"):
            self.assertFalse(any(byte in line for line in lines))

"""Tests of :mod:`aiproxy.wire.durations`."""

from __future__ import annotations

import doctest

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.wire import durations
from aiproxy.wire.durations import read_duration, read_size, write_duration, write_size

A_YEAR_MS = 366 * 24 * 3600 * 1000


class ReadDurationTests(SynchronousTestCase):
    """Durations as people and Go programs write them."""

    def test_units(self) -> None:
        """Every unit is understood, alone and one after the other."""
        for text, seconds in [
            ("500ms", 0.5),
            ("1s", 1.0),
            ("1.5s", 1.5),
            ("2m30s", 150.0),
            ("1h", 3600.0),
            ("1h2m3s4ms", 3723.004),
            ("250us", 0.00025),
            ("250\u00b5s", 0.00025),
            ("250\u03bcs", 0.00025),
            ("7ns", 7e-9),
            ("0", 0.0),
            ("0s", 0.0),
        ]:
            self.assertEqual(read_duration(text), seconds, text)

    def test_numbers(self) -> None:
        """A plain number needs a key that has always been in seconds; zero is zero."""
        self.assertEqual(read_duration(0), 0.0)
        self.assertEqual(read_duration(30, bare_seconds=True), 30.0)
        self.assertEqual(read_duration(1.5, bare_seconds=True), 1.5)
        self.assertEqual(read_duration("30s", bare_seconds=True), 30.0)
        with self.assertRaisesRegex(ValueError, "with its unit"):
            read_duration(30)

    def test_refused(self) -> None:
        """What is no duration is refused, with an example of one."""
        for value in [
            "",
            "s",
            "1",
            "1d",
            "-1s",
            "1s ",
            " 1s",
            "1e3s",
            "1s1",
            True,
            None,
            [],
            "1.s.s",
        ]:
            with self.assertRaisesRegex(ValueError, "such as 500ms, 30s or 2m30s"):
                read_duration(value)

    def test_bare_seconds_out_of_range(self) -> None:
        """Numbers that no timer can take are refused, however large."""
        for value, message in [
            (-1, "negative"),
            (-0.5, "negative"),
            (float("inf"), "finite"),
            (float("nan"), "finite"),
            (10**10, "hundred years"),
            (10**400, "hundred years"),
        ]:
            with self.assertRaisesRegex(ValueError, message):
                read_duration(value, bare_seconds=True)

    def test_too_long(self) -> None:
        """More than a hundred years is a slip."""
        with self.assertRaisesRegex(ValueError, "hundred years"):
            read_duration("900000h")
        self.assertEqual(read_duration("876600h"), 876600 * 3600.0)

    @given(st.integers(min_value=0, max_value=A_YEAR_MS))
    def test_round_trip(self, milliseconds: int) -> None:
        """What is written is read back exactly."""
        seconds = milliseconds / 1000
        self.assertEqual(read_duration(write_duration(seconds)), seconds)

    @given(st.integers(min_value=0, max_value=10**15))
    def test_nanoseconds_round_trip(self, nanoseconds: int) -> None:
        """Nanoseconds survive too."""
        seconds = nanoseconds / 1e9
        self.assertEqual(
            write_duration(read_duration(write_duration(seconds))), write_duration(seconds)
        )

    @given(st.one_of(st.text(), st.text("0123456789.hmsun\u00b5", max_size=40)))
    def test_hostile(self, text: str) -> None:
        """Any text gives seconds within the bound, or ValueError."""
        try:
            seconds = read_duration(text)
        except ValueError:
            return
        self.assertTrue(0 <= seconds <= 36_525 * 24 * 3600)

    def test_value_not_shown(self) -> None:
        """A secret in the wrong place does not get into the message."""
        with self.assertRaises(ValueError) as caught:
            read_duration("sk-secret")
        self.assertNotIn("sk-secret", str(caught.exception))


class ReadSizeTests(SynchronousTestCase):
    """Numbers of bytes."""

    def test_units(self) -> None:
        """Binary and decimal units in any case, with or without a space."""
        for value, size in [
            ("64KiB", 65536),
            ("32MiB", 32 * 2**20),
            ("1gib", 2**30),
            ("2 TiB", 2**41),
            ("1.5MiB", 3 * 2**19),
            ("10KB", 10_000),
            ("3MB", 3_000_000),
            ("1GB", 10**9),
            ("1TB", 10**12),
            ("17B", 17),
            ("17", 17),
            (17, 17),
            (0, 0),
        ]:
            self.assertEqual(read_size(value), size, value)

    def test_refused(self) -> None:
        """What is no size is refused, with the reason."""
        for value, message in [
            ("", "such as 64KiB"),
            ("KiB", "such as 64KiB"),
            ("1XB", "such as 64KiB"),
            ("1 K", "such as 64KiB"),
            ("-1KiB", "such as 64KiB"),
            (1.5, "such as 64KiB"),
            (True, "such as 64KiB"),
            (None, "such as 64KiB"),
            (-1, "negative"),
            ("1.5B", "whole number"),
            ("0.3KiB", "whole number"),
            (2**63, "larger than 4 EiB"),
            ("999999999999TiB", "larger than 4 EiB"),
        ]:
            with self.assertRaisesRegex(ValueError, message):
                read_size(value)

    @given(st.integers(min_value=0, max_value=2**49))
    def test_round_trip(self, size: int) -> None:
        """What is written is read back."""
        self.assertEqual(read_size(write_size(size)), size)

    @given(st.one_of(st.text(), st.text("0123456789.kKiMGTB ", max_size=30), st.integers()))
    def test_hostile(self, value: object) -> None:
        """Anything gives a number within the bound, or ValueError."""
        try:
            size = read_size(value)
        except ValueError:
            return
        self.assertTrue(0 <= size <= 2**62)

    def test_largest_unit(self) -> None:
        """A size is written in the largest unit that divides it."""
        self.assertEqual(write_size(2**40), "1TiB")
        self.assertEqual(write_size(0), "0")


class ExampleTests(SynchronousTestCase):
    """The examples in the docstrings."""

    def test_examples(self) -> None:
        """They are true."""
        results = doctest.testmod(durations)
        self.assertEqual(results.failed, 0)
        self.assertGreater(results.attempted, 0)

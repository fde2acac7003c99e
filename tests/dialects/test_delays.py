"""Tests of :mod:`aiproxy.dialects.delays`."""

from __future__ import annotations

import math
import os
import time
from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.delays import read_delay, retry_delay

DATE = "Wed, 05 Nov 2025 10:00:00 GMT"
YEAR = 366 * 24 * 3_600.0


class RetryDelayTests(SynchronousTestCase):
    """Headers first, the milliseconds before the seconds, then the body, then its words."""

    def test_headers(self) -> None:
        """Each form of each header, and what takes precedence."""
        for headers, expected in (
            ({}, None),
            ({"retry-after": "0"}, 0.0),
            ({"retry-after": "12"}, 12.0),
            ({"retry-after": " 1.5 "}, 1.5),
            ({"retry-after-ms": "250"}, 0.25),
            ({"retry-after-ms": "250", "retry-after": "12"}, 0.25),
            ({"retry-after-ms": "soon", "retry-after": "12"}, 12.0),
            ({"retry-after": "-1"}, None),
            ({"retry-after": "soon"}, None),
            ({"retry-after": "99999999999"}, YEAR),
            ({"retry-after": "1762336830", "date": DATE}, 30.0),
            ({"retry-after": "1762336770", "date": DATE}, 0.0),
            ({"retry-after": "Wed, 05 Nov 2025 10:00:30 GMT", "date": DATE}, 30.0),
            ({"retry-after": "Wed, 05 Nov 2025 09:59:30 GMT", "date": DATE}, 0.0),
            ({"retry-after": "Wednesday, 05-Nov-25 10:01:00 GMT", "date": DATE}, 60.0),
            ({"x-ratelimit-reset": "1762336805000", "date": DATE}, 5.0),
            ({"x-ratelimit-reset": "1762336805000", "date": DATE, "retry-after": "7"}, 7.0),
            ({"x-ratelimit-reset": "2"}, None),
        ):
            self.assertEqual(retry_delay(headers), expected, headers)

    def test_no_zone(self) -> None:
        """A date without a zone is UTC, wherever the server is; its oldest form has none."""
        self.move("America/New_York")
        for date in ("Wed Nov  5 10:00:30 2025", "Wed, 05 Nov 2025 10:00:30 -0000"):
            self.assertEqual(retry_delay({"retry-after": date, "date": DATE}), 30.0, date)

    def move(self, zone: str) -> None:
        """Be in another time zone for the rest of the test."""
        self.addCleanup(_settle, os.environ.get("TZ"))
        _settle(zone)

    def test_date_without_date(self) -> None:
        """Where the answer tells no date of its own, ours must do."""
        for date in ({}, {"date": "yesterday"}):
            delay = retry_delay({"retry-after": formatdate(time.time() + 600, usegmt=True), **date})
            assert delay is not None
            self.assertTrue(550 < delay <= 600, delay)

    def test_body(self) -> None:
        """What a field tells goes before the words, and both after the headers."""
        words = "Please try again in 2s."
        self.assertEqual(retry_delay({}, told=3.0, words=words), 3.0)
        self.assertEqual(retry_delay({"retry-after": "1"}, told=3.0, words=words), 1.0)
        self.assertEqual(retry_delay({}, told=1e300), YEAR)

    def test_words(self) -> None:
        """Spans as providers write them; other numbers are none."""
        for words, expected in (
            ("Please try again in 20s.", 20.0),
            ("please Try again in 250ms, thanks", 0.25),
            ("try again in 1h2m3.5s", 3_723.5),
            ("Please retry in 48.25s.", 48.25),
            ("Try again in 7 s", 7.0),
            ("try again in 5 days", None),
            ("try again later", None),
            ("used 20s of 30s", None),
            ("try again in " + "9" * 400 + "s", None),
        ):
            self.assertEqual(retry_delay({}, words=words), expected, words)

    @given(
        st.dictionaries(
            st.sampled_from(["retry-after", "retry-after-ms", "date", "x-ratelimit-reset"]),
            st.text(max_size=30)
            | st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,6} [A-Z][a-z]{2} \d{1,9} \d+:\d+:\d+ \S*\Z")
            | st.integers().map(str),
        ),
        st.text("try again in0129hms. ", max_size=60),
    )
    def test_hostile(self, headers: dict[str, str], words: str) -> None:
        """Whatever is written: a time that a timer can take, or none."""
        delay = retry_delay(headers, words=words)
        if delay is not None:
            self.assertTrue(math.isfinite(delay) and 0 <= delay <= YEAR, delay)


class ReadDelayTests(SynchronousTestCase):
    """A field that holds a delay."""

    def test_values(self) -> None:
        """Numbers of seconds and Google's text; all else is none."""
        for value, expected in (
            (20.5, 20.5),
            (0, 0.0),
            ("48s", 48.0),
            ("500ms", 0.5),
            ("48", None),
            ("soon", None),
            (-1, None),
            (True, None),
            (None, None),
            ([], None),
        ):
            self.assertEqual(read_delay(value), expected, value)


def _settle(zone: str | None) -> None:
    """Be in a time zone, or in the system's own."""
    os.environ.pop("TZ", None)
    if zone is not None:
        os.environ["TZ"] = zone
    time.tzset()

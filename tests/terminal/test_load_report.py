"""Tests of :mod:`aiproxy.terminal.load_report`."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.style import Style
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.terminal.load_figures import Bucket, Percentiles, Report
from aiproxy.terminal.load_report import dump_report, write_bar, write_report, write_seconds

REPORT = Report(
    url="http://test/v1",
    model="up/one",
    stream=True,
    connections=8,
    rate=None,
    partial=False,
    unfinished=0,
    good=250,
    failures={},
    examples={},
    duration=12.5,
    tokens=5000,
    usage_told=250,
    peak=8,
    repeated=0,
    late=None,
    cpu_share=0.034,
    times={
        "first token": Percentiles(0.001, 0.0049, 0.05, 0.5, 1.25),
        "total": Percentiles(1, 2, 3, 4, 5),
    },
    plotted="first token",
    buckets=[Bucket(0.001, 0.01, 160), Bucket(0.01, 0.1, 0), Bucket(0.1, 1, 90)],
)
FAILURES = {"429 rate_limit_exceeded": 1200, "timeout": 3}
EXAMPLES = {"429 rate_limit_exceeded": "slow down", "timeout": "no end"}


def write_text(columns: int = 80, **changes: Any) -> str:
    """Write a report as plain text."""
    lines = write_report(evolve(REPORT, **changes), columns)
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)


class NumberTests(SynchronousTestCase):
    """Times and bars."""

    def test_seconds(self) -> None:
        """A time has three digits, and from a second on the unit of one."""
        for seconds, text in (
            (0.0, "0 ms"),
            (0.0000042, "0.004 ms"),
            (0.00123456, "1.23 ms"),
            (0.0999951, "100 ms"),
            (0.123456, "123 ms"),
            (0.99949, "999 ms"),
            (0.9996, "1.00 s"),
            (12.345, "12.3 s"),
            (1234.5, "1,234 s"),
        ):
            self.assertEqual(write_seconds(seconds), text)

    def test_bar(self) -> None:
        """A bar is exact to an eighth of a column."""
        self.assertEqual(write_bar(1, 4), "████")
        self.assertEqual(write_bar(0.5, 3), "█▌")
        self.assertEqual(write_bar(0.0001, 4), "▏")
        self.assertEqual(write_bar(0, 4), "")

    @given(st.floats(0, 1), st.integers(1, 60))
    def test_bar_fits(self, share: float, columns: int) -> None:
        """No bar is longer than its columns."""
        self.assertLessEqual(len(write_bar(share, columns)), columns)


class TextTests(SynchronousTestCase):
    """What people read."""

    maxDiff = None

    def test_whole(self) -> None:
        """A good report, line for line."""
        self.assertEqual(
            write_text(),
            """
up/one at http://test/v1, streams
closed loop, 8 connections
a slow server is asked less: --rate shows what then waits

250 requests in 12.5 s: 250 good, 0 failed
20.0 good answers/s, 400 tokens/s
this generator: 3% of a processor

                   min       p50       p90       p99       max
first token    1.00 ms   4.90 ms   50.0 ms    500 ms    1.25 s
total           1.00 s    2.00 s    3.00 s    4.00 s    5.00 s
nearest rank, of good answers

first token, ms
   1 to   10  ████████████████████████████████████████████████     160
  10 to  100                                                         0
 100 to 1000  ███████████████████████████                           90
""",
        )

    def test_failures(self) -> None:
        """Failures stand with their words, cut at the terminal's edge."""
        text = write_text(failures=FAILURES, examples=EXAMPLES)
        self.assertIn("1,453 requests in 12.5 s: 250 good, 1,203 failed\n", text)
        self.assertIn("\n  1,200  429 rate_limit_exceeded  slow down\n", text)
        self.assertIn("\n      3  timeout                  no end\n", text)
        narrow = write_text(36, failures=FAILURES, examples=EXAMPLES)
        self.assertIn("\n  1,200  429 rate_limit_exceeded  sl\n", narrow)

    def test_all_failed(self) -> None:
        """Without a good answer there are no times."""
        text = write_text(
            good=0,
            usage_told=0,
            tokens=0,
            failures=FAILURES,
            examples=EXAMPLES,
            times={},
            buckets=[],
        )
        self.assertIn("0 good, 1,203 failed", text)
        for absent in ("answers/s", "p50", "█"):
            self.assertNotIn(absent, text)

    def test_open_loop(self) -> None:
        """The report says how times count, and how late the generator was."""
        late = Percentiles(0, 0.0005, 0.001, 0.002, 0.0042)
        text = write_text(rate=20.0, late=late, peak=31)
        self.assertIn("open loop, 20 requests/s on schedule, 31 at once at most\n", text)
        self.assertIn("times count from when a request was due\n", text)
        self.assertIn("late by 0.500 ms (p50), 2.00 ms (p99), 4.20 ms (max)\n", text)
        self.assertNotIn("closed", text)
        self.assertNotIn("ask less", text)

    def test_busy_generator(self) -> None:
        """A generator that is busy, or late, says that the times may be its own."""
        late = Percentiles(0, 0, 0, 0.02, 0.02)
        for text in (write_text(cpu_share=0.9), write_text(rate=1.0, late=late)):
            self.assertIn("the times may be this generator's own: ask less\n", text)

    def test_partial(self) -> None:
        """A load that was stopped says so, and what was broken off."""
        self.assertIn(
            "partial: stopped early, 1 request broken off\n", write_text(unfinished=1, partial=True)
        )

    def test_repeated(self) -> None:
        """Requests that the client had to send again are told."""
        words = "2 requests sent twice: the server had closed a kept connection\n"
        self.assertIn(words, write_text(repeated=2))
        self.assertEqual(dump_report(evolve(REPORT, repeated=2))["sent_twice"], 2)

    def test_usage_of_some(self) -> None:
        """Tokens that only some answers have told are said to be theirs."""
        self.assertIn("400 tokens/s (of the 100 that told their usage)", write_text(usage_told=100))
        self.assertNotIn("tokens/s", write_text(usage_told=0))

    def test_few_answers(self) -> None:
        """Of fewer than a hundred answers the p99 is not what it is of more."""
        words = "of fewer than 100 the p99 is the max"
        self.assertIn(words, write_text(good=99))
        self.assertNotIn(words, write_text(good=100))

    def test_seconds(self) -> None:
        """A plot of long times is in seconds."""
        text = write_text(buckets=[Bucket(1, 2.5, 1), Bucket(2.5, 4, 1)])
        self.assertIn("first token, s\n  1 to 2.5  █", text)

    def test_odd_name(self) -> None:
        """A model's name cannot steer the terminal."""
        self.assertIn("\nup[2J at", write_text(model="up\x1b[2J"))

    def test_width(self) -> None:
        """A plot fits a narrow terminal, and does not fill a wide one."""
        for columns in (64, 80, 300):
            widest = max(map(len, write_text(columns).splitlines()))
            self.assertLessEqual(widest, min(columns, 80))

    def test_styles(self) -> None:
        """Every style is one of rich's."""
        late = Percentiles(0, 0, 0, 1, 1)
        changes: dict[str, Any] = {"late": late, "rate": 1.0, "partial": True, "failures": FAILURES}
        console = Console()
        for report in (REPORT, evolve(REPORT, examples=EXAMPLES, **changes)):
            for line in write_report(report):
                for _, style in line:
                    self.assertIsInstance(console.get_style(style), Style)


class DataTests(SynchronousTestCase):
    """What programs read."""

    def test_closed_loop(self) -> None:
        """All figures are there, in seconds."""
        data = json.loads(json.dumps(dump_report(REPORT)))
        self.assertEqual((data["loop"], data["connections"], data["rate"]), ("closed", 8, None))
        self.assertEqual((data["good_per_second"], data["tokens_per_second"]), (20, 400))
        self.assertEqual(data["total_seconds"], {"min": 1, "p50": 2, "p90": 3, "p99": 4, "max": 5})
        self.assertEqual(data["first_token_seconds"]["p50"], 0.0049)
        self.assertEqual(data["percentiles"], "nearest rank")
        self.assertEqual(data["histogram"]["of"], "first token")
        self.assertEqual(
            data["histogram"]["buckets"][0], {"low": 0.001, "high": 0.01, "count": 160}
        )
        self.assertIsNone(data["generator_late_seconds"])
        self.assertEqual((data["partial"], data["failures"]), (False, []))

    def test_open_loop(self) -> None:
        """An open loop has a rate and no connections, and tells its lateness and failures."""
        late = Percentiles(0, 1, 2, 3, 4)
        data = dump_report(
            evolve(
                REPORT,
                rate=5.0,
                late=late,
                failures=FAILURES,
                examples=EXAMPLES,
                usage_told=0,
                duration=0.0,
            )
        )
        self.assertEqual((data["loop"], data["connections"], data["rate"]), ("open", None, 5))
        self.assertEqual(data["generator_late_seconds"]["p99"], 3)
        self.assertEqual(data["failed"], 1203)
        self.assertEqual(data["failures"][1], {"kind": "timeout", "count": 3, "example": "no end"})
        self.assertEqual((data["good_per_second"], data["tokens_per_second"]), (0, None))

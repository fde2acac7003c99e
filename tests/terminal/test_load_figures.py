"""Tests of :mod:`aiproxy.terminal.load_figures`."""

from __future__ import annotations

from itertools import pairwise
from math import nextafter

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.terminal.load import Load
from aiproxy.terminal.load_checks import Answer
from aiproxy.terminal.load_figures import (
    Percentiles,
    find_percentile,
    find_spread,
    make_buckets,
    make_report,
)
from aiproxy.terminal.load_plan import Plan
from tests.terminal.memory_client import MemoryClient
from tests.terminal.test_load import TARGET

# A clock that is set back makes negative ones.
TIMES = st.lists(
    st.just(0.0) | st.floats(1e-6, 1e5) | st.floats(1e-4, 1e-2) | st.floats(-1, -1e-3),
    min_size=1,
    max_size=60,
)


class PercentileTests(SynchronousTestCase):
    """Exact ones, by the nearest rank."""

    def test_known(self) -> None:
        """Of 200 values the p99 is the 198th; of few ones it is the largest."""
        values = [float(value) for value in range(1, 201)]
        self.assertEqual(find_spread(values[::-1]), Percentiles(1, 100, 180, 198, 200))
        self.assertEqual(find_spread([3.0, 1.0]), Percentiles(1, 1, 3, 3, 3))
        self.assertEqual(find_spread([5.0]), Percentiles(5, 5, 5, 5, 5))

    @given(TIMES, st.integers(1, 100))
    def test_definition(self, values: list[float], percent: int) -> None:
        """It is the smallest of the values that so many of them do not exceed."""
        found = find_percentile(sorted(values), percent)
        enough = [
            value
            for value in values
            if sum(other <= value for other in values) * 100 >= percent * len(values)
        ]
        self.assertEqual(found, min(enough))


class BucketTests(SynchronousTestCase):
    """Counts between round edges."""

    @given(TIMES)
    def test_all_are_counted(self, values: list[float]) -> None:
        """Buckets follow one another, and each holds the values that it counts."""
        buckets = make_buckets(values)
        for before, after in pairwise(buckets):
            self.assertEqual(before.high, after.low)
        for bucket in buckets:
            held = sum(bucket.low <= value < bucket.high for value in values)
            self.assertEqual(bucket.count, held)
        self.assertEqual(sum(bucket.count for bucket in buckets), len(values))
        self.assertTrue(buckets[0].count and buckets[-1].count)
        self.assertLessEqual(len(buckets), 13)

    def test_linear(self) -> None:
        """Values that are near together have buckets that are equally wide."""
        buckets = make_buckets([0.31, 0.34, 0.35, 0.40])
        edges = [bucket.low for bucket in buckets]
        self.assertEqual(edges, [0.31, 0.32, 0.33, 0.34, 0.35, 0.36, 0.37, 0.38, 0.39, 0.4])
        self.assertEqual([bucket.count for bucket in buckets], [1, 0, 0, 1, 1, 0, 0, 0, 0, 1])

    def test_logarithmic(self) -> None:
        """Values that are far apart have buckets whose edges grow by a ratio."""
        buckets = make_buckets([0.001, 0.02, 0.1])
        edges = [bucket.low for bucket in buckets]
        self.assertEqual(edges, [0.001, 0.0022, 0.0047, 0.01, 0.022, 0.047, 0.1])
        self.assertEqual([bucket.count for bucket in buckets], [1, 0, 0, 1, 0, 0, 1])

    def test_just_below_an_edge(self) -> None:
        """Not even the last bit of a value leads into a wrong bucket."""
        for place in range(20, 1000):
            edge = float(f"{place}e-6")
            low = nextafter(edge, 0)
            buckets = make_buckets([low, edge + 11e-6], rows=12)
            self.assertTrue(buckets[0].low <= low < buckets[0].high, low)

    def test_many_decades(self) -> None:
        """Values further apart than there are rows have a row for each decade."""
        buckets = make_buckets([1e-9, 1e6])
        self.assertEqual([bucket.low for bucket in buckets], [10.0**e for e in range(-9, 7)])

    def test_all_equal(self) -> None:
        """One value has one bucket, and so have zeros."""
        for value in (0.0, 0.25, 7.0):
            [bucket] = make_buckets([value] * 3)
            self.assertEqual(bucket.count, 3)

    def test_nearly_equal(self) -> None:
        """Values that differ in their last bits alone have one bucket, or those next to an edge."""
        for value in (1e-4, 0.3, 7.0, 99999.0):
            near = [nextafter(value, 0), value, nextafter(value, 1e9)]
            buckets = make_buckets(near)
            self.assertEqual(sum(bucket.count for bucket in buckets), 3)
            self.assertLessEqual(len(buckets), 2)

    def test_none(self) -> None:
        """No values have no bucket."""
        self.assertEqual(make_buckets([]), [])


class ReportTests(SynchronousTestCase):
    """A load's figures."""

    def setUp(self) -> None:
        plan = Plan(requests=4, connections=2)
        self.load = Load(Clock(), MemoryClient(), TARGET, plan)
        self.load.began, self.load.ended = 100.0, 102.0
        self.load.answers = [Answer(1.0, 0.5, 0.25, 10), Answer(2.0, 0.75, None, None)]

    def test_streams(self) -> None:
        """Of streams the first token is plotted; of a gap there may be fewer than of answers."""
        self.load.failures.update({"429": 1, "timeout": 2})
        self.load.examples.update({"429": "slow", "timeout": "late"})
        report = make_report(self.load, 0.5)
        self.assertEqual((report.url, report.model), ("http://test/v1", "m"))
        self.assertEqual((report.good, report.failed), (2, 3))
        self.assertEqual(list(report.failures), ["timeout", "429"])
        self.assertEqual((report.duration, report.cpu_share), (2.0, 0.25))
        self.assertEqual((report.tokens, report.usage_told), (10, 1))
        self.assertEqual(list(report.times), ["first token", "longest gap", "total"])
        self.assertEqual(report.times["longest gap"], Percentiles(0.25, 0.25, 0.25, 0.25, 0.25))
        self.assertEqual(report.times["total"], Percentiles(1, 1, 2, 2, 2))
        self.assertEqual(report.plotted, "first token")
        self.assertEqual(report.buckets, make_buckets([0.5, 0.75]))
        self.assertIsNone(report.late)

    def test_whole_answers(self) -> None:
        """Of whole answers there is the total time alone."""
        self.load.target = evolve(TARGET, stream=False)
        report = make_report(self.load, 0.0)
        self.assertEqual((list(report.times), report.plotted), (["total"], "total"))
        self.assertEqual(report.buckets, make_buckets([1.0, 2.0]))

    def test_lateness(self) -> None:
        """How late an open loop was is told as other times are."""
        self.load.late = [0.0, 1.0]
        self.assertEqual(make_report(self.load, 0.0).late, Percentiles(0, 0, 1, 1, 1))

    def test_nothing(self) -> None:
        """A load that was stopped before anything came has a report too."""
        report = make_report(Load(Clock(), MemoryClient(), TARGET, Plan()), 1.0)
        self.assertEqual((report.good, report.duration, report.cpu_share), (0, 0, 0))
        self.assertEqual((report.times, report.buckets), ({}, []))

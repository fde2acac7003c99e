"""Percentiles, figures and medians."""

from __future__ import annotations

import math

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bench.figures import Sample, make_figures, percentile, take_medians

VALUES = st.lists(st.floats(0, 1e6), min_size=1)
SAMPLE = Sample(
    seconds=2.0,
    answers=8,
    errors=1,
    cut=2,
    events=40,
    cpu_seconds=0.5,
    wholes=[0.4, 0.1, 0.3, 0.2],
    firsts=[0.2, 0.1],
    delays=[0.05, 0.1, 0.11, 0.3],
)


class PercentileTests(SynchronousTestCase):
    """The nearest rank."""

    def test_known(self) -> None:
        """Of a hundred numbers, the percentile is the number itself."""
        numbers = [float(number) for number in range(100, 0, -1)]
        shares = (0.5, 0.99, 1.0, 0.001)
        self.assertEqual([percentile(numbers, share) for share in shares], [50, 99, 100, 1])

    def test_none(self) -> None:
        """Of nothing there is none."""
        self.assertTrue(math.isnan(percentile([], 0.5)))

    @given(VALUES, st.floats(0.01, 1))
    def test_share(self, values: list[float], share: float) -> None:
        """At least that share does not exceed it, and less than that is below it."""
        found = percentile(values, share)
        self.assertIn(found, values)
        at_most = sum(value <= found for value in values)
        below = sum(value < found for value in values)
        self.assertGreaterEqual(at_most + 1e-6, share * len(values))
        self.assertLess(below, share * len(values) + 1e-6)


class FiguresTests(SynchronousTestCase):
    """What is told of one run, and of several."""

    def test_figures(self) -> None:
        """Rates are for each second, CPU time for each request, those left midway included."""
        figures = make_figures(SAMPLE)
        shown = {name: figures[name] for name in ("rate", "events_rate", "cpu", "cpu_share")}
        self.assertEqual(shown, {"rate": 4, "events_rate": 20, "cpu": 0.05, "cpu_share": 0.25})
        self.assertEqual((figures["p50"], figures["first_p50"]), (0.2, 0.1))
        self.assertEqual((figures["errors"], figures["delay_max"]), (1, 0.3))

    def test_stalls(self) -> None:
        """A stall is more than 100 ms."""
        self.assertEqual(make_figures(SAMPLE)["stalls"], 2)

    def test_nothing(self) -> None:
        """A run without an answer has figures too."""
        figures = make_figures(
            evolve(SAMPLE, seconds=0.0, answers=0, cut=0, events=0, wholes=[], delays=[])
        )
        self.assertEqual((figures["rate"], figures["events_rate"]), (0, 0))
        self.assertTrue(math.isnan(figures["cpu"]) and math.isnan(figures["p50"]))

    def test_medians(self) -> None:
        """Of each figure the median, but the worst of errors and stalls."""
        rounds = [{"rate": rate, "errors": errors} for rate, errors in ((3, 0), (1, 2), (2, 1))]
        self.assertEqual(take_medians(rounds), {"rate": 2, "errors": 2})

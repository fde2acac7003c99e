"""What counts as growth."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from bench.soak import Reading, measure_growth


def readings(memory: Sequence[int]) -> list[Reading]:
    """Make readings of a process that held so much."""
    return [Reading(number, held, 10) for number, held in enumerate(memory)]


class GrowthTests(SynchronousTestCase):
    """The least at the end less the most of the second quarter."""

    def test_leak(self) -> None:
        """What grows all the time has grown."""
        self.assertEqual(measure_growth(readings(range(0, 2000, 100))), 600)

    def test_warm(self) -> None:
        """What grows only in the first quarter has not."""
        self.assertEqual(measure_growth(readings([0, 10, 20, 30, 40, *[50] * 15])), 0)

    def test_waves(self) -> None:
        """What is taken and given back is no growth."""
        self.assertLessEqual(measure_growth(readings([10, 90] * 10)), 0)

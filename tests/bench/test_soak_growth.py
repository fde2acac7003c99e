"""What counts as growth."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from bench.soak_growth import Reading, measure_drift, measure_growth


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


class DriftTests(SynchronousTestCase):
    """The median at the end less that of the second quarter."""

    def test_leak(self) -> None:
        """A leak shows, though the load makes waves of more than it."""
        waves = [number * 10 + 500 * (number % 2) for number in range(80)]
        self.assertEqual(measure_drift(readings(waves)), 400)

    def test_peak(self) -> None:
        """One peak is no growth."""
        self.assertEqual(measure_drift(readings([*[50] * 78, 9000, 50])), 0)

    def test_short(self) -> None:
        """Too few readings say nothing."""
        self.assertEqual(measure_drift(readings([1, 2, 3])), 0)

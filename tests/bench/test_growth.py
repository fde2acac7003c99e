"""Tests of :mod:`bench.growth` and its cases, without a clock."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stdout

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bench.growth import TIMES, Growth, main, measure
from bench.growth_cases import CASES, Case


def growth(time: Callable[[int], float], size: int = 1_000, name: str = "made up") -> Growth:
    """Make what would be measured of something that takes this time for a size."""
    return Growth(name, size, time(size), time(size * TIMES))


class CasesTests(SynchronousTestCase):
    """The table of the hostile inputs."""

    def test_all_run(self) -> None:
        """Each can be made and run, at a fiftieth of its size."""
        for case in CASES:
            case.make(case.size // 50)()

    def test_names(self) -> None:
        """No two have the same name, by which they are told and chosen."""
        self.assertEqual(len({case.name for case in CASES}), len(CASES))


class MeasureTests(SynchronousTestCase):
    """What is run, and how often."""

    def test_turns(self) -> None:
        """Both sizes are made anew for each run, in turns."""
        made: list[int] = []
        run: list[int] = []

        def make(size: int) -> Callable[[], object]:
            made.append(size)
            return lambda: run.append(size)

        measured = measure(Case("a", 10, make))
        self.assertEqual((measured.name, measured.size), ("a", 10))
        self.assertEqual(made, [10, 10 * TIMES] * (len(made) // 2))
        self.assertGreaterEqual(len(made), 4)
        self.assertEqual(run, made)


class GrowthTests(SynchronousTestCase):
    """What is told from two times."""

    @given(st.floats(1e-7, 1e-3), st.floats(0.0, 0.1))
    def test_linear(self, each: float, once: float) -> None:
        """What takes its time for each part is linear, whatever it takes besides."""
        measured = growth(lambda size: once + each * size)
        self.assertLessEqual(measured.ratio, TIMES * 1.001)
        self.assertFalse(measured.is_quadratic)

    @given(st.floats(1e-9, 1e-3))
    def test_quadratic(self, each: float) -> None:
        """What takes its time for each two parts is not, be it on a fast machine."""
        measured = growth(lambda size: each * size**2)
        self.assertAlmostEqual(measured.ratio, TIMES**2)
        self.assertTrue(measured.is_quadratic)

    def test_margin(self) -> None:
        """Half as much again as linear is no square yet, and a share of linear time hides none."""
        self.assertFalse(Growth("a", 1_000, 0.01, 0.01 * TIMES * 1.5).is_quadratic)
        self.assertTrue(growth(lambda size: 1e-5 * size + 1e-8 * size**2).is_quadratic)

    def test_bounded(self) -> None:
        """What has an end takes no longer beyond it; what is over at once says nothing."""
        self.assertFalse(Growth("a", 1_000, 0.2, 1e-5).is_quadratic)
        self.assertFalse(Growth("a", 1_000, 1e-6, 2e-5).is_quadratic)
        self.assertFalse(Growth("a", 1_000, 0.0, 0.0).is_quadratic)
        self.assertTrue(Growth("a", 1_000, 0.0, 0.1).is_quadratic)


class MainTests(SynchronousTestCase):
    """The command."""

    def told(self, *arguments: str, square: str = "") -> tuple[list[str], object]:
        """Run the command where one case grows by the square; give its lines and its exit."""

        def measure(case: Case) -> Growth:
            power = 2 if case.name == square else 1
            return growth(lambda size: 1e-6 * size**power, case.size, case.name)

        with redirect_stdout(io.StringIO()) as out, self.assertRaises(SystemExit) as caught:
            main(arguments, measure)
        return out.getvalue().splitlines(), caught.exception.code

    def test_linear(self) -> None:
        """It shows each case with its ratio, and is content."""
        lines, code = self.told()
        self.assertIsNone(code)
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
        self.assertEqual([row[0] for row in rows[2:]], [case.name for case in CASES])
        self.assertEqual({tuple(row[4:]) for row in rows[2:]}, {("4.00", "")})
        self.assertEqual(rows[0], ["input", "size", "CPU, ms", "of 4 times the size", "ratio", ""])
        self.assertEqual(rows[2][1:4], ["2,500", "2.50", "10.0"])

    def test_quadratic(self) -> None:
        """It names what grows by the square, and exits with 1, as Python does with words."""
        lines, code = self.told(square="folded lists")
        self.assertEqual(code, "folded lists: takes 16.0 times as long for 4 times the size")
        [marked] = [line for line in lines if "**by the square**" in line]
        self.assertIn("| folded lists ", marked)

    def test_only(self) -> None:
        """It measures what is asked for."""
        lines, code = self.told("--only", "folded fields", square="folded lists")
        self.assertIsNone(code)
        self.assertEqual(len(lines), 3)

"""Ratios and goals."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.figures import Sample, make_figures
from bench.goals import GOALS, format_goals
from bench.report import COLUMNS, added, format_workload, ratio
from bench.workloads import WORKLOADS

MEASURED = {
    "direct": {"rate": 1000.0, "p50": 0.001},
    "nginx": {"rate": 400.0, "p50": 0.002, "cpu": 0.0001},
    "aiproxy": {"rate": 100.0, "p50": 0.0012, "cpu": 0.0005},
}
TITLES = {"direct": "upstream", "nginx": "nginx", "aiproxy": "aiproxy"}


def read_cells(table: str) -> dict[str, list[str]]:
    """Read each row's cells, by its name."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {name: cells for name, *cells in rows}


class ReportTests(SynchronousTestCase):
    """What a table shows."""

    def test_ratio(self) -> None:
        """A figure is divided by the other's; one that nobody measured gives nothing."""
        own = MEASURED["aiproxy"]
        self.assertEqual(ratio(own, MEASURED, "nginx", "rate"), 0.25)
        unknown = ratio(own, MEASURED, "stock", "rate")
        self.assertNotEqual(unknown, unknown)

    def test_added(self) -> None:
        """What the upstream takes by itself is not added."""
        self.assertEqual(round(added(MEASURED["aiproxy"], MEASURED) * 1e6), 200)

    def test_workload(self) -> None:
        """Each target has its row, with its ratios to nginx: by the rate, and by CPU time."""
        cells = read_cells(format_workload("plain", MEASURED, TITLES))
        self.assertEqual(cells["aiproxy"][:3], ["100", "0.250", "0.200"])
        self.assertEqual(cells["upstream"][0], "1,000")

    def test_columns(self) -> None:
        """Every workload has columns, and a figure of the load stands in each that asks one."""
        self.assertEqual(set(COLUMNS), {workload.name for workload in WORKLOADS})
        sample = Sample(1.0, 1, 0, 0, 1, 0.1, [0.1], [0.1], [0.1])
        figures = {**make_figures(sample), "idle": 1.0, "held": 1.0, "held_tls": 1.0}
        figures |= {"start": 1.0, "cpu_start": 1.0}
        everybody = dict.fromkeys(("direct", "nginx", "stock", "aiproxy"), figures)
        titles = {name: name for name in everybody}
        for name in COLUMNS:
            self.assertNotIn("", read_cells(format_workload(name, everybody, titles))["aiproxy"])


class GoalsTests(SynchronousTestCase):
    """Met, missed, or not measured."""

    def test_judged(self) -> None:
        """A bound from below and one from above, each met and missed by the same figures."""
        cells = read_cells(format_goals({"plain": MEASURED, "single": MEASURED, "memory": {}}))
        self.assertEqual(cells["Short plain requests, of nginx"], ["≥ 0.2", "0.250", "met"])
        self.assertEqual(
            cells["Stretch: short plain requests a second"], ["≥ 10,000", "100", "**missed**"]
        )
        self.assertEqual(cells["Added at the median over 1 connection, µs"][2], "met")
        self.assertEqual(cells["Each open stream, KB"], ["≤ 25", "", "not measured"])
        self.assertNotIn("Streams passed through, of nginx", cells)

    def test_above(self) -> None:
        """Too much is missed where the bound is from above."""
        (goal,) = [goal for goal in GOALS if goal.workload == "memory"]
        self.assertEqual([goal.judge(value) for value in (25, 25.1)], ["met", "**missed**"])

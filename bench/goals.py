"""What aiproxy has set itself, and whether it is so."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from bench.figures import Figures
from bench.report import Measured, added, ratio
from bench.table import format_number, format_table

_NAN = float("nan")


@frozen
class Goal:
    """
    One goal, for aiproxy as it comes.

    :param workload: where it is measured.
    :param read: takes aiproxy's figures and everybody's; NaN: not measured.
    :param at_most: the bound is from above.
    """

    title: str
    workload: str
    read: Callable[[Figures, Measured], float]
    bound: float
    at_most: bool = False

    def judge(self, value: float) -> str:
        """Tell whether the goal is met."""
        if math.isnan(value):
            return "not measured"
        holds = operator.le if self.at_most else operator.ge
        return "met" if holds(value, self.bound) else "**missed**"


def _scaled(name: str, scale: float = 1.0) -> Callable[[Figures, Measured], float]:
    return lambda own, _: own.get(name, _NAN) * scale


def _of(base: str, name: str) -> Callable[[Figures, Measured], float]:
    return lambda own, all_: ratio(own, all_, base, name)


def _added_us(own: Figures, measured: Measured) -> float:
    return added(own, measured) * 1e6


GOALS: Sequence[Goal] = (
    Goal("Short plain requests, of the bare stack", "plain", _of("stock", "rate"), 5),
    Goal("Short plain requests, of nginx", "plain", _of("nginx", "rate"), 0.2),
    Goal("Stretch: short plain requests a second", "plain", _scaled("rate"), 10_000),
    Goal("Added at the median over 1 connection, µs", "single", _added_us, 300, at_most=True),
    Goal("Stretch: added at the median, µs", "single", _added_us, 200, at_most=True),
    Goal("Streams passed through, of nginx", "stream", _of("nginx", "events_rate"), 0.35),
    Goal("Translated from Gemini, events/s", "gemini", _scaled("events_rate"), 100_000),
    Goal("Translated from Anthropic, events/s", "anthropic", _scaled("events_rate"), 100_000),
    Goal("Each open stream, KB", "memory", _scaled("held", 1e-3), 25, at_most=True),
)


def format_goals(results: Mapping[str, Measured]) -> str:
    """Format the table of the goals, of those workloads of which there are results."""
    rows = []
    for goal in GOALS:
        if goal.workload not in results:
            continue
        measured = results[goal.workload]
        value = goal.read(measured.get("aiproxy", {}), measured)
        sign = "≤" if goal.at_most else "≥"
        bound = f"{sign} {goal.bound:,}"
        rows.append([goal.title, bound, format_number(value), goal.judge(value)])
    return format_table(["aiproxy", "goal", "measured", ""], rows)

"""What is measured: samples of one run, and the figures that are made of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from attrs import frozen

#: Figures by name. Times are in seconds, memory in bytes, shares from 0 to 1.
Figures = Mapping[str, float]

STALL_SECONDS = 0.1


@frozen
class Sample:
    """
    One run of the load against one target.

    :param seconds: from the first request to the end of the last answer.
    :param cut: streams that the load closed midway.
    :param cpu_seconds: the target's CPU time in that run.
    :param wholes: seconds of each whole answer.
    :param firsts: seconds to each stream's first event.
    :param delays: seconds that each event took from the upstream.
    """

    seconds: float
    answers: int
    errors: int
    cut: int
    events: int
    cpu_seconds: float
    wholes: Sequence[float]
    firsts: Sequence[float]
    delays: Sequence[float]


def percentile(values: Sequence[float], share: float) -> float:
    """
    Find the value that this share of all values does not exceed (nearest rank).

    :param share: above 0, at most 1.
    :return: NaN where there are no values.
    """
    if not values:
        return float("nan")
    ordered = sorted(values)
    rank = -int(-len(ordered) * share // 1)  # rounded up
    return ordered[max(rank, 1) - 1]


def make_figures(sample: Sample) -> dict[str, float]:
    """Make the figures of one run; the CPU time is told for each request and each event."""
    requests = sample.answers + sample.cut
    return {
        "rate": sample.answers / sample.seconds if sample.seconds else 0.0,
        "events_rate": sample.events / sample.seconds if sample.seconds else 0.0,
        "errors": float(sample.errors),
        "cpu": sample.cpu_seconds / requests if requests else float("nan"),
        "cpu_event": sample.cpu_seconds / sample.events if sample.events else float("nan"),
        "cpu_share": sample.cpu_seconds / sample.seconds if sample.seconds else 0.0,
        "p50": percentile(sample.wholes, 0.5),
        "p99": percentile(sample.wholes, 0.99),
        "first_p50": percentile(sample.firsts, 0.5),
        "first_p99": percentile(sample.firsts, 0.99),
        "delay_p50": percentile(sample.delays, 0.5),
        "delay_p99": percentile(sample.delays, 0.99),
        "delay_max": max(sample.delays, default=float("nan")),
        "stalls": float(sum(delay > STALL_SECONDS for delay in sample.delays)),
    }


def take_medians(rounds: Sequence[Figures]) -> dict[str, float]:
    """Take the median of each figure over the rounds; of errors and stalls the worst round."""
    worst = {"errors", "stalls", "delay_max"}
    return {
        name: (max if name in worst else statistics.median)([figures[name] for figures in rounds])
        for name in rounds[0]
    }

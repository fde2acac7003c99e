"""
What a load has shown, in figures.

Percentiles are exact, by the nearest rank: each of them is a time that was
measured.  Times are of good answers alone.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from attrs import frozen

from aiproxy.terminal.load import Load

__all__ = [
    "Bucket",
    "Percentiles",
    "Report",
    "find_percentile",
    "find_spread",
    "make_buckets",
    "make_report",
]

_ROWS: Final = 12
#: Of a larger ratio than this between the extremes the buckets are logarithmic.
_LINEAR_RATIO: Final = 5.0
#: So small a part of a value is none, and so short a time, in seconds.
_NOTHING: Final = 1e-9
#: Steps of a decade, finest first: E12, E6, E3 (IEC 60063), and the decade itself.
_SERIES: Final = (
    (1.0, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 3.9, 4.7, 5.6, 6.8, 8.2),
    (1.0, 1.5, 2.2, 3.3, 4.7, 6.8),
    (1.0, 2.2, 4.7),
    (1.0,),
)


@frozen
class Percentiles:
    """How some times are spread, in seconds."""

    min: float
    p50: float
    p90: float
    p99: float
    max: float


@frozen
class Bucket:
    """How many times are from ``low`` on and below ``high``, in seconds."""

    low: float
    high: float
    count: int


@frozen
class Report:
    """
    A load's figures.  Times are seconds.

    :param partial: it was stopped early; ``unfinished`` requests were broken off.
    :param failures: how many there are of each kind; ``examples`` has words for each.
    :param duration: from the first request's time to the end of the last answer.
    :param tokens: of all completions whose usage was told, which ``usage_told`` counts.
    :param peak: requests that were on their way at once.
    :param repeated: see :class:`~aiproxy.terminal.load.Load`.
    :param late: how late the generator of an open loop was; ``None`` for a closed one.
    :param cpu_share: of one processor's time, what the generator took.
    :param times: spreads by name: ``first token`` and ``longest gap`` of streams, ``total``.
    :param plotted: which of them the buckets are of.
    """

    url: str
    model: str
    stream: bool
    connections: int
    rate: float | None
    partial: bool
    unfinished: int
    good: int
    failures: Mapping[str, int]
    examples: Mapping[str, str]
    duration: float
    tokens: int
    usage_told: int
    peak: int
    repeated: int
    late: Percentiles | None
    cpu_share: float
    times: Mapping[str, Percentiles]
    plotted: str
    buckets: Sequence[Bucket]

    @property
    def failed(self) -> int:
        """How many answers were not good."""
        return sum(self.failures.values())


def make_report(load: Load, cpu_seconds: float) -> Report:
    """Take a load's figures; *cpu_seconds* are what this process needed for it."""
    answers = load.answers
    stream = load.target.stream
    times = {
        "first token": [one.first for one in answers if stream and one.first is not None],
        "longest gap": [one.gap for one in answers if stream and one.gap is not None],
        "total": [one.total for one in answers],
    }
    plotted = "first token" if stream else "total"
    told = [one.tokens for one in answers if one.tokens is not None]
    duration = load.ended - load.began
    return Report(
        url=load.target.url.removesuffix("/chat/completions"),
        model=load.target.model,
        stream=stream,
        connections=load.plan.connections,
        rate=load.plan.rate,
        partial=load.stopped,
        unfinished=load.unfinished,
        good=len(answers),
        failures=dict(Counter(load.failures).most_common()),
        examples=load.examples,
        duration=duration,
        tokens=sum(told),
        usage_told=len(told),
        peak=load.peak,
        repeated=load.repeated,
        late=find_spread(load.late) if load.late else None,
        cpu_share=cpu_seconds / duration if duration else 0.0,
        times={name: find_spread(values) for name, values in times.items() if values},
        plotted=plotted,
        buckets=make_buckets(times[plotted]),
    )


# --- figures --------------------------------------------------------------------------


def find_percentile(ordered: Sequence[float], percent: int) -> float:
    """Find the smallest of some sorted values that this percentage of them does not exceed."""
    rank = -(-len(ordered) * percent // 100)  # rounded up, without a float's error
    return ordered[max(rank, 1) - 1]


def find_spread(values: Iterable[float]) -> Percentiles:
    """Take the percentiles of some values, of one at least."""
    ordered = sorted(values)
    p50, p90, p99 = (find_percentile(ordered, percent) for percent in (50, 90, 99))
    return Percentiles(ordered[0], p50, p90, p99, ordered[-1])


def make_buckets(values: Sequence[float], rows: int = _ROWS) -> list[Bucket]:
    """
    Count values in buckets with round edges, which hold all of them.

    They are equally wide, or where the extremes are far apart equally wide in
    the logarithm.

    :param rows: so many buckets at most; one more where the edges fall badly, or
        where there are more decades.
    """
    if not values:
        return []
    low, high = min(values), max(values)
    find_edges = _log_edges if high > _LINEAR_RATIO * low > 0 else _linear_edges
    edges = find_edges(low, high, rows)
    counts = Counter(bisect_right(edges, value) - 1 for value in values)
    pairs = enumerate(pairwise(edges))
    return [Bucket(begin, end, counts[place]) for place, (begin, end) in pairs]


def _linear_edges(low: float, high: float, rows: int) -> list[float]:
    most = max(abs(low), abs(high))
    if most < _NOTHING:
        most = 1.0
    # Closer together than edges can be told apart, they are one value.
    span = high - low if high - low > _NOTHING * most else most
    decade = math.floor(math.log10(span / rows))
    factor = next(factor for factor in (1, 2, 5, 10) if factor * 10.0**decade * rows >= span)
    place = math.floor(low / (factor * 10.0**decade))
    # The division may have rounded up, or down.
    if _edge(place * factor, decade) > low:
        place -= 1
    elif _edge((place + 1) * factor, decade) <= low:
        place += 1
    edges = [_edge(place * factor, decade)]
    while edges[-1] <= high:
        place += 1
        edges.append(_edge(place * factor, decade))
    return edges


def _log_edges(low: float, high: float, rows: int) -> list[float]:
    decades = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    edges: list[float] = []
    for series in _SERIES:
        every = [_edge(factor, decade) for decade in decades for factor in series]
        edges = every[bisect_right(every, low) - 1 : bisect_right(every, high) + 1]
        if len(edges) <= rows + 1:
            break
    return edges


def _edge(factor: float, decade: int) -> float:
    """Return the float nearest to a decimal number, as no product is."""
    return float(f"{factor}e{decade}")

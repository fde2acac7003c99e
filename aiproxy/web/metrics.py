"""``GET /metrics``: the numbers as Prometheus and OpenMetrics read them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from aiproxy.gateway.metric_families import FAMILIES, Family
from aiproxy.gateway.metrics import Dump
from aiproxy.web.request import ClientRequest

__all__ = ["MetricsRoute"]


class _DumpCollector(Collector):
    """
    Makes families of a dump.

    :param dump: the numbers.
    """

    def __init__(self, dump: Dump) -> None:
        self._dump = dump

    def collect(self) -> Iterable[Metric]:
        """Return every family, also those without a sample yet."""
        for family in FAMILIES:
            yield _make(family, self._dump.get(family.name, ()))

    def describe(self) -> Iterable[Metric]:
        """Return the families without a sample."""
        return [_make(family, ()) for family in FAMILIES]


class MetricsRoute:
    """
    See the module; beside our own numbers there are the process's.

    :param gather: returns the numbers of now, one process's or several merged.
    """

    def __init__(self, gather: Callable[[], Awaitable[Dump]]) -> None:
        self._gather = gather
        self._process = ProcessCollector(registry=None)

    async def show(self, request: ClientRequest) -> None:
        """Answer in the format that ``Accept`` asks for."""
        encode, content_type = choose_encoder(request.header("accept") or "")
        registry = CollectorRegistry()
        registry.register(_DumpCollector(await self._gather()))
        registry.register(self._process)
        request.write_body(encode(registry), content_type)


def _make(family: Family, samples: Iterable[tuple[list[str], Any]]) -> Metric:
    if family.kind == "histogram":
        return _make_histogram(family, samples)
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    made = kind(family.name, family.help, labels=family.labels)
    for labels, value in samples:
        made.add_metric(labels, value)
    return made


def _make_histogram(family: Family, samples: Iterable[tuple[list[str], Any]]) -> Metric:
    made = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    bounds = [*map(str, family.bounds), "+Inf"]
    for labels, (*counts, total) in samples:
        # Each bucket holds what is in those below it.
        made.add_metric(labels, list(zip(bounds, accumulate(counts), strict=True)), total)
    return made

"""
What operators count: plain numbers, which are made into Prometheus' families at scrape.

A call costs a few microseconds here.  Names and labels are those that the
documentation promises; models and providers are configured names only.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

from attrs import Factory, define

from aiproxy.gateway.metric_families import (
    BY_NAME,
    FAMILIES,
    OVERHEAD_BOUNDS,
    REQUEST_BOUNDS,
    TTFT_BOUNDS,
)
from aiproxy.gateway.usage import CallRecord

__all__ = ["Dump", "Metrics", "merge"]

#: Numbers as they can be sent: by family, then a list of labels and value.  A
#: histogram's value is its buckets' counts, then the sum of what was observed.
Dump: TypeAlias = dict[str, list[tuple[list[str], Any]]]

#: So many models have numbers of their own, the others share theirs.
_MOST_MODELS: Final = 2_000
_OTHER: Final = "other"
_TOKENS: Final = ("prompt", "completion", "cached", "reasoning")


class _Histogram:
    """Counts of observations, each in the first bucket that holds it."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        #: The last one is for what is beyond all bounds.
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class _ModelNumbers:
    """Histograms of one model that was asked for."""

    __slots__ = ("first_token", "overhead", "request")

    def __init__(self) -> None:
        self.request = _Histogram(REQUEST_BOUNDS)
        self.first_token = _Histogram(TTFT_BOUNDS)
        self.overhead = _Histogram(OVERHEAD_BOUNDS)


@define
class Metrics:
    """
    The numbers of this process.

    :param configured: returns the configured name that serves a model, for a
        wildcard's names are made up by callers; ``None``: nothing does any more.
    :ivar open_streams: whoever begins and ends a stream counts it here.
    """

    configured: Callable[[str], str | None] = lambda name: name
    open_streams: int = 0
    _requests: dict[tuple[str, str, int | None], int] = Factory(dict)
    _errors: dict[tuple[str, str], int] = Factory(dict)
    _attempts: dict[tuple[str, str], int] = Factory(dict)
    _takeovers: dict[str, int] = Factory(dict)
    #: By model, in the order of ``_TOKENS``.
    _tokens: dict[str, list[int]] = Factory(dict)
    _models: dict[str, _ModelNumbers] = Factory(dict)
    #: The label of each name that was seen, and all labels.
    _labels: dict[str, str] = Factory(dict)
    _known: set[str] = Factory(set)

    def observe(self, record: CallRecord) -> None:
        """
        Count a request that is over.

        :param record: whose ``end`` was called.
        """
        asked = record.model
        model = "" if asked is None else self._labels.get(asked) or self._learn(asked)
        request = (model, record.provider or "", record.status)
        self._requests[request] = self._requests.get(request, 0) + 1
        if record.error_type is not None:
            failure = (record.error_type, record.failed_provider or "")
            self._errors[failure] = self._errors.get(failure, 0) + 1
        if asked is None or record.ended is None:
            return
        numbers = self._models.get(model)
        if numbers is None:
            numbers = self._models[model] = _ModelNumbers()
        duration = record.ended - record.started
        numbers.request.observe(duration)
        # The clock may say a hair less than nothing.
        own = duration - record.waited
        numbers.overhead.observe(own if own > 0.0 else 0.0)
        if record.first_token is not None:
            numbers.first_token.observe(record.first_token - record.started)
        if record.spent:
            self._count_attempts(record)

    def _count_attempts(self, record: CallRecord) -> None:
        for spent in record.spent:
            model = self._labels.get(spent.model) or self._learn(spent.model)
            attempt = (model, spent.outcome)
            self._attempts[attempt] = self._attempts.get(attempt, 0) + 1
            tokens = spent.tokens
            if tokens.prompt or tokens.completion:
                sums = self._tokens.get(model)
                if sums is None:
                    sums = self._tokens[model] = [0, 0, 0, 0]
                sums[0] += tokens.prompt
                sums[1] += tokens.completion
                sums[2] += tokens.cached
                sums[3] += tokens.reasoning
        if record.takeovers:
            left = "left" if record.error_type == "client_left" else "lost"
            outcome = "rescued" if record.rescued else left
            self._takeovers[outcome] = self._takeovers.get(outcome, 0) + record.takeovers

    def _learn(self, name: str) -> str:
        """Return the label of a model that was not seen before."""
        label = self.configured(name) or _OTHER
        if label not in self._known:
            if len(self._known) >= _MOST_MODELS:
                return _OTHER
            self._known.add(label)
        if len(self._labels) >= _MOST_MODELS:
            self._labels.clear()  # Callers make up a wildcard's names without end.
        self._labels[name] = label
        return label

    def dump(self) -> Dump:
        """Return all that was counted, as it can be written as JSON."""
        models = self._models.items()
        return {
            "aiproxy_requests": [
                ([model, provider, "" if status is None else str(status)], count)
                for (model, provider, status), count in self._requests.items()
            ],
            "aiproxy_errors": _list(self._errors),
            "aiproxy_tokens": [
                ([model, kind], count)
                for model, counts in self._tokens.items()
                for kind, count in zip(_TOKENS, counts, strict=True)
            ],
            "aiproxy_request_seconds": _histograms((m, one.request) for m, one in models),
            "aiproxy_time_to_first_token_seconds": _histograms(
                (m, one.first_token) for m, one in models
            ),
            "aiproxy_overhead_seconds": _histograms((m, one.overhead) for m, one in models),
            "aiproxy_attempts": _list(self._attempts),
            "aiproxy_takeovers": [([name], count) for name, count in self._takeovers.items()],
            "aiproxy_open_streams": [([], self.open_streams)],
        }


def _list(counts: Mapping[Any, Any]) -> list[tuple[list[str], Any]]:
    return [(list(labels), count) for labels, count in counts.items()]


def _histograms(of: Iterable[tuple[str, _Histogram]]) -> list[tuple[list[str], Any]]:
    return [([model], [*one.counts, one.total]) for model, one in of]


def merge(dumps: Iterable[Mapping[str, Any]]) -> Dump:
    """
    Put the numbers of several processes together.

    Counts add up.  Of gauges it depends on the family, see
    :class:`~aiproxy.gateway.metric_families.Family`.

    :param dumps: from :meth:`Metrics.dump`, also by way of JSON; families that
        are not known, and histograms of another shape, are left out.
    """
    merged: dict[str, dict[tuple[str, ...], Any]] = {family.name: {} for family in FAMILIES}
    for dump in dumps:
        for name, samples in dump.items():
            family = BY_NAME.get(name)
            if family is None:
                continue
            into = merged[name]
            for labels, value in samples:
                key = tuple(labels)
                if key not in into:
                    into[key] = list(value) if family.bounds else value
                elif family.bounds and len(into[key]) == len(value):
                    into[key] = [one + more for one, more in zip(into[key], value, strict=True)]
                elif not family.bounds:
                    into[key] = family.join(into[key], value)
    return {name: _list(samples) for name, samples in merged.items() if samples}

"""Tests of :mod:`aiproxy.gateway.metrics`."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import AuthenticationFailed, UpstreamTimeout
from aiproxy.gateway.metric_families import (
    FAMILIES,
    OVERHEAD_BOUNDS,
    REQUEST_BOUNDS,
    TTFT_BOUNDS,
)
from aiproxy.gateway.metrics import Metrics, merge
from aiproxy.gateway.usage import CallRecord


def called(model: str | None = "m", seconds: float = 2.0) -> CallRecord:
    """Return the record of a call that was answered."""
    record = CallRecord("r1", "team", 10.0, model, provider="up")
    usage = {
        "prompt_tokens": 30,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 10},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }
    if model is not None:
        record.account(model, "up", "answered", usage)
    record.end(10.0 + seconds)
    return record


def read(metrics: Metrics, family: str) -> dict[tuple[str, ...], Any]:
    """Return a family's values by their labels."""
    return {tuple(labels): value for labels, value in metrics.dump()[family]}


class ObserveTests(SynchronousTestCase):
    """What one request adds."""

    def setUp(self) -> None:
        self.metrics = Metrics()

    def test_answered(self) -> None:
        """A request, an attempt, and its tokens of each kind."""
        for _ in range(2):
            self.metrics.observe(called())
        self.assertEqual(read(self.metrics, "aiproxy_requests"), {("m", "up", "200"): 2})
        self.assertEqual(read(self.metrics, "aiproxy_attempts"), {("m", "answered"): 2})
        self.assertEqual(
            read(self.metrics, "aiproxy_tokens"),
            {
                ("m", "prompt"): 60,
                ("m", "completion"): 8,
                ("m", "cached"): 20,
                ("m", "reasoning"): 2,
            },
        )
        self.assertEqual(read(self.metrics, "aiproxy_errors"), {})

    def test_times(self) -> None:
        """Each time is in the first bucket that holds it."""
        record = called(seconds=2.5)
        record.first_token, record.waited = 10.06, 2.4998
        self.metrics.observe(record)
        for family, bounds, place, total in (
            ("aiproxy_request_seconds", REQUEST_BOUNDS, 2.5, 2.5),
            ("aiproxy_time_to_first_token_seconds", TTFT_BOUNDS, 0.1, 0.06),
            ("aiproxy_overhead_seconds", OVERHEAD_BOUNDS, 0.00025, 0.0002),
        ):
            *counts, told = read(self.metrics, family)[("m",)]
            self.assertEqual(counts, [int(bound == place) for bound in bounds] + [0])
            self.assertTrue(abs(told - total) < 1e-9, family)

    def test_beyond(self) -> None:
        """What is beyond all bounds is in the last bucket."""
        self.metrics.observe(called(seconds=10_000.0))
        *counts, _ = read(self.metrics, "aiproxy_request_seconds")[("m",)]
        self.assertEqual((sum(counts), counts[-1]), (1, 1))

    def test_failed(self) -> None:
        """An error is counted by what the client was told, and by who was at fault."""
        record = called()
        record.status = None
        record.end(12.0, UpstreamTimeout("late", provider="other"))
        self.metrics.observe(record)
        self.assertEqual(read(self.metrics, "aiproxy_requests"), {("m", "up", "504"): 1})
        self.assertEqual(read(self.metrics, "aiproxy_errors"), {("network_error", "other"): 1})

    def test_no_call(self) -> None:
        """A request that never became a call has a status and an error, and no time."""
        record = CallRecord("r1", None, 10.0)
        record.end(10.0, AuthenticationFailed("no"))
        self.metrics.observe(record)
        self.assertEqual(read(self.metrics, "aiproxy_requests"), {("", "", "401"): 1})
        self.assertEqual(read(self.metrics, "aiproxy_errors"), {("authentication_error", ""): 1})
        self.assertEqual(read(self.metrics, "aiproxy_request_seconds"), {})

    def test_left(self) -> None:
        """A client that left before there was an answer has no status."""
        record = CallRecord("r1", "team", 10.0, "m")
        record.end(11.0, CancelledError())
        self.metrics.observe(record)
        self.assertEqual(read(self.metrics, "aiproxy_requests"), {("m", "", ""): 1})

    def test_takeovers(self) -> None:
        """Takeovers are counted by what became of the stream."""
        for rescued, error in ((True, None), (False, None), (False, CancelledError())):
            record = called()
            record.takeovers, record.rescued = 2, rescued
            record.end(12.0, error)
            self.metrics.observe(record)
        self.assertEqual(
            read(self.metrics, "aiproxy_takeovers"), {("rescued",): 2, ("lost",): 2, ("left",): 2}
        )

    def test_open_streams(self) -> None:
        """Those that count streams are believed."""
        self.metrics.open_streams += 3
        self.assertEqual(read(self.metrics, "aiproxy_open_streams"), {(): 3})


class LabelTests(SynchronousTestCase):
    """The labels are bounded, whatever callers ask for."""

    def models(self, metrics: Metrics) -> set[str]:
        """Return all models that have numbers."""
        return {labels[0] for labels in read(metrics, "aiproxy_attempts")}

    def test_wildcard(self) -> None:
        """What a wildcard serves is counted under its name, what nothing serves as other."""
        metrics = Metrics(lambda name: "any/*" if name.startswith("any/") else None)
        for number in range(5_000):
            metrics.observe(called(f"any/{number}"))
        metrics.observe(called("gone"))
        self.assertEqual(
            read(metrics, "aiproxy_attempts"),
            {("any/*", "answered"): 5_000, ("other", "answered"): 1},
        )

    def test_many(self) -> None:
        """Beyond a number, models share their numbers; the first ones keep theirs."""
        metrics = Metrics()
        for _ in range(2):
            for number in range(3_000):
                metrics.observe(called(f"m{number}"))
        counts = read(metrics, "aiproxy_attempts")
        self.assertEqual(len(counts), 2_001)
        self.assertEqual(counts["m0", "answered"], 2)
        self.assertEqual(counts["other", "answered"], 2_000)


class MergeTests(SynchronousTestCase):
    """The numbers of several processes."""

    @given(st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.floats(0, 1_000)), max_size=20))
    def test_as_one(self, calls: list[tuple[str | None, float]]) -> None:
        """However calls are spread over processes, by way of JSON, the sums are as in one."""
        one, parts = Metrics(), [Metrics(), Metrics(), Metrics()]
        for number, (model, seconds) in enumerate(calls):
            record = called(model, seconds)
            one.observe(record)
            parts[number % 3].observe(record)
        merged = merge(json.loads(json.dumps(part.dump())) for part in parts)
        alone = merge([one.dump()])
        self.assertEqual(set(merged), set(alone))
        for family in alone:
            found = {tuple(labels): value for labels, value in merged[family]}
            for labels, value in alone[family]:
                other = found.pop(tuple(labels))
                if isinstance(value, list):
                    self.assertEqual(other[:-1], value[:-1])
                    self.assertTrue(abs(other[-1] - value[-1]) < 1e-6)
                else:
                    self.assertEqual(other, value)
            self.assertEqual(found, {})

    def test_gauges(self) -> None:
        """What is shared is not added up; what is each one's own is."""
        dumps = [
            {
                "aiproxy_limit_remaining": [(["m", "requests_per_day"], left)],
                "aiproxy_breaker_open": [(["m"], is_open)],
                "aiproxy_queue_length": [([], 2)],
            }
            for left, is_open in ((7, 0), (5, 1))
        ]
        self.assertEqual(
            merge(dumps),
            {
                "aiproxy_limit_remaining": [(["m", "requests_per_day"], 5)],
                "aiproxy_breaker_open": [(["m"], 1)],
                "aiproxy_queue_length": [([], 4)],
            },
        )

    def test_other_version(self) -> None:
        """Families that are not known and other buckets are left out."""
        metrics = Metrics()
        metrics.observe(called())
        strange = {"aiproxy_new": [([], 1)], "aiproxy_request_seconds": [(["m"], [1, 2.0])]}
        self.assertEqual(merge([metrics.dump(), strange]), merge([metrics.dump()]))

    def test_families(self) -> None:
        """A dump names counters and histograms that there are, each with its labels."""
        metrics = Metrics()
        record = called()
        record.takeovers, record.first_token = 1, 11.0
        record.end(12.0, UpstreamTimeout("late"))
        metrics.observe(record)
        dump = metrics.dump()
        for family in FAMILIES:
            if family.kind != "gauge":
                [(labels, _), *_] = dump[family.name]
                self.assertEqual(len(labels), len(family.labels), family.name)

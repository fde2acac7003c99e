"""Tests of :mod:`aiproxy.gateway.usage`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import InvalidRequest, UpstreamTimeout
from aiproxy.gateway.usage import CallRecord, Tokens, read_cost, read_tokens
from aiproxy.transport.relay import ClientStalled


def make_record() -> CallRecord:
    """Make a record that began at 10."""
    return CallRecord("r1", "team", 10.0)


class WaitedTests(SynchronousTestCase):
    """The seconds in which only upstreams were waited for."""

    def test_attempts(self) -> None:
        """Those of all attempts add up, without the time between them."""
        record = make_record()
        for begin, end in ((11.0, 13.0), (14.0, 14.5)):
            record.asked(begin)
            record.heard(end)
        self.assertEqual(record.waited, 2.5)

    def test_two_at_a_time(self) -> None:
        """Two that are asked at a time are waited for once, from the first to the last."""
        record = make_record()
        record.asked(11.0)
        record.asked(12.0)
        record.heard(13.0)
        record.heard(15.0)
        self.assertEqual(record.waited, 4.0)

    def test_end(self) -> None:
        """What is still waited for at the end counts up to it; what was not asked, not at all."""
        record = make_record()
        record.heard(10.5)
        record.asked(11.0)
        record.asked(11.0)
        record.end(13.0)
        self.assertEqual((record.waited, record.ended), (2.0, 13.0))

    @given(st.lists(st.tuples(st.booleans(), st.integers(0, 5))))
    def test_within(self, steps: list[tuple[bool, int]]) -> None:
        """However it goes, there was no longer wait than there was time."""
        record = make_record()
        now = record.started
        for asks, seconds in steps:
            now += seconds
            (record.asked if asks else record.heard)(now)
        record.end(now)
        self.assertTrue(0 <= record.waited <= now - record.started)


class EndTests(SynchronousTestCase):
    """How a call ends."""

    def ended(self, error: BaseException | None, *, first_token: float | None = None) -> CallRecord:
        """Return a record that ended so."""
        record = make_record()
        record.first_token = first_token
        record.end(12.0, error)
        return record

    def test_answered(self) -> None:
        """A whole answer has no error."""
        record = self.ended(None)
        self.assertEqual((record.status, record.error, record.error_type), (200, None, None))

    def test_refused(self) -> None:
        """An error of ours has its status, its code, its type and its provider."""
        error = UpstreamTimeout("late", provider="up")
        record = self.ended(error)
        self.assertEqual(
            (record.status, record.error, record.error_type, record.failed_provider),
            (error.status, str(error.code), "network_error", "up"),
        )

    def test_cut(self) -> None:
        """A stream that was cut had begun in order."""
        record = self.ended(UpstreamTimeout("late"), first_token=11.0)
        self.assertEqual((record.status, record.error_type), (200, "network_error"))

    def test_told(self) -> None:
        """The status that was written stands."""
        record = make_record()
        record.status = 207
        record.end(12.0, InvalidRequest("no"))
        self.assertEqual(record.status, 207)

    def test_left(self) -> None:
        """Who has left before there was an answer has no status."""
        for error in (CancelledError(), ClientStalled()):
            record = self.ended(error)
            self.assertEqual(
                (record.status, record.error, record.error_type),
                (None, "client_left", "client_left"),
            )

    def test_mistake(self) -> None:
        """A mistake of ours is one."""
        record = self.ended(KeyError("x"))
        self.assertEqual((record.status, record.error), (500, "internal_error"))


class TokenTests(SynchronousTestCase):
    """What upstreams say of their tokens."""

    def test_cached(self) -> None:
        """What was cached stands among the details, or beside the counts."""
        counts = {"prompt_tokens": 94, "completion_tokens": 33}
        for told, cached in (
            ({}, 0),
            ({"prompt_tokens_details": {"cached_tokens": 7}}, 7),
            ({"num_cached_tokens": 48}, 48),
            ({"num_cached_tokens": 99}, 94),
            ({"num_cached_tokens": None}, 0),
            ({"prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 30}, 64),
            ({"prompt_cache_hit_tokens": 64, "prompt_tokens_details": {"cached_tokens": 63}}, 63),
        ):
            self.assertEqual(read_tokens({**counts, **told}), Tokens(94, 33, cached), told)


class CostTests(SynchronousTestCase):
    """What upstreams say that a call costs."""

    def test_attempts(self) -> None:
        """Those of all attempts that tell add up."""
        record = make_record()
        self.assertIsNone(record.cost)
        record.account("a", "up", "failed", None)
        self.assertIsNone(record.cost)
        record.account("a", "up", "cut", {"cost": 0.25})
        record.account("b", "up", "answered", {"cost": 0.5})
        self.assertEqual(record.cost, 750_000)

    def test_units(self) -> None:
        """Each tells it in its own way: Perplexity with its parts, xAI in ticks (recorded)."""
        told = {"input_tokens_cost": 0.00005, "request_cost": 0.006, "total_cost": 0.00614}
        self.assertAlmostEqual(read_cost({"cost": told}) or 0.0, 6_140)
        self.assertAlmostEqual(read_cost({"cost_in_usd_ticks": 539_500}) or 0.0, 53.95)
        self.assertIsNone(read_cost({"cost": {"total_cost": None}}))

    def test_nonsense(self) -> None:
        """What is no price is none."""
        for cost in (None, "1", True, -1, float("nan"), float("inf"), [1]):
            self.assertIsNone(read_cost({"cost": cost}), cost)
            self.assertIsNone(read_cost({"cost_in_usd_ticks": cost}), cost)
        self.assertIsNone(read_cost({}))
        self.assertEqual(read_cost({"cost": 0}), 0)

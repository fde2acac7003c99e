"""Tests of :mod:`aiproxy.policy.traffic`."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.policy import traffic
from aiproxy.policy.traffic import Flow, Traffic


class TrafficTests(SynchronousTestCase):
    """What is remembered of candidates."""

    def test_running(self) -> None:
        """Calls are counted while they go on; the newest beginning is kept."""
        book = Traffic()
        flow = book.find("a")
        flow.began(5.0)
        flow.began(7.0)
        flow.ended()
        self.assertEqual((book.look("a").running, book.look("a").last_used), (1, 7.0))

    def test_looking_keeps_nothing(self) -> None:
        """Who only looks finds an empty flow, and leaves none."""
        book = Traffic()
        self.assertEqual(book.look("x").running, 0)
        book.find("x").began(1.0)
        self.assertEqual(book.look("y").running, 0)
        self.assertIsNone(book.look("y").first_token)

    def test_first_token(self) -> None:
        """An average in which what is older counts less: half after five minutes."""
        flow = Traffic().find("a")
        flow.answered(1.0, 0.0)
        self.assertEqual(flow.first_token, 1.0)
        flow.answered(4.0, 300.0)
        # The first counts half as much as the second.
        self.assertAlmostEqual(flow.first_token or 0, (0.5 * 1 + 4) / 1.5)
        flow.answered(0.0, 300.0 + 40 * 300.0)
        self.assertAlmostEqual(flow.first_token or 0, 0.0, places=6)

    def test_long_rest(self) -> None:
        """After a long rest only what is seen from then on counts."""
        for rest, expected in ((600.0, (250 * 9 + 1) / 251), (601.0, 1.0)):
            flow = Flow()
            flow.began(0.0)
            for _ in range(1_000):
                flow.answered(9.0, 0.0)
            flow.began(rest)
            flow.answered(1.0, rest)
            self.assertAlmostEqual(flow.first_token or 0, expected, places=6)

    def test_turns(self) -> None:
        """Each name has turns of its own, from 0 on."""
        book = Traffic()
        self.assertEqual([book.turn(name) for name in "aaba"], [0, 1, 0, 2])

    def test_bounded(self) -> None:
        """Of very many candidates those that rest longest are forgotten, never a running one."""
        self.patch(traffic, "_MOST", 4)
        book = Traffic()
        for place, name in enumerate("abcd"):
            book.find(name).began(float(place))
        for name in "bcd":
            book.find(name).ended()
        book.find("e").began(9.0)
        known = [name for name in "abcde" if book.look(name).last_used >= 0]
        self.assertEqual(known, ["a", "d", "e"])
        for name in "vwxyz":
            book.turn(name)
        self.assertEqual(book.turn("z"), 1)


class PercentileTests(SynchronousTestCase):
    """Times within which a share of the last first tokens came."""

    def flow(self, times: Iterable[float]) -> Flow:
        """Make a flow that has seen these."""
        flow = Flow()
        for now, seconds in enumerate(times):
            flow.answered(seconds, float(now))
        return flow

    def test_too_few(self) -> None:
        """Fewer than twenty say nothing."""
        self.assertIsNone(self.flow([1.0] * 19).percentile(0.5))
        self.assertEqual(self.flow([1.0] * 20).percentile(0.5), 1.0)

    def test_last_hundred(self) -> None:
        """What is older than the last hundred is forgotten, however slow it was."""
        self.assertEqual(self.flow([9.0] * 50 + [1.0] * 99).percentile(1.0), 9.0)
        self.assertEqual(self.flow([9.0] * 50 + [1.0] * 100).percentile(1.0), 1.0)

    def test_streams_only(self) -> None:
        """Whole answers and failures are no first tokens."""
        flow = self.flow([1.0] * 20)
        for _ in range(50):
            flow.answered(60.0, 0.0, streamed=False)
            flow.failed(60.0, 0.0)
        self.assertEqual(flow.percentile(1.0), 1.0)

    @given(st.lists(st.floats(0, 600), min_size=20, max_size=100), st.floats(0, 1))
    def test_share(self, times: list[float], share: float) -> None:
        """At least this share came within it, and no greater share came sooner."""
        found = self.flow(times).percentile(share)
        assert found is not None
        self.assertIn(found, times)
        within = sum(seconds <= found for seconds in times)
        sooner = sum(seconds < found for seconds in times)
        self.assertGreaterEqual(within, share * len(times))
        self.assertLessEqual(sooner, share * len(times))

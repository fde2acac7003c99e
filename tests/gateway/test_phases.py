"""Tests of :mod:`aiproxy.gateway.phases`."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Timeouts
from aiproxy.errors import LimitReached, UpstreamTimeout
from aiproxy.gateway.phases import Phases
from aiproxy.gateway.watch import Watch
from aiproxy.transport.timeout_queue import TimeoutQueue

TIMEOUTS = Timeouts(connect=1, headers=8, first_token=5, reasoning=20, attempt=6, total=60)


class PhasesTestCase(SynchronousTestCase):
    """A clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.watch = Watch(TimeoutQueue(self.clock, 1_000_000.0))

    def begin(
        self, *, last: bool = False, timeouts: Timeouts = TIMEOUTS
    ) -> tuple[Phases, Deferred[object]]:
        """Wait for something."""
        phases = Phases(self.clock, timeouts, self.watch, last=last)
        self.awaited: Deferred[object] = Deferred()
        return phases, Deferred.fromCoroutine(phases.wait(self.awaited))

    def assert_ends(self, waited: Deferred[object], at: float, words: str) -> None:
        """Its time is over at this second, and not before."""
        self.clock.advance(at - self.clock.seconds() - 0.01)
        self.assertNoResult(waited)
        self.clock.advance(0.01)
        error = self.failureResultOf(waited, UpstreamTimeout).value
        self.assertIn(words, error.message)
        self.assertEqual(error.status, 504)


class StreamTests(PhasesTestCase):
    """Streams."""

    def test_connect(self) -> None:
        """The connection has a time of its own."""
        phases, waited = self.begin()
        phases.begin_stream(reasoning=False)
        self.assert_ends(waited, 1, "not reached within 1 seconds")

    def test_headers(self) -> None:
        """An upload that hangs is bounded as the headers are."""
        phases, waited = self.begin()
        phases.begin_stream(reasoning=False)
        self.clock.advance(0.5)
        phases.connected()
        self.assert_ends(waited, 8.5, "did not take the request")

    def test_first_token(self) -> None:
        """It counts from the request's last byte, whenever the headers come."""
        for steps in ((), ("headers_came",)):
            self.clock = Clock()
            phases, waited = self.begin()
            phases.begin_stream(reasoning=False)
            phases.connected()
            self.clock.advance(2)
            phases.sent()
            for step in steps:
                self.clock.advance(3)
                move: Callable[[], None] = getattr(phases, step)
                move()
            self.assert_ends(waited, 7, "first token")

    def test_reasoning(self) -> None:
        """Who thinks has the time for that, in place of both."""
        phases, waited = self.begin()
        phases.begin_stream(reasoning=True)
        phases.connected()
        phases.sent()
        phases.headers_came()
        self.assert_ends(waited, 20, "first token")

    def test_heard(self) -> None:
        """What is folded must go on; each event starts its time anew."""
        phases, waited = self.begin()
        phases.begin_stream(reasoning=False)
        phases.headers_came()
        for _ in range(5):
            self.clock.advance(4)
            phases.heard(4.5)
        self.assert_ends(waited, 24.5, "did not go on")


class PlainTests(PhasesTestCase):
    """Whole answers."""

    def test_attempt(self) -> None:
        """All together have one time, from the beginning on."""
        phases, waited = self.begin()
        phases.begin_plain()
        self.clock.advance(0.9)
        phases.connected()
        phases.sent()
        self.clock.advance(4)
        phases.headers_came()
        self.assert_ends(waited, 6, "answer did not come")

    def test_connect(self) -> None:
        """The connection has its own, but no more than all."""
        for attempt, at in ((6, 1), (0.5, 0.5)):
            self.clock = Clock()
            phases, waited = self.begin(timeouts=Timeouts(connect=1, attempt=attempt))
            phases.begin_plain()
            self.assert_ends(waited, at, "not reached")


class QueuedTests(PhasesTestCase):
    """Calls of ours that have to end before the provider is asked."""

    def test_too_long(self) -> None:
        """That is bounded too, but it is a limit of ours, and the provider is not late."""
        for plain in (True, False):
            self.setUp()
            phases, waited = self.begin()
            phases.begin_plain() if plain else phases.begin_stream(reasoning=False)
            phases.queued(True)
            self.clock.advance(1)
            error = self.failureResultOf(waited, LimitReached).value
            self.assertIn("no other call to the provider has ended within 1", error.message)
            phases.stop()
            self.assertFalse(phases.overdue)

    def test_turn(self) -> None:
        """When the turn comes the provider has all of its time."""
        for plain, last in ((True, 6.9), (False, 8.9)):
            self.setUp()
            phases, waited = self.begin()
            phases.begin_plain() if plain else phases.begin_stream(reasoning=False)
            phases.queued(True)
            self.clock.advance(0.9)
            phases.queued(False)
            phases.connected()
            self.assert_ends(waited, last, "did not")

    def test_reached(self) -> None:
        """That of the connection begins with the turn."""
        phases, waited = self.begin()
        phases.begin_stream(reasoning=False)
        phases.queued(True)
        self.clock.advance(0.9)
        phases.queued(False)
        self.assert_ends(waited, 1.9, "not reached")

    def test_last(self) -> None:
        """The last one may wait as long as the call, and is not late then."""
        phases, waited = self.begin(last=True)
        phases.begin_plain()
        phases.queued(True)
        self.clock.advance(1_000)
        self.assertNoResult(waited)
        self.assertFalse(phases.overdue)


class PreparingTests(PhasesTestCase):
    """What a request needs, and is fetched elsewhere."""

    def test_bounds(self) -> None:
        """That has bounds of its own; the provider has all of its time after it."""
        for plain, last in ((True, 1_006.0), (False, 1_008.0)):
            self.setUp()
            phases, waited = self.begin()
            phases.begin_plain() if plain else phases.begin_stream(reasoning=False)
            phases.preparing(True)
            self.clock.advance(1_000)
            self.assertNoResult(waited)
            self.assertFalse(phases.overdue)
            phases.preparing(False)
            phases.connected()
            self.assert_ends(waited, last, "did not")

    def test_fails(self) -> None:
        """If it cannot be had the provider was not late."""
        phases, _ = self.begin()
        phases.begin_stream(reasoning=False)
        phases.preparing(True)
        self.clock.advance(1_000)
        phases.stop()
        self.assertFalse(phases.overdue)


class EndTests(PhasesTestCase):
    """Ends that are none of time's."""

    def test_last(self) -> None:
        """The last one has no bound, but it is known that it is late."""
        phases, waited = self.begin(last=True)
        phases.begin_plain()
        phases.connected()
        self.clock.advance(5.9)
        self.assertFalse(phases.overdue)
        self.clock.advance(1_000)
        self.assertTrue(phases.overdue)
        self.assertNoResult(waited)
        self.awaited.callback("late")
        self.assertEqual(self.successResultOf(waited), "late")

    def test_stop(self) -> None:
        """When they are over there is no timer, and nothing is late."""
        phases, waited = self.begin()
        phases.begin_stream(reasoning=False)
        self.awaited.callback("ok")
        self.assertEqual(self.successResultOf(waited), "ok")
        phases.stop()
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(1_000)
        self.assertFalse(phases.overdue)

    def test_stop_late(self) -> None:
        """What was late when they were over has been late."""
        phases, _ = self.begin(last=True)
        phases.begin_plain()
        self.clock.advance(6)
        phases.stop()
        self.assertTrue(phases.overdue)

    def test_over(self) -> None:
        """Where the whole call is over already, nothing is waited for."""
        phases = Phases(self.clock, TIMEOUTS, self.watch, last=True)
        self.watch.end(UpstreamTimeout("over"))
        awaited: Deferred[object] = Deferred()
        waited = Deferred.fromCoroutine(phases.wait(awaited))
        self.assertEqual(self.failureResultOf(waited, UpstreamTimeout).value.message, "over")
        self.assertTrue(awaited.called)

    def test_cancelled(self) -> None:
        """Whoever cancels the wait cancels what it waits for, and is told so: no timeout."""
        phases, waited = self.begin()
        phases.begin_stream(reasoning=False)
        waited.cancel()
        self.failureResultOf(waited, CancelledError)
        self.assertTrue(self.awaited.called)

"""Tests of :mod:`aiproxy.gateway.patience`."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.gateway.patience import Unsettled, settled_within


class SettledWithinTests(SynchronousTestCase):
    """Waiting for 15 seconds."""

    def setUp(self) -> None:
        """Begin."""
        self.clock = Clock()
        self.cancelled = 0
        self.waited: Deferred[str] = Deferred(self.cancel)
        self.told = settled_within(self.waited, 15.0, self.clock)

    def cancel(self, _: Deferred[str]) -> None:
        """Note that it was cancelled."""
        self.cancelled += 1

    def test_result(self) -> None:
        """What comes in time is told, and no timer is left."""
        self.clock.advance(14)
        self.waited.callback("a")
        self.assertEqual(self.successResultOf(self.told), "a")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_error(self) -> None:
        """An error too; it is not left unhandled in what was waited for."""
        self.waited.errback(ValueError())
        self.failureResultOf(self.told, ValueError)
        self.assertIsNone(self.successResultOf(self.waited))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_once(self) -> None:
        """What is there already is told without a wait."""
        self.assertEqual(self.successResultOf(settled_within(succeed(1), 15, self.clock)), 1)
        failed: Deferred[int] = fail(ValueError())
        self.failureResultOf(settled_within(failed, 15, self.clock), ValueError)
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_late(self) -> None:
        """When the time is over it goes on, and keeps what comes for who waits then."""
        self.clock.advance(15)
        self.failureResultOf(self.told, Unsettled)
        self.assertEqual(self.cancelled, 0)
        self.waited.callback("a")
        self.assertEqual(self.successResultOf(self.waited), "a")

    def test_late_error(self) -> None:
        """A late error is kept too."""
        self.clock.advance(15)
        self.failureResultOf(self.told, Unsettled)
        self.waited.errback(ValueError())
        self.failureResultOf(self.waited, ValueError)

    def test_no_bound(self) -> None:
        """0 seconds are no bound, and need no timer."""
        clock = Clock()
        waited: Deferred[str] = Deferred()
        told = settled_within(waited, 0.0, clock)
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertNoResult(told)
        waited.callback("a")
        self.assertEqual(self.successResultOf(told), "a")

    def test_cancel(self) -> None:
        """Who cancels it cancels what it waits for, and leaves no timer."""
        self.told.cancel()
        self.failureResultOf(self.told, CancelledError)
        self.assertEqual(self.cancelled, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancel_later(self) -> None:
        """After the time it has nothing to cancel."""
        self.clock.advance(15)
        self.told.cancel()
        self.failureResultOf(self.told, Unsettled)
        self.assertEqual(self.cancelled, 0)

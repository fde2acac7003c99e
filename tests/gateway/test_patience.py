"""Tests of :mod:`aiproxy.gateway.patience`."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.gateway.patience import Unsettled, settled_within
from aiproxy.transport.timeout_queue import TimeoutQueue


class SettledWithinTests(SynchronousTestCase):
    """Waiting for 15 seconds."""

    def setUp(self) -> None:
        """Begin."""
        self.clock = Clock()
        self.cancelled = 0
        self.waited: Deferred[str] = Deferred(self.cancel)
        self.told = settled_within(self.waited, TimeoutQueue(self.clock, 15.0))

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
        queue = TimeoutQueue(self.clock, 15)
        self.assertEqual(self.successResultOf(settled_within(succeed(1), queue)), 1)
        failed: Deferred[int] = fail(ValueError())
        self.failureResultOf(settled_within(failed, queue), ValueError)
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
        """Without a queue there is no bound."""
        waited: Deferred[str] = Deferred()
        told = settled_within(waited, None)
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

"""Tests of :mod:`aiproxy.transport.deadline`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.deadline import Deadline


class DeadlineTests(SynchronousTestCase):
    """A deadline on a clock of the test's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.times: list[float] = []
        self.deadline = Deadline(self.clock, lambda: self.times.append(self.clock.seconds()))

    def test_expires_once(self) -> None:
        """It expires at its time, once."""
        self.deadline.set(5)
        self.clock.advance(4.9)
        self.assertEqual(self.times, [])
        self.clock.advance(0.1)
        self.clock.advance(100)
        self.assertEqual(self.times, [5])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_later(self) -> None:
        """Moving it later costs no new timer until the first one fires."""
        self.deadline.set(5)
        timers = self.clock.getDelayedCalls()
        for _ in range(3):
            self.clock.advance(1)
            self.deadline.set(5)
            self.assertEqual(self.clock.getDelayedCalls(), timers)
        self.clock.pump([1] * 10)
        self.assertEqual(self.times, [8])

    def test_sooner(self) -> None:
        """Moving it sooner takes effect."""
        self.deadline.set(50)
        self.deadline.set(5)
        self.clock.pump([1] * 60)
        self.assertEqual(self.times, [5])

    def test_cancel(self) -> None:
        """A cancelled one leaves no timer, and can be set again."""
        self.deadline.set(5)
        self.deadline.set(None)
        self.deadline.cancel()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.deadline.set_at(7)
        self.clock.advance(7)
        self.assertEqual(self.times, [7])

    def test_past(self) -> None:
        """A time that has passed expires in the next turn."""
        self.clock.advance(10)
        self.deadline.set_at(3)
        self.assertEqual(self.times, [])
        self.clock.advance(0)
        self.assertEqual(self.times, [10])

    def test_set_again_when_expired(self) -> None:
        """Who is told may set it again."""

        def expired() -> None:
            self.times.append(1)
            deadline.set(5)

        deadline = Deadline(self.clock, expired)
        deadline.set(5)
        self.clock.pump([5, 5])
        self.assertEqual(self.times, [1, 1])
        deadline.cancel()

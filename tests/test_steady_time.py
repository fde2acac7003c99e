"""The time that our processes go by."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.base import ReactorBase
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.steady_time import keep_steady


class Reactor(ReactorBase):
    """One of Twisted's, with nothing open."""

    def installWaker(self) -> None:
        """There is nobody to wake."""

    def removeAll(self) -> list[Any]:
        """Nobody is watched."""
        return []


class KeepSteadyTests(SynchronousTestCase):
    """The monotonic clock in the place of the time of day."""

    def test_kept(self) -> None:
        """Timers are set, and due, by the monotonic clock."""
        reactor = Reactor()
        keep_steady(reactor)
        call = reactor.callLater(3_600, lambda: None)
        self.assertApproximates(call.getTime(), time.monotonic() + 3_600, 60)
        timeout = reactor.timeout()
        assert timeout is not None
        self.assertApproximates(timeout, 3_600, 60)

    def test_late(self) -> None:
        """Timers that are set already are due when they were meant to be."""
        reactor = Reactor()
        call = reactor.callLater(3_600, lambda: None)
        keep_steady(reactor)
        self.assertApproximates(call.getTime(), reactor.seconds() + 3_600, 60)

    def test_others(self) -> None:
        """A reactor that is not Twisted's own has its own time."""
        clock = Clock()
        keep_steady(clock)
        self.assertEqual(clock.seconds(), 0.0)

"""Tests of :mod:`aiproxy.transport.timeout_queue`."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.timeout_queue import TimeoutQueue, TimeoutQueues


@define(eq=False)
class Call:
    """Notes when it has expired."""

    clock: Clock
    then: Callable[[], None] = lambda: None
    expired: float | None = None

    def expire(self) -> None:
        """Its time is over."""
        self.expired = self.clock.seconds()
        self.then()


class TimeoutQueueTests(SynchronousTestCase):
    """Calls that may take ten seconds."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.queue = TimeoutQueue(self.clock, 10)

    def call(self, then: Callable[[], None] = lambda: None) -> Call:
        """Begin one."""
        call = Call(self.clock, then)
        self.queue.add(call)
        return call

    def test_expires(self) -> None:
        """Each expires in its own time, by one timer for all."""
        first = self.call()
        self.clock.advance(4)
        second = self.call()
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(6)
        self.assertEqual((first.expired, second.expired), (10, None))
        self.clock.advance(4)
        self.assertEqual(second.expired, 14)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_failure(self) -> None:
        """One that fails when its time is over spares none of those behind it."""

        def fail() -> None:
            raise ZeroDivisionError

        self.call(fail)
        beside = self.call()
        self.clock.advance(4)
        later = self.call()
        self.clock.advance(10)
        self.assertEqual((beside.expired, later.expired), (14, 14))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_discard(self) -> None:
        """Who ends in time never expires; without anybody there is no timer."""
        first, second = self.call(), self.call()
        self.queue.discard(first)
        self.queue.discard(first)
        self.assertTrue(self.queue)
        self.queue.discard(second)
        self.assertFalse(self.queue)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_again(self) -> None:
        """Who is added once more has all of its time again."""
        first = self.call()
        second = self.call()
        self.clock.advance(9)
        self.queue.add(first)
        self.clock.advance(9)
        self.assertEqual((first.expired, second.expired), (None, 18))
        self.clock.advance(1)
        self.assertEqual(first.expired, 19)

    def test_more(self) -> None:
        """Who expires may end others, and bring new ones."""
        made: list[Call] = []

        def go_on() -> None:
            self.queue.discard(second)
            made.append(self.call())

        first = self.call(go_on)
        second = self.call()
        third = self.call()
        self.clock.advance(10)
        self.assertEqual((first.expired, second.expired, third.expired), (10, None, 10))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(10)
        self.assertEqual(made[0].expired, 20)

    @given(st.lists(st.tuples(st.floats(0, 20), st.booleans())))
    def test_any(self, steps: list[tuple[float, bool]]) -> None:
        """Whatever comes and goes, whoever stays expires after ten seconds and not before."""
        clock = Clock()
        queue = TimeoutQueue(clock, 10)
        running: dict[Call, float] = {}
        for pause, leaves in steps:
            clock.advance(pause)
            for call, begun in list(running.items()):
                self.assertEqual(call.expired is not None, clock.seconds() - begun >= 10 - 1e-6)
                if call.expired is not None:
                    del running[call]
            if leaves and running:
                gone = next(iter(running))
                queue.discard(gone)
                del running[gone]
            else:
                call = Call(clock)
                running[call] = clock.seconds()
                queue.add(call)
        self.assertEqual(bool(queue), bool(running))
        self.assertEqual(len(clock.getDelayedCalls()), bool(running))


class TimeoutQueuesTests(SynchronousTestCase):
    """Queues of several lengths."""

    def test_find(self) -> None:
        """Those who may take as long share one."""
        queues = TimeoutQueues(Clock())
        self.assertIs(queues.find(10), queues.find(10.0))
        self.assertIsNot(queues.find(10), queues.find(11))
        self.assertEqual(queues.find(11).seconds, 11)

    def test_bounded(self) -> None:
        """Of very many lengths those are kept that somebody waits in."""
        clock = Clock()
        queues = TimeoutQueues(clock)
        used, free = queues.find(1000), queues.find(1001)
        used.add(Call(clock))
        for seconds in range(1, 600):
            queues.find(seconds)
        self.assertIs(queues.find(1000), used)
        self.assertIsNot(queues.find(1001), free)

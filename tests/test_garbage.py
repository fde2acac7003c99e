"""Tests of :mod:`aiproxy.garbage`, and that calls leave nothing to it."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable
from weakref import ReferenceType, ref

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.garbage import (
    LOOK_SECONDS,
    MOST_GROWN,
    QUIET_CALLS,
    THRESHOLDS,
    GarbageCollector,
)
from aiproxy.interfaces import IReply
from aiproxy.providers.call import Call
from tests.sites import HTTP
from tests.transport.http.clients import Client
from tests.web.serving import ScriptedReply, ServingTestCase


class Cycle:
    """Refers to itself, so that only a collection can end it."""

    def __init__(self) -> None:
        self.itself = self


class CollectorTests(SynchronousTestCase):
    """When full collections come."""

    def setUp(self) -> None:
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        self.clock = Clock()
        self.running = 0
        self.collector = GarbageCollector(self.clock, lambda: self.running)
        self.frozen = gc.get_freeze_count()
        self.collector.start()
        self.addCleanup(self.collector.stop)

    def grow_old(self, times: int = 1) -> ReferenceType[Cycle]:
        """Let a cycle grow old before nobody knows it any more, and others so many times."""
        cycle = Cycle()
        for _ in range(times):
            gc.collect(1)
        return ref(cycle)

    def test_start(self) -> None:
        """What is there is left out of collections, which become rare."""
        self.assertEqual(gc.get_threshold(), THRESHOLDS)
        self.assertGreater(gc.get_freeze_count(), self.frozen)

    def test_quiet(self) -> None:
        """With few calls a full one comes at the next look, if anything has grown old."""
        self.running = QUIET_CALLS
        old = self.grow_old()
        self.assertIsNotNone(old())
        self.clock.advance(LOOK_SECONDS)
        self.assertIsNone(old())
        full = gc.get_stats()[2]["collections"]
        self.clock.advance(LOOK_SECONDS)
        self.assertEqual(gc.get_stats()[2]["collections"], full)

    def test_busy(self) -> None:
        """With many it waits until it may be worth it."""
        self.running = QUIET_CALLS + 1
        step = THRESHOLDS[0] * (THRESHOLDS[1] + 1)
        old = self.grow_old(MOST_GROWN // step - 1)
        self.clock.advance(LOOK_SECONDS)
        self.assertIsNotNone(old())
        gc.collect(1)
        self.clock.advance(LOOK_SECONDS)
        self.assertIsNone(old())

    def test_many(self) -> None:
        """With many objects it waits until there are three times as many."""
        self.running = QUIET_CALLS + 1
        kept = [Cycle() for _ in range(MOST_GROWN)]
        steps = MOST_GROWN // (THRESHOLDS[0] * (THRESHOLDS[1] + 1))
        self.grow_old(steps)
        self.clock.advance(LOOK_SECONDS)
        old = self.grow_old(steps)
        self.clock.advance(LOOK_SECONDS)
        self.assertIsNotNone(old())
        for _ in range(4 * steps):
            gc.collect(1)
        self.clock.advance(LOOK_SECONDS)
        self.assertIsNone(old())
        self.assertEqual(len(kept), MOST_GROWN)

    def test_stop(self) -> None:
        """Nobody looks any more."""
        self.collector.stop()
        self.collector.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class CycleTests(ServingTestCase):
    """Calls free all that they have made as soon as they are over."""

    if HTTP == "stock":
        skip = "Twisted's own request and its notifications are a cycle"

    def left_by(self, call: Callable[[], None]) -> dict[str, int]:
        """Return how many objects of ours a call leaves to the collector, by class."""
        call()  # What is made once is there now.
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        self.addCleanup(gc.set_debug, 0)
        self.addCleanup(gc.garbage.clear)
        call()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return Counter(
            type(one).__qualname__ for one in gc.garbage if type(one).__module__[:8] == "aiproxy."
        )

    def stream(self) -> None:
        """Ask for a stream, to its end."""
        replies: list[ScriptedReply] = []

        def start(call: Call) -> Deferred[IReply]:
            replies.append(ScriptedReply())
            return succeed(replies[-1])

        self.provider.start_with = start
        self.begin_chat(stream=True)
        [reply] = replies
        for word in "one", "two", "three":
            reply.say(word)
        reply.end()
        del reply.consumer
        self.assertEqual(self.client.answer().status, 200)
        self.provider.calls.clear()

    def left_midway(self) -> None:
        """Ask for a stream, and leave after a word."""
        replies: list[ScriptedReply] = []

        def start(call: Call) -> Deferred[IReply]:
            replies.append(ScriptedReply())
            return succeed(replies[-1])

        self.provider.start_with = start
        self.client = Client(self.site, self.clock)
        self.begin_chat(stream=True)
        [reply] = replies
        reply.say("one")
        self.client.leave()
        self.assertEqual(reply.state, "stopped")
        del reply.consumer
        # A real transport lets go of its protocol and its producer by itself.
        self.client.transport._protocol = self.client.transport.producer = None
        self.provider.calls.clear()

    def plain(self) -> None:
        """Ask for a whole answer."""
        self.begin_chat()
        self.assertEqual(self.client.answer().status, 200)
        self.provider.calls.clear()

    def refused(self) -> None:
        """Ask without a token."""
        self.begin_chat(token="wrong")
        self.assertEqual(self.client.answer().status, 401)

    def test_plain(self) -> None:
        """A plain call leaves nothing."""
        self.assertEqual(self.left_by(self.plain), {})

    def test_stream(self) -> None:
        """A stream leaves nothing."""
        self.assertEqual(self.left_by(self.stream), {})

    def test_left_midway(self) -> None:
        """A stream whose client leaves leaves nothing."""
        self.assertEqual(self.left_by(self.left_midway), {})

    def test_refused(self) -> None:
        """A call that is refused leaves nothing."""
        self.assertEqual(self.left_by(self.refused), {})

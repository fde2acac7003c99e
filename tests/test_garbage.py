"""Tests of :mod:`aiproxy.garbage`, and that calls leave nothing to it."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.garbage import THRESHOLDS, settle_garbage_collector
from aiproxy.interfaces import IReply
from aiproxy.providers.call import Call
from tests.sites import HTTP
from tests.transport.http.clients import Client
from tests.web.serving import ScriptedReply, ServingTestCase


class SettleTests(SynchronousTestCase):
    """The collector's settings."""

    def test_settle(self) -> None:
        """What is there is left out of collections, which become rare."""
        self.addCleanup(gc.set_threshold, *gc.get_threshold())
        self.addCleanup(gc.unfreeze)
        before = gc.get_freeze_count()
        settle_garbage_collector()
        self.assertEqual(gc.get_threshold(), THRESHOLDS)
        self.assertGreater(gc.get_freeze_count(), before)


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

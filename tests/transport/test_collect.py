"""Tests of :mod:`aiproxy.transport.collect`."""

from __future__ import annotations

import tracemalloc

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aiproxy.errors import AnswerTooLarge, StreamCut
from aiproxy.interfaces import IBodyConsumer
from aiproxy.transport.collect import collect, collect_now, collect_some


class ScriptedReply:
    """A reply whose body the test plays."""

    def __init__(self) -> None:
        self.consumer: IBodyConsumer
        self.producer = StringTransport()

    def deliver(self, consumer: IBodyConsumer) -> None:
        assert verifyObject(IBodyConsumer, consumer)
        self.consumer = consumer
        consumer.begin(self.producer)

    @property
    def closed(self) -> bool:
        """The upstream was closed."""
        return self.producer.producerState == "stopped"


class WholeReply(ScriptedReply):
    """One whose body may be here already."""

    def __init__(self, body: bytes | None) -> None:
        super().__init__()
        self.body = body

    def take_whole(self) -> bytes | None:
        return self.body


class CollectTests(SynchronousTestCase):
    """A whole body."""

    def setUp(self) -> None:
        self.reply = ScriptedReply()

    def test_short_pieces(self) -> None:
        """A body in tiny pieces needs no more memory than another one."""
        body = collect(self.reply, 200_000)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(100_000):
            self.reply.consumer.received(b"%02d" % (number % 100))
        self.assertLess(tracemalloc.get_traced_memory()[0], 300_000)
        self.reply.consumer.finished()
        whole = b"".join(b"%02d" % number for number in range(100))
        self.assertEqual(self.successResultOf(body), whole * 1_000)

    def test_whole(self) -> None:
        """All pieces come in one; a body of just the limit is not too long."""
        body = collect(self.reply, 6)
        self.reply.consumer.received(b"one")
        self.reply.consumer.received(b"two")
        self.assertNoResult(body)
        self.reply.consumer.finished()
        self.assertEqual(self.successResultOf(body), b"onetwo")
        self.assertFalse(self.reply.closed)

    def test_too_large(self) -> None:
        """One byte more closes the upstream and says what the limit was."""
        body = collect(self.reply, 5)
        self.reply.consumer.received(b"one")
        self.reply.consumer.received(b"two")
        self.assertIn("5 bytes", str(self.failureResultOf(body, AnswerTooLarge).value))
        self.assertTrue(self.reply.closed)

    def test_here(self) -> None:
        """A body that is here already is taken as it is, if it is not too long."""
        self.assertEqual(collect_now(WholeReply(b"whole"), 5), b"whole")
        too_long = collect_now(WholeReply(b"whole"), 4)
        assert isinstance(too_long, Deferred)
        self.assertIn("4 bytes", str(self.failureResultOf(too_long, AnswerTooLarge).value))
        later = collect_now(WholeReply(None), 5)
        assert isinstance(later, Deferred)
        self.assertNoResult(later)

    def test_cut(self) -> None:
        """A body that breaks off fails with the reason."""
        body = collect(self.reply, 100)
        self.reply.consumer.received(b"one")
        self.reply.consumer.failed(StreamCut("cut"))
        self.failureResultOf(body, StreamCut)

    def test_cancelled(self) -> None:
        """Cancelling closes the upstream."""
        for collecting in (collect, collect_some):
            reply = ScriptedReply()
            body = collecting(reply, 100)
            reply.consumer.received(b"one")
            body.cancel()
            self.failureResultOf(body, CancelledError)
            self.assertTrue(reply.closed)


class CollectSomeTests(SynchronousTestCase):
    """The beginning of a body."""

    def setUp(self) -> None:
        self.reply = ScriptedReply()

    def test_short(self) -> None:
        """A short body is whole."""
        body = collect_some(self.reply)
        self.reply.consumer.received(b"one")
        self.reply.consumer.finished()
        self.assertEqual(self.successResultOf(body), b"one")

    def test_late(self) -> None:
        """With a clock, what has come after two seconds is enough; no timer is left behind."""
        clock = Clock()
        body = collect_some(self.reply, clock=clock)
        self.reply.consumer.received(b"one")
        clock.advance(1.9)
        self.assertNoResult(body)
        clock.advance(0.2)
        self.assertEqual(self.successResultOf(body), b"one")
        self.assertTrue(self.reply.closed)
        left, ended = ScriptedReply(), ScriptedReply()
        collect_some(ended, clock=clock)
        ended.consumer.finished()
        body = collect_some(left, clock=clock)
        body.cancel()
        self.failureResultOf(body, CancelledError)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_long(self) -> None:
        """A long one is cut at 64 KiB, and the upstream closed."""
        body = collect_some(self.reply)
        self.reply.consumer.received(b"x" * 65536)
        self.assertNoResult(body)
        self.reply.consumer.received(b"yz")
        self.assertEqual(self.successResultOf(body), b"x" * 65536)
        self.assertTrue(self.reply.closed)

    def test_broken_off(self) -> None:
        """What came before the connection broke is better than nothing."""
        body = collect_some(self.reply, 100)
        self.reply.consumer.received(b'{"error": {"mess')
        self.reply.consumer.failed(StreamCut("cut"))
        self.assertEqual(self.successResultOf(body), b'{"error": {"mess')

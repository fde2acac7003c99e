"""Tests of :mod:`aiproxy.testing.scripted`."""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aiproxy.interfaces import IProvider, IReply
from aiproxy.testing import ScriptedProvider, ScriptedReply
from tests.transport.upstreams import RecordingConsumer


class ScriptedTests(SynchronousTestCase):
    """The fakes."""

    def test_interfaces(self) -> None:
        """They are what they stand for."""
        self.assertTrue(verifyObject(IProvider, ScriptedProvider()))
        self.assertTrue(verifyObject(IReply, ScriptedReply()))
        self.assertTrue(verifyObject(IPushProducer, ScriptedReply()))

    def test_abandoned(self) -> None:
        """An abandoned reply tells nothing."""
        reply = ScriptedReply.whole(b"x")
        reply.abandon()
        consumer = RecordingConsumer()
        reply.deliver(consumer)
        self.assertTrue(reply.stopped)
        self.assertEqual((consumer.pieces, consumer.ends), ([], []))

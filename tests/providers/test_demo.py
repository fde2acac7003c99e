"""Tests of :mod:`aiproxy.providers.demo`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aiproxy.config.schema import Model
from aiproxy.interfaces import IProvider, IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call
from aiproxy.providers.demo import DemoProvider
from tests.transport.upstreams import RecordingConsumer


class DemoTests(SynchronousTestCase):
    """The demo's stream."""

    def start(self, content: object) -> IReply:
        self.clock = Clock()
        provider = DemoProvider(self.clock)
        self.assertTrue(verifyObject(IProvider, provider))
        candidate = Candidate(Model("demo", "demo", "demo", "demo", "demo"), "demo")
        request = {"messages": [{"role": "user", "content": content}]}
        reply = self.successResultOf(provider.start(Call("r", request, candidate, True)))
        self.assertTrue(verifyObject(IReply, reply))
        return reply

    def test_repeats(self) -> None:
        """The text comes back exactly, and no timer is left."""
        consumer = RecordingConsumer()
        self.start([{"type": "image_url"}, {"type": "text", "text": "a  b\n"}]).deliver(consumer)
        self.clock.pump([0, *[0.04] * 5])
        self.assertIn(b'"a  "', consumer.data)
        self.assertIn(b'"b\\n"', consumer.data)
        self.assertIn(b'"prompt_tokens":2', consumer.data)
        self.assertEqual(consumer.ends, ["finished"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_paused_within_a_piece(self) -> None:
        """Who pauses while a piece comes gets no more until he resumes."""
        consumer = RecordingConsumer(on_data=lambda it: it.producer.pauseProducing())
        self.start("a b").deliver(consumer)
        self.clock.advance(0)
        self.assertEqual((len(consumer.pieces), self.clock.getDelayedCalls()), (1, []))
        consumer.producer.resumeProducing()
        self.clock.advance(0.04)
        self.assertEqual(len(consumer.pieces), 2)

    def test_stopped_within_a_piece(self) -> None:
        """Who stops while a piece comes is told nothing more."""
        consumer = RecordingConsumer(on_data=lambda it: it.producer.stopProducing())
        self.start("a").deliver(consumer)
        self.clock.pump([0, 0.04, 0.04])
        self.assertEqual((len(consumer.pieces), consumer.ends), (1, []))

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

    def start(self, content: object, *, stream: bool = True) -> IReply:
        self.clock = Clock()
        provider = DemoProvider(self.clock)
        self.assertTrue(verifyObject(IProvider, provider))
        candidate = Candidate(Model("demo", "demo", "demo", "demo", "demo"), "demo")
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "no"}]
        call = Call("r", {"messages": messages}, candidate, stream)
        reply = self.successResultOf(provider.start(call))
        self.assertTrue(verifyObject(IReply, reply))
        return reply

    def test_repeats(self) -> None:
        """The text comes back exactly, and no timer is left."""
        consumer = RecordingConsumer()
        self.start([{"type": "image_url"}, {"type": "text", "text": "a  b\n"}]).deliver(consumer)
        self.clock.pump([0, *[0.04] * 5])
        self.assertIn(b'"a  "', consumer.data)
        self.assertIn(b'"b\\n"', consumer.data)
        self.assertIn(b'"prompt_tokens":3', consumer.data)
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

    def test_plain(self) -> None:
        """A plain answer comes whole."""
        consumer = RecordingConsumer()
        reply = self.start(" two  words ", stream=False)
        self.assertFalse(reply.streamed)
        reply.deliver(consumer)
        self.clock.advance(0)
        answer = reply.dialect.read_reply(consumer.data)
        self.assertEqual(answer["choices"][0]["message"]["content"], " two  words ")
        self.assertEqual(consumer.ends, ["finished"])

    def test_nothing_said(self) -> None:
        """Where nothing was said there is an answer all the same."""
        for content in ("", None, [], [{"type": "image_url"}, "x"]):
            consumer = RecordingConsumer()
            self.start(content).deliver(consumer)
            self.clock.pump([0, 0.04])
            self.assertIn(b"said nothing", consumer.data)

    def test_no_user(self) -> None:
        """So there is where no user has said anything."""
        self.clock = Clock()
        candidate = Candidate(Model("demo", "demo", "demo", "demo", "demo"), "demo")
        request = {"messages": [{"role": "system", "content": "x"}]}
        started = DemoProvider(self.clock).start(Call("r", request, candidate, False))
        consumer = RecordingConsumer()
        self.successResultOf(started).deliver(consumer)
        self.clock.advance(0)
        self.assertIn(b"said nothing", consumer.data)

    def test_long(self) -> None:
        """The longest stream takes four seconds, one event a word."""
        consumer = RecordingConsumer()
        self.start("word " * 1000).deliver(consumer)
        self.clock.pump([0, *[0.04] * 100])
        self.assertEqual(consumer.ends, ["finished"])
        self.assertEqual(len(consumer.pieces), 1001)

    def test_abandoned(self) -> None:
        """Who wants nothing gets nothing."""
        self.start("a").abandon()
        self.assertEqual(self.clock.getDelayedCalls(), [])

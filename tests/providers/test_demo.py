"""Tests of :mod:`aiproxy.providers.demo`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aiproxy.config.schema import Model
from aiproxy.errors import InvalidRequest
from aiproxy.interfaces import IProvider, IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call
from aiproxy.providers.demo import DemoProvider
from tests.transport.upstreams import RecordingConsumer


class DemoTests(SynchronousTestCase):
    """The demo's stream."""

    def ask(self, content: object, *, stream: bool, **more: Any) -> Deferred[IReply]:
        self.clock = Clock()
        provider = DemoProvider(self.clock)
        self.assertTrue(verifyObject(IProvider, provider))
        candidate = Candidate(Model("demo", "demo", "demo", "demo", "demo"), "demo")
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "no"}]
        return provider.start(Call("r", {"messages": messages, **more}, candidate, stream))

    def start(self, content: object, *, stream: bool = True, **more: Any) -> IReply:
        reply = self.successResultOf(self.ask(content, stream=stream, **more))
        self.assertTrue(verifyObject(IReply, reply))
        return reply

    def told(self, content: object, **more: Any) -> tuple[str, str, int]:
        """Return the text, the reason of its end and its tokens, the same in both ways."""
        ways = []
        for stream in (False, True):
            reply = self.start(content, stream=stream, **more)
            consumer = RecordingConsumer()
            reply.deliver(consumer)
            self.clock.pump([0, *[0.04] * 100])
            self.assertEqual(consumer.ends, ["finished"])
            if stream:
                reader = reply.dialect.stream_reader(choices=1, max_event_bytes=9999)
                choices = [one for chunk in reader.feed(consumer.data) for one in chunk["choices"]]
                self.assertTrue(reader.ended)
                text = "".join(one["delta"].get("content", "") for one in choices)
                reason, usage = choices[-1]["finish_reason"], reader.usage
            else:
                answer = reply.dialect.read_reply(consumer.data)
                choice, usage = answer["choices"][0], answer["usage"]
                text, reason = choice["message"]["content"], choice["finish_reason"]
            assert usage
            ways.append((text, reason, usage["completion_tokens"]))
        self.assertEqual(ways[0], ways[1])
        return ways[0]

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
            self.clock.pump([0, *[0.04] * 3])
            self.assertIn(b"nothing)", consumer.data)

    def test_limit(self) -> None:
        """The answer has no more words than the caller wants, and says that it ends early."""
        self.assertEqual(self.told("one two three", max_tokens=1), ("one ", "length", 1))
        self.assertEqual(
            self.told("one two three", max_tokens=1, max_completion_tokens=2),
            ("one two ", "length", 2),
        )
        whole = ("one two three", "stop", 3)
        self.assertEqual(self.told("one two three", max_tokens=3), whole)
        limits = {"max_completion_tokens": None, "max_tokens": None}
        self.assertEqual(self.told("one two three", **limits), whole)

    def test_stop(self) -> None:
        """A stop sequence ends it, even before its first word."""
        self.assertEqual(self.told("one two three", stop="wo"), ("one t", "stop", 2))
        self.assertEqual(self.told("one two three", stop=["four", "one"]), ("", "stop", 0))
        self.assertEqual(self.told("one two three", stop="w", max_tokens=1)[:2], ("one ", "length"))

    def test_refused(self) -> None:
        """What would make another answer of it is refused, by the field's name."""
        named = {"type": "function", "function": {"name": "look"}}
        for name, value in (
            ("n", 3),
            ("tool_choice", "required"),
            ("tool_choice", named),
            ("function_call", {"name": "look"}),
            ("max_tokens", 0),
            ("max_tokens", True),
            ("max_completion_tokens", "many"),
        ):
            for stream in (False, True):
                starting = self.ask("one", stream=stream, **{name: value})
                error = self.failureResultOf(starting, InvalidRequest).value
                self.assertEqual(error.param, name)
                self.assertIn(name, error.message)

    def test_dropped(self) -> None:
        """What else it cannot do is named; what asks for nothing is not."""
        kind = {"type": "json_object"}
        reply = self.start("one", tools=[{}], logprobs=True, response_format=kind, temperature=0.7)
        self.assertEqual(reply.dropped, ("tools", "logprobs", "response_format", "temperature"))
        self.assertEqual(self.start("one", anything=1).dropped, ("anything",))
        searched = self.start("one", web_search_options={})
        self.assertEqual(searched.dropped, ("web_search_options",))
        for name, value in (
            ("n", 1),
            ("tools", []),
            ("tool_choice", "auto"),
            ("function_call", "none"),
            ("seed", 7),
            ("logprobs", False),
            ("response_format", {"type": "text"}),
            ("temperature", 1),
            ("top_p", 1.0),
            ("user", None),
            ("stream_options", {"include_usage": True}),
            ("no\nword", 1),
            ("x" * 65, 1),
        ):
            reply = self.start("one", stream=True, **{name: value})
            self.assertEqual((name, reply.dropped), (name, ()))

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

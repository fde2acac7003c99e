"""Tests of :mod:`aiproxy.providers.chaos`: every fault, as our own client sees it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aiproxy import errors
from aiproxy.config.schema import Model
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.interfaces import IProvider, IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call
from aiproxy.providers.chaos.provider import ChaosProvider
from aiproxy.providers.chaos.script import ANSWER
from aiproxy.providers.registry import ProviderParts, ProviderRegistry
from aiproxy.transport.client import UpstreamClient
from tests.transport.upstreams import RecordingConsumer

QUESTION = {"role": "user", "content": "Why?"}


def drill(script: object) -> Model:
    """Make a model with a script."""
    body = {} if script is None else {"chaos": script}
    return Model("drill/a", "drill", "chaos", "plugin", "a", body=body)


class ChaosTestCase(SynchronousTestCase):
    """Asks a drill's model."""

    def begin(self, script: object = None) -> None:
        """Make the provider."""
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.model = drill(script)
        self.provider = ChaosProvider(self.clock, self.model)
        self.upstream = self.provider.upstream

    def start(self, *, stream: bool = True, **more: Any) -> Deferred[IReply]:
        """Ask, and let what takes no time happen."""
        request = {"model": "drill/a", "messages": [QUESTION], **more}
        candidate = Candidate(self.model, "drill/a")
        started = self.provider.start(Call("r", request, candidate, stream))
        self.turn()
        return started

    def turn(self) -> None:
        """Let all happen that takes no time."""
        self.clock.advance(0)

    def take(self, **more: Any) -> RecordingConsumer:
        """Ask, and take the body."""
        consumer = RecordingConsumer()
        self.successResultOf(self.start(**more)).deliver(consumer)
        self.turn()
        return consumer

    def take_some(self, pieces: int, **more: Any) -> RecordingConsumer:
        """Ask, and take some pieces of the body."""

        def look(consumer: RecordingConsumer) -> None:
            if len(consumer.pieces) == pieces:
                consumer.producer.stopProducing()

        consumer = RecordingConsumer(on_data=look)
        self.successResultOf(self.start(**more)).deliver(consumer)
        self.turn()
        return consumer

    def error(self, **more: Any) -> errors.AIProxyError:
        """Ask, and return the error."""
        error = self.failureResultOf(self.start(**more), errors.AIProxyError).value
        assert isinstance(error, errors.AIProxyError)
        return error

    def read(self, consumer: RecordingConsumer) -> tuple[str, bool]:
        """Read a stream: its text or arguments, and whether it was complete."""
        reader = OpenAIDialect().stream_reader(choices=1, max_event_bytes=1_000_000)
        chunks = [*reader.feed(consumer.data), *reader.close()]
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk.get("choices")]
        words = [delta.get("content") or "" for delta in deltas]
        calls = [call for delta in deltas for call in delta.get("tool_calls") or ()]
        words += [call["function"].get("arguments") or "" for call in calls]
        return "".join(words), reader.finished


class GoodTests(ChaosTestCase):
    """Where the script is over, or says nothing."""

    def test_stream(self) -> None:
        """The text comes whole, at once, and nothing is left of it."""
        self.begin()
        self.assertTrue(verifyObject(IProvider, self.provider))
        consumer = self.take(stream_options={"include_usage": True})
        self.assertEqual(self.read(consumer), (ANSWER, True))
        self.assertIn(b'"total_tokens":', consumer.data)
        self.assertEqual((self.upstream.open_connections, self.clock.getDelayedCalls()), (0, []))

    def test_plain(self) -> None:
        """A plain answer has the same text."""
        self.begin()
        answer = OpenAIDialect().read_reply(self.take(stream=False).data)
        self.assertEqual(answer["choices"][0]["message"]["content"], ANSWER)

    def test_script_stays_here(self) -> None:
        """The upstream is not sent its own script, but all else of the model's body."""
        self.begin({"answer": "Yes."})
        self.model.body["seed"] = 7  # type: ignore[index]
        self.take()
        [seen] = self.upstream.requests
        self.assertNotIn("chaos", seen.body)
        self.assertEqual((seen.body["seed"], seen.path), (7, "/v1/chat/completions"))

    def test_bounded(self) -> None:
        """Of requests only the latest are kept, for a server has many."""
        self.begin()
        for _ in range(30):
            self.take()
        self.assertLess(len(self.upstream.requests), 30)
        self.assertEqual(self.upstream.connections, [])

    def test_pace(self) -> None:
        """A pace spreads the events over time."""
        self.begin({"answer": "One two", "pace": 1})
        consumer = self.take()
        self.assertNotIn(b"One", consumer.data)
        self.clock.pump([1, 0, 0])
        self.assertIn(b"One", consumer.data)
        self.assertNotIn(b" two", consumer.data)
        self.clock.pump([1] * 5)
        self.assertEqual((self.read(consumer), consumer.ends), (("One two", True), ["finished"]))

    def test_bad_script(self) -> None:
        """A script with a mistake is known before anything is served."""
        parts = ProviderParts(UpstreamClient(Clock()), Clock())
        registry = ProviderRegistry(parts, {})
        error = self.assertRaises(errors.ConfigurationError, registry.find, drill(["oops"]))
        self.assertIn("model drill/a: body.chaos: faults[0]: 'oops'", str(error))
        good = drill([503])
        self.assertIsInstance(registry.find(good), ChaosProvider)
        self.assertIs(registry.find(good), registry.find(good))


class AttemptTests(ChaosTestCase):
    """Faults before an answer."""

    def check(self, fault: object, kind: type[errors.AIProxyError], words: str) -> None:
        """Meet a fault, and then a good answer."""
        for stream in (True, False):
            self.begin([fault])
            started = self.start(stream=stream)
            # Twisted looks for further addresses of the name meanwhile.
            self.clock.pump([0.3, 0])
            error = self.failureResultOf(started, kind).value
            self.assertIn(words, error.message)
            self.assertEqual(self.take(stream=stream).ends, ["finished"])

    def test_connections(self) -> None:
        """Each way not to get a connection, or an answer on it, is told apart."""
        failed = errors.ConnectFailed
        self.check("refuse", failed, "refused")
        self.check("dns", failed, "could not be resolved")
        self.check("tls", failed, "TLS")
        self.check("reset", failed, "closed the connection before it answered")
        self.check("close", failed, "closed the connection before it answered")

    def test_header_without_end(self) -> None:
        """Headers that never end are bounded by us."""
        self.check({"fault": "endless", "part": "header"}, errors.AnswerTooLarge, "headers")

    def test_stale(self) -> None:
        """A kept connection that is closed costs nothing: the request is sent again."""
        self.begin(["none", "stale"])
        self.assertEqual(self.take().ends, ["finished"])
        self.assertEqual(self.upstream.open_connections, 1)
        self.assertEqual(self.read(self.take()), (ANSWER, True))
        self.assertEqual([seen.fault for seen in self.upstream.requests], ["none", "stale", "none"])
        self.assertEqual([seen.connection for seen in self.upstream.requests], [0, 0, 1])

    def test_silent(self) -> None:
        """Nothing comes, until the caller gives up: then the upstream sees him go."""
        self.begin(["silent"])
        started = self.start()
        self.clock.advance(100_000)
        self.assertNoResult(started)
        self.assertEqual(self.upstream.open_connections, 1)
        started.cancel()
        self.turn()
        self.failureResultOf(started)
        self.assertEqual((self.upstream.open_connections, self.clock.getDelayedCalls()), (0, []))

    def test_silent_for_a_while(self) -> None:
        """With a delay the answer comes after it."""
        self.begin([{"fault": "silent", "delay": 5}])
        started = self.start()
        self.clock.pump([4.9, 0, 0])
        self.assertNoResult(started)
        self.clock.pump([0.2, 0, 0])
        self.assertTrue(self.successResultOf(started).streamed)

    def test_errors(self) -> None:
        """An error goes to whom it concerns, with its delay."""
        self.begin([{"fault": "rate_limit", "retry_after": 2.5}, 503, "bad_request"])
        limited = self.error()
        assert isinstance(limited, errors.UpstreamRateLimited)
        self.assertEqual(limited.retry_after, 2.5)
        self.assertIsInstance(self.error(), errors.UpstreamFailed)
        self.assertIsInstance(self.error(stream=False), errors.UpstreamRefused)

    def test_errors_inside(self) -> None:
        """An error inside a 200 means the same, in the body and as an event."""
        step = {"fault": "error_inside", "error": "quota", "after_events": 0}
        self.begin([step, step])
        reader = OpenAIDialect().stream_reader(choices=1, max_event_bytes=1_000_000)
        reader.feed(self.take().data)
        self.assertIsInstance(reader.error, errors.UpstreamOutOfCredit)
        plain = self.take(stream=False).data
        self.assertRaises(errors.UpstreamOutOfCredit, OpenAIDialect().read_reply, plain)

    def test_wrong_bodies(self) -> None:
        """A page, nothing, half an answer and an empty one are no answers."""
        for fault in ("html", "nothing", "truncated", "garbled"):
            self.begin([fault])
            body = self.take(stream=False).data
            self.assertRaises(errors.UpstreamFailed, OpenAIDialect().read_reply, body)
            self.begin([fault])
            self.assertFalse(self.read(self.take())[1])
        self.begin(["empty", "empty"])
        self.assertEqual(self.read(self.take())[0], "")
        self.assertIn(b'"content":""', self.take(stream=False).data)


class StreamTests(ChaosTestCase):
    """Faults in the middle of a stream."""

    def check_cut(self, step: dict[str, object], text: str) -> RecordingConsumer:
        """Meet a cut after some text."""
        self.begin([{"fault": "cut", **step}])
        consumer = self.take()
        self.assertEqual(self.read(consumer), (text, False))
        return consumer

    def test_places(self) -> None:
        """A stream is cut after events, characters or bytes."""
        self.check_cut({"after_events": 0}, "")
        self.check_cut({"after_events": 3}, "The lighthouse")
        self.check_cut({"after_characters": 7}, ANSWER[:7])
        self.check_cut({}, ANSWER[: len(ANSWER) // 2])
        for place in (0, 1, 150):
            self.assertEqual(len(self.check_cut({"after_bytes": place}, "").data), place)

    def test_every_character(self) -> None:
        """No place loses a character that was sent, whatever the way of the cut."""
        for place in range(0, len(ANSWER) + 1, 3):
            for end in ("close", "reset", "clean"):
                self.check_cut({"after_characters": place, "end": end}, ANSWER[:place])

    def test_ends(self) -> None:
        """It ends against HTTP's rules, by them, or not at all."""
        ends = {
            end: self.check_cut({"after_events": 2, "end": end}, "The").ends
            for end in ("close", "reset", "clean", "open")
        }
        for end in ("close", "reset"):
            self.assertIsInstance(ends[end][0], errors.StreamCut)
        self.assertEqual((ends["clean"], ends["open"]), (["finished"], []))

    def test_plain(self) -> None:
        """A plain answer is cut as well: against its length, or with a length to match."""
        self.begin([{"fault": "cut", "after_bytes": 9}, {"fault": "cut", "end": "clean"}])
        consumer = self.take(stream=False)
        self.assertEqual(len(consumer.data), 9)
        self.assertIsInstance(consumer.ends[0], errors.StreamCut)
        self.assertEqual(self.take(stream=False).ends, ["finished"])

    def test_arguments(self) -> None:
        """A tool call is cut in the middle of its arguments."""
        self.begin([{"fault": "cut", "tool": True, "after_characters": 9}])
        text, complete = self.read(self.take(tools=[{"function": {"name": "weather"}}]))
        self.assertEqual((text, complete), ('{"city":"', False))
        self.assertEqual(self.read(self.take())[0], ANSWER)

    def test_late(self) -> None:
        """Headers come at once, the first event later."""
        self.begin([{"fault": "late", "delay": 8}])
        consumer = self.take()
        self.clock.pump([7.9, 0, 0])
        self.assertEqual(consumer.data, b"")
        self.clock.advance(0.2)
        self.turn()
        self.assertEqual((self.read(consumer), consumer.ends), ((ANSWER, True), ["finished"]))

    def test_stall(self) -> None:
        """A stream falls silent; with a delay it goes on."""
        self.begin([{"fault": "stall", "after_characters": 10, "delay": 60}])
        consumer = self.take()
        self.assertEqual(self.read(consumer), (ANSWER[:10], False))
        self.clock.advance(60)
        self.turn()
        self.assertEqual(self.read(consumer), (ANSWER, True))
        self.begin([{"fault": "stall", "after_events": 1}])
        consumer = self.take()
        self.clock.advance(10_000)
        self.turn()
        self.assertEqual(consumer.ends, [])

    def test_pings(self) -> None:
        """Meanwhile it shows that it lives, as comments or as events, and nobody reads content."""
        for ping, mark in (("comment", b"\n: DRILL"), ("event", b"event: ping")):
            step = {"fault": "stall", "after_events": 2, "delay": 3, "ping_every": 1, "ping": ping}
            self.begin([step])
            consumer = self.take()
            self.clock.pump([1, 0, 0, 1, 0, 0])
            self.assertEqual(consumer.data.count(mark), 2)
            self.clock.advance(1)
            self.turn()
            self.assertEqual(self.read(consumer), (ANSWER, True))

    def test_garbled(self) -> None:
        """Noise leaves the text whole; what looks like a delta takes one away."""
        self.begin(
            [
                {"fault": "garbled", "looks": "noise", "after_events": 3},
                {"fault": "garbled", "after_events": 3},
            ]
        )
        self.assertEqual(self.read(self.take()), (ANSWER, True))
        data = self.take().data
        self.assertIn(b'"content":"bro\n', data)
        self.assertNotIn(b" keeper", data)
        self.assertIn(b" climbed", data)

    def test_no_done(self) -> None:
        """The finish reason is there and ``[DONE]`` is not; the connection stays open or ends."""
        for end, ends in (("open", 0), ("close", 1), ("clean", 1)):
            self.begin([{"fault": "no_done", "end": end}])
            consumer = self.take()
            self.assertEqual(self.read(consumer), (ANSWER, True))
            self.assertNotIn(b"[DONE]", consumer.data)
            self.assertEqual(len(consumer.ends), ends)


class SizeTests(ChaosTestCase):
    """More than anybody reads."""

    def test_flood(self) -> None:
        """Whoever does not read holds the upstream back; it goes on when he does."""
        self.begin([{"fault": "flood", "events": 1_000, "size": 1_000}])
        consumer = RecordingConsumer(on_begin=lambda it: it.producer.pauseProducing())
        self.successResultOf(self.start()).deliver(consumer)
        self.turn()
        [connection] = self.upstream.connections
        self.assertLess(connection.sent, 200_000)
        consumer.producer.resumeProducing()
        self.turn()
        self.assertEqual(consumer.ends, ["finished"])
        text, complete = self.read(consumer)
        self.assertEqual((len(text), complete), (1_000_000, True))

    def test_endless(self) -> None:
        """A stream, an event, a line and a plain answer have no end; who leaves ends them."""
        steps = [
            ({"fault": "flood"}, True),
            ({"fault": "endless", "part": "event"}, True),
            ({"fault": "endless", "part": "line"}, True),
            ({"fault": "endless", "part": "answer"}, False),
        ]
        for step, stream in steps:
            self.begin([step])
            consumer = self.take_some(100, stream=stream)
            self.assertEqual(consumer.ends, [])
            self.assertEqual(self.upstream.open_connections, 0)

    def test_bounds(self) -> None:
        """One event without an end is more than we take."""
        for part in ("event", "line"):
            self.begin([{"fault": "endless", "part": part}])
            data = self.take_some(100).data
            reader = OpenAIDialect().stream_reader(choices=1, max_event_bytes=100_000)
            reader.feed(data)
            self.assertIsInstance(reader.error, errors.AnswerTooLarge)

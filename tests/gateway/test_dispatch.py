"""Tests of :mod:`aiproxy.gateway`: calls from the plan to the answer."""

from __future__ import annotations

import tracemalloc
from base64 import b64encode
from collections.abc import Coroutine
from typing import Any
from urllib.parse import quote

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.config.schema import Config, Group, Limits, Model, Retry, Server, Timeouts
from aiproxy.config.secret import Secret
from aiproxy.dialects.embeddings_face import EmbeddingsFace
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.dialects.operations import MODERATIONS
from aiproxy.dialects.raw_face import RawFace
from aiproxy.gateway.answer import PlainAnswer, StreamedAnswer
from aiproxy.gateway.dispatch import ClientCall, Dispatcher
from aiproxy.gateway.plan import Plan
from aiproxy.gateway.usage import CallRecord, Tokens
from aiproxy.policy.access import Access, Principal
from aiproxy.providers.registry import ProviderParts, ProviderRegistry
from aiproxy.testing import ScriptedProvider, ScriptedReply, chat_answer, chat_stream
from aiproxy.transport.client import UpstreamClient
from aiproxy.wire.json import dumps, loads

TIMEOUTS = Timeouts(connect=1, headers=8, first_token=5, idle=15, reasoning=20, attempt=6, total=60)


ME = Principal("me")


def model(name: str, **more: Any) -> Model:
    """Make a model of the scripted provider."""
    settings = {"timeouts": TIMEOUTS, "upstream_model": name, **more}
    return Model(name, "scripted", "openai", "openai", **settings)


class DispatchTestCase(SynchronousTestCase):
    """A dispatcher over a scripted provider, with models ``a``, ``b`` and their group ``g``."""

    models: tuple[Model, ...] = (model("a"), model("b"))
    #: What retries and takeovers do, has tests of its own.
    retry = Retry(max_retries=0, takeover=False)

    def setUp(self) -> None:
        self.clock = Clock()
        self.records: list[CallRecord] = []
        self.use(ScriptedProvider())

    def use(self, provider: ScriptedProvider, *models: Model, server: Server | None = None) -> None:
        """Ask this provider from now on."""
        self.provider = provider
        chosen = models or self.models
        config = Config(
            server=server or Server(keep_alive=0),
            models=chosen,
            retry=self.retry,
            groups={"g": Group(tuple(model.name for model in chosen))},
        )
        registry = ProviderRegistry(
            ProviderParts(UpstreamClient(MemoryReactorClock()), self.clock), {"scripted": provider}
        )
        self.dispatcher = Dispatcher(
            Plan(config, Access(()), registry),
            self.clock,
            wall=lambda: 1_700_000_000.5,
            report=self.records.append,
        )

    def chat(
        self, name: str = "g", principal: Principal = ME, **more: Any
    ) -> Deferred[PlainAnswer | StreamedAnswer]:
        """Begin a call."""
        messages = [{"role": "user", "content": "Hi"}]
        body = dumps({"model": name, "messages": messages} | more)
        asked = self.dispatcher.answer(ClientCall("r1", OpenAIFace(), principal, body))
        return Deferred.fromCoroutine(asked)

    def plain(self, asked: Deferred[PlainAnswer | StreamedAnswer]) -> PlainAnswer:
        """Return the whole answer that there is."""
        answer = self.successResultOf(asked)
        assert isinstance(answer, PlainAnswer)
        return answer

    def deliver(
        self, asked: Deferred[PlainAnswer | StreamedAnswer], client: StringTransport
    ) -> Deferred[None]:
        """Deliver the streamed answer that there is."""
        answer = self.successResultOf(asked)
        assert isinstance(answer, StreamedAnswer)
        delivery: Coroutine[Deferred[Any], Any, None] = answer.deliver(client)
        return Deferred.fromCoroutine(delivery)

    def assert_over(self, attempts: int, error: str | None) -> CallRecord:
        """One record, nothing runs, no timer is left."""
        [record] = self.records
        self.assertEqual((record.attempts, record.error), (attempts, error))
        self.assertEqual(len(self.dispatcher.running), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNotNone(record.ended)
        return record


class PlainTests(DispatchTestCase):
    """Whole answers."""

    def test_success(self) -> None:
        """The first candidate's answer, under the model's configured name."""
        usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
        headers = {"x-ratelimit-limit": "5", "server": "x"}
        self.use(ScriptedProvider(ScriptedReply.whole(chat_answer("Ho", usage), headers=headers)))
        answer = self.plain(self.chat())
        body = loads(answer.body)
        self.assertEqual((body["model"], body["id"]), ("a", "chatcmpl-r1"))
        self.assertEqual(body["created"], 1_700_000_000)
        self.assertEqual(answer.served.headers, {"x-ratelimit-limit": "5"})
        record = self.assert_over(1, None)
        self.assertEqual((record.model, record.served_by, record.key), ("g", "a", "me"))

    def test_failover(self) -> None:
        """What is an upstream's own trouble goes to the next candidate, once."""
        for error in (
            errors.UpstreamFailed("500"),
            errors.UpstreamRateLimited("429", retry_after=3),
            errors.UpstreamOutOfCredit("402"),
            errors.UpstreamAuthFailed("401"),
            errors.UpstreamModelNotFound("404"),
            errors.ConnectFailed("refused"),
            errors.UpstreamTimeout("late"),
            errors.StreamCut("cut"),
            errors.ContextTooLong("too long"),
        ):
            self.records.clear()
            self.use(ScriptedProvider(error, ScriptedReply.whole(chat_answer("Ho"))))
            answer = self.plain(self.chat())
            self.assertEqual((answer.served.candidate.name, answer.served.attempts), ("b", 2))
            self.assert_over(2, None)

    def test_final(self) -> None:
        """The caller's mistakes, refusals and our own faults are not rerouted."""
        for error in (
            errors.UpstreamRefused("400"),
            errors.ContentRefused("policy"),
            errors.AnswerTooLarge("large"),
            errors.InternalError("bug"),
        ):
            self.records.clear()
            self.use(ScriptedProvider(error))
            failure = self.failureResultOf(self.chat(), type(error))
            self.assertIs(failure.value, error)
            self.assertEqual((error.provider, error.model), ("scripted", "a"))
            self.assert_over(1, str(error.code))

    def test_bad_bodies(self) -> None:
        """A body that is no answer is a failed attempt."""
        pages = (b"<html>", b"", b'{"error": {"message": "x"}}')
        self.use(ScriptedProvider(*(ScriptedReply.whole(page) for page in pages)))
        error = self.failureResultOf(self.chat(), errors.UpstreamFailed).value
        self.assertTrue(error.exhausted)
        self.assert_over(2, "upstream_error")

    def test_long_names(self) -> None:
        """Names that callers make up are not kept, however many of them are long."""
        self.use(ScriptedProvider(), model("any/*", upstream_model="*"))
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for number in range(32):
            for name in ("nobodys", "any"):
                asked = self.chat(f"{name}/{number}" + "x" * 2**20)
                self.failureResultOf(asked, errors.ModelNotFound)
        self.assertLess(tracemalloc.get_traced_memory()[0], 4 * 2**20)
        self.assertEqual(self.provider.calls, [])

    def test_context(self) -> None:
        """Too long a conversation never goes to a model without more room, whatever comes after."""
        too_long, failed = errors.ContextTooLong("too long"), errors.UpstreamFailed("500")
        self.use(
            ScriptedProvider(too_long, failed),
            model("a", context_window=10, tokens=(Secret("k1"), Secret("k2"))),
            model("small", context_window=5),
            model("large", context_window=20),
            model("same", context_window=10),
        )
        self.failureResultOf(self.chat(), errors.UpstreamFailed)
        asked = [call.call.candidate.name for call in self.provider.calls]
        self.assertEqual(asked, ["a", "large"])

    def test_context_nowhere(self) -> None:
        """Without more room anywhere the caller gets the provider's words."""
        self.use(ScriptedProvider(errors.ContextTooLong("too long")), model("a"))
        error = self.failureResultOf(self.chat(), errors.ContextTooLong).value
        self.assertEqual((error.message, error.status, error.exhausted), ("too long", 400, False))

    def test_all_hold_back(self) -> None:
        """If all hold us back the caller learns when the first is free."""
        self.use(
            ScriptedProvider(
                errors.UpstreamRateLimited("x", retry_after=3),
                errors.UpstreamRateLimited("y", retry_after=9),
            )
        )
        error = self.failureResultOf(self.chat(), errors.UpstreamRateLimited).value
        self.assertEqual((error.retry_after, error.exhausted), (3, True))

    def test_key_not_repeated(self) -> None:
        """An upstream that repeats our key in an error is not repeated."""
        error = errors.UpstreamFailed("bad header sk-secret!")
        self.use(ScriptedProvider(error), model("a", tokens=(Secret("sk-secret"),)))
        failure = self.failureResultOf(self.chat(), errors.UpstreamFailed)
        self.assertEqual(str(failure.value), "bad header ***!")

    def test_key_nowhere(self) -> None:
        """Not as a code or a parameter, nor in another coding, nor out of a header or a URL."""
        token, other = "id:c0here/key+1234", "h3ader/Key+5678"
        codings = quote(token, safe=""), quote(token).lower(), b64encode(token.encode()).decode()
        longer = b64encode(f"{token}:".encode()).decode().rstrip("=")
        told = " ".join((token, *codings, longer, "c0here/key+1234", other))
        told += " pass/w0rd and qu3ryvalue or an%2Fother1"
        error = errors.UpstreamRefused(told, code=f"no-{token}", param=f"key={token}")
        secret = model(
            "a",
            tokens=(Secret(token),),
            auth_url="https://auth.example.com?token=an/other1",
            base_url="https://user:pass%2Fw0rd@up.example.com/v1?x=1&secret=qu3ryvalue",
            headers={"x-api-key": f"Key {other}", "x-mode": "strict"},
        )
        self.use(ScriptedProvider(error), secret)
        failure = self.failureResultOf(self.chat(), errors.UpstreamRefused).value
        self.assertEqual(failure.message, " ".join(["***"] * 7) + " *** and *** or ***")
        self.assertEqual((str(failure), failure.code), (failure.message, "no-***"))
        self.assertEqual(failure.param, "key=***")
        self.assertEqual(self.records[0].error, "provider_error")

    def test_short_key(self) -> None:
        """A key that is hardly one spoils no word and no code."""
        error = errors.UpstreamRefused("max x", code="max_length")
        self.use(ScriptedProvider(error), model("a", tokens=(Secret("x"),)))
        failure = self.failureResultOf(self.chat(), errors.UpstreamRefused).value
        self.assertEqual((failure.message, failure.code), ("max ***", "max_length"))

    def test_tokens_rotate(self) -> None:
        """Each request begins with the next of a model's tokens."""
        self.use(ScriptedProvider(), model("a", tokens=(Secret("k1"), Secret("k2"))))
        for _ in range(3):
            self.chat("a")
        tokens = [call.call.candidate.token for call in self.provider.calls]
        self.assertEqual(tokens, [Secret("k1"), Secret("k2"), Secret("k1")])

    def test_key_restricted(self) -> None:
        """A model that the key may not use does not exist for it; that is recorded too."""
        self.failureResultOf(self.chat("b", Principal("k", ("a",))), errors.ModelNotFound)
        self.assert_over(0, "model_not_found")

    def test_key_restricted_upstream(self) -> None:
        """Nor can it be asked for as a fallback of the upstream's (OpenRouter's ``models``)."""
        restricted = Principal("k", ("a",))
        asked = self.chat("a", restricted, models=["b"])
        error = self.failureResultOf(asked, errors.InvalidRequest).value
        self.assertEqual((error.param, error.status), ("models", 400))
        self.assert_over(0, "model_not_allowed")
        for principal, more in ((restricted, {"models": None}), (ME, {"models": ["b"]})):
            self.chat("a", principal, **more)
        self.assertEqual(len(self.provider.calls), 2)

    def test_key_restricted_providers(self) -> None:
        """Nor is it told which provider of others' has what its own has not."""
        other = Model(
            "c", "elsewhere", "openai", "openai", "c", "https://up.example.com", timeouts=TIMEOUTS
        )
        self.use(ScriptedProvider(), model("a"), other)
        for principal, told in ((ME, "these have: elsewhere"), (Principal("k", ("a",)), "none")):
            face = RawFace(MODERATIONS, "/moderations")
            call = ClientCall("r1", face, principal, b'{"model": "a", "input": "Hi"}')
            asked = Deferred.fromCoroutine(self.dispatcher.answer(call))
            error = self.failureResultOf(asked, errors.InvalidRequest).value
            self.assertIn(told, error.message)
            self.assertEqual("elsewhere" in error.message, principal is ME)

    def test_bad_request(self) -> None:
        """A request that cannot be read is recorded."""
        self.failureResultOf(self.chat("a", n=0), errors.InvalidRequest)
        self.assert_over(0, "invalid_type")

    def test_timeouts(self) -> None:
        """A plain attempt is bounded by connect, then by attempt; the last only by total."""
        asked = self.chat()
        self.clock.advance(1)
        self.assertTrue(self.provider.calls[0].cancelled)
        self.clock.advance(58)
        self.assertNoResult(asked)
        self.clock.advance(1)
        self.failureResultOf(asked, errors.UpstreamTimeout)
        self.assertTrue(self.provider.calls[1].cancelled)
        self.assert_over(2, "upstream_timeout")

    def test_attempt(self) -> None:
        """The attempt's time runs from its start to the body's last byte."""
        self.chat()
        first = self.provider.calls[0]
        first.connect()
        first.take()
        self.clock.advance(5)
        reply = first.answer()
        self.assertTrue(reply.delivered)
        self.clock.advance(1)
        self.assertTrue(reply.stopped)
        self.assertEqual(len(self.provider.calls), 2)

    def test_phases_not_told(self) -> None:
        """A provider that tells no phases has the whole attempt's time once its headers came."""
        self.chat()
        reply = self.provider.calls[0].answer()
        self.clock.advance(5)
        self.assertFalse(reply.stopped)
        self.clock.advance(1)
        self.assertTrue(reply.stopped)

    def test_cancel(self) -> None:
        """A client that leaves closes the upstream, before the headers and after."""
        asked = self.chat()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(self.provider.calls[0].cancelled)
        self.assert_over(1, "client_left")
        self.records.clear()
        asked = self.chat()
        reply = self.provider.calls[1].answer()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(reply.stopped)
        self.assert_over(1, "client_left")

    def test_bug(self) -> None:
        """A provider that breaks its promise is an internal error in the record."""
        asked = self.chat()
        self.provider.calls[0].result.errback(ValueError("bug"))
        self.failureResultOf(asked, ValueError)
        self.assert_over(1, "internal_error")

    def test_stop(self) -> None:
        """A stop takes no more calls, waits for the running ones and can end them."""
        asked = self.chat()
        idle = self.dispatcher.running.close()
        self.assertIs(self.dispatcher.running.close(), idle)
        self.assertNoResult(idle)
        self.dispatcher.running.interrupt()
        self.dispatcher.running.interrupt()
        error = self.failureResultOf(asked, errors.ShuttingDown).value
        self.assertIsNone(error.provider)
        self.successResultOf(idle)
        self.assert_over(1, "shutting_down")
        self.records.clear()
        self.failureResultOf(self.chat(), errors.ShuttingDown)
        self.assert_over(0, "shutting_down")
        self.successResultOf(self.dispatcher.running.close())


class StreamTests(DispatchTestCase):
    """Streamed answers."""

    def setUp(self) -> None:
        super().setUp()
        self.client = StringTransport()

    def test_success(self) -> None:
        """The stream, with its usage recorded and the end told."""
        asked = self.chat(stream=True)
        reply = self.provider.calls[0].answer()
        self.clock.advance(2)
        reply.send(*chat_stream("Hel", "lo"))
        done = self.deliver(asked, self.client)
        reply.finish()
        self.successResultOf(done)
        self.assertTrue(self.client.value().endswith(b"data: [DONE]\n\n"))
        record = self.assert_over(1, None)
        self.assertEqual((record.first_token, record.tokens), (2, Tokens(1, 1)))

    def test_whole_answer(self) -> None:
        """An upstream that does not stream is told as a stream."""
        self.use(ScriptedProvider(ScriptedReply.whole(chat_answer("Hello"))))
        self.successResultOf(self.deliver(self.chat(stream=True), self.client))
        self.assertIn(b'"content":"Hello"', self.client.value())
        self.assert_over(1, None)

    def test_failover(self) -> None:
        """A cut before the first content goes to the next candidate."""
        asked = self.chat(stream=True)
        self.provider.calls[0].answer().cut()
        self.provider.calls[1].answer().send(*chat_stream("Hi"))
        self.successResultOf(self.deliver(asked, self.client))
        self.clock.advance(1)
        self.assert_over(2, None)

    def test_nothing_without_an_end(self) -> None:
        """A stream that says nothing, without an end, goes to the next candidate too."""
        self.use(ScriptedProvider(), server=Server(keep_alive=0, max_event_bytes=4096))
        asked = self.chat(stream=True)
        reply = self.provider.calls[0].answer()
        for _ in range(100):
            reply.send(*chat_stream("")[:1])
        self.assertTrue(reply.stopped)
        self.provider.calls[1].answer().send(*chat_stream("Hi"))
        self.successResultOf(self.deliver(asked, self.client))
        self.assertEqual(self.client.value().count(b'"delta":{"role"'), 1)
        self.clock.advance(1)
        self.assert_over(2, None)

    def test_cut(self) -> None:
        """A cut after it is told as an event, without an end."""
        asked = self.chat(stream=True)
        reply = self.provider.calls[0].answer()
        reply.send(chat_stream("Hi")[0])
        done = self.deliver(asked, self.client)
        reply.cut()
        self.successResultOf(done)
        self.assertIn(b'"code":"stream_cut"', self.client.value())
        self.assertNotIn(b"[DONE]", self.client.value())
        self.assert_over(1, "stream_cut")

    def phase(self, *steps: str, **more: Any) -> float:
        """Return when the first candidate is given up after it has done these steps."""
        asked = self.chat(stream=True, **more)
        # What is left of it when a later one has used up the clock is not looked at.
        asked.addErrback(lambda failure: failure.trap(CancelledError, errors.UpstreamTimeout))
        self.addCleanup(asked.cancel)
        call = self.provider.calls[0]
        for step in steps:
            getattr(call, step)()
        for second in range(1, 60):
            self.clock.advance(1)
            if len(self.provider.calls) > 1:
                given_up = call.reply.stopped if call.reply else call.cancelled
                self.assertTrue(given_up)
                return second
        return 60

    def test_connect(self) -> None:
        """A connection that does not stand is given up after ``connect``."""
        self.assertEqual(self.phase(), 1)

    def test_request_not_taken(self) -> None:
        """A request that is not taken is given up after ``headers``."""
        self.assertEqual(self.phase("connect"), 8)

    def test_headers(self) -> None:
        """The first token's time runs from the last byte written, before the headers too."""
        self.assertEqual(self.phase("connect", "take"), 5)

    def test_headers_sooner(self) -> None:
        """The headers' time counts where it is the shorter one."""
        times = Timeouts(connect=1, headers=2, first_token=5, total=60)
        self.use(self.provider, model("a", timeouts=times), model("b"))
        self.assertEqual(self.phase("connect", "take"), 2)

    def test_first_token(self) -> None:
        """Headers without content are given up after ``first_token``."""
        self.assertEqual(self.phase("connect", "take", "answer"), 5)

    def test_reasoning(self) -> None:
        """What may think for long has the time of ``reasoning``."""
        for more in (
            {"reasoning_effort": "low"},
            {"tools": [{"type": "function"}]},
            {"reasoning": {"max_tokens": 5}},
        ):
            self.use(ScriptedProvider())
            self.assertEqual(self.phase("connect", "take", **more), 20)
        self.use(ScriptedProvider())
        self.assertEqual(self.phase("connect", "take", reasoning_effort="none"), 5)

    def test_total(self) -> None:
        """The total time ends a stream that runs, with an error event."""
        asked = self.chat(stream=True)
        reply = self.provider.calls[0].answer()
        reply.send(chat_stream("Hi")[0])
        done = self.deliver(asked, self.client)
        for _ in range(6):
            self.clock.advance(10)
            reply.send(chat_stream("Hi")[0])
        self.successResultOf(done)
        self.assertIn(b'"code":"upstream_timeout"', self.client.value())
        self.assertTrue(reply.stopped)
        self.assert_over(1, "upstream_timeout")

    def test_cancel(self) -> None:
        """A client that leaves closes the upstream in every phase."""
        for steps in ((), ("connect",), ("connect", "take"), ("connect", "take", "answer")):
            self.records.clear()
            self.use(ScriptedProvider())
            asked = self.chat(stream=True)
            call = self.provider.calls[0]
            for step in steps:
                getattr(call, step)()
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
            self.assertTrue(call.reply.stopped if call.reply else call.cancelled)
            self.assert_over(1, "client_left")

    def test_cancel_delivery(self) -> None:
        """A client that leaves within the stream does so too; what was told of usage counts."""
        asked = self.chat(stream=True)
        reply = self.provider.calls[0].answer()
        reply.send(*chat_stream("Hi")[:2])
        done = self.deliver(asked, self.client)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertTrue(reply.stopped)
        self.assertEqual(self.assert_over(1, "client_left").tokens, Tokens(1, 1))

    def test_interrupt(self) -> None:
        """A stop can end a stream that runs, or one that is yet to be delivered."""
        for deliver_first in (True, False):
            self.records.clear()
            self.use(ScriptedProvider())
            client = StringTransport()
            asked = self.chat(stream=True)
            reply = self.provider.calls[0].answer()
            reply.send(chat_stream("Hi")[0])
            if deliver_first:
                done = self.deliver(asked, client)
                self.dispatcher.running.interrupt()
            else:
                self.dispatcher.running.interrupt()
                done = self.deliver(asked, client)
            self.successResultOf(done)
            self.assertIn(b'"code":"shutting_down"', client.value())
            self.assertTrue(reply.stopped)
            self.assert_over(1, "shutting_down")


class LimitTests(DispatchTestCase):
    """Limits, for every call alike."""

    def replies(self, count: int) -> list[ScriptedReply]:
        """Make so many answers."""
        return [ScriptedReply.whole(chat_answer("Ho")) for _ in range(count)]

    def test_named_models_too(self) -> None:
        """A model that is asked for by name has its limits; unset ones are none (rows 4 and 5)."""
        self.use(
            ScriptedProvider(*self.replies(3)),
            model("a", limits=Limits(requests_per_minute=1)),
            model("b"),
        )
        self.plain(self.chat("a"))
        error = self.failureResultOf(self.chat("a"), errors.LimitReached).value
        self.assertEqual((error.status, error.type), (429, "rate_limit_error"))
        self.assertEqual(len(self.provider.calls), 1)
        self.plain(self.chat("b"))
        self.plain(self.chat("b"))

    def test_next_candidate(self) -> None:
        """Where a model is busy its fallback or its group's next member is asked."""
        self.use(
            ScriptedProvider(*self.replies(2)),
            model("a", limits=Limits(requests_per_minute=1)),
            model("b"),
        )
        names = [self.plain(self.chat()).served.candidate.name for _ in range(2)]
        self.assertEqual(names, ["a", "b"])
        self.assertEqual([record.attempts for record in self.records], [1, 1])

    def test_heals(self) -> None:
        """An upstream's 429 keeps a model out as long as it says, and no longer (row 3)."""
        limited = errors.UpstreamRateLimited("slow", retry_after=7)
        self.use(ScriptedProvider(limited, *self.replies(1)), model("a"))
        self.failureResultOf(self.chat("a"), errors.UpstreamRateLimited)
        self.clock.advance(6)
        error = self.failureResultOf(self.chat("a"), errors.LimitReached).value
        self.assertAlmostEqual(error.retry_after, 1)
        self.assertEqual(len(self.provider.calls), 1)
        self.clock.advance(1)
        self.plain(self.chat("a"))

    def test_callers_mistakes_hold_nobody(self) -> None:
        """One caller's bad request keeps nobody out (row 3)."""
        bad = errors.UpstreamRefused("400")
        self.use(ScriptedProvider(bad, *self.replies(1)), model("a"))
        self.failureResultOf(self.chat("a"), errors.UpstreamRefused)
        self.plain(self.chat("a"))

    def test_learned(self) -> None:
        """What an answer's headers say of the limits is kept to."""
        headers = {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-limit-requests": "10",
            "x-ratelimit-reset-requests": "9s",
        }
        reply = ScriptedReply.whole(chat_answer("Ho"), headers=headers)
        self.use(ScriptedProvider(reply, *self.replies(1)), model("a"))
        self.plain(self.chat("a"))
        self.failureResultOf(self.chat("a"), errors.LimitReached)
        self.clock.advance(9)
        self.plain(self.chat("a"))

    def test_learned_of_error(self) -> None:
        """So is what an error's say, by whatever names its provider has for them."""
        error = errors.UpstreamRateLimited("slow down")
        error.headers = {"ratelimit-remaining": "0", "ratelimit-reset": "9"}
        self.use(ScriptedProvider(error, *self.replies(1)), model("a"))
        self.failureResultOf(self.chat("a"), errors.UpstreamRateLimited)
        self.failureResultOf(self.chat("a"), errors.LimitReached)
        self.clock.advance(9)
        self.plain(self.chat("a"))

    def test_concurrent_streams(self) -> None:
        """A place is held as long as the stream goes on, and free however it ends."""
        self.use(ScriptedProvider(), model("a", limits=Limits(max_concurrent=1)))
        for how in ("end", "cut", "leave"):
            asked = self.chat("a", stream=True)
            reply = self.provider.calls[-1].answer()
            reply.send(*chat_stream("Ho")[:1])
            self.failureResultOf(self.chat("a"), errors.LimitReached)
            delivery = self.deliver(asked, StringTransport())
            if how == "end":
                reply.send(*chat_stream("Ho")[1:])
                reply.finish()
                self.successResultOf(delivery)
            elif how == "cut":
                reply.cut()
                self.successResultOf(delivery)
            else:
                delivery.cancel()
                self.failureResultOf(delivery, CancelledError)
        self.assertNoResult(free := self.chat("a"))
        free.cancel()
        self.failureResultOf(free, CancelledError)

    def test_cancelled_while_it_waits_for_its_pace(self) -> None:
        """Who leaves before his turn gives the turn up (row 10: spacing, and nobody else waits)."""
        self.use(ScriptedProvider(*self.replies(3)), model("a", min_interval=2.0), model("b"))
        self.plain(self.chat("a"))
        second = self.chat("a")
        self.assertNoResult(second)
        self.plain(self.chat("b"))
        second.cancel()
        self.failureResultOf(second, CancelledError)
        third = self.chat("a")
        self.clock.advance(1.9)
        self.assertNoResult(third)
        self.clock.advance(0.1)
        self.plain(third)

    def test_queue(self) -> None:
        """With patience a call waits for what becomes free."""
        server = Server(queue_timeout=5.0)
        self.use(ScriptedProvider(), model("a", limits=Limits(max_concurrent=1)), server=server)
        first, second = self.chat("a"), self.chat("a")
        self.provider.calls[0].answer(self.replies(1)[0])
        self.plain(first)
        self.clock.advance(0)
        self.provider.calls[1].answer(self.replies(1)[0])
        self.plain(second)
        third, late = self.chat("a"), self.chat("a")
        self.clock.advance(5)
        self.failureResultOf(late, errors.LimitReached)
        third.cancel()
        self.failureResultOf(third, CancelledError)

    def test_tokens(self) -> None:
        """Tokens are reserved by an estimate, and settled by what was used."""
        usage = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
        replies = [ScriptedReply.whole(chat_answer("Ho", usage)) for _ in range(9)]
        self.use(ScriptedProvider(*replies), model("a", limits=Limits(tokens_per_minute=160)))
        for _ in range(3):
            self.plain(self.chat("a", max_tokens=80))
        self.failureResultOf(self.chat("a", max_tokens=120), errors.LimitReached)
        self.plain(self.chat("a", max_tokens=80))

    def test_left(self) -> None:
        """A stream whose client leaves has used what came of it: no more, and no less."""
        for words, most, then in (("x" * 4_000, 10, errors.LimitReached), ("Hi", 1_100, None)):
            limits = Limits(tokens_per_minute=1_200)
            for own, key in ((limits, ME), (Limits(), Principal("mine", limits=limits))):
                self.records.clear()
                self.use(ScriptedProvider(), model("a", limits=own))
                asked = self.chat("a", key, stream=True, max_tokens=most)
                self.provider.calls[0].answer().send(chat_stream(words)[0])
                done = self.deliver(asked, StringTransport())
                done.cancel()
                self.failureResultOf(done, CancelledError)
                record = self.assert_over(1, "client_left")
                self.assertEqual(record.tokens.completion, -(-len(words) // 4))
                self.assertTrue(15 < record.tokens.prompt < 30, record.tokens)
                second = self.chat("a", key, max_tokens=400)
                if then is None:
                    self.assertNoResult(second)
                    second.cancel()
                    self.failureResultOf(second, CancelledError)
                else:
                    self.failureResultOf(second, then)

    def test_without_words(self) -> None:
        """Where no words are answered none are reserved."""
        self.use(ScriptedProvider(), model("a", limits=Limits(tokens_per_minute=500)))
        for _ in range(3):
            call = ClientCall("r1", EmbeddingsFace(), ME, dumps({"model": "a", "input": "Hi"}))
            asked = Deferred.fromCoroutine(self.dispatcher.answer(call))
            self.addCleanup(asked.cancel)
            asked.addErrback(lambda failure: failure.trap(CancelledError))
        self.assertEqual(len(self.provider.calls), 3)

    def test_picture(self) -> None:
        """A picture does not take all the tokens that there are, so others go beside it."""
        limits = Limits(tokens_per_minute=10_000)
        self.use(ScriptedProvider(*self.replies(2)), model("a", limits=limits))
        self.plain(self.chat("a"))
        part = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'A' * 99_999}"}}
        self.plain(self.chat("a", messages=[{"role": "user", "content": [part]}]))

    def test_key(self) -> None:
        """A key's own limits hold whatever model it asks for."""
        key = Principal("mine", limits=Limits(requests_per_minute=2))
        self.use(ScriptedProvider(*self.replies(3)), model("a"), model("b"))
        self.plain(self.chat("a", key))
        self.plain(self.chat("b", key))
        error = self.failureResultOf(self.chat("a", key), errors.LimitReached).value
        self.assertIn("of your key", error.message)
        self.plain(self.chat("a"))

    def test_not_forgotten(self) -> None:
        """What hours and days count is stored first; who leaves meanwhile has taken nothing."""
        limits = Limits(requests_per_day=2)
        self.use(ScriptedProvider(*self.replies(2)), model("a", limits=limits))
        stored: list[Deferred[None]] = []
        keys: list[tuple[str, ...]] = []

        def cover(key: tuple[str, ...]) -> Deferred[None] | None:
            keys.append(key)
            if len(keys) > 2:
                return None
            stored.append(Deferred())
            return stored[-1]

        self.dispatcher.shared.cover = cover
        left = self.chat("a")
        left.cancel()
        self.failureResultOf(left, CancelledError)
        asked = self.chat("a")
        self.assertNoResult(asked)
        self.assertEqual(self.provider.calls, [])
        stored[1].callback(None)
        self.plain(asked)
        self.plain(self.chat("a"))
        self.failureResultOf(self.chat("a"), errors.LimitReached)
        self.assertEqual({key[0] for key in keys}, {"a"})

    def test_key_is_not_used_up(self) -> None:
        """Where nobody can be asked nothing is taken from the caller's key, nor after a stop."""
        principal = Principal("k", limits=Limits(requests_per_day=2), key="k")
        self.use(
            ScriptedProvider(*self.replies(3)),
            model("a", limits=Limits(requests_per_minute=1)),
            model("b"),
        )
        self.plain(self.chat("a", principal))
        self.failureResultOf(self.chat("a", principal), errors.LimitReached)
        self.plain(self.chat("b", principal))
        error = self.failureResultOf(self.chat("b", principal), errors.LimitReached).value
        self.assertIn("your key", error.message)

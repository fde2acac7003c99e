"""Tests of :mod:`aiproxy.gateway`: repeats, breakers and takeovers through whole calls."""

from __future__ import annotations

import json
import random
from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.internet.testing import StringTransport

from aiproxy import errors
from aiproxy.config.schema import Breaker, Limits, Model, Retry, Server
from aiproxy.dialects.cohere import CohereDialect
from aiproxy.errors import AIProxyError
from aiproxy.gateway.access_line import json_line, text_line
from aiproxy.gateway.plan import Plan
from aiproxy.gateway.usage import Spent, Tokens
from aiproxy.testing import ScriptedProvider, ScriptedReply, chat_answer, chat_stream
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import write_event
from tests.gateway.test_dispatch import TIMEOUTS, DispatchTestCase, model

#: Without jitter, so that times are plain.
RETRY = Retry(max_retries=3, base_delay=1.0, max_delay=30.0, jitter=0.0)


def failed(status: int) -> AIProxyError:
    """Return the error that an answer with this status is."""
    error = errors.UpstreamFailed(f"status {status}")
    error.upstream_status = status
    return error


def whole(text: str = "Ho") -> ScriptedReply:
    """Return a whole answer."""
    return ScriptedReply.whole(chat_answer(text))


class RecoveryTestCase(DispatchTestCase):
    """A dispatcher that recovers, with a clock that shows when each attempt began."""

    retry = RETRY

    def use(self, provider: ScriptedProvider, *models: Model, server: Server | None = None) -> None:
        """Ask this provider from now on, and note when."""
        super().use(provider, *models, server=server)
        self.dispatcher.shared.chance = random.Random(1)
        self.asked: list[tuple[str, float]] = []
        start = provider.start

        def noted(call: Any) -> Any:
            self.asked.append((call.candidate.name, round(self.clock.seconds(), 3)))
            return start(call)

        provider.start = noted  # type: ignore[method-assign]

    def change(self, **more: Any) -> None:
        """Reload the configuration with other settings."""
        plan = self.dispatcher.plan
        self.dispatcher.change(Plan(evolve(plan.config, **more), plan.access, plan.providers))

    def later(self, seconds: float) -> None:
        """Let time pass in small steps."""
        self.clock.pump([0.25] * int(seconds * 4))


class RepeatTests(RecoveryTestCase):
    """Before the first byte."""

    def test_hiccup(self) -> None:
        """One 500 is repeated on the same candidate, though another is free; two are not."""
        self.use(ScriptedProvider(failed(500), whole()))
        asked = self.chat()
        self.later(2)
        self.assertEqual(self.plain(asked).served.candidate.name, "a")
        self.assertEqual(self.asked, [("a", 0), ("a", 1)])
        self.use(ScriptedProvider(failed(500), failed(500), whole()))
        asked = self.chat()
        self.later(2)
        self.plain(asked)
        self.assertEqual([name for name, _ in self.asked], ["a", "a", "b"])

    def test_misshapen(self) -> None:
        """Over whose answer a translator stumbles has failed like any server, whole or streamed."""
        for stream in (False, True):
            odd = {"type": "message-end", "delta": {"finish_reason": {}}, "finish_reason": {}}
            reply = ScriptedReply(streamed=stream, dialect=CohereDialect())
            reply.send(write_event(dumps(odd)) if stream else dumps(odd))
            reply.finish()
            self.use(ScriptedProvider(reply, whole()))
            asked = self.chat(stream=stream)
            self.later(2)
            self.successResultOf(asked)
            self.assertEqual(len(self.asked), 2)

    def test_overload(self) -> None:
        """An overloaded one is left for who is free; alone it is asked again, ever later."""
        self.use(ScriptedProvider(failed(503), whole()))
        self.assertEqual(self.plain(self.chat()).served.candidate.name, "b")
        self.use(ScriptedProvider(*(failed(503) for _ in range(9))), model("a"))
        asked = self.chat()
        self.later(9)
        error = self.failureResultOf(asked, errors.UpstreamFailed).value
        self.assertTrue(error.exhausted)
        self.assertEqual(self.asked, [("a", 0), ("a", 1), ("a", 3), ("a", 7)])

    def test_rate_limit(self) -> None:
        """A short time that is named is waited out, to the moment; a long one is told."""
        limited = errors.UpstreamRateLimited("slow", retry_after=7.0)
        self.use(ScriptedProvider(limited, whole()), model("a"))
        asked = self.chat()
        self.later(8)
        self.plain(asked)
        self.assertEqual(self.asked, [("a", 0), ("a", 7)])
        self.use(ScriptedProvider(errors.UpstreamRateLimited("slow", retry_after=31)), model("a"))
        error = self.failureResultOf(self.chat(), errors.UpstreamRateLimited).value
        self.assertEqual(error.retry_after, 31)

    def test_sooner(self) -> None:
        """Of two that name a time the one that is free first is asked again, and nobody sooner."""
        first = errors.UpstreamRateLimited("slow", retry_after=20.0)
        second = errors.UpstreamRateLimited("slow", retry_after=5.0)
        self.use(ScriptedProvider(first, second, whole()))
        asked = self.chat()
        self.later(4.75)
        self.assertNoResult(asked)
        self.later(1)
        self.plain(asked)
        self.assertEqual(self.asked, [("a", 0), ("b", 0), ("b", 5)])

    def test_silent(self) -> None:
        """Who is silent is not asked twice."""
        self.use(ScriptedProvider())
        asked = self.chat(stream=True)
        self.later(1)
        self.assertEqual(self.asked, [("a", 0), ("b", 1)])
        asked.cancel()
        self.failureResultOf(asked)

    def test_budget(self) -> None:
        """An outage is not multiplied: ten repeats in ten seconds, whatever is asked."""
        self.change(breaker=Breaker(failures=10_000))
        self.provider = ScriptedProvider(*(failed(500) for _ in range(200)))
        self.use(self.provider, model("a"))
        self.change(breaker=Breaker(failures=10_000))
        asked = [self.chat() for _ in range(40)]
        self.later(4)
        for one in asked:
            self.failureResultOf(one, errors.UpstreamFailed)
        self.assertEqual(len(self.asked), 50)

    def test_no_retries(self) -> None:
        """``max_retries: 0`` forbids the same candidate, not another."""
        self.use(ScriptedProvider(failed(500), whole()))
        self.change(retry=Retry(max_retries=0))
        self.assertEqual(self.plain(self.chat()).served.candidate.name, "b")

    def test_refusals(self) -> None:
        """A refused content goes elsewhere only if that is allowed."""
        refused = errors.ContentRefused("no")
        self.use(ScriptedProvider(refused, whole()))
        self.failureResultOf(self.chat(), errors.ContentRefused)
        self.use(ScriptedProvider(refused, whole()))
        self.change(retry=evolve(RETRY, reroute_refusals=True))
        self.assertEqual(self.plain(self.chat()).served.candidate.name, "b")


class FoldTests(RecoveryTestCase):
    """Plain answers that are asked for as streams."""

    def setUp(self) -> None:
        super().setUp()
        self.use(ScriptedProvider(), model("a", stream_upstream=True), model("b"))

    def test_whole(self) -> None:
        """The stream is folded; an event whenever it likes, as long as it is not silent."""
        asked = self.chat()
        self.assertTrue(self.provider.calls[0].call.stream)
        reply = self.provider.calls[0].answer()
        *words, finish, end = chat_stream("Hel", "lo", " there")
        for piece in words:
            reply.send(piece)
            self.clock.advance(4)
            self.assertNoResult(asked)
        reply.send(finish, end)
        reply.finish()
        answer = self.plain(asked)
        told = json.loads(answer.body)
        self.assertEqual(told["choices"][0]["message"]["content"], "Hello there")
        self.assertEqual((told["object"], told["usage"]["total_tokens"]), ("chat.completion", 2))
        self.assert_over(1, None)

    def test_cut(self) -> None:
        """A cut goes to the next, for nobody has had anything."""
        asked = self.chat()
        reply = self.provider.calls[0].answer()
        reply.send(chat_stream("Hel")[0])
        reply.cut()
        self.assertFalse(self.provider.calls[1].call.stream)
        self.provider.calls[1].answer(whole("Hi"))
        self.assertEqual(self.plain(asked).served.candidate.name, "b")
        record = self.assert_over(2, None)
        self.assertEqual([one.outcome for one in record.spent], ["cut", "answered"])
        self.assertEqual((record.spent[0].tokens.completion, record.tokens), (1, Tokens(1, 1)))

    def test_left(self) -> None:
        """What came of it counts where the client does not wait for the rest."""
        asked = self.chat()
        self.provider.calls[0].answer().send(*chat_stream("Hello ", "there")[:2])
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.assert_over(1, "client_left").tokens.completion, 3)

    def test_deep(self) -> None:
        """What is nested too deep to be joined is the upstream's failure."""
        for levels in (600, 1_000):
            self.use(ScriptedProvider(), model("a", stream_upstream=True), model("b"))
            asked = self.chat()
            deep = b'{"a":' * levels + b"1" + b"}" * levels
            event = b'data: {"choices":[{"index":0,"delta":{"content":"a","x":%b}}]}\n\n' % deep
            reply = self.provider.calls[0].answer()
            reply.send(event, *chat_stream("Hel"))
            reply.finish()
            self.provider.calls[1].answer(whole("Hi"))
            self.assertEqual(self.plain(asked).served.candidate.name, "b")

    def test_silence(self) -> None:
        """Silence within it is found out long before the whole answer is due."""
        asked = self.chat()
        self.provider.calls[0].answer().send(chat_stream("Hel")[0])
        self.clock.advance(14)
        self.assertEqual(len(self.provider.calls), 1)
        self.clock.advance(1)
        self.provider.calls[1].answer(whole("Hi"))
        self.assertEqual(self.plain(asked).served.candidate.name, "b")

    def test_too_long(self) -> None:
        """It is bounded like any plain answer."""
        server = Server(max_response_bytes=50)
        self.use(ScriptedProvider(), model("a", stream_upstream=True), server=server)
        asked = self.chat()
        self.provider.calls[0].answer().send(*chat_stream("Hel", "lo"))
        self.failureResultOf(asked, errors.AnswerTooLarge)


class BreakerTests(RecoveryTestCase):
    """Who goes on failing is passed by."""

    def test_opens_and_heals(self) -> None:
        """After five failures others are asked, but for a probe now and then; a success heals."""
        self.use(ScriptedProvider())
        for _ in range(5):
            asked = self.chat()
            self.provider.calls[-1].fail(failed(503))
            self.provider.calls[-1].answer(whole())
            self.assertEqual(self.plain(asked).served.candidate.name, "b")
        self.asked.clear()
        for _ in range(8):
            asked = self.chat()
            if self.asked[-1][0] == "a":
                self.provider.calls[-1].fail(failed(503))
            self.provider.calls[-1].answer(whole())
            self.plain(asked)
            self.later(1)
        self.assertEqual([at for name, at in self.asked if name == "a"], [3, 6])
        self.later(1)
        probe = self.chat()
        self.provider.calls[-1].answer(whole())
        self.assertEqual(self.plain(probe).served.candidate.name, "a")
        self.chat().addErrback(lambda _: None).cancel()
        self.assertEqual(self.asked[-1][0], "a")

    def test_alone(self) -> None:
        """Where nobody else is left the caller is told when to come back."""
        self.use(ScriptedProvider(errors.UpstreamAuthFailed("key")), model("a"))
        self.failureResultOf(self.chat(), errors.UpstreamAuthFailed)
        self.later(20)
        error = self.failureResultOf(self.chat(), errors.ModelUnavailable).value
        self.assertEqual((error.status, error.retry_after), (503, 40))
        self.later(40)
        self.chat().addErrback(lambda _: None).cancel()
        self.assertEqual(len(self.asked), 2)

    def test_late(self) -> None:
        """An attempt that was given all the time there was, and more than its own, has failed."""
        timeouts = evolve(TIMEOUTS, attempt=5.0, total=6.0)
        patient = evolve(timeouts, connect=7.0, attempt=7.0)
        for stream in (False, True):
            self.use(ScriptedProvider(), model("a", timeouts=timeouts))
            for _ in range(5):
                asked = self.chat(stream=stream)
                self.later(6)
                self.failureResultOf(asked, errors.UpstreamTimeout)
            self.failureResultOf(self.chat(stream=stream), errors.ModelUnavailable)
            self.use(ScriptedProvider(), model("a", timeouts=patient))
            for _ in range(6):
                asked = self.chat(stream=stream)
                self.later(6)
                self.failureResultOf(asked, errors.UpstreamTimeout)

    def test_queued(self) -> None:
        """Who waits for calls of ours goes elsewhere after a while, and that is nobody's fault."""
        self.use(ScriptedProvider())
        for _ in range(6):
            asked = self.chat(stream=True)
            waiting = self.provider.calls[-1]
            self.assertEqual(waiting.call.candidate.name, "a")
            waiting.call.queued(True)
            self.later(1)
            self.assertTrue(waiting.cancelled)
            self.provider.calls[-1].answer().send(*chat_stream("Ho"))
            client = StringTransport()
            self.successResultOf(self.deliver(asked, client))
        self.use(ScriptedProvider(), model("a"))
        self.chat(stream=True).addErrback(lambda _: None)
        self.provider.calls[0].call.queued(True)
        self.later(59)
        self.assertFalse(self.provider.calls[0].cancelled)

    def test_same_key(self) -> None:
        """Others with a key that was refused are asked behind the rest."""
        from aiproxy.config.secret import Secret

        token = (Secret("sk-same"),)
        models = (model("a", tokens=token), model("b", tokens=token), model("c"))
        self.use(ScriptedProvider(errors.UpstreamAuthFailed("key"), *(whole() for _ in "xyz")),
                 *models)  # fmt: skip
        self.assertEqual(self.plain(self.chat()).served.candidate.name, "b")
        self.asked.clear()
        self.plain(self.chat())
        self.assertEqual(self.asked[0][0], "b")  # It has answered: the key is good for it.


class TakeoverTests(RecoveryTestCase):
    """After the first byte."""

    def setUp(self) -> None:
        super().setUp()
        self.client = StringTransport()

    def begin(self, *words: str, **more: Any) -> Any:
        """Begin a stream with these words; return its delivery."""
        asked = self.chat(stream=True, **more)
        self.provider.calls[-1].answer().send(*chat_stream(*words)[: len(words)])
        return self.deliver(asked, self.client)

    def go_on(self, text: str, usage: dict[str, int] | None = None) -> None:
        """Let the one that was asked last say this, to the end."""
        told = usage or {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        reply = self.provider.calls[-1].answer()
        reply.send(*chat_stream(text, usage=told))
        reply.finish()

    def reply(self, place: int = -1) -> ScriptedReply:
        """Return the reply of a call."""
        found = self.provider.calls[place].reply
        assert found is not None
        return found

    def events(self) -> list[Any]:
        """Return what the caller has read; its end as text."""
        lines = self.client.value().decode().split("\n\n")
        data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
        return [json.loads(one) if one.startswith("{") else one for one in data]

    def text(self) -> str:
        """Return the text that the caller has read."""
        chunks = [one for one in self.events() if isinstance(one, dict) and "choices" in one]
        return "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks)

    def test_goes_on(self) -> None:
        """Another goes on: one text, one identity, one finish, and who it was in the end."""
        done = self.begin("Once upon ", "a time there ", "was a ki")
        self.reply().cut()
        asked = self.provider.calls[-1].call
        self.assertEqual(asked.candidate.name, "b")
        self.assertIn("a time there was a ki", json.dumps(asked.request["messages"]))
        self.go_on("upon a time there was a king, who was old.")
        self.successResultOf(done)
        self.assertEqual(self.text(), "Once upon a time there was a king, who was old.")
        *chunks, end = self.events()
        self.assertEqual(end, "[DONE]")
        self.assertEqual(len({(one["id"], one["created"], one["model"]) for one in chunks}), 1)
        finishes = [one["choices"][0].get("finish_reason") for one in chunks]
        self.assertEqual([one for one in finishes if one], ["stop"])
        served = chunks[-1]["x_aiproxy"]["served"]
        self.assertEqual([one["model"] for one in served], ["a", "b"])
        record = self.assert_over(2, None)
        self.assertEqual((record.takeovers, record.rescued, record.served_by), (1, True, "a"))
        self.assertEqual(record.went_on, ["b"])
        self.assertEqual(
            [(one.model, one.outcome) for one in record.spent], [("a", "cut"), ("b", "answered")]
        )
        self.assertEqual(record.spent[1], Spent("b", "scripted", "answered", Tokens(9, 3)))

    def test_of_a_wildcard(self) -> None:
        """It is noted under the configured name: what the caller wrote makes no lines of a log."""
        self.use(ScriptedProvider(), model("up/*", upstream_model="*"))
        done = self.begin("Once upon a time ", "there was", name="up/x\nforged\ud800")
        self.reply().cut()
        self.go_on("upon a time there was a king.")
        self.successResultOf(done)
        record = self.assert_over(2, None)
        self.assertEqual((record.served_by, record.went_on), ("up/*", ["up/*"]))
        self.assertEqual(text_line(record, 0).count(b"\n"), 1)
        self.assertEqual(json.loads(json_line(record, 0))["takeovers"], ["up/*"])

    def test_told_early(self) -> None:
        """Where the first has told its prompt only, what it said counts as the next one's."""
        asked = self.chat(stream=True, stream_options={"include_usage": True})
        early = {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}
        said = "Once upon a time there was a ki"
        chunk = {"choices": [{"index": 0, "delta": {"content": said}}], "usage": early}
        reply = self.provider.calls[-1].answer()
        reply.send(write_event(dumps(chunk)))
        done = self.deliver(asked, self.client)
        reply.cut()
        told = {"prompt_tokens": 90, "completion_tokens": 12}
        self.go_on("upon a time there was a king, who was old.", told)
        self.successResultOf(done)
        usage = {"prompt_tokens": 7, "completion_tokens": 9 + 5, "total_tokens": 21}
        self.assertEqual(self.events()[-2]["usage"], usage)
        record = self.assert_over(2, None)
        self.assertEqual([one.tokens for one in record.spent], [Tokens(7, 8), Tokens(90, 12)])

    def test_same_again(self) -> None:
        """Where there is no other the same is asked again."""
        self.use(ScriptedProvider(), model("a"))
        done = self.begin("Once upon a time ", "there was")
        self.reply().cut()
        self.go_on("upon a time there was a king.")
        self.successResultOf(done)
        self.assertEqual(self.text(), "Once upon a time there was a king.")
        self.assert_over(2, None)

    def test_next_fails(self) -> None:
        """Who cannot go on is passed by, and the first may be asked again."""
        done = self.begin("Once upon a time ", "there was")
        self.reply().cut()
        self.provider.calls[-1].fail(errors.UpstreamRefused("what is this?"))
        self.assertEqual(self.provider.calls[-1].call.candidate.name, "a")
        self.go_on("upon a time there was a king.")
        self.successResultOf(done)
        self.assertEqual(self.text(), "Once upon a time there was a king.")
        self.assert_over(3, None)

    def test_nobody(self) -> None:
        """Where nobody can go on, the caller is told what happened and how far it got."""
        done = self.begin("Once upon a time ")
        self.reply().cut()
        for _ in range(2):
            self.provider.calls[-1].fail(errors.UpstreamTimeout("silent"))
        self.successResultOf(done)
        *_, last = self.events()
        self.assertEqual(last["error"]["code"], "stream_cut")
        self.assertIn("17 characters so far", last["error"]["message"])
        self.assertNotIn(b"[DONE]", self.client.value())
        record = self.assert_over(3, "stream_cut")
        self.assertFalse(record.rescued)

    def test_at_once(self) -> None:
        """What came together with the cut of a continuation is not lost."""
        done = self.begin("Once upon a time ", "there was")
        self.reply().cut()
        broken = self.provider.calls[-1].answer()
        error = b'data: {"error": {"message": "down"}}\n\n'
        broken.send(chat_stream("upon a time there was a king who")[0] + error)
        self.go_on("there was a king who was old.")
        self.successResultOf(done)
        self.assertEqual(self.text(), "Once upon a time there was a king who was old.")
        self.assertEqual(self.assert_over(3, None).takeovers, 2)

    def test_off(self) -> None:
        """It can be turned off."""
        self.change(retry=evolve(RETRY, takeover=False))
        done = self.begin("Once upon a time ")
        self.reply().cut()
        self.successResultOf(done)
        self.assertEqual(len(self.provider.calls), 1)
        self.assert_over(1, "stream_cut")

    def test_no_retries(self) -> None:
        """``max_retries: 0`` forbids the same, and not another."""
        self.change(retry=Retry(max_retries=0))
        done = self.begin("Once upon a time ", "there was")
        self.reply().cut()
        self.assertEqual(self.provider.calls[-1].call.candidate.name, "b")
        self.provider.calls[-1].fail(failed(503))
        self.successResultOf(done)
        self.assert_over(2, "stream_cut")

    def test_busy(self) -> None:
        """Who is busy for a short while is waited for: the caller has something already."""
        timeouts = evolve(TIMEOUTS, total=200, idle=100)
        limits = Limits(requests_per_minute=1)
        self.use(ScriptedProvider(), model("a", limits=limits, timeouts=timeouts))
        done = self.begin("Once upon a time ", "there was")
        self.clock.advance(40)
        self.reply().send(chat_stream(" a")[0])
        self.reply().cut()
        self.assertEqual(len(self.provider.calls), 1)
        self.later(22)
        self.go_on("upon a time there was a king.")
        self.successResultOf(done)
        self.assertEqual(self.text(), "Once upon a time there was a king.")

    def test_total(self) -> None:
        """Time that is over is over: nobody is asked any more."""
        done = self.begin("Once upon a time ", "there was")
        for _ in range(6):
            self.reply().send(chat_stream(" on")[0])
            self.clock.advance(10)
        self.successResultOf(done)
        self.assertEqual(len(self.provider.calls), 1)
        self.assert_over(1, "upstream_timeout")

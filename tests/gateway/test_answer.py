"""Tests of :mod:`aiproxy.gateway.answer`: streams whose client does not wait in silence."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.testing import StringTransport

from aiproxy import errors
from aiproxy.config.schema import Limits, Retry, Server
from aiproxy.gateway.answer import StreamedAnswer
from aiproxy.testing import ScriptedProvider, chat_stream
from tests.gateway.test_dispatch import DispatchTestCase, model
from tests.gateway.test_hedge import PATIENT

COMMENT = b": keep-alive\n\n"


class PatientTestCase(DispatchTestCase):
    """Clients that hear something every 4 seconds, of providers that may take their time."""

    models = (model("a", timeouts=PATIENT), model("b", timeouts=PATIENT))
    explain = False

    def use(self, provider: ScriptedProvider, *models: Any, **more: Any) -> None:
        """Ask this provider from now on."""
        server = more.pop("server", None) or Server(keep_alive=4.0, explain=self.explain)
        super().use(provider, *models, server=server, **more)
        self.client = StringTransport()

    def change(self, **more: Any) -> None:
        """Go on with another configuration."""
        plan = self.dispatcher.plan
        self.dispatcher.change(evolve(plan, config=evolve(plan.config, **more)))

    def wait(self, seconds: float) -> bytes:
        """Return what the client hears in so many seconds."""
        self.client.clear()
        self.clock.pump([0.5] * int(seconds * 2))
        return bytes(self.client.value())

    def begin_late(self) -> tuple[StreamedAnswer, Deferred[None]]:
        """Ask, and deliver what there is after 4 seconds."""
        asked = self.chat(stream=True)
        self.wait(3.5)
        self.assertNoResult(asked)
        self.wait(0.5)
        answer = self.successResultOf(asked)
        assert isinstance(answer, StreamedAnswer)
        return answer, Deferred.fromCoroutine(answer.deliver(self.client))

    def say_all(self, place: int) -> None:
        """Let a call be answered."""
        reply = self.provider.calls[place].reply or self.provider.calls[place].answer()
        reply.send(*chat_stream("Hi"))
        reply.finish()


class KeepAliveTests(PatientTestCase):
    """Comments while nothing else comes."""

    def test_in_time(self) -> None:
        """A stream that begins in time has no comment, and says who answers."""
        asked = self.chat(stream=True)
        self.wait(3.5)
        self.say_all(0)
        answer = self.successResultOf(asked)
        assert isinstance(answer, StreamedAnswer) and answer.served is not None
        self.assertEqual(answer.served.candidate.name, "a")
        self.successResultOf(Deferred.fromCoroutine(answer.deliver(self.client)))
        self.assertNotIn(COMMENT, self.client.value())
        self.assert_over(1, None)

    def test_late(self) -> None:
        """One that is late begins with comments; then comes what would have come."""
        answer, done = self.begin_late()
        self.assertIsNone(answer.served)
        self.assertEqual(answer.content_type, "text/event-stream; charset=utf-8")
        self.assertEqual(self.client.value(), COMMENT)
        self.assertEqual(self.wait(8), COMMENT * 2)
        self.client.clear()
        self.say_all(0)
        self.successResultOf(done)
        self.assertNotIn(COMMENT, self.client.value())
        self.assertTrue(self.client.value().endswith(b"data: [DONE]\n\n"))
        record = self.assert_over(1, None)
        self.assertEqual((record.served_by, record.first_token), ("a", 12.0))

    def test_late_failover(self) -> None:
        """Another candidate can still be asked."""
        _, done = self.begin_late()
        self.provider.calls[0].fail(errors.UpstreamFailed("503"))
        self.say_all(1)
        self.successResultOf(done)
        self.assertIn(b'"Hi"', self.client.value())
        self.assertEqual(self.assert_over(2, None).served_by, "b")

    def test_late_error(self) -> None:
        """Where nobody can answer the error is an event, without an end."""
        _, done = self.begin_late()
        for call in range(2):
            self.provider.calls[call].fail(errors.UpstreamFailed("503"))
        self.successResultOf(done)
        self.assertIn(b'data: {"error":', self.client.value())
        self.assertNotIn(b"[DONE]", self.client.value())
        self.assert_over(2, "upstream_error")

    def test_silence(self) -> None:
        """A silence in the stream is bridged, up to its own bound."""
        asked = self.chat(stream=True)
        reply = self.provider.calls[0].answer()
        reply.send(chat_stream("Hi")[0])
        done = self.deliver(asked, self.client)
        self.assertEqual(self.wait(9), COMMENT * 2)
        reply.send(chat_stream("Ho")[0])
        self.assertEqual(self.wait(3.5), b"")
        self.assertEqual(self.wait(11), COMMENT * 3)
        reply.send(*chat_stream("!"))
        reply.finish()
        self.successResultOf(done)
        self.assertEqual(self.wait(9), b"")
        self.assert_over(1, None)

    def test_takeover(self) -> None:
        """So is the wait for somebody who goes on."""
        self.change(retry=Retry(max_retries=0))
        asked = self.chat(stream=True)
        reply = self.provider.calls[0].answer()
        reply.send(chat_stream("One two three four five six")[0])
        done = self.deliver(asked, self.client)
        reply.cut()
        self.assertEqual(len(self.provider.calls), 2)
        self.assertEqual(self.wait(9), COMMENT * 2)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.wait(9), b"")
        self.assert_over(2, "client_left")

    def test_leaves(self) -> None:
        """A client that leaves while it hears comments ends the call."""
        _, done = self.begin_late()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertTrue(self.provider.calls[0].cancelled)
        self.assertEqual(self.wait(9), b"")
        self.assert_over(1, "client_left")

    def test_interrupted(self) -> None:
        """A stop tells it in an event."""
        _, done = self.begin_late()
        self.dispatcher.running.interrupt()
        self.successResultOf(done)
        self.assertIn(b'"code":"shutting_down"', self.client.value())
        self.assert_over(1, "shutting_down")

    def test_bug(self) -> None:
        """Our own mistake is raised, and leaves no timer."""
        _, done = self.begin_late()
        self.provider.calls[0].result.errback(ValueError("bug"))
        self.failureResultOf(done, ValueError)
        self.assert_over(1, "internal_error")

    def test_none(self) -> None:
        """0 seconds: nothing comes before the stream, nor in it."""
        self.use(ScriptedProvider(), server=Server(keep_alive=0))
        asked = self.chat(stream=True)
        self.wait(20)
        self.assertNoResult(asked)
        reply = self.provider.calls[0].answer()
        reply.send(chat_stream("Hi")[0])
        self.deliver(asked, self.client).addErrback(lambda failure: None)
        self.assertEqual(self.wait(10), b"")

    def test_plain(self) -> None:
        """A whole answer is waited for in silence."""
        asked = self.chat()
        self.provider.calls[0].connect()
        self.clock.advance(5)
        self.assertNoResult(asked)


class ExplainTests(PatientTestCase):
    """Comments about attempts and waits, where ``server.explain`` is on."""

    explain = True

    def notes(self) -> list[str]:
        """Return what the client was told by the way."""
        prefix = b": aiproxy: "
        lines = self.client.value().split(b"\n")
        return [line.removeprefix(prefix).decode() for line in lines if line.startswith(prefix)]

    def test_attempts(self) -> None:
        """Who was asked, why it has failed, and how long a repeat was waited for."""
        retry = Retry(max_retries=1, base_delay=2.0, jitter=0.0, takeover=False)
        self.change(retry=retry, server=Server(keep_alive=0, explain=True))
        error = errors.UpstreamFailed("an upstream's own words")
        error.upstream_status = 503
        self.use_next(error)
        asked = self.chat("b", stream=True)
        self.clock.advance(2)
        self.say_all(1)
        self.successResultOf(self.deliver(asked, self.client))
        self.assertEqual(
            self.notes(),
            [
                "b is asked",
                "b failed: upstream_error, status 503",
                "again in 2.0 s",
                "b is asked after 2.0 s",
            ],
        )

    def test_words_of_others(self) -> None:
        """Nobody's code or name becomes an event of the stream."""
        self.use(self.provider, model("x/*"))
        retry = Retry(max_retries=1, base_delay=2.0, jitter=0.0, takeover=False)
        self.change(retry=retry, server=Server(keep_alive=0, explain=True))
        error = errors.UpstreamFailed("no", code='c\n\ndata: {"evil": 1}')
        error.upstream_status = 503
        self.use_next(error)
        name = 'x/\ud800\n\ndata: {"evil": 2}'
        asked = self.chat(name, stream=True)
        self.clock.advance(2)
        self.say_all(1)
        self.successResultOf(self.deliver(asked, self.client))
        self.assertEqual(
            self.notes()[:2],
            [
                'x/? data: {"evil": 2} is asked',
                'x/? data: {"evil": 2} failed: provider_error, status 503',
            ],
        )
        self.assertNotIn(b'\ndata: {"evil', self.client.value())

    def use_next(self, error: errors.AIProxyError) -> None:
        """Let the next call fail."""
        self.provider._script.append(error)

    def test_waits(self) -> None:
        """How long a call has waited for its turn; a client that waits hears it as it goes on."""
        server = Server(keep_alive=4.0, queue_timeout=20.0, explain=True)
        busy = model("a", timeouts=PATIENT, limits=Limits(max_concurrent=1))
        self.use(ScriptedProvider(), busy, server=server)
        self.chat("a").addErrback(lambda failure: None)
        asked = self.chat("a", stream=True)
        self.wait(4)
        done = self.deliver(asked, self.client)
        self.assertEqual(self.notes(), [])
        self.wait(2)
        self.provider.calls[0].fail(errors.UpstreamFailed("500"))
        self.clock.advance(0)
        self.wait(4)
        self.assertEqual(self.notes(), ["a is asked after 6.0 s"])
        self.say_all(1)
        self.successResultOf(done)

    def test_takeover(self) -> None:
        """Who goes on with a stream that was cut."""
        self.change(retry=Retry(max_retries=0))
        asked = self.chat(stream=True)
        reply = self.provider.calls[0].answer()
        reply.send(chat_stream("One two three four five six")[0])
        done = self.deliver(asked, self.client)
        reply.cut()
        self.wait(4)
        self.assertEqual(self.notes(), ["a failed: stream_cut", "b is asked to go on"])
        done.cancel()
        self.failureResultOf(done, CancelledError)

    def test_off(self) -> None:
        """Nothing is told where it is off."""
        self.change(server=Server(keep_alive=4.0))
        self.use_next(errors.UpstreamFailed("500"))
        asked = self.chat(stream=True)
        self.say_all(1)
        self.successResultOf(self.deliver(asked, self.client))
        self.assertEqual(self.notes(), [])

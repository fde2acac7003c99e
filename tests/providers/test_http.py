"""Tests of :mod:`aiproxy.providers.http`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from aiproxy.config.schema import Model
from aiproxy.config.secret import Secret
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.errors import (
    ConnectFailed,
    InvalidRequest,
    UpstreamAuthFailed,
    UpstreamFailed,
    UpstreamRateLimited,
    UpstreamRefused,
)
from aiproxy.interfaces import ICredentials, IImageFetcher, IProvider, IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call
from aiproxy.providers.credentials import KeyHeader
from aiproxy.providers.http import HTTPProvider
from aiproxy.transport.client import UpstreamClient
from tests.transport.upstreams import MemoryConnection, MemoryUpstream, RecordingConsumer, answer

MODEL = Model(
    "m", "p", "openai", "openai", "up", base_url="http://127.0.0.1/v1", headers={"x-more": "1"}
)
KEY = Secret("sk-1")
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


class HTTPProviderTestCase(SynchronousTestCase):
    """A provider over an upstream in memory."""

    def setUp(self) -> None:
        self.upstream = MemoryUpstream()
        self.provider = HTTPProvider(UpstreamClient(self.upstream.reactor), OpenAIDialect())

    def start(
        self, model: Model = MODEL, *, token: Secret | None = KEY, stream: bool = True
    ) -> Deferred[IReply]:
        """Begin a call."""
        candidate = Candidate(model, "m", token)
        return self.provider.start(Call("r7", {"messages": []}, candidate, stream))

    def sent(self, model: Model, *, token: Secret | None = KEY) -> bytes:
        """Return what is sent for a model."""
        self.start(model, token=token)
        return self.upstream.accept().take()


class HTTPProviderTests(HTTPProviderTestCase):
    """What is sent, and what becomes of the answer."""

    def test_request(self) -> None:
        """URL, key, further headers and the request's id are sent."""
        self.assertTrue(verifyObject(IProvider, self.provider))
        asked = self.start()
        connection = self.upstream.accept()
        sent = connection.take().lower()
        for part in (b"/v1/chat/completions", b"bearer sk-1", b"x-more: 1", b"x-request-id: r7"):
            self.assertIn(part, sent)
        connection.send(answer(b"x"))
        reply = self.successResultOf(asked)
        self.assertTrue(verifyObject(IReply, reply))
        self.assertTrue(reply.streamed)

    def test_usage_refused(self) -> None:
        """A server that refuses the question for usage is asked once more; errors hide our key."""
        asked = self.start()
        connection = self.upstream.accept()
        self.assertIn(b"stream_options", connection.take())
        connection.send(answer(b'{"error": {"message": "stream_options?"}}', REFUSAL))
        connection = self.upstream.accept()
        self.assertNotIn(b"stream_options", connection.take())
        connection.send(answer(b'{"error": {"message": "bad sk-1"}}', REFUSAL))
        error = self.failureResultOf(asked, UpstreamRefused).value
        self.assertEqual((error.message, error.provider), ("bad ***", "p"))

    def test_short_key(self) -> None:
        """A key that is no secret, as local servers are given, spoils no words of an error."""
        for key, told in (("x", "the max of *** tokens"), ("e", "the max of x tokens")):
            asked = self.start(token=Secret(key), stream=False)
            self.upstream.accept().send(
                answer(b'{"error": {"message": "the max of x tokens"}}', REFUSAL)
            )
            error = self.failureResultOf(asked, UpstreamRefused).value
            self.assertEqual(error.message, told)

    def test_usage_refusal_remembered(self) -> None:
        """A server that answers then is not asked for usage again; others are."""
        asked = self.start()
        connection = self.upstream.accept()
        connection.send(answer(b'{"error": {"message": "unknown: stream_options"}}', REFUSAL))
        self.upstream.accept().send(answer(b"x", EVENTS + b"Connection: close\r\n"))
        self.assertTrue(self.successResultOf(asked).streamed)
        self.assertNotIn(b"stream_options", self.sent(MODEL))
        other = evolve(MODEL, base_url="http://127.0.0.1/v2")
        self.assertIn(b"stream_options", self.sent(other))

    def test_other_refusals(self) -> None:
        """A refusal of something else is the caller's, at once."""
        asked = self.start()
        self.upstream.accept().send(answer(b'{"error": {"message": "bad field"}}', REFUSAL))
        self.failureResultOf(asked, UpstreamRefused)
        self.assertEqual(self.upstream.attempts, 1)
        asked = self.start(stream=False)
        words = b'{"error": {"message": "stream_options only with stream"}}'
        self.upstream.accept().send(answer(words, REFUSAL))
        self.failureResultOf(asked, UpstreamRefused)
        self.assertEqual(self.upstream.attempts, 2)

    def test_url(self) -> None:
        """A model's whole URL goes before its provider's, and its body is laid over."""
        model = evolve(MODEL, url="http://127.0.0.1/odd?x=1", body={"temperature": 0})
        sent = self.sent(model)
        self.assertTrue(sent.startswith(b"POST /odd?x=1 HTTP/1.1"))
        body = json.loads(sent.partition(b"\r\n\r\n")[2])
        self.assertEqual(body["temperature"], 0)
        self.assertEqual(body["model"], "up")

    def test_key_headers(self) -> None:
        """The key travels as its provider wants it; without one there is no header."""
        for provider_type, header in (
            ("openai", b"authorization: bearer sk-1"),
            ("azure", b"api-key: sk-1"),
            ("something", b"authorization: bearer sk-1"),
        ):
            sent = self.sent(evolve(MODEL, provider_type=provider_type)).lower()
            self.assertIn(header + b"\r\n", sent)
        self.assertNotIn(b"sk-1", self.sent(MODEL, token=None))

    def test_own_headers_win(self) -> None:
        """A configured header replaces ours."""
        sent = self.sent(evolve(MODEL, headers={"authorization": "Basic x"})).lower()
        self.assertIn(b"authorization: basic x", sent)
        self.assertNotIn(b"sk-1", sent)

    def test_kinds_of_answers(self) -> None:
        """Only what calls itself JSON is a whole answer to a stream's request."""
        for kind, streamed in (
            (b"application/json; charset=utf-8", False),
            (b"application/problem+json", False),
            (b"text/event-stream", True),
            (b"application/octet-stream", True),
        ):
            asked = self.start()
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: " + kind + b"\r\n"
            self.upstream.accept().send(answer(b"{}", head))
            self.assertIs(self.successResultOf(asked).streamed, streamed, kind)
        asked = self.start(stream=False)
        self.upstream.accept().send(answer(b"x", EVENTS))
        self.assertFalse(self.successResultOf(asked).streamed)

    def test_error(self) -> None:
        """An error has its delay, the limits and whose it is; a long body is cut."""
        asked = self.start()
        head = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nX-RateLimit-Limit-Requests: 5\r\n"
        self.upstream.accept().send(answer(b"x" * 200_000, head))
        error = self.failureResultOf(asked, UpstreamRateLimited).value
        self.assertEqual((error.retry_after, error.provider, error.model), (7, "p", "m"))
        self.assertEqual(error.rate_limits, {"x-ratelimit-limit-requests": "5"})
        self.assertEqual(error.headers["retry-after"], "7")
        self.assertIsNone(error.should_retry)
        self.assertLess(len(error.message), 5000)

    def test_should_retry(self) -> None:
        """An error has what the provider says of a repeat."""
        for said, expected in ((b"true", True), (b"false", False), (b"perhaps", None)):
            asked = self.start()
            head = b"HTTP/1.1 500 No\r\nConnection: close\r\nX-Should-Retry: " + said + b"\r\n"
            self.upstream.accept().send(answer(b"{}", head))
            error = self.failureResultOf(asked, UpstreamFailed).value
            self.assertIs(error.should_retry, expected)

    def test_unreachable(self) -> None:
        """A failure to connect says whose it is."""
        asked = self.start()
        self.upstream.refuse(ConnectionRefusedError())
        error = self.failureResultOf(asked, ConnectFailed).value
        self.assertEqual(error.provider, "p")

    def test_reply(self) -> None:
        """A reply can be delivered, or given up."""
        asked = self.start()
        connection = self.upstream.accept()
        connection.send(answer(b"data: 1\n\n", EVENTS))
        reply = self.successResultOf(asked)
        self.assertEqual(reply.headers["content-type"], "text/event-stream")
        consumer = RecordingConsumer()
        reply.deliver(consumer)
        self.assertEqual(consumer.data, b"data: 1\n\n")
        asked = self.start(evolve(MODEL, base_url="http://127.0.0.2/v1"))
        connection = self.upstream.accept()
        connection.send(EVENTS + b"Transfer-Encoding: chunked\r\n\r\n")
        reply = self.successResultOf(asked)
        reply.abandon()
        reply.abandon()
        self.assertTrue(connection.transport.disconnecting)


class TurnTests(HTTPProviderTestCase):
    """How many calls go on at a time."""

    def test_turns(self) -> None:
        """A call waits until another one of its token is over, however that ends."""
        model = evolve(MODEL, provider_max_concurrent=1)

        def end_in_order(reply: IReply, connection: MemoryConnection) -> None:
            reply.deliver(RecordingConsumer())
            connection.send(b"0\r\n\r\n")

        def cut(reply: IReply, connection: MemoryConnection) -> None:
            reply.deliver(RecordingConsumer())
            connection.cut()

        def stop(reply: IReply, connection: MemoryConnection) -> None:
            consumer = RecordingConsumer()
            reply.deliver(consumer)
            consumer.producer.pauseProducing()
            consumer.producer.resumeProducing()
            consumer.producer.stopProducing()

        def give_up(reply: IReply, connection: MemoryConnection) -> None:
            reply.abandon()

        first = self.start(model)
        for end in (end_in_order, cut, stop, give_up):
            connection = self.upstream.accept()
            following = self.start(model)
            attempts = self.upstream.attempts
            connection.send(EVENTS + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
            end(self.successResultOf(first), connection)
            self.assertEqual(self.upstream.attempts, attempts + 1, end.__name__)
            first = following

    def test_failures_end_a_turn(self) -> None:
        """So does an error, and being cancelled, also while it waits."""
        model = evolve(MODEL, provider_max_concurrent=1)
        first, second, third = self.start(model), self.start(model), self.start(model)
        second.cancel()
        self.failureResultOf(second, CancelledError)
        self.upstream.accept().send(answer(b"{}", REFUSAL))
        self.failureResultOf(first, UpstreamRefused)
        self.assertEqual(self.upstream.attempts, 2)
        third.cancel()
        self.failureResultOf(third, CancelledError)
        self.start(model)
        self.assertEqual(self.upstream.attempts, 3)

    def test_tells(self) -> None:
        """A call that waits says so, and when it waits no more; any other says nothing."""
        candidate = Candidate(evolve(MODEL, provider_max_concurrent=1), "m", KEY)
        told: list[tuple[str, bool]] = []

        def start(name: str) -> Deferred[IReply]:
            call = Call(
                "r7",
                {"messages": []},
                candidate,
                True,
                queued=lambda waits: told.append((name, waits)),
            )
            return self.provider.start(call)

        first = start("first")
        start("second")
        self.assertEqual(told, [("second", True)])
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.assertEqual(told, [("second", True), ("second", False)])

    def test_each_token(self) -> None:
        """Other tokens and other providers do not wait; models of one provider do."""
        model = evolve(MODEL, provider_max_concurrent=2)
        self.start(model)
        self.start(evolve(model, name="another"))
        self.start(model)
        self.assertEqual(self.upstream.attempts, 2)
        self.start(model, token=Secret("sk-2"))
        self.start(evolve(model, provider="q"))
        self.assertEqual(self.upstream.attempts, 4)


@implementer(ICredentials)
class ScriptedCredentials:
    """
    Shows one token after the other.

    :ivar refused: what the upstream has refused.
    """

    def __init__(self, *tokens: str) -> None:
        self.refused: list[str] = []
        self._tokens = list(tokens)

    def show(self, candidate: Candidate) -> Deferred[Mapping[str, str]]:
        return succeed({"authorization": self._tokens.pop(0)})

    def renew(
        self, candidate: Candidate, shown: Mapping[str, str]
    ) -> Deferred[Mapping[str, str] | None]:
        self.refused.append(shown["authorization"])
        if not self._tokens:
            return fail(UpstreamAuthFailed("no more"))
        return self.show(candidate)  # type: ignore[return-value]


class CredentialsTests(HTTPProviderTestCase):
    """Credentials that wear out."""

    DENIED = b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n"

    def use(self, *tokens: str) -> ScriptedCredentials:
        """Show these tokens from now on."""
        credentials = ScriptedCredentials(*tokens)
        self.assertTrue(verifyObject(ICredentials, credentials))
        self.assertTrue(verifyObject(ICredentials, KeyHeader()))
        self.provider.credentials = credentials
        return credentials

    def test_renewed(self) -> None:
        """After a 401 it is asked once more with others, and only once."""
        credentials = self.use("a", "b", "c")
        asked = self.start()
        first = self.upstream.accept()
        self.assertIn(b"authorization: a\r\n", first.take().lower())
        first.send(answer(b"{}", self.DENIED))
        second = self.upstream.accept()
        self.assertIn(b"authorization: b\r\n", second.take().lower())
        second.send(answer(b"{}", self.DENIED))
        self.failureResultOf(asked, UpstreamAuthFailed)
        self.assertEqual(credentials.refused, ["a"])
        self.assertEqual(self.upstream.attempts, 2)

    def test_none_left(self) -> None:
        """A failure to get others is the call's, and the connection is closed."""
        self.use("a")
        asked = self.start()
        connection = self.upstream.accept()
        connection.send(self.DENIED + b"Content-Length: 9\r\n\r\n")
        self.failureResultOf(asked, UpstreamAuthFailed)
        self.assertTrue(connection.transport.disconnecting)

    def test_keys(self) -> None:
        """A key is what it is: the upstream's refusal is the answer."""
        asked = self.start()
        self.upstream.accept().send(answer(b"{}", self.DENIED))
        self.failureResultOf(asked, UpstreamAuthFailed)
        self.assertEqual(self.upstream.attempts, 1)

    def test_google(self) -> None:
        """Google's key has a header of its own, but not at its compatible endpoint."""
        google = evolve(MODEL, dialect="google", provider_type="google")
        self.assertIn(b"x-goog-api-key: sk-1", self.sent(google).lower())
        compatible = evolve(google, base_url="http://127.0.0.1/v1beta/openai")
        self.assertIn(b"authorization: bearer sk-1", self.sent(compatible).lower())


@implementer(IImageFetcher)
class ScriptedImages:
    """Knows one image."""

    def fetch(self, urls: Sequence[str]) -> Deferred[Mapping[str, str]]:
        if list(urls) == ["https://h/known.png"]:
            return succeed({urls[0]: "data:image/png;base64,AAAA"})
        return fail(InvalidRequest("may not be fetched", param="messages"))


class PreparedTests(HTTPProviderTestCase):
    """What is done before a call is sent, and told after it."""

    MODEL = evolve(MODEL, upstream_model="gemini-2.0-flash", dialect="google")

    def ask(self, url: str, **more: object) -> Deferred[IReply]:
        """Ask an old model of Gemini's, which fetches nothing, about an image."""
        self.assertTrue(verifyObject(IImageFetcher, ScriptedImages()))
        client = UpstreamClient(self.upstream.reactor)
        provider = HTTPProvider(client, GeminiDialect(), images=ScriptedImages())
        part = {"type": "image_url", "image_url": {"url": url}}
        request = {"messages": [{"role": "user", "content": [part]}], **more}
        candidate = Candidate(self.MODEL, "m", KEY)
        self.told: list[bool] = []
        return provider.start(Call("r7", request, candidate, False, preparing=self.told.append))

    def test_images(self) -> None:
        """What the provider does not fetch is in the request; it is told that it is fetched."""
        self.ask("https://h/known.png")
        self.assertIn(b'"data":"AAAA"', self.upstream.accept().take())
        self.assertEqual(self.told, [True, False])

    def test_images_refused(self) -> None:
        """What may not be fetched is the caller's mistake, and nobody is asked."""
        asked = self.ask("https://h/other.png")
        self.failureResultOf(asked, InvalidRequest)
        self.assertEqual(self.upstream.attempts, 0)

    def test_dropped(self) -> None:
        """What the provider was not told stands in the reply."""
        asked = self.ask("data:image/png;base64,AAAA", user="u")
        self.assertEqual(self.told, [])
        self.upstream.accept().send(answer(b"{}"))
        self.assertEqual(self.successResultOf(asked).dropped, ("user",))

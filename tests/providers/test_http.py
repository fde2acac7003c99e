"""Tests of :mod:`aiproxy.providers.http`."""

from __future__ import annotations

import json

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aiproxy.config.schema import Model
from aiproxy.config.secret import Secret
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.errors import ConnectFailed, UpstreamRateLimited, UpstreamRefused
from aiproxy.interfaces import IProvider, IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call
from aiproxy.providers.http import HTTPProvider
from aiproxy.transport.client import UpstreamClient
from tests.transport.upstreams import MemoryUpstream, RecordingConsumer, answer

MODEL = Model(
    "m", "p", "openai", "openai", "up", base_url="http://127.0.0.1/v1", headers={"x-more": "1"}
)
KEY = Secret("sk-1")
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"


EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


class HTTPProviderTests(SynchronousTestCase):
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
        self.assertLess(len(error.message), 5000)

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

"""Tests of :mod:`aiproxy.providers.http`."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aiproxy.config.schema import Model
from aiproxy.config.secret import Secret
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.errors import UpstreamRefused
from aiproxy.interfaces import IProvider, IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call
from aiproxy.providers.http import HTTPProvider
from aiproxy.transport.client import UpstreamClient
from tests.transport.upstreams import MemoryUpstream, answer

MODEL = Model(
    "m", "p", "openai", "openai", "up", base_url="http://127.0.0.1/v1", headers={"x-more": "1"}
)
REFUSAL = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"


class HTTPProviderTests(SynchronousTestCase):
    """A provider over an upstream in memory."""

    def setUp(self) -> None:
        self.upstream = MemoryUpstream()
        self.provider = HTTPProvider(UpstreamClient(self.upstream.reactor), OpenAIDialect())

    def start(self) -> Deferred[IReply]:
        candidate = Candidate(MODEL, "m", Secret("sk-1"))
        return self.provider.start(Call("r7", {"messages": []}, candidate, True))

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

"""Tests of :mod:`aiproxy.web.calls`."""

from __future__ import annotations

from twisted.internet.defer import fail, succeed

from aiproxy.errors import StreamCut, UpstreamRateLimited
from tests.web.serving import ServingTestCase, whole_reply


class ChatTests(ServingTestCase):
    """Chat completions."""

    def test_plain(self) -> None:
        """A whole answer says who gave it, and passes the upstream's limits on."""
        limits = {"x-ratelimit-remaining-requests": "7", "x-other": "no"}
        self.provider.start_with = lambda call: succeed(whole_reply(limits))
        answer = self.chat("x-request-id: mine.1")
        self.assert_common(answer)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json["choices"][0]["message"]["content"], "hello")
        self.assertEqual(answer.headers["x-request-id"], "mine.1")
        self.assertEqual(answer.headers["x-aiproxy-model"], "scripted/one")
        self.assertEqual(answer.headers["x-aiproxy-provider"], "scripted")
        self.assertEqual(answer.headers["x-aiproxy-attempts"], "1")
        self.assertEqual(answer.headers["x-ratelimit-remaining-requests"], "7")
        self.assertNotIn("x-other", answer.headers)

    def test_header_injection(self) -> None:
        """A model's name with line breaks makes no header."""
        answer = self.chat(model="any/x\r\nevil: yes")
        self.assertEqual(answer.status, 200)
        self.assertNotIn("evil", answer.headers)

    def test_stream(self) -> None:
        """A stream is sent as it comes, under an event stream's headers."""
        reply = self.begin_stream()
        self.assertEqual(self.client.take(), b"")
        reply.say("one")
        self.assertIn(b"one", self.client.transport.value())
        reply.say("two")
        reply.end()
        answer = self.client.answer()
        self.assertEqual(answer.headers["content-type"], "text/event-stream; charset=utf-8")
        self.assertEqual(answer.headers["cache-control"], "no-cache")
        self.assertEqual(answer.headers["x-accel-buffering"], "no")
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertEqual(answer.headers["x-aiproxy-model"], "scripted/one")
        self.assertTrue(answer.body.endswith(b"data: [DONE]\n\n"))

    def test_stream_cut(self) -> None:
        """A stream that breaks ends in an error event, without an end of its own."""
        reply = self.begin_stream()
        reply.say("one")
        reply.consumer.failed(StreamCut("the stream was cut"))
        answer = self.client.answer()
        self.assertIn(b'data: {"error":', answer.body)
        self.assertNotIn(b"[DONE]", answer.body)

    def test_exhausted(self) -> None:
        """An upstream's limit says when to come back, and that we have tried."""
        for told, written in ((2.2, "3"), (None, "1")):
            error = UpstreamRateLimited("slow down", retry_after=told)
            error.rate_limits = {"x-ratelimit-limit-requests": "5"}
            self.provider.start_with = lambda call, error=error: fail(error)  # type: ignore[misc]
            answer = self.chat()
            self.assert_common(answer)
            self.assertEqual(answer.status, 429)
            self.assertEqual(answer.headers["retry-after"], written)
            self.assertEqual(answer.headers["x-should-retry"], "false")
            self.assertEqual(answer.headers["x-ratelimit-limit-requests"], "5")
            self.assertEqual(answer.error["provider"], "scripted")
            self.clock.advance(3)

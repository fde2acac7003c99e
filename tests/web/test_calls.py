"""Tests of :mod:`aiproxy.web.calls`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed

from aiproxy.errors import StreamCut, UpstreamRateLimited
from aiproxy.gateway.usage import CallRecord
from aiproxy.interfaces import IReply
from aiproxy.providers.call import Call
from aiproxy.proxy import Proxy
from tests.sites import make_site
from tests.transport.http.clients import Client
from tests.web.serving import ScriptedReply, ServingTestCase, whole_reply


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

    def test_encoded(self) -> None:
        """A request that is compressed is refused before anybody is asked, and accounted for."""
        records: list[CallRecord] = []
        config = self.load(self.text, self.tokens).config
        proxy = Proxy(
            config, self.clock, providers={"scripted": self.provider}, report=records.append
        )
        site = make_site(proxy.resource(), self.clock, max_request_bytes=1000)
        self.client = Client(site, self.clock)
        answer = self.chat("Content-Encoding: gzip")
        self.assert_common(answer)
        self.assertEqual(answer.status, 415)
        self.assertEqual([record.status for record in records], [415])
        self.assertEqual(self.provider.calls, [])

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


class TimeoutTests(ServingTestCase):
    """How long a caller is ready to wait: ``x-aiproxy-timeout``."""

    def setUp(self) -> None:
        super().setUp()
        #: What the provider is asked for, and whether it was given up.
        self.given_up: list[Deferred[IReply]] = []

        def never(call: Call) -> Deferred[IReply]:
            return Deferred(self.given_up.append)

        self.provider.start_with = never

    def ends_after(self, told: str, **more: Any) -> float:
        """Return the seconds after which a call is over."""
        self.begin_chat(f"x-aiproxy-timeout: {told}", **more)
        for eighth in range(1, 10_000):
            self.clock.advance(0.125)
            if self.given_up:
                return eighth / 8
        raise AssertionError("it is not given up")

    def test_ends(self) -> None:
        """The call is over in that time, with a 504 for good, and the upstream is let go."""
        for told, seconds in (("2s", 2), ("2", 2), ("1.5", 1.5), ("500ms", 0.5), ("1m2s", 62)):
            self.given_up.clear()
            self.assertEqual(self.ends_after(told), seconds)
            answer = self.client.answer()
            self.assert_common(answer)
            self.assertEqual((answer.status, answer.error["code"]), (504, "upstream_timeout"))
            self.assertIn(f"{seconds:g} seconds", answer.error["message"])
            self.assertEqual(answer.headers["x-should-retry"], "false")
        self.assertEqual(len(self.provider.calls), 5)

    def test_bounds(self) -> None:
        """Who would wait longer than the configuration allows does not."""
        self.assertEqual(self.ends_after("24h"), 600)
        self.assertEqual(self.client.answer().status, 504)

    def test_stream(self) -> None:
        """A stream that has not begun ends in a 504; one that has, in an event."""
        self.ends_after("3s", stream=True)
        self.assertEqual(self.client.answer().status, 504)
        reply = ScriptedReply()
        self.provider.start_with = lambda call: succeed(reply)
        self.begin_chat("x-aiproxy-timeout: 3s", stream=True)
        reply.say("one")
        self.clock.advance(2.875)
        self.assertEqual(reply.state, "producing")
        self.clock.advance(0.125)
        answer = self.client.answer()
        self.assertEqual((answer.status, reply.state), (200, "stopped"))
        self.assertIn(b'"code":"upstream_timeout"', answer.body)
        self.assertNotIn(b"[DONE]", answer.body)

    def test_kept_alive(self) -> None:
        """So does one that has begun with comments only."""
        self.assertEqual(self.ends_after("20s", stream=True), 20)
        answer = self.client.answer()
        self.assertEqual(answer.status, 200)
        self.assertIn(b": keep-alive\n\n", answer.body)
        self.assertIn(b'"code":"upstream_timeout"', answer.body)

    def test_mistakes(self) -> None:
        """What is no time, or none at all, is the caller's mistake, and nobody is asked."""
        no_times = ("", "soon", "-1", "-1s", "nan", "inf", "1e9", "5 s", "1s2", "9" * 30)
        for told in (*no_times, "0", "0s", "0.0000000001", "300000000h"):
            answer = self.chat(f"x-aiproxy-timeout: {told}")
            self.assert_common(answer)
            self.assertEqual((told, answer.status), (told, 400))
            self.assertEqual(answer.error["code"], "invalid_timeout")
            self.assertIn("x-aiproxy-timeout", answer.error["message"])
        self.assertEqual(self.provider.calls, [])

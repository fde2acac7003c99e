"""A whole proxy in memory for the tests of its routes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.interfaces import IBodyConsumer, IProvider, IReply
from aiproxy.providers.call import Call
from aiproxy.proxy import Proxy
from tests.config.loading import LoadingTestCase
from tests.sites import make_site
from tests.transport.http.clients import Answer, Client

TOKEN = "sk-client"
#: When it is in these tests: 2030-01-01.
NOW = 1893456000.0

CONFIG = """
    retry: {max_retries: 0, takeover: false}
    providers:
      scripted: {base_url: "https://upstream.example/v1", token: sk-upstream}
    models:
      - {name: demo/echo, provider: demo, model_size: SMALL}
      - {name: scripted/one, provider: scripted, context_window: 4096}
      - {name: "any/*", provider: scripted, upstream_model: "*"}
    groups:
      team: {models: [demo/echo]}
    keys:
      - {name: narrow, token: sk-narrow, models: [scripted/one, "any/*"]}
      - {name: old, token: sk-old, expires: 2029-12-31}
      - {name: young, token: sk-young, expires: 2030-01-02}
"""


@implementer(IReply, IPushProducer)
class ScriptedReply:
    """
    A reply that a test writes.

    :ivar consumer: who takes its body.
    """

    dialect = OpenAIDialect()
    dropped: tuple[str, ...] = ()

    def __init__(self, headers: Mapping[str, str] | None = None, *, streamed: bool = True) -> None:
        self.headers = headers or {}
        self.streamed = streamed
        self.consumer: IBodyConsumer
        self.state = "producing"

    def deliver(self, consumer: IBodyConsumer) -> None:
        self.consumer = consumer
        consumer.begin(self)

    def abandon(self) -> None:
        self.stopProducing()

    def pauseProducing(self) -> None:
        self.state = "paused"

    def resumeProducing(self) -> None:
        self.state = "producing"

    def stopProducing(self) -> None:
        self.state = "stopped"

    def tell(self, document: object) -> None:
        """Send an event of a stream."""
        self.consumer.received(b"data: " + json.dumps(document).encode() + b"\n\n")

    def say(self, content: str) -> None:
        """Send a word of a stream."""
        self.tell({"choices": [{"index": 0, "delta": {"content": content}}]})

    def end(self) -> None:
        """End a stream in order."""
        self.tell({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self.consumer.received(b"data: [DONE]\n\n")
        self.consumer.finished()


def whole_reply(headers: Mapping[str, str] | None = None, content: str = "hello") -> IReply:
    """Return a whole answer."""

    class WholeReply(ScriptedReply):
        def deliver(self, consumer: IBodyConsumer) -> None:
            super().deliver(consumer)
            message = {"role": "assistant", "content": content}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            consumer.received(json.dumps({"choices": [choice]}).encode())
            consumer.finished()

    reply: IReply = WholeReply(headers, streamed=False)
    return reply


@implementer(IProvider)
class ScriptedProvider:
    """
    A provider that does what a test says.

    :ivar calls: what it was asked.
    :ivar start_with: answers a call.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.start_with: Callable[[Call], Deferred[IReply]] = lambda call: succeed(whole_reply())

    def start(self, call: Call) -> Deferred[IReply]:
        self.calls.append(call)
        return self.start_with(call)


class ServingTestCase(LoadingTestCase):
    """A proxy in memory, and its clients."""

    text = CONFIG
    tokens: Mapping[str, str] = {"AUTH_TOKEN": TOKEN}

    def setUp(self) -> None:
        super().setUp()
        self.clock = MemoryReactorClock()
        self.provider = ScriptedProvider()
        self.proxy = Proxy(
            self.load(self.text, self.tokens).config,
            self.clock,
            providers={"scripted": self.provider},
            wall=lambda: NOW,
        )
        self.site = make_site(self.proxy.resource(), self.clock, max_request_bytes=100_000)
        self.client = Client(self.site, self.clock)

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> Answer:
        """Ask with the valid token; return the answer."""
        self.client.ask(method, path, f"Authorization: Bearer {TOKEN}", *headers, body=body)
        answer = self.client.answer(head=method == "HEAD")
        self.assert_common(answer)
        return answer

    def ask_bare(self, method: str, path: str, *headers: str, body: bytes = b"") -> Answer:
        """Ask without a token; return the answer."""
        self.client.ask(method, path, *headers, body=body)
        answer = self.client.answer(head=method == "HEAD")
        self.assert_common(answer)
        return answer

    def assert_common(self, answer: Answer) -> None:
        """It has what every answer has."""
        self.assertEqual(answer.headers["server"], "aiproxy")
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertRegex(answer.headers["x-request-id"], r"\A[\w.-]{1,128}\Z")
        self.assertIn("date", answer.headers)
        self.assertNotIn(b"<html", answer.body.lower())
        self.assertNotIn(b"Traceback", answer.body)

    def begin_chat(self, *headers: str, token: str = TOKEN, **more: Any) -> None:
        """Send a chat request."""
        request = {
            "model": "scripted/one",
            "messages": [{"role": "user", "content": "hello there"}],
            **more,
        }
        body = json.dumps(request).encode()
        path = "/v1/chat/completions"
        self.client.ask("POST", path, f"Authorization: Bearer {token}", *headers, body=body)

    def chat(self, *headers: str, token: str = TOKEN, **more: Any) -> Answer:
        """Chat; return the answer."""
        self.begin_chat(*headers, token=token, **more)
        self.clock.advance(0)
        return self.client.answer()

    def begin_stream(self, reply: ScriptedReply | None = None) -> ScriptedReply:
        """Begin a stream that the test writes."""
        reply = reply or ScriptedReply()
        self.provider.start_with = lambda call: succeed(reply)
        self.begin_chat(stream=True)
        return reply

"""Hostile and broken requests on real sockets: each a clear answer, and the server lives."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from aiproxy.config.schema import Config, Model
from aiproxy.config.secret import Secret
from aiproxy.proxy import Proxy
from tests.sites import make_site
from tests.transport.http.clients import Answer, read_answers

TOKEN = "sk-the-token"
MARK = b"mark-of-the-body"
CHAT = b'{"model":"demo/echo","messages":[{"role":"user","content":"hello"}]}'
ECHO = Model(
    name="demo/echo",
    provider="demo",
    provider_type="demo",
    dialect="demo",
    upstream_model="echo",
)


class ReadingClient(Protocol):
    """Sends some bytes and reads to the end."""

    def __init__(self, data: bytes) -> None:
        self.ended: Deferred[bytes] = Deferred()
        self._data = data
        self._received: list[bytes] = []

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.write(self._data)

    def dataReceived(self, data: bytes) -> None:
        self._received.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(b"".join(self._received))


class BadInputTests(TestCase):
    """A server in this process, on a socket of its own."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor = cast(Any, reactor)
        proxy = Proxy(Config(models=(ECHO,), auth_tokens=(Secret(TOKEN),)), reactor)
        self.site = make_site(proxy.resource(), self.reactor, max_request_bytes=32 * 2**20)
        self.port = self.reactor.listenTCP(0, self.site, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.addCleanup(self.site.drain)
        self.events: list[LogEvent] = []
        observer = cast(Any, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    async def send(self, data: bytes) -> Answer:
        """Send some bytes; return the answer, after which the connection ends."""
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port.getHost().port)
        client = await connectProtocol(endpoint, ReadingClient(data))
        [answer] = read_answers(await client.ended)
        return answer

    async def post(self, body: bytes, token: str = TOKEN) -> Answer:
        """Ask for a chat."""
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return await self.send(head.encode() + body)

    async def assert_refused(self, answer: Answer, status: int, code: str) -> None:
        """It is this error, nothing of the request is in the log, and the server lives."""
        self.assertEqual((answer.status, answer.error["code"]), (status, code))
        self.assertEqual((await self.post(CHAT)).status, 200)
        for event in self.events:
            self.assertNotIn("log_failure", event)
            told = formatEvent(event)
            self.assertNotIn(TOKEN, told)
            self.assertNotIn("sk-wrong", told)
            self.assertNotIn(MARK.decode(), told)

    async def test_no_json(self) -> None:
        """What is not JSON is a 400."""
        for body in (
            MARK,
            b'{"model": "' + MARK,
            b'{"model": "\xff\xfe' + MARK + b'"}',
            b"[" * 201 + MARK,
            b"[" * 201 + b"]" * 201,
            b"[" * 100_000,
            b'{"a":' * 100_000,
        ):
            await self.assert_refused(await self.post(body), 400, "invalid_json")

    async def test_empty(self) -> None:
        """So is nothing."""
        for body in (b"", b" \r\n"):
            await self.assert_refused(await self.post(body), 400, "empty_body")

    async def test_wrong_types(self) -> None:
        """So is JSON of another form, and the field at fault is told."""
        message = b'"messages": [{"role": "user", "content": "' + MARK + b'"}]'
        for body in (
            b"[]",
            b"null",
            b'{"model": 1, ' + message + b"}",
            b'{"model": "demo/echo", "messages": "' + MARK + b'"}',
            b'{"model": "demo/echo", "messages": [1]}',
            b'{"model": "demo/echo", "stream": "yes", ' + message + b"}",
            b'{"model": "demo/echo", "n": 1.5, ' + message + b"}",
        ):
            await self.assert_refused(await self.post(body), 400, "invalid_type")

    async def test_too_large(self) -> None:
        """A client that sends 40 MB can read that it is too much."""
        answer = await self.post(MARK + bytes(40_000_000))
        await self.assert_refused(answer, 413, "request_too_large")

    async def test_wrong_token(self) -> None:
        """A wrong token is a 401, whatever the body is."""
        for body in (CHAT, MARK):
            answer = await self.post(body, "sk-wrong")
            await self.assert_refused(answer, 401, "invalid_api_key")

    async def test_no_http(self) -> None:
        """What is not HTTP is a 400 in the same envelope."""
        for data in (MARK + b"\r\n\r\n", b"GET / HTTP/1.1\r\n" + MARK + b"\r\n\r\n"):
            await self.assert_refused(await self.send(data), 400, "bad_request")

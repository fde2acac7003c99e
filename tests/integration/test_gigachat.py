"""GigaChat's adapter over real sockets: tokens that many share, that end, that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from aiproxy import errors
from aiproxy.config.schema import Model
from aiproxy.config.secret import Secret
from aiproxy.dialects.gigachat import GigaChatDialect
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call
from aiproxy.providers.gigachat import GigaChatProvider
from aiproxy.providers.gigachat_credentials import GigaChatCredentials
from aiproxy.transport.client import UpstreamClient
from aiproxy.transport.collect import collect
from tests.integration.servers import ServersTestCase
from tests.transport.upstreams import (
    Authority,
    SocketConnection,
    SocketUpstream,
    answer,
    pem,
    server_options,
    write_file,
)

SECRET = Secret("client-id:client-secret")
NOW = 1_700_000_000.0
CHAT = {"choices": [{"index": 0, "message": {"content": "ok"}, "finish_reason": "stop"}]}
STREAM = (
    b'data: {"choices":[{"delta":{"content":"ok","role":"assistant"},"index":0}]}\n\n'
    b'data: {"choices":[{"delta":{"content":""},"index":0,"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\n"


class GigaChatServer:
    """
    Both of GigaChat's endpoints on one port.

    :ivar tokens: those that were given; the chat takes only the last one.
    :ivar chats: how many requests the chat has answered with success.
    :ivar lasting: seconds that a token lasts from NOW.
    """

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.chats = 0
        self.refused = 0
        self.lasting = 1800.0
        self.upstream: SocketUpstream

    def respond(self, connection: SocketConnection) -> None:
        """Answer one request."""
        request = self.upstream.requests[-1]
        if request.startswith(b"POST /oauth "):
            self.tokens.append(f"tok-{len(self.tokens) + 1}")
            told = {"access_token": self.tokens[-1], "expires_at": (NOW + self.lasting) * 1000}
            connection.write(answer(json.dumps(told).encode(), JSON))
        elif f"Bearer {self.tokens[-1]}\r\n".encode() not in request:
            self.refused += 1
            told = {"status": 401, "message": "Token has expired"}
            connection.write(answer(json.dumps(told).encode(), UNAUTHORIZED))
        else:
            self.chats += 1
            if b'"stream":true' in request:
                connection.write(answer(STREAM, EVENTS))
            else:
                connection.write(answer(json.dumps(CHAT).encode(), JSON))


class GigaChatTests(ServersTestCase):
    """The adapter and a server of the same shape."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        super().setUp()
        running: Any = reactor
        self.now = NOW
        self.server = GigaChatServer()
        self.server.upstream, port = self.upstream(self.server.respond)
        self.client = UpstreamClient(running)
        self.addCleanup(self.client.close)
        self.provider = GigaChatProvider(
            self.client,
            GigaChatDialect(),
            GigaChatCredentials(self.client, wall=lambda: self.now),
            clock=running,
        )
        self.model = self.model_at(f"http://127.0.0.1:{port}")

    def model_at(self, base: str) -> Model:
        """Make a model of a server."""
        return Model(
            *("giga", "p", "gigachat", "gigachat", "GigaChat-2"),
            base_url=f"{base}/api/v1",
            auth_url=f"{base}/oauth",
            scope="GIGACHAT_API_PERS",
        )

    def call(self, model: Model | None = None, *, stream: bool = False) -> Deferred[bytes]:
        """Make a call; return its answer's body."""
        candidate = Candidate(model or self.model, "giga", SECRET)
        request = {"messages": [{"role": "user", "content": "hi"}]}
        asked = self.provider.start(Call("r1", request, candidate, stream))
        return asked.addCallback(collect, 10_000)

    async def test_one_token(self) -> None:
        """Fifty calls at once ask for one token, and all are answered."""
        bodies = await gatherResults([self.call() for _ in range(50)])
        self.assertEqual([json.loads(body) for body in bodies], [CHAT] * 50)
        self.assertEqual((self.server.tokens, self.server.chats), (["tok-1"], 50))
        self.assertEqual(await self.call(stream=True), STREAM)
        self.assertEqual(self.server.tokens, ["tok-1"])

    async def test_expired(self) -> None:
        """A token that ends between two calls is replaced before the second, once for all."""
        await self.call()
        self.now = NOW + 1741
        self.server.lasting = 3600
        await gatherResults([self.call() for _ in range(10)])
        self.assertEqual((self.server.tokens, self.server.refused), (["tok-1", "tok-2"], 0))
        self.assertEqual(self.server.chats, 11)

    async def test_refused(self) -> None:
        """A token that the chat does not take any more is replaced once, and all go on."""
        await self.call()
        self.server.tokens.append("another gateway's")
        bodies = await gatherResults([self.call() for _ in range(10)])
        self.assertEqual([json.loads(body) for body in bodies], [CHAT] * 10)
        self.assertEqual(self.server.tokens, ["tok-1", "another gateway's", "tok-3"])
        self.assertEqual((self.server.refused, self.server.chats), (10, 11))

    async def test_cancelled(self) -> None:
        """Who gives up while the token is on its way takes it from nobody."""
        answering: list[Callable[[], None]] = []
        asked: Deferred[None] = Deferred()

        def hold(connection: SocketConnection) -> None:
            if not answering:
                answering.append(lambda: self.server.respond(connection))
                asked.callback(None)
            else:
                self.server.respond(connection)

        self.server.upstream.respond = hold
        first, second = self.call(), self.call()
        await asked
        first.addErrback(lambda _: None)
        first.cancel()
        answering[0]()
        self.assertEqual(json.loads(await second), CHAT)
        self.assertEqual((self.server.tokens, self.server.chats), (["tok-1"], 1))

    async def test_own_authority(self) -> None:
        """Both endpoints are believed by the model's ``ca_bundle``, and by nothing else."""
        from twisted.internet import reactor

        running: Any = reactor
        authority = Authority()
        options = server_options(authority.issue("127.0.0.1"))
        secure = self.server.upstream = SocketUpstream(self.server.respond)
        listening = running.listenSSL(0, secure, options, interface="127.0.0.1")

        async def close() -> None:
            await self.client.close()
            await listening.stopListening()
            for connection in secure.connections:
                await connection.lost

        self.addCleanup(close)
        model = self.model_at(f"https://127.0.0.1:{listening.getHost().port}")
        await self.assertFailure(self.call(model), errors.ConnectFailed)
        path = write_file(str(self.folder / "ca.pem"), pem(authority.certificate))
        self.assertEqual(json.loads(await self.call(evolve(model, ca_bundle=path))), CHAT)
        self.assertEqual(self.server.tokens, ["tok-1"])

"""Tests of :mod:`aiproxy.transport.tunnel` and the client above it: through real proxies."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from aiproxy.errors import AIProxyError, ConnectFailed
from aiproxy.transport.client import UpstreamClient, UpstreamResponse
from aiproxy.transport.collect import collect
from aiproxy.transport.tls import TLSSettings
from tests.transport.upstreams import (
    Authority,
    SocketUpstream,
    answer,
    pem,
    server_options,
    write_file,
)

OPENED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Pipe(Protocol):
    """One direction of a tunnel."""

    other: Protocol

    def dataReceived(self, data: bytes) -> None:
        self.other.transport.write(data)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.other.transport.abortConnection()  # type: ignore[union-attr]


class ProxyConnection(Pipe):
    """Takes a ``CONNECT``, answers as it is told to, and opens the tunnel."""

    def __init__(self, proxy: ConnectProxy) -> None:
        self.proxy = proxy
        self.head = b""
        self.open = False
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        if self.open:
            super().dataReceived(data)
            return
        self.head += data
        if self.head.endswith(b"\r\n\r\n"):
            self.proxy.heads.append(self.head)
            target = self.head.split(b" ")[1].decode("ascii")
            if self.proxy.answer == OPENED:
                host, _, port = target.rpartition(":")
                endpoint = TCP4ClientEndpoint(self.proxy.reactor, host, int(port))
                endpoint.connect(Factory.forProtocol(Pipe)).addCallback(self.connected_to)
            elif self.proxy.answer:
                self.transport.write(self.proxy.answer)  # type: ignore[union-attr]
            elif self.proxy.answer is not None:
                self.transport.loseConnection()  # type: ignore[union-attr]

    def connected_to(self, upstream: Any) -> None:
        self.other, upstream.other = upstream, self
        self.open = True
        before = self.proxy.before
        for piece in (before + OPENED[:20], OPENED[20:]):
            self.transport.write(piece)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(None)
        if self.open:
            super().connectionLost(reason)


class ConnectProxy(Factory):
    """
    A proxy.

    :ivar answer: what it says to ``CONNECT``; empty: it closes; ``None``: it is silent.
    :ivar before: what it says before it opens a tunnel.
    :ivar heads: what it was asked.
    """

    noisy = False

    def __init__(self, reactor: Any) -> None:
        self.reactor = reactor
        self.answer: bytes | None = OPENED
        self.before = b""
        self.heads: list[bytes] = []
        self.connections: list[ProxyConnection] = []

    def buildProtocol(self, addr: IAddress | None) -> ProxyConnection:
        connection = ProxyConnection(self)
        self.connections.append(connection)
        return connection


class ProxiedTests(TestCase):
    """Requests through a proxy."""

    timeout = 10
    http = "llhttp"

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.authority = Authority()
        self.tls = TLSSettings(ca_bundle=write_file(self.mktemp(), pem(self.authority.certificate)))
        self.upstream = SocketUpstream(lambda it: it.write(answer(b"hello")))
        self.proxy = ConnectProxy(reactor)
        self.proxy_port = self.listen(self.proxy)

    def listen(self, factory: Factory, options: Any = None) -> int:
        if options is None:
            port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = self.reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    def make(self, **environment: str) -> UpstreamClient:
        client = UpstreamClient(self.reactor, http=self.http, environment=environment)
        self.addCleanup(client.close)
        return client

    def secure(self) -> str:
        """Start an upstream with TLS; return its URL."""
        options = server_options(self.authority.issue("127.0.0.1"))
        return f"https://127.0.0.1:{self.listen(self.upstream, options)}/v1?a=b"

    def ask(self, client: UpstreamClient, url: str) -> Deferred[UpstreamResponse]:
        return client.request(
            "POST",
            url,
            headers={},
            body=b"{}",
            tls=self.tls,
            connected=lambda: None,
            sent=lambda: None,
        )

    async def refusal(self, client: UpstreamClient, url: str) -> str:
        """Return the text of what a request fails with."""
        try:
            await self.ask(client, url)
        except AIProxyError as error:
            self.assertIs(type(error), ConnectFailed)
            return str(error)
        self.fail("it did not fail")

    async def test_tunnel(self) -> None:
        """An https upstream is asked through a tunnel, which is kept for the next request."""
        url = self.secure()
        client = self.make(HTTPS_PROXY=f"http://me:secret@127.0.0.1:{self.proxy_port}")
        for _ in range(2):
            self.assertEqual(await collect(await self.ask(client, url), 100), b"hello")
        [head] = self.proxy.heads
        origin = url.split("/")[2].encode("ascii")
        self.assertEqual(
            head,
            b"CONNECT %b HTTP/1.1\r\nHost: %b\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n\r\n"
            % (origin, origin),
        )
        self.assertEqual(len(self.upstream.requests), 2)
        for request in self.upstream.requests:
            self.assertTrue(request.startswith(b"POST /v1?a=b HTTP/1.1\r\n"))
            self.assertNotIn(b"roxy-", request)
        await client.close()
        await self.proxy.connections[0].lost

    async def test_stopped(self) -> None:
        """Stopping closes the tunnel."""
        url = self.secure()
        self.upstream.respond = lambda it: it.write(answer(b"hello")[:-1])
        client = self.make(HTTPS_PROXY=f"http://127.0.0.1:{self.proxy_port}")
        (await self.ask(client, url)).abandon()
        await self.proxy.connections[0].lost
        self.assertEqual(client.counts(), {})

    async def test_absolute_form(self) -> None:
        """An http upstream is asked of the proxy itself, which learns who we are."""
        port = self.listen(self.upstream)
        client = self.make(http_proxy=f"http://me:secret@127.0.0.1:{port}")
        response = await self.ask(client, "http://api.example.com:8000/v1?a=b")
        self.assertEqual(await collect(response, 100), b"hello")
        [request] = self.upstream.requests
        self.assertTrue(
            request.startswith(b"POST http://api.example.com:8000/v1?a=b HTTP/1.1\r\n"), request
        )
        lines = request.lower().split(b"\r\n")
        self.assertIn(b"host: api.example.com:8000", lines)
        self.assertIn(b"proxy-authorization: basic bwu6c2vjcmv0", lines)

    async def test_direct(self) -> None:
        """What ``NO_PROXY`` names is asked directly, even where the proxy is not there."""
        url = self.secure()
        client = self.make(HTTPS_PROXY="http://127.0.0.1:1", NO_PROXY="127.0.0.0/8")
        self.assertEqual(await collect(await self.ask(client, url), 100), b"hello")

    async def test_wants_credentials(self) -> None:
        """407 says whether we have shown any, which are not in the error."""
        reply = b"HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n"
        self.proxy.answer = reply
        self.upstream.respond = lambda it: it.write(reply)
        plain = self.listen(self.upstream)
        for credentials, words in (("", "asks for credentials"), ("me:secret@", "did not accept")):
            for name, port, url in (
                ("HTTPS_PROXY", self.proxy_port, "https://api.example.com/"),
                ("HTTP_PROXY", plain, "http://api.example.com/"),
            ):
                client = self.make(**{name: f"http://{credentials}127.0.0.1:{port}"})
                told = await self.refusal(client, url)
                self.assertIn(f"the proxy 127.0.0.1:{port} {words}", told)
                self.assertNotIn("secret", told)
                await client.close()
        for connection in self.proxy.connections:
            await connection.lost
        for other in self.upstream.connections:
            await other.lost

    async def test_preliminary(self) -> None:
        """A preliminary answer may come in one piece with that which opens the tunnel."""
        self.proxy.before = b"HTTP/1.1 100 Continue\r\n\r\n"
        url = self.secure()
        client = self.make(HTTPS_PROXY=f"127.0.0.1:{self.proxy_port}")
        self.assertEqual(await collect(await self.ask(client, url), 100), b"hello")

    async def test_refused(self) -> None:
        """What a proxy says instead of opening the tunnel is told of it, in our words."""
        for reply, words in (
            (
                b"HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\nsecret",
                "refused to connect us: status 403",
            ),
            (b"HTTP/1.1 502 No\r\n\r\n", "refused to connect us: status 502"),
            (b"SSH-2.0-OpenSSH\r\n", "did not answer in proper HTTP"),
            (b"", "closed the connection before it answered"),
            (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000, "sent headers without an end"),
            (OPENED + b"220 smtp", "sent more than it was asked for"),
        ):
            self.proxy.answer = reply
            client = self.make(HTTPS_PROXY=f"127.0.0.1:{self.proxy_port}")
            told = await self.refusal(client, "https://api.example.com/")
            self.assertEqual(told, f"the proxy 127.0.0.1:{self.proxy_port} {words}")
            await self.proxy.connections[-1].lost

    async def test_not_there(self) -> None:
        """A proxy that cannot be reached is named, not the upstream."""
        for name, url in (
            ("HTTPS_PROXY", "https://a.example/"),
            ("HTTP_PROXY", "http://a.example"),
        ):
            told = await self.refusal(self.make(**{name: "http://127.0.0.1:1"}), url)
            self.assertEqual(told, "the proxy 127.0.0.1:1 refused the connection")

    async def test_certificate(self) -> None:
        """Through a tunnel the upstream still has to prove who it is."""
        options = server_options(self.authority.issue("other.example.com"))
        url = f"https://127.0.0.1:{self.listen(self.upstream, options)}/"
        client = self.make(ALL_PROXY=f"http://127.0.0.1:{self.proxy_port}")
        self.assertIn("is not valid for this host name", await self.refusal(client, url))
        self.assertEqual(self.upstream.requests, [])
        await self.proxy.connections[0].lost

    async def test_cancelled(self) -> None:
        """Who does not want to wait for the proxy leaves it at once."""
        self.proxy.answer = None
        client = self.make(HTTPS_PROXY=f"http://127.0.0.1:{self.proxy_port}")
        asked = self.ask(client, "https://api.example.com/")
        while not self.proxy.heads:
            turned: Deferred[None] = Deferred()
            self.reactor.callLater(0, turned.callback, None)
            await turned
        asked.cancel()
        await self.assertFailure(asked, CancelledError)
        await self.proxy.connections[0].lost
        self.assertEqual(client.counts(), {})


class StockProxiedTests(ProxiedTests):
    """The same over Twisted's own client."""

    http = "stock"

"""Images that are fetched over real sockets."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address as IPv4
from ipaddress import IPv6Address as IPv6
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.ssl import CertificateOptions
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from aiproxy.errors import InvalidRequest
from aiproxy.transport.images import ImageFetcher, ImageLimits
from aiproxy.transport.tls import TLSSettings
from tests.transport.upstreams import (
    Authority,
    SocketConnection,
    SocketUpstream,
    answer,
    pem,
    server_options,
    write_file,
)

PNG_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 1024


def is_loopback(address: IPv4 | IPv6) -> bool:
    """Allow this machine, and nothing else."""
    return address.is_loopback


@implementer(IHostnameResolver)
class Loopback:
    """Finds every name on this machine."""

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        resolutionReceiver.addressResolved(IPv4Address("TCP", "127.0.0.1", portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


@implementer(IHostResolution)
@frozen
class Resolution:
    """A name that was found."""

    name: str

    def cancel(self) -> None: ...


class GetConnection(SocketConnection):
    """Takes requests without a body."""

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if self._received.endswith(b"\r\n\r\n"):
            self.upstream.requests.append(bytes(self._received))
            self.upstream.respond(self)


class ImageServer(SocketUpstream):
    """A server that is only asked for images."""

    def buildProtocol(self, addr: IAddress | None) -> SocketConnection:
        connection = GetConnection(self)
        self.connections.append(connection)
        return connection


class ImagesTests(TestCase):
    """One fetcher that may connect to this machine."""

    timeout = 10

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.authority = Authority()
        bundle = write_file(self.mktemp(), pem(self.authority.certificate))
        self.tls = TLSSettings(ca_bundle=bundle)
        self.fetcher = ImageFetcher(reactor, allowed=is_loopback, tls=self.tls)

    def listen(
        self,
        respond: Callable[[SocketConnection], object],
        options: CertificateOptions | None = None,
    ) -> ImageServer:
        """Start a server."""
        server = ImageServer(respond)
        if options is None:
            port = self.reactor.listenTCP(0, server, interface="127.0.0.1")
        else:
            port = self.reactor.listenSSL(0, server, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        return server

    def resolve_to_loopback(self) -> None:
        """Let every name be one of this machine."""
        before = self.reactor.installNameResolver(Loopback())
        self.addCleanup(self.reactor.installNameResolver, before)

    async def refusal(self, fetching: Deferred[Any], code: str) -> str:
        """Return the message of what a fetch fails with."""
        try:
            await fetching
        except InvalidRequest as error:
            self.assertEqual(error.code, code)
            return error.message
        self.fail("the fetch did not fail")

    async def test_fetch(self) -> None:
        """Several images come, by the reactor's own resolver, and the connections close."""
        server = self.listen(lambda it: it.write(answer(PNG, PNG_HEAD)))
        urls = [f"http://127.0.0.1:{self.port}/{number}.png" for number in range(16)]
        images = await self.fetcher.fetch(urls)
        expected = "data:image/png;base64," + b64encode(PNG).decode("ascii")
        self.assertEqual(images, dict.fromkeys(urls, expected))
        self.assertEqual(len(server.requests), 16)
        await DeferredList([connection.lost for connection in server.connections])

    async def test_guard(self) -> None:
        """A fetcher that nobody told otherwise does not connect to this machine."""
        server = self.listen(lambda it: it.write(answer(PNG, PNG_HEAD)))
        self.resolve_to_loopback()
        for host in ("127.0.0.1", "images.example.com"):
            fetching = ImageFetcher(self.reactor).fetch([f"http://{host}:{self.port}/"])
            self.assertIn("may not be fetched", await self.refusal(fetching, "invalid_image_url"))
        self.assertEqual(server.connections, [])

    async def test_tls(self) -> None:
        """TLS asks for the name and verifies it, though the connection goes to an address."""
        names: list[bytes | None] = []
        options = server_options(self.authority.issue("images.example.com"))
        options.getContext().set_tlsext_servername_callback(
            lambda connection: names.append(connection.get_servername())
        )
        server = self.listen(lambda it: it.write(answer(PNG, PNG_HEAD)), options)
        self.resolve_to_loopback()
        await self.fetcher.fetch([f"https://images.example.com:{self.port}/cat.png"])
        self.assertEqual(names, [b"images.example.com"])
        self.assertIn(b"\r\nHost: images.example.com:%d\r\n" % self.port, server.requests[0])
        fetching = self.fetcher.fetch([f"https://other.example.com:{self.port}/cat.png"])
        await self.refusal(fetching, "image_download_failed")
        self.assertEqual(len(server.requests), 1)
        await DeferredList([connection.lost for connection in server.connections])

    async def test_untrusted(self) -> None:
        """A certificate of an unknown authority is not trusted."""
        issued = Authority("Other").issue("127.0.0.1")
        server = self.listen(lambda it: it.write(answer(PNG, PNG_HEAD)), server_options(issued))
        fetching = self.fetcher.fetch([f"https://127.0.0.1:{self.port}/"])
        await self.refusal(fetching, "image_download_failed")
        self.assertEqual(server.requests, [])
        await DeferredList([connection.lost for connection in server.connections])

    async def test_redirect(self) -> None:
        """A redirect is not followed."""
        server = self.listen(
            lambda it: it.write(
                b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\n"
                b"Content-Length: 0\r\n\r\n" % self.port
            )
        )
        fetching = self.fetcher.fetch([f"http://127.0.0.1:{self.port}/"])
        self.assertIn("redirects", await self.refusal(fetching, "image_download_failed"))
        await server.connections[0].lost
        self.assertEqual(len(server.requests), 1)

    async def test_endless(self) -> None:
        """A body without an end is given up at the bound, by TCP and by TLS."""
        limits = ImageLimits(each_bytes=len(PNG))
        tls = self.tls
        self.fetcher = ImageFetcher(self.reactor, allowed=is_loopback, limits=limits, tls=tls)
        for options in (None, server_options(self.authority.issue("127.0.0.1"))):
            server = self.listen(lambda it: it.write(PNG_HEAD + b"\r\n" + PNG + PNG), options)
            scheme = "https" if options else "http"
            fetching = self.fetcher.fetch([f"{scheme}://127.0.0.1:{self.port}/"])
            self.assertIn("too large", await self.refusal(fetching, "image_download_failed"))
            await server.connections[0].lost

    async def test_cancel(self) -> None:
        """Cancelling closes all connections at once, by RST."""
        asked: Deferred[None] = Deferred()

        def respond(_: SocketConnection) -> None:
            if len(server.requests) == 2:
                asked.callback(None)

        server = self.listen(respond)
        base = f"http://127.0.0.1:{self.port}/"
        fetching = self.fetcher.fetch([base + "1", base + "2"])
        await asked
        fetching.cancel()
        await self.assertFailure(fetching, CancelledError)
        for connection in server.connections:
            self.assertIsInstance(await connection.lost, ConnectionLost)

    async def test_nobody_listens(self) -> None:
        """A closed port is a download that failed."""
        listening = self.reactor.listenTCP(0, ImageServer(lambda it: None), interface="127.0.0.1")
        port = listening.getHost().port
        await listening.stopListening()
        fetching = self.fetcher.fetch([f"http://127.0.0.1:{port}/"])
        await self.refusal(fetching, "image_download_failed")

"""Tests of :mod:`aiproxy.transport.tls_connection`."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from aiproxy.transport.http.common import LINGER_SECONDS
from aiproxy.transport.server_tls import ServerTLS, ServerTLSSettings
from tests.sites import make_site
from tests.transport.certificates import Chain
from tests.transport.upstreams import MemoryTransport

GET = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
LAST = GET + b"Connection: close\r\n\r\n"


class Hello(Resource):
    """Says hello."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"hello"


class Endless(Resource):
    """
    Goes on while the client reads.

    :ivar paused: fires when the client does not read.
    :ivar gone: fires when the client is gone.
    """

    isLeaf = True

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self.paused: Deferred[None] = Deferred()
        self.gone: Deferred[None] = Deferred()
        self.request: Any = None
        self._clock = clock
        self._next: Any = None

    def render_GET(self, request: Any) -> int:
        self.request = request
        request.notifyFinish().addErrback(lambda _: self.gone.callback(None))
        request.registerProducer(self, True)
        self.resumeProducing()
        return NOT_DONE_YET

    def resumeProducing(self) -> None:
        if self._next is None:
            self._produce()

    def _produce(self) -> None:
        self._next = self._clock.callLater(0, self._produce)
        self.request.write(b"x" * 60_000)

    def pauseProducing(self) -> None:
        self.stopProducing()
        if not self.paused.called:
            self.paused.callback(None)

    def stopProducing(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None


def wrap(chain: Chain, folder: Path, inner: IProtocolFactory, clock: IReactorTime) -> Any:
    """Put TLS around a server."""
    folder.mkdir()
    settings = ServerTLSSettings(*chain.write(folder, chain.issue("localhost")))
    return ServerTLS(settings, clock).factory(inner)


class Client:
    """A client's TLS, whose bytes somebody else carries."""

    def __init__(self, chain: Chain) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = chain.client().wrap_bio(
            self.incoming, self.outgoing, server_hostname="localhost"
        )

    def shake_hands(self, send: Callable[[bytes], object], take: Callable[[], bytes]) -> None:
        """Shake hands with a server that bytes are sent to and taken from."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        send(self.outgoing.read())
        while data := take():
            self.incoming.write(data)
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                send(self.outgoing.read())
                return
        raise AssertionError("the server does not shake hands")

    def encrypt(self, data: bytes) -> bytes:
        """Return some bytes as they go over the wire."""
        self.tls.write(data)
        return self.outgoing.read()


class EndTests(SynchronousTestCase):
    """How a connection ends, on a clock of the test's."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.chain = Chain()
        resource = Hello()
        self.site = make_site(resource, self.clock, max_request_bytes=1000)
        factory = wrap(self.chain, Path(self.mktemp()), self.site, self.clock)
        self.protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self.transport = MemoryTransport(self.clock, self.protocol)
        self.protocol.makeConnection(self.transport)
        self.client = Client(self.chain)
        self.client.shake_hands(self.protocol.dataReceived, self.take)

    def take(self) -> bytes:
        self.clock.advance(0)
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def ask(self, request: bytes) -> bytes:
        """Send something; return what comes back, until TLS ends if it does."""
        self.protocol.dataReceived(self.client.encrypt(request))
        self.client.incoming.write(self.take())
        received = b""
        with contextlib.suppress(ssl.SSLWantReadError):
            while data := self.client.tls.read(2**16):
                received += data
        return received

    def ends(self) -> bool:
        """Whether TLS has ended for the client."""
        try:
            return self.client.tls.read(1) == b""
        except ssl.SSLWantReadError:
            return False

    def test_kept_alive(self) -> None:
        """A connection serves one request after the other."""
        for _ in range(2):
            self.assertIn(b"hello", self.ask(GET + b"\r\n"))
            self.assertFalse(self.ends())

    def test_in_order(self) -> None:
        """TLS ends after the last answer, and TCP when the client says so, too."""
        self.assertIn(b"hello", self.ask(LAST))
        self.assertTrue(self.ends())
        self.assertTrue(self.transport.connected)
        self.client.tls.unwrap()
        self.protocol.dataReceived(self.client.outgoing.read())
        self.clock.advance(0)
        self.assertFalse(self.transport.connected)
        self.assertFalse(self.transport.aborted)
        self.assertEqual(len(self.site.channels), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_silent_client(self) -> None:
        """A client that says nothing at the end is waited for for a while, and not aborted."""
        self.ask(LAST)
        self.clock.advance(LINGER_SECONDS - 0.1)
        self.assertTrue(self.transport.connected)
        self.clock.pump([0.2, 0])
        self.assertFalse(self.transport.connected)
        self.assertFalse(self.transport.aborted)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_paused_client(self) -> None:
        """Reading goes on at the end, whatever has paused it, for else none would be seen."""
        self.transport.pauseProducing()
        self.assertIn(b"hello", self.ask(LAST))
        self.assertEqual(self.transport.producerState, "producing")

    def test_idle(self) -> None:
        """An idle connection is closed, and is gone even if the client says nothing to that."""
        self.ask(GET + b"\r\n")
        self.clock.pump([80, LINGER_SECONDS + 1, 0])
        self.assertFalse(self.transport.connected)
        self.assertEqual(len(self.site.channels), 0)

    def test_abort(self) -> None:
        """Closing at once is closing at once."""
        self.site.abort()
        self.clock.advance(0)
        self.assertTrue(self.transport.aborted)
        self.assertEqual(len(self.site.channels), 0)

    def test_refusal(self) -> None:
        """A request that is refused has its answer before TLS ends, however much was sent."""
        self.assertIn(b" 400 ", self.ask(b"nonsense\r\n" + b"x" * 50_000))
        self.assertTrue(self.ends())
        self.clock.pump([LINGER_SECONDS + 1, 0])
        self.assertEqual(len(self.site.channels), 0)


class StrangersTests(SynchronousTestCase):
    """Who does not speak TLS, or none that we do."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        resource = Hello()
        self.site = make_site(resource, self.clock, max_request_bytes=1000)
        self.factory = wrap(Chain(), Path(self.mktemp()), self.site, self.clock)
        self.events.clear()

    def come(self, *data: bytes) -> MemoryTransport:
        """Connect, send something, and hang up if it is not done for us."""
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        transport = MemoryTransport(self.clock, protocol)
        transport.peerAddr = IPv4Address("TCP", "192.0.2.1", 1)
        protocol.makeConnection(transport)
        for piece in data:
            protocol.dataReceived(piece)
        self.clock.advance(0)
        if transport.connected:
            transport.loseConnection()
            self.clock.advance(0)
        return transport

    def told(self) -> list[str]:
        return [f"{event['log_level'].name} {formatEvent(event)}" for event in self.events]

    def test_http(self) -> None:
        """A request without TLS is told so, in the clear; one line tells, for debugging."""
        transport = self.come(LAST)
        self.assertTrue(transport.disconnected)
        head, _, body = transport.value().partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 400 "))
        self.assertNotIn(b"strict-transport-security", head)
        self.assertEqual(json.loads(body)["error"]["code"], "tls_required")
        self.assertIn("https://", json.loads(body)["error"]["message"])
        self.assertEqual(self.told(), ["debug TLS with 192.0.2.1 failed: http request"])
        self.assertEqual(len(self.site.channels), 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_scan(self) -> None:
        """However many come in a minute, it is one line, and the next has their number."""
        for _ in range(5):
            self.come(b"\x16\x03\x01\x00\x05hello")
        self.assertEqual(len(self.told()), 1)
        self.clock.advance(61)
        self.come(LAST)
        last = "debug TLS with 192.0.2.1 failed: http request (4 more since the last line)"
        self.assertEqual(self.told()[1:], [last])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_nothing(self) -> None:
        """Who connects and goes, as load balancers do to see whether we live, is not told of."""
        self.come()
        self.assertNotIn(b"HTTP", self.come(b"\x16\x03\x01").value())
        self.assertEqual(self.told(), [])

    def test_silent(self) -> None:
        """Who connects and says nothing is sent away in time."""
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        transport = MemoryTransport(self.clock, protocol)
        protocol.makeConnection(transport)
        self.clock.pump([80, LINGER_SECONDS + 1, 0])
        self.assertTrue(transport.disconnected)
        self.assertEqual(self.told(), [])


class PressureTests(TestCase):
    """Clients that do not read, on real sockets."""

    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.chain = Chain()
        self.running: Any = reactor
        self.resource = Endless(reactor)
        self.site = make_site(self.resource, reactor, max_request_bytes=1000)
        factory = wrap(self.chain, Path(self.mktemp()), self.site, self.running)
        port: Any = self.running.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.address = ("127.0.0.1", int(port.getHost().port))

    async def connect(self) -> tuple[socket.socket, Client]:
        """Ask for what has no end, and do not read it; return when the server has paused."""

        def ask() -> tuple[socket.socket, Client]:
            raw = socket.create_connection(self.address, 20)
            client = Client(self.chain)
            client.shake_hands(raw.sendall, lambda: raw.recv(2**16))
            raw.sendall(client.encrypt(GET + b"\r\n"))
            return raw, client

        raw, client = await deferToThread(ask)
        self.addCleanup(raw.close)
        await self.resource.paused
        return raw, client

    async def drain(self, raw: socket.socket) -> None:
        """Read until the server closes, and wait until it knows that, too."""

        def read() -> None:
            while raw.recv(2**20):
                pass

        await deferToThread(read)
        await self.gone()

    async def gone(self) -> None:
        """Wait until nobody is connected any more."""
        await self.resource.gone
        await self.site.linger()

    async def test_mistake(self) -> None:
        """A mistake in TLS while the client does not read ends the connection."""
        raw, _ = await self.connect()
        raw.sendall(b"\x17\x03\x03\x00\x20" + b"z" * 32)
        await self.drain(raw)

    async def test_goodbye(self) -> None:
        """So does the client's word that it closes."""
        raw, client = await self.connect()
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.unwrap()
        raw.sendall(client.outgoing.read())
        await self.drain(raw)

    async def test_gone(self) -> None:
        """A client that goes without a word is noticed."""
        raw, _ = await self.connect()
        raw.close()
        await self.gone()

    async def test_abort(self) -> None:
        """A connection that is full can be closed at once."""
        await self.connect()
        self.site.abort()
        await self.gone()

"""Tests of :mod:`aiproxy.transport.pool`."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectingCancelledError, ConnectionDone
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import Request
from twisted.web.client import URI
from twisted.web.http_headers import Headers

from aiproxy.transport.bodies import BytesBody
from aiproxy.transport.http.connection import HTTPConnection
from aiproxy.transport.http.exchange import HTTPExchange
from aiproxy.transport.http.routes import UpstreamRoute
from aiproxy.transport.http.stock_client import PoolView
from aiproxy.transport.http.stock_connection import ReusedConnection
from aiproxy.transport.pool import ConnectionCounts, Origin, UpstreamPool
from aiproxy.transport.tls import TLSSettings
from tests.transport.upstreams import MemoryConnection, MemoryUpstream, answer

ORIGIN = (b"http", b"api.example.com", 80)
OTHER = (b"http", b"other.example.com", 80)
PLAIN = TLSSettings()


class PoolTests(SynchronousTestCase):
    """Which connection a request gets, and how long they live."""

    def setUp(self) -> None:
        self.upstream = MemoryUpstream()
        self.clock = self.upstream.reactor
        self.pool = UpstreamPool(self.clock, idle_per_origin=3, idle_total=5)
        self.endpoint = TCP4ClientEndpoint(self.clock, "127.0.0.1", 80)

    def get(
        self, origin: Origin = ORIGIN, tls: TLSSettings = PLAIN, idle_timeout: float = 90.0
    ) -> Deferred[Any]:
        return PoolView(self.pool, tls, idle_timeout).getConnection(origin, self.endpoint)

    def use(
        self, origin: Origin = ORIGIN, tls: TLSSettings = PLAIN, idle_timeout: float = 90.0
    ) -> MemoryConnection:
        """Start one request; return the upstream's end of its connection."""
        attempts = self.upstream.attempts
        getting = self.get(origin, tls, idle_timeout)
        if self.upstream.attempts > attempts:
            self.upstream.accept()
        self.start(getting)
        transport = self.used.transport
        return next(it for it in self.upstream.connections if it.transport is transport)

    def start(self, getting: Deferred[Any]) -> None:
        """Start a request on a connection."""
        request = Request(
            b"POST",
            b"/v1",
            Headers({b"host": [b"api.example.com"]}),
            BytesBody(b"{}", lambda: None, lambda: None),
            persistent=True,
        )
        connection = self.successResultOf(getting)
        self.asked: Deferred[Any] = connection.request(request)
        self.used: Any = connection
        if isinstance(connection, ReusedConnection):
            self.used = connection.connection

    def idle(self, count: int, origin: Origin = ORIGIN) -> list[MemoryConnection]:
        """Leave so many connections idle; the last was used last."""
        connections = [self.use(origin) for _ in range(count)]
        for connection in connections:
            connection.send(answer(b""))
        return connections

    def counts(self, origin: Origin = ORIGIN) -> tuple[int, int]:
        counts = self.pool.counts().get(origin, ConnectionCounts(0, 0))
        return counts.open, counts.idle

    def test_last_used_first(self) -> None:
        """The connection that was used last is used next."""
        first, second = self.idle(2)
        self.assertIs(self.use(), second)
        self.assertIs(self.use(), first)
        self.assertEqual(self.upstream.attempts, 2)

    def test_busy_is_not_shared(self) -> None:
        """A connection whose request is not done takes no other."""
        self.assertIsNot(self.use(), self.use())
        self.assertEqual(self.counts(), (2, 0))

    def test_keys(self) -> None:
        """Neither origins nor TLS settings share connections."""
        [plain] = self.idle(1)
        self.assertIsNot(self.use(OTHER), plain)
        self.assertIsNot(self.use(tls=TLSSettings(ca_bundle="ca.pem")), plain)
        self.assertIs(self.use(), plain)
        self.assertEqual(self.counts(), (2, 0))
        self.assertEqual(self.counts(OTHER), (1, 0))

    def test_counts(self) -> None:
        """Open connections are counted, idle ones also as such, closed ones no more."""
        self.assertEqual(self.pool.counts(), {})
        first, second = self.idle(2)
        self.assertEqual(self.counts(), (2, 2))
        self.assertIs(self.use(), second)
        self.assertEqual(self.counts(), (2, 1))
        first.end()
        self.assertEqual(self.counts(), (1, 0))
        second.send(answer(b""))
        second.end()
        self.assertEqual(self.pool.counts(), {})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idle_timeout(self) -> None:
        """A connection closes when it has idled for as long as its last request said."""
        [connection] = self.idle(1)
        self.clock.advance(89.9)
        self.assertFalse(connection.transport.disconnecting)
        self.assertIs(self.use(), connection)
        self.clock.advance(1000)
        connection.send(answer(b""))
        self.clock.advance(89.9)
        self.assertEqual(self.counts(), (1, 1))
        self.clock.advance(0.1)
        self.clock.advance(0)
        self.assertEqual(self.counts(), (0, 0))

    def test_idle_timeout_of_the_last_request(self) -> None:
        """A request with another idle timeout than the one before sets its own."""
        [connection] = self.idle(1)
        self.assertIs(self.use(idle_timeout=5.0), connection)
        connection.send(answer(b""))
        self.clock.advance(5.0)
        self.assertTrue(connection.transport.disconnecting)

    def test_one_timer(self) -> None:
        """One timer serves all, and comes for the first of them, whichever was there before."""
        first, second, third = self.idle(3)
        self.assertIs(self.use(idle_timeout=5.0), third)
        third.send(answer(b""))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(5.0)
        self.clock.advance(0)
        self.assertEqual(
            [it.transport.connected for it in (first, second, third)], [True, True, False]
        )
        self.clock.advance(85.0)
        self.clock.advance(0)
        self.assertEqual(self.counts(), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_idle_per_origin(self) -> None:
        """Beyond the bound of one origin its longest idle connection goes."""
        connections = self.idle(4)
        self.clock.advance(0)
        self.assertEqual([it.transport.connected for it in connections], [False, True, True, True])
        self.assertEqual(self.counts(), (3, 3))

    def test_idle_total(self) -> None:
        """Beyond the bound of all the longest idle of all goes."""
        first, second = self.idle(2)
        self.idle(3, OTHER)
        self.assertFalse(first.transport.disconnecting)
        self.idle(1, (b"http", b"third.example.com", 80))
        self.assertTrue(first.transport.disconnecting)
        self.assertFalse(second.transport.disconnecting)
        self.clock.advance(0)
        self.assertEqual(sum(it.idle for it in self.pool.counts().values()), 5)

    def test_lost_while_idle(self) -> None:
        """What the upstream closes while it idles is forgotten at once."""
        [connection] = self.idle(1)
        connection.end()
        self.assertEqual(self.counts(), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertIsNot(self.use(), connection)

    def test_speaks_while_idle(self) -> None:
        """What an idle upstream says is no answer to the next request."""
        [connection] = self.idle(1)
        connection.send(b"HTTP/1.1 200 OK\r\n")
        self.assertIsNot(self.use(), connection)
        self.assertTrue(connection.transport.aborted)

    def test_closing_while_idle(self) -> None:
        """A connection on its way out is passed over for the next one."""
        first, second = self.idle(2)
        second.transport.loseConnection()
        self.assertIs(self.use(), first)

    def test_closing_beneath_tls(self) -> None:
        """A stop that went past TLS to TCP is seen as well."""

        class Wrapper:
            disconnecting = False

        first, second = self.idle(2)
        wrapper: Any = Wrapper()
        wrapper.transport = second.transport
        self.used.transport = wrapper
        second.transport.stopProducing()
        self.assertIs(self.use(), first)

    def test_stopped_within_the_last_bytes(self) -> None:
        """A body whose consumer stops in its last bytes does not bring its connection back."""
        connection = self.use()
        connection.transport.stopProducing()
        connection.send(answer(b""))
        self.assertEqual(self.counts(), (1, 0))
        self.clock.advance(0)
        self.assertEqual(self.counts(), (0, 0))

    def test_retried(self) -> None:
        """A kept connection that ends without a byte is replaced; a fresh one is not."""
        [stale] = self.idle(1)
        self.use()
        stale.end()
        self.assertNoResult(self.asked)
        fresh = self.upstream.accept()
        self.assertTrue(fresh.take().endswith(b"\r\n\r\n{}"))
        fresh.end()
        self.failureResultOf(self.asked)
        self.assertEqual(self.upstream.attempts, 2)

    def test_cancelled_while_connecting(self) -> None:
        """Cancelling stops the attempt."""
        getting = self.get()
        getting.cancel()
        self.failureResultOf(getting, ConnectingCancelledError)
        self.assertTrue(self.clock.connectors[0].stoppedConnecting)

    def test_close(self) -> None:
        """Idle connections close, those in use when their request is done."""
        idle, busy = self.idle(2)
        self.assertIs(self.use(), busy)
        closed = self.pool.close()
        self.assertNoResult(closed)
        self.assertFalse(busy.transport.disconnecting)
        self.clock.advance(0)
        self.successResultOf(closed)
        self.assertFalse(idle.transport.connected)
        busy.send(answer(b""))
        self.successResultOf(self.asked)
        self.clock.advance(0)
        self.assertEqual(self.counts(), (0, 0))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_nothing(self) -> None:
        """Without idle connections there is nothing to wait for."""
        self.successResultOf(self.pool.close())

    def test_close_is_bounded(self) -> None:
        """A connection that does not close in order is aborted after a second."""
        [connection] = self.idle(1)
        connection.transport.stopProducing = lambda: None  # type: ignore[method-assign]
        closed = self.pool.close()
        self.clock.advance(0.9)
        self.assertNoResult(closed)
        self.clock.advance(0.1)
        self.successResultOf(closed)
        self.assertTrue(connection.transport.aborted)
        self.clock.advance(0)
        self.assertEqual(self.counts(), (0, 0))

    def test_usable_after_close(self) -> None:
        """A pool that was closed keeps connections again."""
        self.idle(1)
        self.pool.close()
        self.clock.advance(0)
        [connection] = self.idle(1)
        self.assertIs(self.use(), connection)

    def test_refused(self) -> None:
        """An attempt that fails leaves nothing."""
        getting = self.get()
        self.upstream.refuse(ConnectionDone())
        self.failureResultOf(getting, ConnectionDone)
        self.assertEqual(self.pool.counts(), {})


@frozen
class OneEndpoint:
    """Leads everywhere by one endpoint."""

    endpoint: TCP4ClientEndpoint

    def endpointForURI(self, uri: URI) -> TCP4ClientEndpoint:
        return self.endpoint


class LlhttpPoolTests(PoolTests):
    """The same with connections of the other kind."""

    def get(
        self, origin: Origin = ORIGIN, tls: TLSSettings = PLAIN, idle_timeout: float = 90.0
    ) -> Deferred[Any]:
        key = (origin, tls)
        endpoints: Any = OneEndpoint(self.endpoint)
        uri = URI.fromBytes(b"http://api.example.com/v1")
        self.route = UpstreamRoute(
            self.pool, key, endpoints, uri, "x", "POST", b"POST / HTTP/1.1\r\n", "x", None, 90.0
        )
        connection = self.pool.take(key)
        self.reused = connection is not None
        if connection is not None:
            connection.idle_timeout = idle_timeout
            return succeed(connection)

        def build() -> HTTPConnection:
            return HTTPConnection(key, idle_timeout, self.pool, secure=False)

        return self.pool.connect(self.endpoint, build)

    def start(self, getting: Deferred[Any]) -> None:
        self.used = self.successResultOf(getting)
        exchange = HTTPExchange(
            "x", b"\r\n\r\n", b"{}", bodiless=False, connected=lambda: None, sent=lambda: None
        )
        exchange.route = self.route
        exchange.reused = self.reused
        assert exchange.result is not None
        self.asked = exchange.result
        self.used.send(exchange)

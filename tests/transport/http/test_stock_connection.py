"""Tests of :mod:`aiproxy.transport.http.stock_connection`."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import (
    Request,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface.verify import verifyObject

from aiproxy.errors import AIProxyError, AnswerTooLarge, StreamCut, UpstreamFailed
from aiproxy.transport.bodies import BodyDelivery, BytesBody
from aiproxy.transport.http.stock_connection import ReusedConnection, StockConnection
from aiproxy.transport.pool import PooledConnection
from aiproxy.transport.stages import Stages
from aiproxy.transport.tls import TLSSettings
from tests.transport.upstreams import OK_HEAD, MemoryTransport, RecordingConsumer, answer

KEY = ((b"https", b"api.example.com", 443), TLSSettings())


class RecordingOwner:
    """Writes down what becomes of connections."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.stages = Stages()

    def opened(self, connection: PooledConnection) -> None:
        self.told.append("opened")

    def keep(self, connection: PooledConnection) -> None:
        self.told.append("keep" if connection.reusable else "do not keep")

    def withdraw(self, connection: PooledConnection) -> None:
        self.told.append("withdraw")

    def forget(self, connection: PooledConnection) -> None:
        self.told.append("forget")


def post(body: bytes = b"{}") -> Request:
    """Make a request as Twisted's agent does."""
    return Request(
        b"POST",
        b"/v1",
        Headers({b"host": [b"api.example.com"]}),
        BytesBody(body, lambda: None, lambda: None),
        persistent=True,
    )


class ConnectionTests(SynchronousTestCase):
    """What a connection does beyond Twisted's."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.owner = RecordingOwner()
        self.connection, self.transport = self.connect()

    def connect(self, *, secure: bool = False) -> tuple[StockConnection, MemoryTransport]:
        connection = StockConnection(KEY, 90.0, self.owner, secure=secure)
        transport = MemoryTransport(self.clock, connection)
        connection.makeConnection(transport)
        return connection, transport

    def refusal(self, asked: Deferred[IResponse]) -> BaseException | None:
        """Return the first reason of a response that failed."""
        failed = self.failureResultOf(asked, ResponseFailed, RequestTransmissionFailed)
        reason: BaseException | None = failed.value.reasons[0].value
        return reason

    def test_plain(self) -> None:
        """Without TLS it is ready at once, and does not hold small writes back."""
        self.assertIs(self.successResultOf(self.connection.when_ready()), self.connection)
        self.assertTrue(self.transport.no_delay)
        self.assertEqual(self.owner.told, ["opened"])

    def test_secure(self) -> None:
        """With TLS it is ready when the handshake is over, for who asks before and after."""
        connection, _ = self.connect(secure=True)
        self.assertTrue(verifyObject(IHandshakeListener, connection))
        before = connection.when_ready()
        self.assertNoResult(before)
        connection.handshakeCompleted()
        self.assertIs(self.successResultOf(before), connection)
        self.assertIs(self.successResultOf(connection.when_ready()), connection)

    def test_agreed_unasked(self) -> None:
        """A handshake may be over before anybody asks."""
        connection, _ = self.connect(secure=True)
        connection.handshakeCompleted()
        self.assertIs(self.successResultOf(connection.when_ready()), connection)

    def test_lost_in_the_handshake(self) -> None:
        """Who waits for TLS learns why there is none, and so does who asks later."""
        connection, transport = self.connect(secure=True)
        before = connection.when_ready()
        transport.lose(ConnectionDone())
        self.failureResultOf(before, ConnectionDone)
        self.failureResultOf(connection.when_ready(), ConnectionDone)

    def test_cancelled_in_the_handshake(self) -> None:
        """Cancelling the wait aborts; a handshake that comes after all changes nothing."""
        connection, transport = self.connect(secure=True)
        ready = connection.when_ready()
        ready.cancel()
        self.failureResultOf(ready, CancelledError)
        self.assertTrue(transport.aborted)
        connection.handshakeCompleted()
        self.clock.advance(0)
        self.assertEqual(self.owner.told[-1], "forget")

    def test_kept(self) -> None:
        """After a whole answer its owner gets it back, and it can be used again."""
        for _ in range(2):
            asked = self.connection.request(post())
            self.connection.dataReceived(answer(b""))
            self.assertEqual(self.successResultOf(asked).code, 200)
        self.assertEqual(self.owner.told, ["opened", "keep", "keep"])

    def test_not_kept_when_there_is_more(self) -> None:
        """Bytes beyond the answer would be taken for the next one."""
        asked = self.connection.request(post())
        self.connection.dataReceived(answer(b"") + b"HTTP/1.1 200 OK\r\n")
        self.successResultOf(asked)
        self.assertEqual(self.owner.told[-1], "do not keep")

    def test_unasked(self) -> None:
        """Bytes without a request end the connection at once."""
        self.connection.dataReceived(answer(b""))
        self.assertTrue(self.transport.aborted)
        self.assertEqual(self.owner.told[-1], "withdraw")

    def test_close_asked_by_the_upstream(self) -> None:
        """``Connection: close`` closes without TLS's goodbye, for which it might wait forever."""
        asked = self.connection.request(post())
        self.connection.dataReceived(answer(b"", OK_HEAD + b"Connection: close\r\n"))
        self.successResultOf(asked)
        self.assertEqual(self.transport.producerState, "stopped")
        self.assertTrue(self.connection.closing)
        self.assertFalse(self.transport.aborted)

    def test_answered_while_sending(self) -> None:
        """An answer that does not wait for the whole request ends the sending."""
        self.transport.full = True
        asked = self.connection.request(post(bytes(1024 * 1024)))
        self.assertNoResult(asked)
        self.connection.dataReceived(answer(b""))
        self.assertEqual(self.successResultOf(asked).code, 200)
        self.assertTrue(self.transport.aborted)
        self.clock.advance(0)
        self.assertEqual(self.owner.told, ["opened", "forget"])

    def test_heard(self) -> None:
        """It knows whether the upstream said anything about this request."""
        self.connection.request(post())
        self.assertFalse(self.connection.heard)
        self.connection.dataReceived(answer(b""))
        self.assertTrue(self.connection.heard)
        self.connection.request(post()).addErrback(lambda _: None)
        self.assertFalse(self.connection.heard)

    def test_not_http(self) -> None:
        """What is not HTTP is the upstream's failure, and the connection is aborted."""
        for garbage in (
            b"220 smtp.example.com ESMTP\r\n",
            b"nonsense\r\n",
            b"HTTP/1.1 abc OK\r\n",
            b"HTTP/x.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\n\xe9: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: one\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: zip\r\n\r\n",
        ):
            connection, transport = self.connect()
            asked = connection.request(post())
            connection.dataReceived(garbage)
            self.assertTrue(transport.aborted, garbage)
            connection.dataReceived(b"more")
            self.clock.advance(0)
            reason = self.refusal(asked)
            self.assertIsInstance(reason, UpstreamFailed)
            self.assertIn("api.example.com did not answer in proper HTTP", str(reason))

    def test_not_http_while_sending(self) -> None:
        """The same while the request is still on its way: Twisted's own would never answer."""
        self.transport.full = True
        asked = self.connection.request(post(bytes(1024 * 1024)))
        self.connection.dataReceived(b"nonsense\r\n")
        self.assertTrue(self.transport.aborted)
        self.clock.advance(0)
        self.assertIsInstance(self.refusal(asked), UpstreamFailed)

    def test_broken_chunks(self) -> None:
        """A body that is not proper HTTP is a cut stream."""
        asked = self.connection.request(post())
        self.connection.dataReceived(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        consumer = RecordingConsumer()
        BodyDelivery(consumer, "api.example.com").start(self.successResultOf(asked))
        self.connection.dataReceived(b"zzz\r\n")
        self.clock.advance(0)
        self.assertEqual(consumer.data, b"one")
        [end] = consumer.ends
        self.assertIsInstance(end, StreamCut)
        self.assertIn("not proper HTTP", str(end))

    def bomb(self, piece: bytes, start: bytes = b"HTTP/1.1 200 OK\r\n") -> AIProxyError:
        """Send one piece of a head again and again; return what the request fails with."""
        connection, transport = self.connect()
        asked = connection.request(post())
        connection.dataReceived(start)
        sent = 0
        while not transport.aborted:
            connection.dataReceived(piece)
            sent += len(piece)
            self.assertLess(sent, 80 * 1024)
        self.clock.advance(0)
        reason = self.refusal(asked)
        assert isinstance(reason, AIProxyError)
        return reason

    def test_header_bomb(self) -> None:
        """Headers without an end, or one header without an end, are bounded at 64 KiB."""
        for piece in (b"x: " + b"y" * 1000 + b"\r\n", b"z" * 4096):
            self.assertIsInstance(self.bomb(piece), AnswerTooLarge)

    def test_continue_bomb(self) -> None:
        """So are preliminary answers that never end in a real one."""
        self.assertIsInstance(self.bomb(b"HTTP/1.1 100 Go\r\n\r\n" * 99, b""), AnswerTooLarge)

    def test_long_headers(self) -> None:
        """Just below the bound is fine, and counts anew for each request."""
        head = OK_HEAD + b"x: " + b"y" * 40_000 + b"\r\n"
        for _ in range(2):
            asked = self.connection.request(post())
            for piece in (head, answer(b"", b"")):
                self.connection.dataReceived(piece)
            self.assertEqual(
                self.successResultOf(asked).headers.getRawHeaders(b"x"), [b"y" * 40_000]
            )


class ReusedConnectionTests(SynchronousTestCase):
    """When a request goes out a second time."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.opened: list[tuple[StockConnection, MemoryTransport]] = []
        self.old, self.old_transport = self.open()
        self.asked = ReusedConnection(self.old, self.fresh).request(post(b"the body"))

    def open(self) -> tuple[StockConnection, MemoryTransport]:
        connection = StockConnection(KEY, 90.0, RecordingOwner(), secure=False)
        transport = MemoryTransport(self.clock, connection)
        connection.makeConnection(transport)
        return connection, transport

    def fresh(self) -> Deferred[StockConnection]:
        self.opened.append(self.open())
        return self.opened[-1][0].when_ready()

    def test_answered(self) -> None:
        """An answer is an answer."""
        self.old.dataReceived(answer(b""))
        self.assertEqual(self.successResultOf(self.asked).code, 200)
        self.assertEqual(self.opened, [])

    def test_closed(self) -> None:
        """Closed without a byte: the whole request goes out once more."""
        first = self.old_transport.value()
        self.old_transport.lose(ConnectionDone())
        [(fresh, transport)] = self.opened
        self.assertEqual(transport.value(), first)
        self.assertTrue(first.endswith(b"\r\n\r\nthe body"))
        fresh.dataReceived(answer(b""))
        self.assertEqual(self.successResultOf(self.asked).code, 200)

    def test_closed_twice(self) -> None:
        """Once more, not for ever."""
        self.old_transport.lose(ConnectionDone())
        self.opened[0][1].lose(ConnectionDone())
        self.failureResultOf(self.asked, ResponseNeverReceived)
        self.assertEqual(len(self.opened), 1)

    def test_closed_before_it_was_asked(self) -> None:
        """A connection that went while it was taken is replaced."""
        old, transport = self.open()
        transport.lose(ConnectionDone())
        asked = ReusedConnection(old, self.fresh).request(post())
        self.assertNoResult(asked)
        self.assertEqual(len(self.opened), 1)

    def test_heard(self) -> None:
        """One byte of an answer, and the upstream may have done its work: no second time."""
        self.old.dataReceived(b"H")
        self.old_transport.lose(ConnectionDone())
        self.failureResultOf(self.asked, ResponseFailed)
        self.assertEqual(self.opened, [])

    def test_heard_while_sending(self) -> None:
        """The same while the request is still on its way."""
        old, transport = self.open()
        transport.full = True
        asked = ReusedConnection(old, self.fresh).request(post(bytes(1024 * 1024)))
        old.dataReceived(b"HTTP/1.1 413 Too large\r\n")
        transport.lose(ConnectionDone())
        self.failureResultOf(asked, RequestTransmissionFailed)
        self.assertEqual(self.opened, [])

    def test_closed_while_sending(self) -> None:
        """Without a byte it goes out again, whole, although half of it had gone."""
        old, transport = self.open()
        transport.full = True
        asked = ReusedConnection(old, self.fresh).request(post(b"x" * 1024 * 1024))
        transport.lose(ConnectionDone())
        self.assertNoResult(asked)
        self.assertTrue(self.opened[0][1].value().endswith(b"\r\n\r\n" + b"x" * 1024 * 1024))

    def test_garbage(self) -> None:
        """Nor for an answer that is none."""
        self.old.dataReceived(b"nonsense\r\n")
        self.clock.advance(0)
        self.failureResultOf(self.asked, ResponseFailed)
        self.assertEqual(self.opened, [])

    def test_cancelled(self) -> None:
        """Nor for who wants no answer any more."""
        self.asked.cancel()
        self.failureResultOf(self.asked, ResponseNeverReceived)
        self.clock.advance(0)
        self.assertTrue(self.old_transport.aborted)
        self.assertEqual(self.opened, [])

"""Tests of :mod:`aiproxy.transport.http.connection` and its exchanges."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHandshakeListener, IProtocol, IPushProducer
from twisted.internet.tcp import Client
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from aiproxy.errors import ConnectFailed, InternalError, StreamCut, UpstreamFailed
from aiproxy.transport.client import UpstreamClient, UpstreamResponse
from aiproxy.transport.collect import collect
from aiproxy.transport.http.connection import HTTPConnection
from aiproxy.transport.http.exchange import HTTPExchange
from aiproxy.transport.pool import UpstreamPool
from aiproxy.transport.tls import TLSSettings
from tests.transport.upstreams import (
    OK_HEAD,
    MemoryConnection,
    MemoryUpstream,
    RecordingConsumer,
    SocketConnection,
    SocketUpstream,
    answer,
    no_delayed_calls,
)

URL = "http://api.example.com/v1"
CHUNKED_HEAD = OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
ONE = b"3\r\none\r\n"
END = b"0\r\n\r\n"


class ConnectionTestCase(SynchronousTestCase):
    """A client towards upstreams in memory."""

    def setUp(self) -> None:
        self.upstream = MemoryUpstream()
        self.client = UpstreamClient(self.upstream.reactor)
        self.told: list[str] = []

    def ask(
        self, body: bytes = b"{}", method: str = "POST", **more: Any
    ) -> Deferred[UpstreamResponse]:
        return self.client.request(
            method,
            URL,
            headers={},
            body=body,
            connected=lambda: self.told.append("connected"),
            sent=lambda: self.told.append("sent"),
            **more,
        )

    def begin(self, reply: bytes, **more: Any) -> tuple[MemoryConnection, UpstreamResponse]:
        """Make one request; let the upstream say something; return both ends."""
        attempts = self.upstream.attempts
        asked = self.ask(**more)
        if self.upstream.attempts > attempts:
            self.upstream.accept()
        connection = self.upstream.connections[-1]
        connection.send(reply)
        return connection, self.successResultOf(asked)

    def deliver(self, response: UpstreamResponse, **more: Any) -> RecordingConsumer:
        consumer = RecordingConsumer(**more)
        response.deliver(consumer)
        return consumer

    def counts(self) -> tuple[int, int]:
        """Return how many connections are open, and how many of them idle."""
        counts = list(self.client.counts().values())
        return sum(it.open for it in counts), sum(it.idle for it in counts)


class SendingTests(ConnectionTestCase):
    """How requests go out."""

    def test_interfaces(self) -> None:
        """Twisted's TLS looks for who listens for the handshake."""
        key = ((b"https", b"api.example.com", 443), TLSSettings())
        connection = HTTPConnection(key, 1.0, UpstreamPool(self.upstream.reactor), secure=True)
        self.assertTrue(verifyObject(IProtocol, connection))
        self.assertTrue(verifyObject(IHandshakeListener, connection))
        exchange = HTTPExchange(
            "x", b"", b"", bodiless=False, connected=lambda: None, sent=lambda: None
        )
        self.assertTrue(verifyObject(IPushProducer, exchange))

    def test_one_write(self) -> None:
        """A request with a body of usual size is one write."""
        self.ask(bytes(60_000))
        connection = self.upstream.accept()
        writes: list[bytes] = []
        connection.send(answer(b""))
        connection.transport.write = writes.append  # type: ignore[method-assign, assignment]
        self.ask(bytes(60_000))
        [written] = writes
        self.assertTrue(written.endswith(b"\r\nContent-Length: 60000\r\n\r\n" + bytes(60_000)))
        self.assertEqual(self.told, ["connected", "sent"] * 2)

    def test_large(self) -> None:
        """A large one stops while the transport is full."""
        body = bytes(range(256)) * 4096
        self.ask(body)
        connection = self.upstream.accept(full=True)
        producer: Any = connection.transport.producer
        self.assertEqual(self.told, ["connected"])
        while self.told[-1] != "sent":
            self.assertLess(len(connection.transport.value()), len(body))
            producer.resumeProducing()
        self.assertTrue(connection.take().endswith(b"\r\n\r\n" + body))
        self.assertIsNone(connection.transport.producer)

    def test_refused_early(self) -> None:
        """An upstream that refuses before it has all is told no more; the connection goes."""
        asked = self.ask(bytes(1024 * 1024))
        connection = self.upstream.accept(full=True)
        producer: Any = connection.transport.producer
        connection.send(b"HTTP/1.1 413 Too large\r\nContent-Length: 3\r\n\r\nto")
        written = len(connection.transport.value())
        producer.resumeProducing()
        self.assertEqual(len(connection.transport.value()), written)
        consumer = self.deliver(self.successResultOf(asked))
        connection.send(b"o")
        self.assertEqual((consumer.data, consumer.ends), (b"too", ["finished"]))
        # In order it would end when the rest was read.
        self.assertTrue(connection.transport.aborted)
        self.upstream.reactor.advance(0)
        self.assertEqual(self.counts(), (0, 0))
        self.assertEqual(self.told, ["connected"])

    def test_answered_early(self) -> None:
        """One that begins to answer may still want the rest; with the answer's end it is over."""
        asked = self.ask(bytes(1024 * 1024))
        connection = self.upstream.accept(full=True)
        connection.send(CHUNKED_HEAD + ONE)
        consumer = self.deliver(self.successResultOf(asked))
        written = len(connection.transport.value())
        producer: Any = connection.transport.producer
        producer.resumeProducing()
        self.assertGreater(len(connection.transport.value()), written)
        connection.send(END)
        self.assertEqual((consumer.data, consumer.ends), (b"one", ["finished"]))
        self.assertTrue(connection.transport.aborted)

    def test_stopped_while_sending(self) -> None:
        """Who stops then closes by RST, or what is still to be sent would be waited for."""
        asked = self.ask(bytes(1024 * 1024))
        connection = self.upstream.accept(full=True)
        connection.send(CHUNKED_HEAD)
        self.deliver(self.successResultOf(asked)).producer.stopProducing()
        self.assertTrue(connection.transport.aborted)

    def test_cancelled_by_who_is_told(self) -> None:
        """A request that is cancelled when told of its connection is not sent."""
        asked: Deferred[UpstreamResponse]
        asked = self.client.request(
            "POST",
            URL,
            headers={},
            body=b"{}",
            connected=lambda: asked.cancel(),
            sent=lambda: self.told.append("sent"),
        )
        connection = self.upstream.accept()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual((connection.transport.value(), self.told), (b"", []))
        self.assertTrue(connection.transport.aborted)

    def test_who_is_told_fails(self) -> None:
        """If who is told of the connection fails, so does the request, and nothing is left."""

        def fail() -> None:
            raise KeyError("x")

        def ask() -> Deferred[UpstreamResponse]:
            return self.client.request(
                "POST", URL, headers={}, body=b"", connected=fail, sent=lambda: None
            )

        asked = ask()
        self.upstream.accept()
        self.failureResultOf(asked, InternalError)
        self.upstream.reactor.advance(0)
        self.assertEqual(self.counts(), (0, 0))
        self.begin(answer(b""))
        self.failureResultOf(ask(), InternalError)
        self.upstream.reactor.advance(0)
        self.assertEqual(self.counts(), (0, 0))


class AnswerTests(ConnectionTestCase):
    """What comes back, and what becomes of the connection."""

    def test_head(self) -> None:
        """An answer to HEAD has no body, and its connection is not kept."""
        reply = OK_HEAD + b"Content-Length: 99\r\n\r\n"
        connection, response = self.begin(reply, method="HEAD", body=b"")
        self.assertEqual(self.deliver(response).ends, ["finished"])
        self.assertTrue(connection.transport.disconnecting)

    def test_no_content(self) -> None:
        """204 ends with its head; the connection is kept."""
        _, response = self.begin(b"HTTP/1.1 204 No\r\n\r\n")
        self.assertEqual(self.deliver(response).ends, ["finished"])
        self.assertEqual(self.counts(), (1, 1))

    def test_reset_without_length(self) -> None:
        """A body that ends with its connection is not whole when that is reset."""
        asked = self.ask()
        connection = self.upstream.accept()
        connection.send(OK_HEAD + b"\r\none")
        consumer = self.deliver(self.successResultOf(asked))
        connection.cut()
        [end] = consumer.ends
        self.assertIsInstance(end, StreamCut)
        self.assertEqual(consumer.data, b"one")

    def test_preliminary(self) -> None:
        """Preliminary answers are passed over."""
        _, response = self.begin(b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + answer(b"x"))
        self.assertEqual((response.status, "link" in response.headers), (200, False))

    def test_old(self) -> None:
        """HTTP/1.0 closes, unless it says that it does not."""
        for more, counts in ((b"", (0, 0)), (b"Connection: keep-alive\r\n", (1, 1))):
            self.begin(b"HTTP/1.0 200 OK\r\n" + more + b"Content-Length: 0\r\n\r\n")
            self.upstream.reactor.advance(0)
            self.assertEqual(self.counts(), counts)

    def test_keep_alive_timeout(self) -> None:
        """An upstream that keeps connections for a short time is asked on none that is older."""
        head = OK_HEAD + b"Keep-Alive: max=100, Timeout=5\r\n"
        for _ in range(2):
            self.begin(answer(b"", head))
            self.upstream.reactor.advance(3.5)
            self.assertEqual(self.counts(), (1, 1))
        self.upstream.reactor.advance(0.5)
        self.upstream.reactor.advance(0)
        self.assertEqual(self.counts(), (0, 0))

    def test_keep_alive_nonsense(self) -> None:
        """What cannot be read there, or is longer than ours, changes nothing."""
        for told in (b"timeout=x", b"timeout=-1", b"timeout", b"timeout=9999999999", b"timeout=99"):
            self.begin(answer(b"", OK_HEAD + b"Keep-Alive: " + told + b"\r\n"), idle_timeout=9.0)
            self.upstream.reactor.advance(8.9)
            self.assertEqual(self.counts(), (1, 1), told)
            self.upstream.reactor.advance(0.1)
            self.upstream.reactor.advance(0)
            self.assertEqual(self.counts(), (0, 0), told)

    def test_one_piece(self) -> None:
        """What comes together is handed on together, whatever its chunks."""
        connection, response = self.begin(CHUNKED_HEAD)
        consumer = self.deliver(response)
        connection.send(ONE * 3)
        connection.send(ONE + END)
        self.assertEqual(consumer.pieces, [b"oneoneone", b"one"])

    def test_taken(self) -> None:
        """A body that is here can be taken, once; one that is not, or was cut, can not."""
        for reply, whole in (
            (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none", b"one"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
            (CHUNKED_HEAD + ONE * 2 + END, b"oneone"),
            (CHUNKED_HEAD + ONE, None),
            (CHUNKED_HEAD + ONE + b"zzz\r\n", None),
        ):
            connection, response = self.begin(reply)
            assert isinstance(response, HTTPExchange)
            self.assertEqual(response.take_whole(), whole, reply)
            self.assertIsNone(response.take_whole(), reply)
            response.abandon()
            self.assertEqual(connection.transport.aborted or whole is None, whole is None, reply)
            self.upstream.reactor.advance(0)

    def test_before_a_break(self) -> None:
        """What came before a broken chunk is handed on before the failure."""
        connection, response = self.begin(CHUNKED_HEAD)
        consumer = self.deliver(response)
        connection.send(ONE + b"zzz\r\n")
        self.assertEqual(consumer.data, b"one")
        [end] = consumer.ends
        self.assertIsInstance(end, StreamCut)
        self.assertTrue(connection.transport.aborted)

    def test_broken_before_it_is_asked_for(self) -> None:
        """A body that breaks before it has a consumer tells the consumer when there is one."""
        for ending in (lambda it: it.send(b"zzz\r\n"), lambda it: it.cut()):
            connection, response = self.begin(CHUNKED_HEAD + ONE)
            ending(connection)
            consumer = self.deliver(response)
            self.assertEqual(consumer.data, b"one")
            [end] = consumer.ends
            self.assertIsInstance(end, StreamCut)
            self.upstream.reactor.advance(0)

    def test_pausing(self) -> None:
        """Pausing goes to the transport, and the next request finds it reading."""
        connection, response = self.begin(CHUNKED_HEAD)
        consumer = self.deliver(response, on_begin=lambda it: it.producer.pauseProducing())
        self.assertEqual(connection.transport.producerState, "paused")
        consumer.producer.resumeProducing()
        self.assertEqual(connection.transport.producerState, "producing")
        consumer.producer.pauseProducing()
        connection.send(ONE + END)
        self.assertEqual((consumer.data, consumer.ends), (b"one", ["finished"]))
        self.assertEqual(connection.transport.producerState, "producing")
        consumer.producer.pauseProducing()
        consumer.producer.resumeProducing()
        self.assertEqual(connection.transport.producerState, "producing")
        self.assertEqual(self.counts(), (1, 1))

    def test_not_paused_for_nothing(self) -> None:
        """Who takes the body at once does not stop the transport in between."""
        asked = self.ask().addCallback(lambda response: self.deliver(response))
        connection = self.upstream.accept()
        paused: list[None] = []
        connection.transport.pauseProducing = lambda: paused.append(None)  # type: ignore[method-assign]
        connection.send(CHUNKED_HEAD)
        self.assertEqual((self.successResultOf(asked).ends, paused), ([], []))

    def test_consumer_fails(self) -> None:
        """A consumer that fails closes the connection, and is told: our errors as they are."""

        def fail(error: Exception) -> Any:
            def raiser(_: RecordingConsumer) -> None:
                raise error

            return raiser

        for error, kind in ((UpstreamFailed("bad"), UpstreamFailed), (KeyError(), InternalError)):
            for when in ("on_begin", "on_data"):
                connection, response = self.begin(CHUNKED_HEAD)
                consumer = self.deliver(response, **{when: fail(error)})
                connection.send(ONE + ONE)
                [end] = consumer.ends
                self.assertIs(type(end), kind)
                self.assertTrue(connection.transport.disconnecting)
                self.upstream.reactor.advance(0)
                self.flushLoggedErrors(KeyError)

    def test_consumer_fails_at_the_end(self) -> None:
        """One that fails when told of the end costs a line in the log, not the connection."""
        connection, response = self.begin(CHUNKED_HEAD)
        consumer = self.deliver(response)
        consumer.finished = lambda: 1 // 0  # type: ignore[assignment, method-assign]
        connection.send(END)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.counts(), (1, 1))

    def test_out_of_step(self) -> None:
        """Bytes beyond the answer's end, with it or later, cost the connection."""
        self.begin(answer(b"x") + b"HTTP/1.1 200 OK\r\n")
        self.upstream.reactor.advance(0)
        self.assertEqual(self.counts(), (0, 0))
        connection, _ = self.begin(answer(b"x"))
        connection.send(b"\r\n")
        self.assertTrue(connection.transport.aborted)
        self.assertEqual(self.counts(), (1, 0))

    def test_again_once(self) -> None:
        """A request on a kept connection goes out once more, and the fresh one's end is its own."""
        self.begin(answer(b""))
        asked = self.ask(b"the body")
        self.upstream.connections[0].end()
        fresh = self.upstream.accept()
        self.assertTrue(fresh.take().endswith(b"\r\n\r\nthe body"))
        fresh.end()
        self.assertIn("before it answered", str(self.failureResultOf(asked, ConnectFailed).value))
        self.assertEqual(self.upstream.attempts, 2)

    def test_answered_before_it_was_sent(self) -> None:
        """What comes while the request is still to be written is no answer to it."""
        self.begin(answer(b"one"))
        asked = self.ask()
        [kept] = self.upstream.connections
        kept.take()
        kept.protocol._wrappedProtocol._writer.unsent = b"POST"
        kept.send(answer(b"of another"))
        self.assertTrue(kept.transport.aborted)
        self.assertNoResult(asked)
        self.upstream.reactor.advance(0)
        fresh = self.upstream.accept()
        self.assertEqual(kept.take(), b"")
        fresh.send(answer(b"two"))
        consumer = self.deliver(self.successResultOf(asked))
        self.assertEqual(consumer.data, b"two")

    def test_not_again(self) -> None:
        """One byte, and the upstream may have done its work."""
        self.begin(answer(b""))
        asked = self.ask()
        self.upstream.connections[0].send(b"H")
        self.upstream.connections[0].end()
        self.failureResultOf(asked, UpstreamFailed)
        self.assertEqual(self.upstream.attempts, 1)

    def test_garbage_not_again(self) -> None:
        """What is no HTTP is an answer all the same: the request does not go out again."""
        self.begin(answer(b""))
        asked = self.ask()
        self.upstream.connections[0].send(b"nonsense\r\n")
        self.failureResultOf(asked, UpstreamFailed)
        self.upstream.reactor.advance(0)
        self.assertEqual((self.upstream.attempts, self.counts()), (1, (0, 0)))


class CancellationTests(ConnectionTestCase):
    """Nobody wants it any more: when, and what is left."""

    def test_before_connecting(self) -> None:
        """The attempt stops."""
        asked = self.ask()
        with no_delayed_calls(self.upstream.reactor):
            asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertTrue(self.upstream.reactor.connectors[0].stoppedConnecting)

    def test_before_the_head(self) -> None:
        """RST; and whatever still arrives is nobody's."""
        for sent in (b"", OK_HEAD, b"HTTP/1.1 100 Go\r\n\r\n"):
            asked = self.ask()
            connection = self.upstream.accept()
            if sent:
                connection.send(sent)
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
            self.assertTrue(connection.transport.aborted)
            connection.send(answer(b""))
            with no_delayed_calls(self.upstream.reactor):
                self.upstream.reactor.advance(0)
            self.assertEqual(self.counts(), (0, 0))

    def test_in_the_body(self) -> None:
        """Closed at once, paused or not, and from within a piece; nothing comes any more."""
        for paused in (False, True):
            connection, response = self.begin(CHUNKED_HEAD)
            consumer = self.deliver(response)
            if paused:
                consumer.producer.pauseProducing()
            consumer.producer.stopProducing()
            self.assertTrue(connection.transport.disconnecting)
            connection.send(ONE + END)
            with no_delayed_calls(self.upstream.reactor):
                self.upstream.reactor.advance(0)
            self.assertEqual((consumer.pieces, consumer.ends, self.counts()), ([], [], (0, 0)))

    def test_in_the_last_piece(self) -> None:
        """A stop in the last piece wins over the end: the connection is not kept."""
        connection, response = self.begin(CHUNKED_HEAD)
        consumer = self.deliver(response, on_data=lambda it: it.producer.stopProducing())
        connection.send(ONE + END)
        self.assertEqual((consumer.data, consumer.ends), (b"one", []))
        self.upstream.reactor.advance(0)
        self.assertEqual(self.counts(), (0, 0))

    def test_after_the_end(self) -> None:
        """Nothing is left to cancel: the connection serves on."""
        _, response = self.begin(answer(b"x"))
        consumer = self.deliver(response)
        consumer.producer.stopProducing()
        response.abandon()
        self.assertEqual((consumer.ends, self.counts()), (["finished"], (1, 1)))
        connection, _ = self.begin(answer(b"y"))
        self.assertFalse(connection.transport.disconnecting)


class SlowReader(SocketConnection):
    """Reads nothing until it is told to."""

    def connectionMade(self) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]
        self.upstream.respond(self)


class DirectWriteTests(TestCase):
    """Writes that go past the transport's buffer."""

    timeout = 10

    async def test_partial(self) -> None:
        """What the kernel does not take at once follows, and so do later requests, in order."""
        from twisted.internet import reactor

        running: Any = reactor
        accepted: Deferred[SocketConnection] = Deferred()

        def respond(connection: SocketConnection) -> None:
            if accepted.called:
                connection.write(answer(b"hello"))
            else:
                accepted.callback(connection)

        upstream = SocketUpstream(respond)
        upstream.buildProtocol = lambda addr: SlowReader(upstream)  # type: ignore[method-assign]
        port = running.listenTCP(0, upstream, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        port.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        client = UpstreamClient(running)
        self.addCleanup(client.close)
        url = f"http://127.0.0.1:{port.getHost().port}/"
        body = bytes(range(256)) * 256

        def ask() -> Deferred[UpstreamResponse]:
            return client.request(
                "POST", url, headers={}, body=body, connected=shrink, sent=lambda: None
            )

        def shrink() -> None:
            """Let our side's kernel take little."""
            for it in running.getReaders():
                if isinstance(it, Client):
                    it.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)

        for number in range(3):
            asked = ask()
            if number == 0:
                (await accepted).transport.resumeProducing()  # type: ignore[union-attr]
            self.assertEqual(await collect(await asked, 100), b"hello")
        self.assertEqual(len(upstream.requests), 3)
        for request in upstream.requests:
            self.assertTrue(request.endswith(b"\r\n\r\n" + body))

    async def test_reset_while_idle(self) -> None:
        """A kept connection that was reset, which its write may tell first, is replaced."""
        from twisted.internet import reactor

        running: Any = reactor

        def respond(connection: SocketConnection) -> None:
            connection.write(answer(b"hello"))

        upstream = SocketUpstream(respond)
        port = running.listenTCP(0, upstream, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        client = UpstreamClient(running)
        self.addCleanup(client.close)
        url = f"http://127.0.0.1:{port.getHost().port}/"

        def ask() -> Deferred[UpstreamResponse]:
            return client.request(
                "POST", url, headers={}, body=b"{}", connected=lambda: None, sent=lambda: None
            )

        await collect(await ask(), 100)
        # Past the reactor, so that nobody reads of it before the next request is written.
        linger = b"\1\0\0\0\0\0\0\0"
        first: Any = upstream.connections[0].transport
        first.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        first.connectionLost(_reason())
        self.assertEqual(await collect(await ask(), 100), b"hello")
        self.assertEqual(len(upstream.connections), 2)


def _reason() -> Any:
    from twisted.python.failure import Failure

    return Failure(ConnectionDone())

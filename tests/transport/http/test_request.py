"""Tests of :mod:`aiproxy.transport.http.request`: its face, which is that of Twisted's request."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from aiproxy.transport.http.llhttp_site import HotRoute, LlhttpSite
from aiproxy.transport.http.request import LlhttpRequest, phrase_of, response_head
from aiproxy.transport.http.stock import StockSite
from tests.transport.http.clients import Client
from tests.transport.http.test_stock import ScriptedResource

DATE = b"Thu, 01 Jan 1970 00:00:00 GMT"


async def wait(waited: Deferred[None]) -> None:
    """Wait for something."""
    await waited


def respond(request: LlhttpRequest, body: bytes) -> None:
    """Write a whole answer."""
    request.setHeader(b"content-length", b"%d" % len(body))
    request.write(body)
    request.finish()


class AnyPath(dict[tuple[bytes, bytes], HotRoute]):
    """Hot routes for whatever is asked."""

    def __init__(self, route: HotRoute) -> None:
        super().__init__()
        self.route = route

    def get(self, key: object, default: object = None) -> HotRoute:
        return self.route


@implementer(IPushProducer)
class Producer:
    """
    Produces nothing.

    :ivar state: what it was told.
    """

    state = "new"

    def pauseProducing(self) -> None:
        self.state = "paused"

    def resumeProducing(self) -> None:
        self.state = "producing"

    def stopProducing(self) -> None:
        self.state = "stopped"


class RequestTestCase(SynchronousTestCase):
    """A server in memory, whose requests a test answers."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.requests: list[LlhttpRequest] = []
        self.site = LlhttpSite(
            ScriptedResource(),
            self.clock,
            max_request_bytes=1000,
            hot=AnyPath(self.requests.append),
        )
        self.client = Client(self.site, self.clock)

    def ask(self, *headers: str) -> LlhttpRequest:
        """Send a request; return it as the server has it."""
        self.client.ask("GET", "/", *headers)
        return self.requests[-1]

    def ask_old(self) -> LlhttpRequest:
        """Send one of HTTP/1.0."""
        self.client.send(b"GET / HTTP/1.0\r\n\r\n")
        return self.requests[-1]


class FaceTests(SynchronousTestCase):
    """What is read of a request."""

    def look(self, request: Any) -> tuple[Any, ...]:
        content = request.content
        content.seek(0)  # Where a resource has read it.
        headers = {
            name.lower(): values for name, values in request.requestHeaders.getAllRawHeaders()
        }
        return (
            *(request.method, request.uri, request.path, request.args, request.clientproto),
            *(headers, content.read()),
            *(request.isSecure(), request.getClientAddress()),
            [request.getHeader(name) for name in (b"a", b"A", b"host", b"none", b"content-length")],
        )

    def test_as_twisted(self) -> None:
        """All of it is what Twisted's request says."""
        for wire in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET /a/b?c=1&c=2&d=&e=%FF%2f HTTP/1.1\r\nHost: x\r\nA: 1\r\nb: c\r\na:2 \r\n\r\n",
            b"GET /a%20b?c?d HTTP/1.1\r\nHost: x\r\nA: \xe9\r\n\r\n",
            b"GET http://y/a?b HTTP/1.1\r\nHost: x\r\nA:\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PUT /? HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc",
            b"PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        ):
            seen: list[tuple[Any, ...]] = []
            clock = MemoryReactorClock()
            resource = ScriptedResource()

            def see(request: Any, seen: list[tuple[Any, ...]] = seen) -> int:
                seen.append(self.look(request))
                request.finish()
                return NOT_DONE_YET

            resource.render_with = see
            hot = AnyPath(lambda request, see=see: see(request) and None)  # type: ignore[misc]
            for site in (
                StockSite(resource, clock, max_request_bytes=1000),
                LlhttpSite(resource, clock, max_request_bytes=1000, hot=hot),
            ):
                Client(site, clock).send(wire)
            self.assertEqual(len(seen), 2, wire)
            self.assertEqual(seen[1], seen[0], wire)


class AnswerTests(RequestTestCase):
    """What is written."""

    def test_chunks(self) -> None:
        """Without a length an answer is in chunks; an empty piece does not end it."""
        request = self.ask()
        request.setResponseCode(201)
        request.setHeader(b"X-A", b"b")
        for piece in (b"", b"one ", b"", b"two"):
            request.write(piece)
        self.assertTrue(request.startedWriting)
        request.finish()
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.body), (201, b"one two"))
        self.assertEqual(answer.headers["x-a"], "b")
        self.assertIn("date", answer.headers)
        self.assertFalse(self.client.closed)

    def test_length(self) -> None:
        """With a length it is not, whether it comes at once or in pieces."""
        request = self.ask()
        respond(request, b"whole")
        self.assertEqual(self.client.answer().body, b"whole")
        request = self.ask()
        request.begin(200, {b"content-length": b"6"})
        request.write(b"in ")
        request.write(b"two")
        request.finish()
        answer = self.client.answer()
        self.assertEqual(answer.body, b"in two")
        self.assertNotIn("transfer-encoding", answer.headers)

    def test_nothing(self) -> None:
        """An answer without a body has the length of none."""
        self.ask().finish()
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.headers["content-length"]), (200, "0"))

    def test_without_body(self) -> None:
        """204 and 304 end with their head; the next answer is the next."""
        for code in (204, 304):
            request = self.ask()
            request.setResponseCode(code)
            request.write(b"")
            request.finish()
            head = self.client.take()
            self.assertTrue(head.startswith(b"HTTP/1.1 %d " % code))
            self.assertTrue(head.endswith(b"\r\n\r\n"))
            self.assertEqual(head.count(b"\r\n\r\n"), 1)
            self.assertNotIn(b"transfer-encoding", head)
        respond(self.ask(), b"next")
        self.assertEqual(self.client.answer().body, b"next")

    def test_http_1_0(self) -> None:
        """HTTP/1.0 knows no chunks: the end of the connection is that of the answer."""
        request = self.ask_old()
        request.write(b"one ")
        request.write(b"two")
        self.assertFalse(self.client.closed)
        request.finish()
        answer = self.client.answer()
        self.assertEqual(answer.body, b"one two")
        self.assertEqual(answer.headers["connection"], "close")
        self.assertNotIn("transfer-encoding", answer.headers)
        self.assertTrue(self.client.closed)

    def test_connection_close(self) -> None:
        """Who says that he closes is told so, and closed."""
        respond(self.ask("Connection: close"), b"last")
        self.assertEqual(self.client.answer().headers["connection"], "close")
        self.assertTrue(self.client.closed)

    def test_finished(self) -> None:
        """After its end nothing more is written."""
        request = self.ask()
        respond(request, b"whole")
        self.client.take()
        request.write(b"more")
        request.finish()
        request.unregisterProducer()
        self.assertFalse(request.isSecure())
        self.assertEqual(self.client.take(), b"")

    def test_phrases(self) -> None:
        """A status has its phrase, or one word for all that have none."""
        self.assertEqual(phrase_of(404), b"Not Found")
        self.assertEqual(phrase_of(599), b"Upstream Status")

    def test_injection(self) -> None:
        """A line end in a header's name or value begins no new header."""
        for end in (b"\r\n", b"\n", b"\r", b"\r\n\r\n"):
            for name, value in ((b"x-a", b"b" + end + b"evil: 1"), (b"x-a" + end + b"evil", b"1")):
                request = self.ask()
                request.setHeader(name, value)
                request.setHeader(b"x-last", b"z" + end)
                respond(request, b"whole")
                answer = self.client.answer()
                self.assertEqual(answer.body, b"whole")
                self.assertNotIn("evil", answer.headers)
                self.assertEqual(answer.headers["x-last"].strip(), "z")

    @given(st.dictionaries(st.binary(max_size=5), st.binary(max_size=8), min_size=1, max_size=4))
    def test_any_header(self, headers: dict[bytes, bytes]) -> None:
        """A head has as many lines as it has headers, whatever they are."""
        head = response_head(200, headers.items(), DATE)
        self.assertTrue(head.endswith(b"\r\n\r\n"))
        lines = head[:-4].split(b"\r\n")
        self.assertEqual(lines[:2], [b"HTTP/1.1 200 OK", b"date: " + DATE])
        self.assertEqual(len(lines), 2 + len(headers))
        for line in lines:
            self.assertNotIn(b"\r", line)
            self.assertNotIn(b"\n", line)


class EndTests(RequestTestCase):
    """How a request ends, and who is told."""

    def test_finished(self) -> None:
        """At the answer's end all who asked are told; nobody is gone."""
        request = self.ask()
        gone: list[None] = []
        request.gone = lambda: gone.append(None)
        told = [request.notifyFinish(), request.notifyFinish()]
        request.write(b"one")
        self.assertNoResult(told[0])
        request.finish()
        for one in told:
            self.assertIs(self.successResultOf(one), None)
        self.client.leave()
        self.assertEqual(gone, [])

    def test_client_leaves(self) -> None:
        """When the client leaves they learn why, and what answers is cancelled."""
        for begin in (False, True):
            self.client = Client(self.site, self.clock)
            request = self.ask()
            gone: list[None] = []
            request.gone = lambda gone=gone: gone.append(None)
            running: Deferred[None] = Deferred()
            request.answer_by(wait(running))
            told = request.notifyFinish()
            if begin:
                request.write(b"one")
            self.client.leave()
            self.failureResultOf(told, ConnectionDone)
            self.assertIs(request.running, None)
            self.assertEqual(gone, [None])
            self.client.take()
            request.write(b"two")
            request.finish()
            request.unregisterProducer()
            self.assertFalse(request.isSecure())
            self.assertEqual(self.client.take(), b"")

    def test_answered_by(self) -> None:
        """What fails without a word to the client is in the log, and what ends is not."""
        for result in (None, Failure(ZeroDivisionError())):
            self.client = Client(self.site, self.clock)
            running: Deferred[None] = Deferred()
            self.ask().answer_by(wait(running))
            running.callback(result)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nobody_asked(self) -> None:
        """A client may leave although nobody wants to know."""
        request = self.ask()
        self.client.leave()
        self.assertIs(request.channel, None)

    def fail(self, request: LlhttpRequest) -> None:  # type: ignore[override]
        request.processingFailed(Failure(ZeroDivisionError("secret")))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_fails(self) -> None:
        """A bug is an internal error to the client, who learns no more."""
        self.fail(self.ask("x-request-id: mine"))
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.error["code"]), (500, "internal_error"))
        self.assertEqual(answer.headers["x-request-id"], "mine")
        self.assertNotIn(b"secret", answer.body)

    def test_fails_when_begun(self) -> None:
        """After the first byte it breaks the connection."""
        request = self.ask()
        request.write(b"one")
        self.fail(request)
        self.assertTrue(self.client.transport.aborted)
        self.assertFalse(self.client.take().endswith(b"0\r\n\r\n"))

    def test_fails_when_gone(self) -> None:
        """After the client's going, or the end, it is the log's alone."""
        request = self.ask()
        request.finish()
        self.client.take()
        self.fail(request)
        self.assertEqual(self.client.take(), b"")
        self.assertFalse(self.client.transport.aborted)

    def test_abort(self) -> None:
        """Who answers may close the connection at once, and is told that it is gone."""
        request = self.ask()
        told = request.notifyFinish()
        request.write(b"one")
        channel: Any = request.channel
        channel.transport.abortConnection()
        self.clock.advance(0)
        self.failureResultOf(told)
        self.assertTrue(self.client.transport.disconnected)


class ProducerTests(RequestTestCase):
    """Who writes is held back by a client that does not read."""

    def test_push(self) -> None:
        """A producer is paused and resumed with the client, and no more when it is done."""
        request = self.ask()
        producer = Producer()
        request.registerProducer(producer, True)
        self.assertEqual(producer.state, "new")
        self.client.channel.pauseProducing()
        self.assertEqual(producer.state, "paused")
        self.client.channel.resumeProducing()
        self.assertEqual(producer.state, "producing")
        request.unregisterProducer()
        self.client.channel.pauseProducing()
        self.assertEqual(producer.state, "producing")
        request.finish()

    def test_already_full(self) -> None:
        """One that comes when the client is full is paused at once; a second is a bug."""
        request = self.ask()
        self.client.channel.pauseProducing()
        producer = Producer()
        request.registerProducer(producer, True)
        self.assertEqual(producer.state, "paused")
        self.assertRaises(RuntimeError, request.registerProducer, Producer(), True)

    def test_gone(self) -> None:
        """It is stopped when the client leaves, and when it comes after that."""
        request = self.ask()
        producer, late = Producer(), Producer()
        request.registerProducer(producer, True)
        self.client.leave()
        self.assertEqual(producer.state, "stopped")
        request.registerProducer(late, True)
        self.assertEqual(late.state, "stopped")

    def test_gone_without_a_word(self) -> None:
        """It is stopped where a transport, as one within TLS, has nobody to tell any more."""
        request = self.ask()
        producer = Producer()
        request.registerProducer(producer, True)
        self.client.channel.transport.unregisterProducer()
        self.client.leave()
        self.assertEqual(producer.state, "stopped")

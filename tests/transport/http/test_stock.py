"""Tests of :mod:`aiproxy.transport.http.stock`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import directlyProvides

from aiproxy.transport.http.site import GatewaySite
from aiproxy.transport.http.stock import StockSite
from tests.transport.http.clients import Client
from tests.transport.upstreams import no_delayed_calls

LIMIT = 1000


class ScriptedResource(Resource):
    """
    Answers each path by its body, or as a test says.

    :ivar requests: what came: method, path, body.
    :ivar waiting: requests that :meth:`wait` has taken.
    :ivar gone: why those whose client left have ended.
    :ivar render_with: what a test says.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[bytes, bytes, bytes]] = []
        self.waiting: list[Any] = []
        self.gone: list[Failure] = []
        self.render_with: Callable[[Any], Any] = lambda request: b"hello"

    def render(self, request: IRequest) -> Any:
        raw: Any = request
        self.requests.append((raw.method, raw.uri, raw.content.read()))
        return self.render_with(raw)

    def wait(self, request: Any) -> int:
        """Answer later."""
        request.notifyFinish().addErrback(self.gone.append)
        self.waiting.append(request)
        return NOT_DONE_YET


class StockTestCase(SynchronousTestCase):
    """A server in memory."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.resource = ScriptedResource()
        self.site = self.make_site()
        self.site.startFactory()
        self.client = Client(self.site, self.clock)

    def make_site(self) -> GatewaySite:
        """Make the site."""
        return StockSite(self.resource, self.clock, max_request_bytes=LIMIT)

    def tearDown(self) -> None:
        """Whatever happened: with its client a connection's timers are gone."""
        with no_delayed_calls(self.clock):
            self.clock.advance(0)
            for channel in list(self.site.channels):
                channel.connectionLost(connectionDone)
        self.site.stopFactory()

    def assert_refused(self, status: int, code: str, client: Client | None = None) -> None:
        """The one answer is this error, the connection ends, and not too soon."""
        client = client or self.client
        answer = client.answer()
        self.assertEqual((answer.status, answer.error["code"]), (status, code))
        kind = "configuration_error" if status == 500 else "validation_error"
        self.assertEqual(answer.error["type"], kind)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["connection"], "close")
        self.assertEqual(answer.headers["server"], "aiproxy")
        self.assertEqual(answer.headers["cache-control"], "no-store")
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        self.assertRegex(answer.headers["x-request-id"], r"\A[\w.-]{1,128}\Z")
        self.assertRegex(answer.headers["date"], r" GMT\Z")
        self.assertTrue(client.transport.half_closed)
        self.assertEqual(client.transport.producerState, "producing")
        # What still comes is read, and comes to nothing.
        served = len(self.resource.requests)
        client.send(b"x" * 5000)
        client.send(b"\r\n\r\nGET /again HTTP/1.1\r\nHost: x\r\n\r\n")
        self.clock.advance(4.9)
        self.assertEqual(client.take(), b"")
        self.assertFalse(client.transport.aborted or client.transport.disconnected)
        self.clock.advance(0.2)
        self.assertTrue(client.transport.aborted)
        self.clock.advance(0)
        self.assertTrue(client.transport.disconnected)
        self.assertEqual(len(self.resource.requests), served)
        self.assertNotIn(client.channel, self.site.channels)


class ServingTests(StockTestCase):
    """Requests that are in order."""

    def test_get(self) -> None:
        """A request is answered, and its connection is kept."""
        self.client.ask("GET", "/a?b=c")
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.body), (200, b"hello"))
        self.assertNotIn("connection", answer.headers)
        self.client.ask("GET", "/b")
        self.assertEqual(self.client.answer().body, b"hello")
        self.assertEqual([path for _, path, _ in self.resource.requests], [b"/a?b=c", b"/b"])
        self.assertFalse(self.client.closed)

    def test_every_split(self) -> None:
        """A request may come in any pieces."""
        request = (
            b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;a=b\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        )
        for place in range(1, len(request)):
            self.client.send(request[:place])
            self.client.send(request[place:])
        for byte in request:
            self.client.send(bytes([byte]))
        self.assertEqual(len(self.client.answers()), len(request))
        self.assertEqual(set(self.resource.requests), {(b"POST", b"/x", b"abcde")})

    def test_body_at_the_bound(self) -> None:
        """A body as long as the bound is taken, with a length and in chunks."""
        self.client.ask("POST", "/", body=b"x" * LIMIT)
        self.client.ask("POST", "/", "Transfer-Encoding: chunked")
        self.client.send(b"%x\r\n%b\r\n0\r\n\r\n" % (LIMIT, b"y" * LIMIT))
        self.assertEqual([one.status for one in self.client.answers()], [200, 200])
        self.assertEqual(
            [body for _, _, body in self.resource.requests], [b"x" * LIMIT, b"y" * LIMIT]
        )

    def test_form(self) -> None:
        """A body is a body, even where it says that it is a form."""
        kinds = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "multipart"
        for kind in kinds:
            self.client.ask("POST", "/", f"Content-Type: {kind}", body=b"--x\r\na=b")
            self.assertEqual(self.client.answer().status, 200)
            self.assertEqual(self.resource.requests[-1][2], b"--x\r\na=b")

    def test_query(self) -> None:
        """A query is read, whatever bytes it has."""
        seen: list[Any] = []

        def look(request: Any) -> bytes:
            seen.append(request.args)
            return b"ok"

        self.resource.render_with = look
        self.client.send(b"GET /?a=1&a=2&b=&c%A0=%FF HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(self.client.answer().status, 200)
        self.assertEqual(seen, [{b"a": [b"1", b"2"], b"b": [b""], b"c\xa0": [b"\xff"]}])

    def test_expect(self) -> None:
        """A client that waits for permission gets it, then its answer."""
        self.client.ask("POST", "/", "Expect: 100-continue", "Content-Length: 3")
        self.assertEqual(self.client.take(), b"HTTP/1.1 100 Continue\r\n\r\n")
        self.client.send(b"abc")
        self.assertEqual(self.client.answer().status, 200)

    def test_pipelining(self) -> None:
        """Requests that come at once are answered one after the other."""
        self.resource.render_with = self.resource.wait
        one = b"POST /%d HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab"
        self.client.send(b"".join(one % number for number in range(3)))
        for number in range(3):
            self.assertEqual(len(self.resource.requests), number + 1)
            self.clock.advance(1000)
            request = self.resource.waiting.pop()
            request.write(b"%d" % number)
            request.finish()
            self.assertEqual(self.client.answer().body, b"%d" % number)
        self.assertFalse(self.client.closed)

    def test_pipelined_too_much(self) -> None:
        """No more is read ahead than a little, and again after the answer."""
        self.resource.render_with = self.resource.wait
        self.client.ask("GET", "/")
        for _ in range(100):
            self.client.ask("GET", "/" + "x" * 200)
        self.assertEqual(self.client.transport.producerState, "paused")
        self.resource.render_with = lambda request: b"ok"
        self.resource.waiting.pop().finish()
        self.assertEqual(self.client.transport.producerState, "producing")
        self.assertEqual(len(self.client.answers()), 101)

    def test_large_pipelined(self) -> None:
        """A request that was read ahead whole, and is long, is not the last that is read."""
        self.resource.render_with = self.resource.wait
        self.client.ask("POST", "/1", body=b"x")
        self.client.ask("POST", "/2", "x-long: " + "y" * 20_000)
        self.assertEqual(self.client.transport.producerState, "paused")
        for _ in range(2):
            self.resource.waiting.pop().finish()
        self.assertEqual(len(self.client.answers()), 2)
        self.assertEqual(self.client.transport.producerState, "producing")

    def test_does_not_read(self) -> None:
        """Who does not read the answers gets no more of them, until it does."""
        transport = self.client.transport
        self.client.ask("GET", "/1")
        self.client.channel.pauseProducing()
        asked = 1
        while transport.producerState == "producing":
            self.client.ask("GET", "/" + "x" * 200)
            asked += 1
            self.assertLess(asked, 200)
        self.assertEqual(len(self.resource.requests), 1)
        self.client.channel.resumeProducing()
        self.assertEqual(transport.producerState, "producing")
        self.assertEqual(len(self.client.answers()), asked)

    def test_http_1_0(self) -> None:
        """HTTP/1.0 is answered and closed, even where it wants to stay."""
        self.client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        self.assertEqual(self.client.answer().body, b"hello")
        self.assertTrue(self.client.closed)

    def test_connection_close(self) -> None:
        """A client that says that it closes is closed, in any form of the list."""
        for value in ("close", "Close", "TE, close", "close , TE"):
            client = Client(self.site, self.clock)
            client.ask("GET", "/", f"Connection: {value}")
            self.assertEqual(client.answer().headers["connection"], "close")
            self.assertTrue(client.closed)

    def test_after_the_last(self) -> None:
        """What a client sends after its last request is not looked at."""
        self.client.ask("GET", "/", "Connection: close")
        self.client.answer()
        self.client.send(b"garbage\r\n\r\n")
        self.clock.advance(0)
        self.assertEqual(self.client.take(), b"")
        self.assertTrue(self.client.transport.disconnected)

    def test_empty_line(self) -> None:
        """One empty line before a request is forgiven."""
        self.client.send(b"\r\n")
        self.client.ask("GET", "/")
        self.assertEqual(self.client.answer().status, 200)

    def test_head(self) -> None:
        """An answer to HEAD has the length and no body."""
        self.client.ask("HEAD", "/")
        answer = self.client.answer(head=True)
        self.assertEqual(answer.headers["content-length"], "5")
        self.client.ask("GET", "/")
        self.assertEqual(self.client.answer().body, b"hello")

    def test_absolute_target(self) -> None:
        """A whole URL is taken for its path and query (RFC 9112, 3.2.2)."""
        for target in ("http://y/a?b=c", "HTTPS://y:8/a?b=c"):
            self.client.ask("GET", target)
            self.assertEqual(self.client.answer().status, 200)
        self.assertEqual([path for _, path, _ in self.resource.requests], [b"/a?b=c"] * 2)

    def test_star(self) -> None:
        """``OPTIONS *`` goes to the resource like any other path."""
        self.resource.render_with = lambda request: b"path: " + b"/".join(request.postpath)
        self.client.ask("OPTIONS", "*")
        self.assertEqual(self.client.answer().body, b"path: *")


class RefusingTests(StockTestCase):
    """Requests that are too much, or no requests."""

    def test_length(self) -> None:
        """A length over the bound is refused before the body comes."""
        self.client.ask("POST", "/", f"Content-Length: {LIMIT + 1}", "x-request-id: mine.1")
        answer = self.client.answer()
        self.assertEqual(answer.status, 413)
        self.assertEqual(answer.headers["x-request-id"], "mine.1")
        self.assertEqual(answer.error["message"], "the request body is longer than 1000")

    def test_length_lingers(self) -> None:
        """After a 413 the body is read and thrown away."""
        self.client.ask("POST", "/", f"Content-Length: {LIMIT + 1}")
        self.assert_refused(413, "request_too_large")

    def test_length_with_its_body(self) -> None:
        """A 413 comes once, even when the body is there already."""
        self.client.ask("POST", "/", body=b"x" * (LIMIT + 1))
        self.assert_refused(413, "request_too_large")

    def test_expect(self) -> None:
        """A client that waits for permission to send too much gets none."""
        self.client.ask("POST", "/", "Expect: 100-continue", f"Content-Length: {LIMIT + 1}")
        self.assert_refused(413, "request_too_large")

    def test_chunks(self) -> None:
        """Chunks over the bound are refused when they come."""
        self.client.ask("POST", "/", "Transfer-Encoding: chunked")
        self.client.send(b"3e8\r\n" + b"x" * LIMIT + b"\r\n")
        self.assertEqual(self.client.take(), b"")
        self.client.send(b"1\r\ny\r\n1\r\nz\r\n0\r\n\r\n")
        self.assert_refused(413, "request_too_large")

    def test_long_line(self) -> None:
        """A line of the head has a bound, with its end or without."""
        for data in (
            b"GET /" + b"x" * 40_000,
            b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nx: " + b"y" * 40_000,
        ):
            client = Client(self.site, self.clock)
            client.send(data)
            self.assert_refused(431, "request_header_fields_too_large", client)

    def test_many_headers(self) -> None:
        """So has the number of headers."""
        self.client.ask("GET", "/", *(f"x{number}: y" for number in range(250)))
        self.assert_refused(431, "request_header_fields_too_large")

    def test_long_head(self) -> None:
        """So has the head as a whole; both begin anew with the next request."""
        lines = [f"x{number}: {'y' * 990}" for number in range(60)]
        self.client.ask("GET", "/", *lines)
        self.client.ask("GET", "/", *lines)
        self.assertEqual(len(self.client.answers()), 2)
        self.client.ask("GET", "/", *lines, *lines)
        self.assert_refused(431, "request_header_fields_too_large")

    def test_garbage(self) -> None:
        """What is no HTTP is told so."""
        heads = [
            b"garbage",
            b"GET /",
            b"GET / HTTP/2.0",
            b"GET  / HTTP/1.1",
            b"G\xffT / HTTP/1.1",
            b"GET /\xff HTTP/1.1",
            b" GET / HTTP/1.1",
            b"PRI * HTTP/2.0\r\n\r\nSM",
            b"GET / HTTP/1.1\r\nno colon",
            b"GET / HTTP/1.1\r\nHost : x",
            b"GET / HTTP/1.1\r\n: x",
            b"GET / HTTP/1.1\r\nx: a\0b",
            b"GET / HTTP/1.1\r\nx: a\nb",
            b"\x16\x03\x01\x02\x00\r\n",
        ]
        for head in heads:
            client = Client(self.site, self.clock)
            client.send(head + b"\r\n\r\n")
            self.assert_refused(400, "bad_request", client)
        self.assertEqual(self.resource.requests, [])

    def test_framing(self) -> None:
        """What others may read in another way is refused: requests could be smuggled in it."""
        framings = [
            b"Content-Length: 3\r\nContent-Length: 3",
            b"Content-Length: 3\r\nContent-Length: 4",
            b"Content-Length: 3\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nContent-Length: 3",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: gzip, chunked",
            b"Transfer-Encoding: xchunked",
            b"Content-Length: 3, 3",
            b"Content-Length: +3",
            b"Content-Length: -3",
            b"Content-Length: 3_0",
            b"Content-Length:",
            b"Content-Length: " + b"9" * 5000,
            b"Content-Length : 3",
            b"Content-Length: 3\r\n ",
            b"X: y\r\n\tContent-Length: 3",
            b"Transfer-Encoding:\r\n chunked",
        ]
        for framing in framings:
            client = Client(self.site, self.clock)
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\nabc")
            self.assert_refused(400, "bad_request", client)
        self.assertEqual(self.resource.requests, [])

    def test_host(self) -> None:
        """So is a request of HTTP/1.1 with no ``Host``, and any with two (RFC 9112, 3.2)."""
        for version, hosts in ((b"1.1", []), (b"1.1", [b"x", b"x"]), (b"1.0", [b"x", b"y"])):
            lines = [b"GET / HTTP/" + version, *(b"Host: " + host for host in hosts)]
            client = Client(self.site, self.clock)
            client.send(b"\r\n".join(lines) + b"\r\n\r\n")
            self.assert_refused(400, "bad_request", client)
        self.assertEqual(self.resource.requests, [])

    def test_transfer_coding(self) -> None:
        """So is a coding that HTTP/1.0 does not have, or nobody has any more (RFC 9112, 6.1, 7)."""
        for version, coding in ((b"1.0", b"chunked"), (b"1.0", b"identity"), (b"1.1", b"identity")):
            client = Client(self.site, self.clock)
            client.send(b"POST / HTTP/%b\r\nHost: x\r\nContent-Length: 0\r\n" % version)
            client.send(b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n")
            self.assert_refused(400, "bad_request", client)

    def test_method(self) -> None:
        """So is a method that no route could have."""
        for method in ("BREW", "PROPFIND", "CONNECT", "get"):
            client = Client(self.site, self.clock)
            client.ask(method, "/")
            self.assert_refused(400, "bad_request", client)

    def test_chunk_framing(self) -> None:
        """So are chunks that are none."""
        for chunks in (
            b"x\r\nabc\r\n",
            b"-3\r\nabc\r\n",
            b"0x3\r\nabc\r\n",
            b"3\r\nabcd\r\n",
            b"\r\n",
            b"3;\x00\r\nabc\r\n",
            b"1" * 2000,
            b"0\r\n" + b"x: y\r\n" * 20_000,
            b"0\r\nA: b\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"0\r\n\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"0\r\nA : b\r\n\r\n",
            b"0\r\nA: b\r\n c\r\n\r\n",
        ):
            client = Client(self.site, self.clock)
            client.ask("POST", "/", "Transfer-Encoding: chunked")
            client.send(chunks)
            self.assert_refused(400, "bad_request", client)
        self.assertEqual(self.resource.requests, [])

    def test_after_another(self) -> None:
        """A refusal has nothing of the request before it: not its id, nor that it was HEAD."""
        for begun in (b"garbage\r\n", b"GET /", b"\r\n"):
            client = Client(self.site, self.clock)
            client.ask("HEAD", "/", "x-request-id: mine")
            self.assertEqual(client.answer(head=True).status, 200)
            client.send(begun)
            self.clock.advance(30.1)
            answer = client.answer()
            self.assertIn(answer.error["code"], ("bad_request", "request_timeout"))
            self.assertNotEqual(answer.headers["x-request-id"], "mine")

    def test_pipelined(self) -> None:
        """A request that follows another is refused after the other's answer."""
        self.resource.render_with = self.resource.wait
        self.client.ask("GET", "/")
        self.client.send(b"garbage\r\n\r\n")
        self.assertEqual(self.client.take(), b"")
        self.resource.waiting.pop().finish()
        first, second = self.client.answers()
        self.assertEqual((first.status, second.status), (200, 400))

    def test_head(self) -> None:
        """A refusal of HEAD has no body."""
        self.client.ask("HEAD", "/", f"Content-Length: {LIMIT + 1}")
        self.assertEqual(self.client.answer(head=True).status, 413)

    def test_secure(self) -> None:
        """Over TLS the end is TLS's."""
        directlyProvides(self.client.transport, ISSLTransport)
        self.client.send(b"garbage\r\n\r\n")
        self.assertEqual(self.client.answer().status, 400)
        self.assertFalse(self.client.transport.half_closed)
        self.assertTrue(self.client.closed)


class FailingTests(StockTestCase):
    """Bugs of those who answer."""

    def fail_with(self, request: Any) -> Any:
        raise ZeroDivisionError("secret")

    def assert_logged(self) -> None:
        [failure] = self.flushLoggedErrors(ZeroDivisionError)
        self.assertIsInstance(failure.value, ZeroDivisionError)

    def test_raises(self) -> None:
        """A resource that raises is an internal error, in the envelope; the log has it."""
        self.resource.render_with = self.fail_with
        self.client.ask("GET", "/", "x-request-id: mine")
        self.assert_refused(500, "internal_error")
        self.assert_logged()

    def test_twice(self) -> None:
        """A second failure is not told."""
        self.resource.render_with = self.resource.wait
        self.client.ask("GET", "/")
        [request] = self.resource.waiting
        request.processingFailed(Failure(ZeroDivisionError()))
        request.processingFailed(Failure(ZeroDivisionError()))
        self.assert_refused(500, "internal_error")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_head(self) -> None:
        """So it is for HEAD, without a body."""
        self.resource.render_with = self.fail_with
        self.client.ask("HEAD", "/")
        self.assertEqual(self.client.answer(head=True).status, 500)
        self.assert_logged()

    def test_begun(self) -> None:
        """After the first byte nothing can be told: the connection breaks."""

        def begin(request: Any) -> None:
            request.write(b"abc")
            raise ZeroDivisionError

        self.resource.render_with = begin
        self.client.ask("GET", "/")
        self.assertTrue(self.client.transport.aborted)
        self.assertNotIn(b"\r\n0\r\n\r\n", self.client.take())
        self.assert_logged()

    def test_finished(self) -> None:
        """After the end it is the log's alone."""

        def finish(request: Any) -> None:
            request.finish()
            raise ZeroDivisionError

        self.resource.render_with = finish
        self.client.ask("GET", "/")
        self.client.ask("GET", "/")
        self.assertEqual([one.status for one in self.client.answers()], [200, 200])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_gone(self) -> None:
        """So it is when the client is gone."""
        self.resource.render_with = self.resource.wait
        self.client.ask("GET", "/")
        [request] = self.resource.waiting
        self.client.leave()
        request.processingFailed(Failure(ZeroDivisionError()))
        self.assertEqual(self.client.take(), b"")
        self.assert_logged()


class TimeTests(StockTestCase):
    """Clients that take their time."""

    def setUp(self) -> None:
        super().setUp()
        # Alone, so that its timers are all there are.
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)

    def test_silent(self) -> None:
        """A client that says nothing is closed after a while."""
        self.clock.advance(74.9)
        self.assertFalse(self.client.closed)
        self.clock.advance(0.2)
        self.assertTrue(self.client.closed)
        self.clock.advance(0)
        self.assertTrue(self.client.transport.disconnected)
        self.assertEqual(self.client.take(), b"")

    def test_idle(self) -> None:
        """So is one that says nothing more; the time begins with the answer's end."""
        self.resource.render_with = self.resource.wait
        self.client.ask("GET", "/")
        self.clock.advance(500)
        self.resource.waiting.pop().finish()
        self.client.answer()
        self.clock.advance(74.9)
        self.assertFalse(self.client.closed)
        self.clock.advance(0.2)
        self.assertTrue(self.client.closed)

    def test_idle_stuck(self) -> None:
        """One whose connection does not close is cut off."""
        self.client.transport.loseConnection = lambda: None  # type: ignore[method-assign]
        self.clock.advance(75.1)
        self.client.send(b"late")
        self.clock.advance(4.9)
        self.assertFalse(self.client.transport.aborted)
        self.clock.advance(0.2)
        self.assertTrue(self.client.transport.aborted)

    def test_reads_slowly(self) -> None:
        """A client that still reads the last answer is not idle, up to a point."""
        self.client.ask("GET", "/")
        self.client.answer()
        self.client.channel.pauseProducing()
        self.clock.pump([75.1] * 8)
        self.assertFalse(self.client.closed)
        self.clock.advance(75.1)
        self.assertTrue(self.client.closed)

    def test_never_reads_the_last(self) -> None:
        """One that does not read its last answer is cut off in the end: closing waits for it."""
        self.client.transport.loseConnection = lambda: None  # type: ignore[method-assign]
        self.resource.render_with = self.resource.wait
        self.client.ask("GET", "/", "Connection: close")
        self.client.channel.pauseProducing()
        self.resource.waiting.pop().finish()
        self.clock.pump([75.1] * 8)
        self.assertFalse(self.client.transport.aborted)
        self.clock.advance(75.1)
        self.clock.advance(5.1)
        self.assertTrue(self.client.transport.aborted)

    def test_never_reads_a_short_last(self) -> None:
        """So is one whose last answer is too short for us to be paused by it."""
        self.client.transport.loseConnection = lambda: None  # type: ignore[method-assign]
        self.client.ask("GET", "/", "Connection: close")
        self.clock.pump([75.1] * 10)
        self.assertTrue(self.client.transport.aborted)

    def test_pipelined_unread(self) -> None:
        """A request that waits for its client to read is not late."""
        self.client.ask("GET", "/1")
        self.client.channel.pauseProducing()
        self.client.ask("GET", "/2")
        self.clock.advance(75.1)
        self.client.channel.resumeProducing()
        self.clock.advance(20)
        self.assertEqual([answer.status for answer in self.client.answers()], [200, 200])

    def test_has_read(self) -> None:
        """Once it has read it is idle like any other."""
        self.client.ask("GET", "/")
        self.client.channel.pauseProducing()
        self.clock.advance(75.1)
        self.client.channel.resumeProducing()
        self.assertFalse(self.client.closed)
        self.clock.advance(75.1)
        self.assertTrue(self.client.closed)

    def test_slow_head(self) -> None:
        """A head has 30 seconds from its first byte, however it trickles."""
        self.clock.advance(70)
        for byte in b"GET / HTTP/1.1\r\nx: abcdefghijklmnop"[:30]:
            self.client.send(bytes([byte]))
            self.clock.advance(1)
        self.assert_refused(408, "request_timeout")

    def test_slow_second_head(self) -> None:
        """So has the next one."""
        self.client.ask("GET", "/")
        self.client.answer()
        self.client.send(b"G")
        self.clock.advance(29.9)
        self.assertEqual(self.client.take(), b"")
        self.clock.advance(0.2)
        self.assert_refused(408, "request_timeout")

    def test_slow_pipelined_head(self) -> None:
        """So has one that began while another was answered; its time begins then."""
        self.resource.render_with = self.resource.wait
        self.client.ask("GET", "/")
        self.client.send(b"GET / HT")
        self.clock.advance(1000)
        self.resource.waiting.pop().finish()
        self.assertEqual(self.client.answer().status, 200)
        self.clock.advance(30.1)
        self.assert_refused(408, "request_timeout")

    def test_empty_lines(self) -> None:
        """An empty line is a beginning too."""
        self.client.send(b"\r\n")
        self.clock.advance(30.1)
        self.assert_refused(408, "request_timeout")

    def test_silent_body(self) -> None:
        """A body that does not come is given up."""
        self.client.ask("POST", "/", "Content-Length: 100")
        self.clock.advance(29.9)
        self.assertEqual(self.client.take(), b"")
        self.clock.advance(0.2)
        self.assert_refused(408, "request_timeout")

    def test_slow_body(self) -> None:
        """A body that comes too slowly is given up, with a length or in chunks."""
        for framing, piece in (("Content-Length: 1000", b"x"), ("Transfer-Encoding: chunked", b"")):
            client = Client(self.site, self.clock)
            client.ask("POST", "/", framing)
            for _ in range(31):
                client.send(piece or b"1\r\nx\r\n")
                self.clock.advance(1)
            self.assert_refused(408, "request_timeout", client)

    def test_steady_body(self) -> None:
        """A body has the time that its length needs at 4 KiB a second."""
        self.site.max_request_bytes = 10**6
        client = Client(self.site, self.clock)
        client.ask("POST", "/", "Content-Length: 500000")
        for _ in range(100):
            client.send(b"x" * 5000)
            self.clock.advance(1)
        self.assertEqual(client.answer().status, 200)

    def test_waits_long(self) -> None:
        """An answer may take as long as it likes."""
        self.resource.render_with = self.resource.wait
        self.client.ask("POST", "/", body=b"abc")
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(100_000)
        self.resource.waiting.pop().finish()
        self.assertEqual(self.client.answer().status, 200)

    def test_leaves(self) -> None:
        """A client may leave at any place; no timer stays, and who answers is told."""
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        self.resource.render_with = self.resource.wait
        self.client.leave()
        for place in range(len(request) + 1):
            client = Client(self.site, self.clock)
            client.send(request[:place])
            client.leave()
            self.assertEqual(self.clock.getDelayedCalls(), [])
        [reason] = self.resource.gone
        self.assertTrue(reason.check(ConnectionDone))

    def test_leaves_after_refusal(self) -> None:
        """So it may after a refusal."""
        self.client.send(b"garbage\r\n")
        self.client.leave()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class DrainTests(StockTestCase):
    """The server's end."""

    def test_nobody(self) -> None:
        """Without clients it is there at once."""
        self.client.leave()
        self.successResultOf(self.site.drain())

    def test_idle(self) -> None:
        """Idle connections are closed at once."""
        other = Client(self.site, self.clock)
        other.ask("GET", "/")
        gone = self.site.drain()
        self.assertTrue(self.client.closed and other.closed)
        self.assertNoResult(gone)
        self.clock.advance(0)
        self.successResultOf(gone)

    def test_answering(self) -> None:
        """A request that is running gets its answer, which says that it is the last."""
        self.resource.render_with = self.resource.wait
        self.client.ask("GET", "/1")
        self.client.ask("GET", "/2")
        gone = self.site.drain()
        self.clock.advance(1)
        self.assertNoResult(gone)
        self.resource.waiting.pop().finish()
        self.assertEqual(self.client.answer().headers["connection"], "close")
        self.assertTrue(self.client.closed)
        self.clock.advance(0)
        self.successResultOf(gone)
        self.assertEqual(len(self.resource.requests), 1)

    def test_streaming(self) -> None:
        """An answer that has begun goes on to its end."""
        self.resource.render_with = self.resource.wait
        self.client.ask("GET", "/")
        [request] = self.resource.waiting
        request.write(b"one ")
        gone = self.site.drain()
        request.write(b"two")
        request.finish()
        self.assertEqual(self.client.answer().body, b"one two")
        self.clock.advance(0)
        self.successResultOf(gone)

    def test_arriving(self) -> None:
        """A request that is arriving, wherever it is, is answered, with the same word."""
        request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
        clients = [Client(self.site, self.clock) for _ in request[1:]]
        for place, client in enumerate(clients, 1):
            client.send(request[:place])
        gone = self.site.drain()
        for place, client in enumerate(clients, 1):
            client.send(request[place:])
            answer = client.answer()
            self.assertEqual((place, answer.status), (place, 200))
            self.assertEqual(answer.headers["connection"], "close")
            self.assertTrue(client.closed)
        self.clock.advance(0)
        self.successResultOf(gone)

    def test_refused(self) -> None:
        """A connection that lingers goes on lingering."""
        self.client.send(b"garbage\r\n")
        gone = self.site.drain()
        self.assert_refused(400, "bad_request")
        self.successResultOf(gone)

    def test_again(self) -> None:
        """Asking again is no other end."""
        self.assertIs(self.site.drain(), self.site.drain())

    def test_latecomer(self) -> None:
        """Who comes in all the same has one answer."""
        self.site.drain()
        client = Client(self.site, self.clock)
        client.ask("GET", "/")
        self.assertEqual(client.answer().headers["connection"], "close")
        self.assertTrue(client.closed)

    def test_abort(self) -> None:
        """All connections can be cut off."""
        self.resource.render_with = self.resource.wait
        self.client.ask("GET", "/")
        gone = self.site.drain()
        self.site.abort()
        self.clock.advance(0)
        self.successResultOf(gone)
        self.assertTrue(self.client.transport.aborted)

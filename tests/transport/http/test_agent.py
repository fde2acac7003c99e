"""Tests of :mod:`aiproxy.transport.http.agent`: treq over it."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import Cooperator
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import FileBodyProducer, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from aiproxy.errors import AIProxyError, ConnectFailed, InternalError, UpstreamFailed
from aiproxy.transport.client import UpstreamClient
from tests.transport.upstreams import OK_HEAD, MemoryUpstream, SocketUpstream, answer

URL = "http://api.example.com/v1"
CHUNKED_HEAD = OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@implementer(IBodyProducer)
class ScriptedBody:
    """Writes what it is told to."""

    def __init__(self, length: Any = UNKNOWN_LENGTH) -> None:
        self.length = length
        self.done: Deferred[None] = Deferred()
        self.told: list[str] = []
        self.consumer: IConsumer

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        self.consumer = consumer
        return self.done

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class RecordingProtocol(Protocol):
    """Writes down a body."""

    def __init__(self) -> None:
        self.data = b""
        self.ends: list[BaseException | None] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ends.append(reason.value)


class AgentTestCase(SynchronousTestCase):
    """A treq client towards upstreams in memory."""

    def setUp(self) -> None:
        self.upstream = MemoryUpstream()
        self.client = UpstreamClient(self.upstream.reactor)
        self.treq = self.client.treq()
        self.agent: IAgent = self.treq._agent

    def idle(self) -> int:
        return sum(it.idle for it in self.client.counts().values())


class TreqTests(AgentTestCase):
    """What treq does with it."""

    def test_interface(self) -> None:
        """It is an agent."""
        self.assertTrue(verifyObject(IAgent, self.agent))

    def test_get(self) -> None:
        """A GET goes out on a kept connection, and its body can be read as text and as JSON."""
        for read, expected in (("json", {"a": 1}), ("text", '{"a":1}'), ("content", b'{"a":1}')):
            asked = self.treq.get(URL + "?b=c", headers=Headers({b"X-Key": [b"one", b"two"]}))
            if not self.upstream.connections:
                self.upstream.accept()
            [connection] = self.upstream.connections
            lines = connection.take().split(b"\r\n")
            self.assertEqual(lines[0], b"GET /v1?b=c HTTP/1.1")
            self.assertIn(b"Host: api.example.com", lines)
            self.assertIn(b"Accept-Encoding: identity", lines)
            self.assertIn(b"User-Agent: aiproxy", lines)
            self.assertEqual(
                [it for it in lines if it.startswith(b"X-Key")], [b"X-Key: one", b"X-Key: two"]
            )
            self.assertEqual(lines[-2:], [b"", b""])
            connection.send(answer(b'{"a":1}', OK_HEAD + b"X-A: 1\r\nX-A: 2\r\n"))
            response = self.successResultOf(asked)
            self.assertEqual(
                (response.code, response.phrase, response.version), (200, b"OK", (b"HTTP", 1, 1))
            )
            self.assertEqual(response.length, 7)
            self.assertEqual(response.headers.getRawHeaders("x-a"), ["1", "2"])
            self.assertEqual(self.successResultOf(getattr(response, read)()), expected)
        self.assertEqual(self.idle(), 1)

    def test_streamed(self) -> None:
        """A body without a length goes out in chunks, and heeds the transport."""
        body = ScriptedBody()
        asked = self.treq.post(URL, data=body)
        connection = self.upstream.accept()
        self.assertIn(b"\r\nTransfer-Encoding: chunked\r\n", connection.take())
        for piece in (b"one", b"", b"x" * 26):
            body.consumer.write(piece)
        self.assertEqual(connection.take(), b"3\r\none\r\n1a\r\n" + b"x" * 26 + b"\r\n")
        producer: Any = connection.transport.producer
        producer.pauseProducing()
        producer.resumeProducing()
        self.assertEqual(body.told, ["pause", "resume"])
        body.done.callback(None)
        self.assertEqual(connection.take(), b"0\r\n\r\n")
        connection.send(answer(b"ok"))
        self.successResultOf(asked)
        self.assertEqual(self.idle(), 1)

    def test_empty_post(self) -> None:
        """A POST without a body says so."""
        self.treq.post(URL)
        self.assertIn(b"\r\nContent-Length: 0\r\n", self.upstream.accept().take())

    def test_cookies_are_not_kept(self) -> None:
        """What one answer sets, the next request does not send."""
        asked = self.treq.get(URL)
        connection = self.upstream.accept()
        connection.send(answer(b"", OK_HEAD + b"Set-Cookie: a=b\r\n"))
        self.successResultOf(asked)
        connection.take()
        self.treq.get(URL)
        self.assertNotIn(b"ookie:", connection.take())

    def test_redirect(self) -> None:
        """treq follows redirects where it may, and remembers the way."""
        asked = self.treq.get(URL)
        connection = self.upstream.accept()
        connection.send(answer(b"", b"HTTP/1.1 302 Found\r\nLocation: /v2\r\n"))
        self.assertTrue(connection.take().partition(b"\r\n\r\n")[2].startswith(b"GET /v2 "))
        connection.send(answer(b""))
        [before] = self.successResultOf(asked).history()
        self.assertEqual(before.code, 302)

    def test_cancel(self) -> None:
        """Cancelling a request closes its connection."""
        for accept in (False, True):
            asked = self.treq.get(URL)
            if accept:
                connection = self.upstream.accept()
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
        self.assertTrue(connection.transport.aborted)

    def test_errors(self) -> None:
        """It fails only with our errors."""
        self.failureResultOf(self.treq.get("http://me:secret@api.example.com/"), ConnectFailed)
        self.failureResultOf(self.agent.request(b"GET", b"ftp://x/"), ConnectFailed)
        asked = self.treq.get(URL)
        self.upstream.accept().send(b"nonsense\r\n")
        self.failureResultOf(asked, UpstreamFailed)


class SocketTests(TestCase):
    """treq's own bodies are written by the running reactor."""

    timeout = 10

    async def test_post(self) -> None:
        """A POST has its length, and a connection that nobody has used before."""
        from twisted.internet import reactor

        running: Any = reactor
        upstream = SocketUpstream(lambda it: it.write(answer(b'{"b":2}')))
        port = running.listenTCP(0, upstream, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        client = UpstreamClient(running)
        for _ in range(2):
            url = f"http://127.0.0.1:{port.getHost().port}/v1"
            response = await client.treq().post(url, json={"a": 1})
            self.assertEqual(await response.json(), {"b": 2})
        for request in upstream.requests:
            head, _, body = request.partition(b"\r\n\r\n")
            self.assertIn(b"\r\nContent-Length: %d" % len(body), head)
            self.assertEqual(body.replace(b" ", b""), b'{"a":1}')
        self.assertEqual(len(upstream.connections), 2)
        await client.close()
        for connection in upstream.connections:
            await connection.lost


class BodyTests(AgentTestCase):
    """Bodies, both ways."""

    def ask(self, body: IBodyProducer | None = None) -> Deferred[IResponse]:
        return self.agent.request(b"POST", URL.encode("ascii"), Headers(), body)

    def respond(self, reply: bytes) -> IResponse:
        asked = self.ask()
        self.upstream.accept().send(reply)
        response: IResponse = self.successResultOf(asked)
        return response

    def test_interfaces(self) -> None:
        """Answers are Twisted's."""
        response = self.respond(answer(b""))
        self.assertTrue(verifyObject(IResponse, response))
        self.assertEqual(response.request.absoluteURI, URL.encode("ascii"))

    def test_wrong_length(self) -> None:
        """A body that is not as long as it said spoils the request, not the next one."""
        for pieces in ([b"x" * 4], [b"xx"]):
            body = ScriptedBody(3)
            asked = self.ask(body)
            connection = self.upstream.accept()
            try:
                for piece in pieces:
                    body.consumer.write(piece)
                body.done.callback(None)
            except ValueError as error:
                body.done.errback(error)
            self.failureResultOf(asked, InternalError)
            self.assertTrue(connection.transport.aborted)

    def test_file(self) -> None:
        """Twisted's own body producer works."""
        cooperator = Cooperator(scheduler=lambda call: self.upstream.reactor.callLater(0, call))
        asked = self.ask(FileBodyProducer(BytesIO(b"file"), cooperator))
        connection = self.upstream.accept()
        for _ in range(4):
            self.upstream.reactor.advance(0)
        self.assertTrue(connection.take().endswith(b"\r\n\r\nfile"))
        connection.send(answer(b""))
        self.successResultOf(asked)

    def test_stopped(self) -> None:
        """Cancelling stops the body."""
        body = ScriptedBody()
        asked = self.ask(body)
        self.upstream.accept()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(body.told, ["stop"])

    def test_ends(self) -> None:
        """A protocol is told how the body has ended, in Twisted's words."""
        for head, ending, kind in (
            (CHUNKED_HEAD, lambda it: it.send(b"0\r\n\r\n"), ResponseDone),
            (OK_HEAD + b"\r\n", lambda it: it.end(), PotentialDataLoss),
            (CHUNKED_HEAD, lambda it: it.cut(), ResponseFailed),
        ):
            response = self.respond(head)
            self.assertIs(response.length, UNKNOWN_LENGTH)
            protocol = RecordingProtocol()
            response.deliverBody(protocol)
            ending(self.upstream.connections[-1])
            [end] = protocol.ends
            self.assertIsInstance(end, kind)
            if isinstance(end, ResponseFailed):
                self.assertIsInstance(end.reasons[0].value, AIProxyError)
            self.upstream.connections[-1].transport.abortConnection()
            self.upstream.reactor.advance(0)

    def test_transport(self) -> None:
        """Its transport pauses the upstream, resumes it, and closes it, once."""
        response = self.respond(CHUNKED_HEAD)
        protocol = RecordingProtocol()
        response.deliverBody(protocol)
        below = self.upstream.connections[-1].transport
        transport: Any = protocol.transport
        transport.pauseProducing()
        self.assertEqual(below.producerState, "paused")
        transport.resumeProducing()
        self.assertEqual(below.producerState, "producing")
        transport.loseConnection()
        transport.abortConnection()
        self.assertTrue(below.disconnecting)
        [end] = protocol.ends
        self.assertIsInstance(end, ResponseFailed)

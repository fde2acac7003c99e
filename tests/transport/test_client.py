"""Tests of :mod:`aiproxy.transport.client`: in memory, then on real sockets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, cast

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.error import (
    ConnectionLost,
    ConnectionRefusedError,
)
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.ssl import CertificateOptions
from twisted.internet.tcp import Client
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from aiproxy.errors import (
    AIProxyError,
    AnswerTooLarge,
    ConfigurationError,
    ConnectFailed,
    StreamCut,
    UpstreamFailed,
)
from aiproxy.transport.client import UpstreamClient, UpstreamResponse
from aiproxy.transport.collect import collect
from aiproxy.transport.tls import TLSSettings
from tests.transport.upstreams import (
    OK_HEAD,
    Authority,
    MemoryUpstream,
    RecordingConsumer,
    SocketConnection,
    SocketUpstream,
    answer,
    no_delayed_calls,
    pem,
    server_options,
    write_file,
)

URL = "http://api.example.com/v1/chat"
CHUNKED_HEAD = OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Write one chunk of a body (RFC 9112, 7.1)."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@implementer(IHostResolution)
@frozen
class Resolution:
    """A name that is being looked up."""

    name: str

    def cancel(self) -> None: ...


@implementer(IHostnameResolver)
class ScriptedResolver:
    """Answers when told to."""

    def __init__(self) -> None:
        self.receivers: list[IResolutionReceiver] = []

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        self.receivers.append(resolutionReceiver)
        return Resolution(hostName)

    def nothing(self) -> None:
        """No address has this name."""
        self.receivers[-1].resolutionComplete()


class MemoryTests(SynchronousTestCase):
    """One client towards upstreams in memory."""

    http = "llhttp"

    def setUp(self) -> None:
        self.upstream = MemoryUpstream()
        self.client = UpstreamClient(self.upstream.reactor, http=self.http)
        self.told: list[str] = []

    def ask(
        self,
        method: str = "POST",
        url: str = URL,
        headers: dict[str, str] | None = None,
        body: bytes = b"{}",
        **more: Any,
    ) -> Deferred[UpstreamResponse]:
        return self.client.request(
            method,
            url,
            headers=headers or {},
            body=body,
            connected=lambda: self.told.append("connected"),
            sent=lambda: self.told.append("sent"),
            **more,
        )

    def exchange(self, reply: bytes, **request: Any) -> tuple[bytes, UpstreamResponse]:
        """Make one request; return its bytes and the response."""
        asked = self.ask(**request)
        connection = self.upstream.accept()
        sent = connection.take()
        connection.send(reply)
        return sent, self.successResultOf(asked)

    def refusal(self, asked: Deferred[Any]) -> AIProxyError:
        """Return what a request failed with."""
        error = self.failureResultOf(asked, AIProxyError).value
        assert isinstance(error, AIProxyError)
        return error


class RequestTests(MemoryTests):
    """What goes out."""

    def head(self, **request: Any) -> dict[bytes, bytes]:
        """Return the headers sent; each comes once."""
        sent, _ = self.exchange(answer(b""), **request)
        lines = sent.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
        head: dict[bytes, bytes] = {}
        for line in lines:
            name, _, value = line.lower().partition(b": ")
            self.assertNotIn(name, head)
            head[name] = value
        return head

    def test_request(self) -> None:
        """Method, path with query, host, body: just as given."""
        sent, _ = self.exchange(answer(b""), url=URL + "?a=%20b&c", body=b'{"a":1}')
        self.assertTrue(sent.startswith(b"POST /v1/chat?a=%20b&c HTTP/1.1\r\n"), sent)
        self.assertTrue(sent.endswith(b'\r\n\r\n{"a":1}'), sent)
        self.assertIn(b"\r\nHost: api.example.com\r\n", sent)
        self.assertIn(b"\r\nContent-Length: 7\r\n", sent)
        self.assertEqual(self.told, ["connected", "sent"])

    def test_get(self) -> None:
        """A request without a body is told as connected and sent as well."""
        sent, response = self.exchange(answer(b""), method="get", body=b"")
        self.assertTrue(sent.startswith(b"GET /v1/chat HTTP/1.1\r\n"), sent)
        self.assertTrue(sent.endswith(b"\r\n\r\n"), sent)
        self.assertEqual(response.status, 200)
        self.assertEqual(self.told, ["connected", "sent"])

    def test_headers(self) -> None:
        """The caller's headers go out, plus who we are, and nothing else."""
        self.assertEqual(
            self.head(headers={"Authorization": "Bearer x", "content-type": "application/json"}),
            {
                b"host": b"api.example.com",
                b"authorization": b"bearer x",
                b"content-type": b"application/json",
                b"content-length": b"2",
                b"user-agent": b"aiproxy",
                b"accept-encoding": b"identity",
            },
        )

    def test_callers_headers_win(self) -> None:
        """The caller may say who it is, and which host it means."""
        head = self.head(headers={"User-Agent": "mine/1", "HOST": "other.example.com"})
        self.assertEqual(head[b"user-agent"], b"mine/1")
        self.assertEqual(head[b"host"], b"other.example.com")

    def test_user_agent(self) -> None:
        """Who builds the client says what we are called."""
        self.client = UpstreamClient(
            self.upstream.reactor, user_agent="aiproxy/1.2.3", http=self.http
        )
        self.assertEqual(self.head()[b"user-agent"], b"aiproxy/1.2.3")

    def test_not_the_callers(self) -> None:
        """Framing and compression are ours."""
        head = self.head(
            headers={
                "Accept-Encoding": "gzip, br",
                "Content-Length": "999",
                "Transfer-Encoding": "chunked",
                "Connection": "close",
            }
        )
        self.assertEqual(head[b"accept-encoding"], b"identity")
        self.assertEqual(head[b"content-length"], b"2")
        self.assertNotIn(b"transfer-encoding", head)
        self.assertNotIn(b"connection", head)

    def test_no_header_injection(self) -> None:
        """A line break in a value makes no new header."""
        head = self.head(headers={"x-id": "1\r\nx-evil: 2"})
        self.assertNotIn(b"x-evil", head)

    def test_other_encodings(self) -> None:
        """What a client's header holds beside UTF-8 goes on as it came (PEP 383)."""
        told = b"caf\xe9, \xff".decode("utf-8", "surrogateescape")
        self.assertEqual(self.head(headers={"openai-beta": told})[b"openai-beta"], b"caf\xe9, \xff")

    def test_cookies_are_not_kept(self) -> None:
        """What one answer sets, the next request does not send."""
        self.exchange(answer(b"", OK_HEAD + b"Set-Cookie: a=b\r\n"))
        asked = self.ask()
        self.assertNotIn(b"ookie", self.upstream.connections[0].take())
        self.upstream.connections[0].send(answer(b""))
        self.successResultOf(asked)

    def test_redirects_are_not_followed(self) -> None:
        """A redirect is an answer: our key goes nowhere else."""
        head = b"HTTP/1.1 307 Elsewhere\r\nLocation: http://evil.example.com/\r\n"
        _, response = self.exchange(answer(b"", head))
        self.assertEqual(response.status, 307)
        self.assertEqual(response.headers["location"], "http://evil.example.com/")
        self.assertEqual(self.upstream.attempts, 1)

    def test_verbatim(self) -> None:
        """A path goes out as it was written, escapes, doubled slashes and all."""
        for path in ("/v1//a%2fb:c/%7Ex", "/?a=%c3%a9&b=;&&c==", "/v1/models/a/../b"):
            asked = self.ask(url="http://api.example.com" + path)
            connection = self.upstream.connections[-1:] or [self.upstream.accept()]
            line = connection[0].take().split(b"\r\n")[0]
            self.assertEqual(line, b"POST " + path.encode("ascii") + b" HTTP/1.1")
            connection[0].send(answer(b""))
            self.successResultOf(asked)

    def test_address(self) -> None:
        """An IPv6 address with a port is a host like any other."""
        sent, _ = self.exchange(answer(b""), url="http://[::1]:8000/v1")
        self.assertIn(b"\r\nHost: [::1]:8000\r\n", sent)


class ResponseTests(MemoryTests):
    """What comes back."""

    def test_headers(self) -> None:
        """Names are lower-case, of repeated ones the first counts, and any byte is legible."""
        head = OK_HEAD + b"X-A: 1\r\nX-a: 2\r\nX-B: \xc3\xa9\r\nX-C: \xe9\r\n"
        _, response = self.exchange(answer(b"", head))
        self.assertEqual(
            response.headers,
            {"content-type": "text/plain", "x-a": "1", "x-b": "\u00e9", "x-c": "\u00e9"},
        )

    def test_identity(self) -> None:
        """An answer may say that it is not encoded."""
        _, response = self.exchange(answer(b"x", OK_HEAD + b"Content-Encoding: Identity\r\n"))
        self.assertNotIn("content-encoding", response.headers)
        self.assertEqual(self.successResultOf(collect(response, 10)), b"x")

    def test_compressed(self) -> None:
        """A compressed answer is an error that carries the status; its connection closes."""
        for encoding in (b"gzip", b"GZIP", b"br", b"identity, gzip"):
            asked = self.ask()
            connection = self.upstream.accept()
            connection.send(OK_HEAD + b"Content-Encoding: " + encoding + b"\r\n")
            connection.send(b"Content-Length: 9\r\n\r\n")
            error = self.refusal(asked)
            self.assertIsInstance(error, UpstreamFailed)
            self.assertIn("compressed", str(error))
            self.assertEqual(getattr(error, "upstream_status", None), 200)
            self.assertTrue(connection.transport.disconnecting)

    def test_compressed_error(self) -> None:
        """A compressed error is one by its status and headers; its words are not ours to read."""
        head = b"HTTP/1.1 429 Slow\r\nRetry-After: 20\r\nContent-Encoding: gzip\r\n"
        _, response = self.exchange(answer(b"\x1f\x8b", head))
        self.assertEqual((response.status, response.headers["retry-after"]), (429, "20"))
        self.assertEqual(self.successResultOf(self.client.first_words(response)), b"")

    def test_first_words(self) -> None:
        """Of an error's body no more is waited for than comes in two seconds."""
        head = b"HTTP/1.1 429 Slow\r\nContent-Length: 100\r\n\r\n"
        _, response = self.exchange(head + b"slow down")
        said = self.client.first_words(response)
        self.upstream.reactor.advance(1.9)
        self.assertNoResult(said)
        self.upstream.reactor.advance(0.2)
        self.assertEqual(self.successResultOf(said), b"slow down")
        self.assertTrue(self.upstream.connections[0].transport.disconnecting)

    def test_impossible_status(self) -> None:
        """A number that is no status is no answer."""
        for status in (b"0", b"-200", b"600", b"99999"):
            asked = self.ask()
            connection = self.upstream.accept()
            connection.send(b"HTTP/1.1 " + status + b" What\r\nContent-Length: 9\r\n\r\n")
            self.assertIsInstance(self.refusal(asked), UpstreamFailed)
            self.assertTrue(connection.transport.disconnecting or connection.transport.aborted)

    def test_body(self) -> None:
        """The body is delivered piece by piece, and the connection kept."""
        _, response = self.exchange(CHUNKED_HEAD + chunk(b"one"))
        [connection] = self.upstream.connections
        self.assertEqual(connection.transport.producerState, "paused")
        consumer = RecordingConsumer()
        response.deliver(consumer)
        self.assertEqual(connection.transport.producerState, "producing")
        connection.send(chunk(b"two") + b"0\r\n\r\n")
        self.assertEqual(consumer.pieces, [b"one", b"two"])
        self.assertEqual(consumer.ends, ["finished"])
        [counts] = self.client.counts().values()
        self.assertEqual((counts.open, counts.idle), (1, 1))

    def test_whole_before_it_is_asked_for(self) -> None:
        """A body that came with its head is delivered from memory, paused or not."""
        _, response = self.exchange(answer(b"whole"))
        consumer = RecordingConsumer(on_begin=lambda it: it.producer.pauseProducing())
        response.deliver(consumer)
        self.assertEqual((consumer.data, consumer.ends), (b"whole", ["finished"]))
        self.assertEqual(self.upstream.connections[0].transport.producerState, "producing")

    def test_cut(self) -> None:
        """A body that ends before its end says so, whatever its framing."""
        for head in (CHUNKED_HEAD + chunk(b"one"), OK_HEAD + b"Content-Length: 9\r\n\r\none"):
            _, response = self.exchange(head)
            consumer = RecordingConsumer()
            response.deliver(consumer)
            self.upstream.connections[-1].cut()
            self.assertEqual(consumer.data, b"one")
            [end] = consumer.ends
            self.assertIsInstance(end, StreamCut)

    def test_until_close(self) -> None:
        """Without a length the body ends with the connection."""
        _, response = self.exchange(OK_HEAD + b"\r\none")
        consumer = RecordingConsumer()
        response.deliver(consumer)
        self.upstream.connections[0].end()
        self.assertEqual((consumer.data, consumer.ends), (b"one", ["finished"]))

    def test_once(self) -> None:
        """There is one body, for one consumer."""
        _, response = self.exchange(CHUNKED_HEAD)
        response.deliver(RecordingConsumer())
        self.assertRaises(RuntimeError, response.deliver, RecordingConsumer())
        response.abandon()
        self.assertTrue(self.upstream.connections[0].transport.disconnecting)

    def test_abandon(self) -> None:
        """Abandoning closes the connection, with or without a consumer, once or twice."""
        for deliver in (False, True):
            _, response = self.exchange(CHUNKED_HEAD + chunk(b"one"))
            [connection] = self.upstream.connections[-1:]
            consumer = RecordingConsumer()
            if deliver:
                response.deliver(consumer)
            response.abandon()
            response.abandon()
            self.assertTrue(connection.transport.disconnecting)
            connection.send(chunk(b"late"))
            with no_delayed_calls(self.upstream.reactor):
                self.upstream.reactor.advance(0)
            self.assertEqual(consumer.ends, [])
            self.assertNotIn(b"late", consumer.data)
            self.assertEqual(self.client.counts(), {})

    def test_abandon_after_the_end(self) -> None:
        """There is nothing to close after a whole answer: the connection serves on."""
        _, response = self.exchange(answer(b"whole"))
        response.abandon()
        self.assertFalse(self.upstream.connections[0].transport.disconnecting)


class FailureTests(MemoryTests):
    """What goes wrong before there is a response."""

    def test_refused(self) -> None:
        """No connection: an error with host and port."""
        asked = self.ask(url="http://user.example.com:8000/v1?key=secret")
        self.upstream.refuse(ConnectionRefusedError())
        error = self.refusal(asked)
        self.assertIsInstance(error, ConnectFailed)
        self.assertEqual(str(error), "user.example.com:8000 refused the connection")
        self.assertEqual(self.upstream.reactor.getDelayedCalls(), [])

    def test_unknown_name(self) -> None:
        """No address: an error that says so."""
        resolver = ScriptedResolver()
        self.upstream.reactor.installNameResolver(resolver)
        asked = self.ask()
        resolver.nothing()
        self.assertIn("could not be resolved", str(self.refusal(asked)))

    def test_impossible_name(self) -> None:
        """A label of more than 63 letters can be in no DNS (RFC 1035, 2.3.4)."""
        error = self.refusal(self.ask(url=f"http://{'a' * 64}.example.com/"))
        self.assertIsInstance(error, ConnectFailed)

    def test_unusable_url(self) -> None:
        """What cannot be asked fails without showing itself."""
        for url in (
            "ftp://secret.example.com/",
            "secret",
            "http:///secret",
            "http://secret.example.com:99999/",
            "http://secret.example.com:0/",
            "http://[secret/",
            "https://user:secret@api.example.com/",
        ):
            error = self.refusal(self.ask(url=url))
            self.assertIsInstance(error, ConnectFailed)
            self.assertNotIn("secret", str(error))
        self.assertEqual(self.upstream.attempts, 0)

    def test_missing_bundle(self) -> None:
        """TLS files that are not there are the operator's to mend."""
        tls = TLSSettings(ca_bundle="/no/ca.pem")
        self.assertIsInstance(self.refusal(self.ask(tls=tls)), ConfigurationError)
        self.assertRaises(ConfigurationError, self.client.load, tls)

    def test_closed_before_a_byte(self) -> None:
        """A fresh connection that closes is not tried again."""
        asked = self.ask()
        self.upstream.accept().end()
        error = self.refusal(asked)
        self.assertIsInstance(error, ConnectFailed)
        self.assertIn("before it answered", str(error))
        self.assertEqual(self.upstream.attempts, 1)

    def test_closed_in_the_head(self) -> None:
        """After a byte it is the upstream's failure."""
        asked = self.ask()
        connection = self.upstream.accept()
        connection.send(b"HTTP/1.1 200 OK\r\n")
        connection.end()
        self.assertIsInstance(self.refusal(asked), UpstreamFailed)

    def test_header_bomb(self) -> None:
        """A head without an end is given up."""
        asked = self.ask()
        connection = self.upstream.accept()
        connection.send(OK_HEAD)
        for _ in range(70):
            connection.send(b"x: " + b"y" * 1021)
        self.upstream.reactor.advance(0)
        self.assertIsInstance(self.refusal(asked), AnswerTooLarge)
        self.assertTrue(connection.transport.aborted)


class CancelTests(MemoryTests):
    """A request that nobody wants any more, phase by phase."""

    def cancel(self, asked: Deferred[UpstreamResponse]) -> None:
        """Cancel; assert that it fails as such and leaves nothing."""
        with no_delayed_calls(self.upstream.reactor):
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.client.counts(), {})
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_resolving(self) -> None:
        """Before the name is known; the late answer is no matter."""
        resolver = ScriptedResolver()
        self.upstream.reactor.installNameResolver(resolver)
        self.cancel(self.ask())
        resolver.nothing()
        self.assertEqual(self.upstream.attempts, 0)

    def test_connecting(self) -> None:
        """Before there is a connection."""
        self.cancel(self.ask())
        self.assertTrue(self.upstream.reactor.connectors[0].stoppedConnecting)

    def test_handshaking(self) -> None:
        """While TLS is being agreed."""
        asked = self.ask(url="https://api.example.com/v1")
        connection = self.upstream.accept()
        self.assertEqual(self.told, [])
        self.assertNotIn(b"POST", connection.take())
        self.cancel(asked)
        self.assertTrue(connection.transport.aborted)

    def test_sending(self) -> None:
        """While the body is being sent."""
        asked = self.ask(body=bytes(1024 * 1024))
        connection = self.upstream.accept(full=True)
        self.assertEqual(self.told, ["connected"])
        self.cancel(asked)
        self.assertTrue(connection.transport.aborted)

    def test_waiting(self) -> None:
        """Before a byte came: aborted by RST."""
        asked = self.ask()
        connection = self.upstream.accept()
        self.cancel(asked)
        self.assertTrue(connection.transport.aborted)

    def test_in_the_head(self) -> None:
        """While the headers come."""
        asked = self.ask()
        connection = self.upstream.accept()
        connection.send(OK_HEAD)
        self.cancel(asked)
        self.assertTrue(connection.transport.aborted)

    def test_on_a_kept_connection(self) -> None:
        """On a connection that had served before: it is not tried again."""
        self.exchange(answer(b""))
        self.cancel(self.ask())
        self.assertEqual(self.upstream.attempts, 1)

    def test_in_the_second_attempt(self) -> None:
        """While a fresh connection is made in place of a stale one."""
        self.exchange(answer(b""))
        asked = self.ask()
        self.upstream.connections[0].end()
        self.assertEqual(self.upstream.attempts, 2)
        self.cancel(asked)
        self.assertTrue(self.upstream.reactor.connectors[1].stoppedConnecting)

    def test_in_the_body(self) -> None:
        """After the headers it is the consumer who stops, paused or not."""
        for pause in (False, True):
            _, response = self.exchange(CHUNKED_HEAD + chunk(b"one"))
            consumer = RecordingConsumer()
            response.deliver(consumer)
            if pause:
                consumer.producer.pauseProducing()
            with no_delayed_calls(self.upstream.reactor):
                consumer.producer.stopProducing()
                consumer.producer.stopProducing()
            self.assertEqual(self.client.counts(), {})
            self.assertEqual((consumer.data, consumer.ends), (b"one", []))

    def test_after_the_end(self) -> None:
        """After the last byte nothing is to be cancelled; the connection is kept."""
        asked = self.ask()
        connection = self.upstream.accept()
        connection.send(answer(b""))
        asked.cancel()
        self.successResultOf(asked)
        self.assertFalse(connection.transport.disconnecting)


class PoolingTests(MemoryTests):
    """Requests and the connections that they share."""

    def test_reuse(self) -> None:
        """The next request to the same origin goes out on the same connection."""
        self.exchange(answer(b""))
        asked = self.ask(url="http://api.example.com:80/other")
        [connection] = self.upstream.connections
        self.assertTrue(connection.take().startswith(b"POST /other HTTP/1.1\r\n"))
        connection.send(answer(b""))
        self.successResultOf(asked)

    def test_stale(self) -> None:
        """A request on a stale connection goes out again, whole, and is told again."""
        self.exchange(answer(b""))
        self.told.clear()
        asked = self.ask(body=b"the body")
        self.upstream.connections[0].end()
        connection = self.upstream.accept()
        self.assertTrue(connection.take().endswith(b"\r\n\r\nthe body"))
        connection.send(answer(b""))
        self.assertEqual(self.successResultOf(asked).status, 200)
        self.assertEqual(self.told, ["connected", "sent"] * 2)

    def test_idle_timeout(self) -> None:
        """Each request says how long its connection may idle."""
        self.exchange(answer(b""), idle_timeout=5.0)
        self.upstream.reactor.advance(5.0)
        self.upstream.reactor.advance(0)
        self.assertEqual(self.client.counts(), {})

    def test_load_again(self) -> None:
        """Settings may be loaded anew; other settings keep their agents."""
        self.exchange(answer(b""))
        self.client.load(TLSSettings(client_cert=None))
        asked = self.ask()
        self.upstream.connections[0].send(answer(b""))
        self.successResultOf(asked)
        bundle = write_file(self.mktemp(), pem(Authority().certificate))
        self.client.load(TLSSettings(ca_bundle=bundle))
        self.assertEqual(self.upstream.attempts, 1)

    def test_close(self) -> None:
        """Closing leaves nothing."""
        self.exchange(answer(b""))
        closed = self.client.close()
        with no_delayed_calls(self.upstream.reactor):
            self.upstream.reactor.advance(0)
        self.successResultOf(closed)
        self.assertEqual(self.client.counts(), {})


class SocketTests(TestCase):
    """What only real sockets can show."""

    timeout = 10
    http = "llhttp"

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.client = UpstreamClient(reactor, http=self.http)
        self.authority = Authority()
        self.tls = TLSSettings(ca_bundle=write_file(self.mktemp(), pem(self.authority.certificate)))
        self.addCleanup(self.close)

    async def close(self) -> None:
        await self.client.close()

    def listen(
        self, respond: Callable[[SocketConnection], object], options: CertificateOptions | None
    ) -> SocketUpstream:
        upstream = SocketUpstream(respond)
        if options is None:
            self.port = self.reactor.listenTCP(0, upstream, interface="127.0.0.1")
        else:
            self.port = self.reactor.listenSSL(0, upstream, options, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        self.url = f"{'https' if options else 'http'}://127.0.0.1:{self.port.getHost().port}/v1"
        return upstream

    def options(self) -> CertificateOptions:
        return server_options(self.authority.issue("127.0.0.1"))

    def ask(self, body: bytes = b"{}", **more: Any) -> Deferred[UpstreamResponse]:
        return self.client.request(
            "POST",
            self.url,
            headers={},
            body=body,
            connected=lambda: None,
            sent=lambda: None,
            tls=more.pop("tls", self.tls),
            **more,
        )

    async def refusal(self, asked: Deferred[Any]) -> AIProxyError:
        """Return what a request fails with."""
        try:
            await asked
        except AIProxyError as error:
            return error
        self.fail("the request did not fail")

    async def test_exchange(self) -> None:
        """Requests follow each other on one connection, which does not hold back small writes."""
        for options in (None, self.options()):
            upstream = self.listen(lambda it: it.write(answer(b"hello")), options)
            for _ in range(3):
                response = await self.ask()
                self.assertEqual(await collect(response, 100), b"hello")
            self.assertEqual((len(upstream.requests), len(upstream.connections)), (3, 1))
            [ours] = [it for it in self.reactor.getReaders() if isinstance(it, Client)]
            self.assertTrue(ours.getTcpNoDelay())
            await self.client.close()
            await upstream.connections[0].lost

    async def test_records(self) -> None:
        """A head and a body that come as two records in one piece leave a connection that reads."""
        head, body = OK_HEAD + b"Content-Length: 5\r\n\r\n", b"hello"
        self.listen(lambda it: it.write_records(head, body), self.options())
        for _ in range(2):
            response = await self.ask()
            await self.turns(5)
            self.assertEqual(await collect(response, 100), b"hello")

    async def test_record_too_many(self) -> None:
        """An answer that nobody asked for, right behind another, is not the next request's."""
        numbers = count()

        def respond(connection: SocketConnection) -> None:
            connection.write_records(answer(b"%d" % next(numbers)), answer(b"of nobody"))

        self.listen(respond, self.options())
        bodies = [await collect(await self.ask(), 100) for _ in range(3)]
        self.assertEqual(bodies, [b"0", b"1", b"2"])

    async def test_large_body(self) -> None:
        """32 MiB arrive whole, by TCP and by TLS."""
        body = bytes(range(256)) * (128 * 1024)
        for options in (None, self.options()):
            upstream = self.listen(lambda it: it.write(answer(b"")), options)
            await self.ask(body)
            self.assertTrue(upstream.requests[0].endswith(b"\r\n\r\n" + body))
            await self.client.close()
            await upstream.connections[0].lost

    async def stopped(self, how: str, options: CertificateOptions | None) -> BaseException | None:
        """Start an endless body, stop it in some way; return how the upstream saw the end."""

        def endless(connection: SocketConnection) -> None:
            connection.write(CHUNKED_HEAD)
            connection.write(chunk(bytes(8 * 1024 * 1024)))

        upstream = self.listen(endless, options)
        response = await self.ask()
        if how != "abandoned":
            consumer = RecordingConsumer()
            response.deliver(consumer)
            await consumer.first
            if how == "paused":
                consumer.producer.pauseProducing()
                await self.turns(5)
            consumer.producer.stopProducing()
        else:
            await self.turns(5)
            response.abandon()
        reason = await upstream.connections[0].lost
        self.assertEqual(self.client.counts(), {})
        return reason

    async def turns(self, count: int) -> None:
        """Let the reactor turn, for what is on its way to arrive."""
        for _ in range(count):
            turned: Deferred[None] = Deferred()
            self.reactor.callLater(0, turned.callback, None)
            await turned

    async def test_stop(self) -> None:
        """A stop closes at once, however much waits and whether it is paused or not."""
        for options in (None, self.options()):
            for how in ("flowing", "paused", "abandoned"):
                self.assertIsNotNone(await self.stopped(how, options))

    async def test_cancel_waiting(self) -> None:
        """The upstream sees a cancelled request at once, as a RST, by TCP and by TLS."""
        for options in (None, self.options()):
            asked_for: Deferred[SocketConnection] = Deferred()
            self.listen(asked_for.callback, options)
            asked = self.ask()
            connection = await asked_for
            asked.cancel()
            await self.assertFailure(asked, CancelledError)
            self.assertIsInstance(await connection.lost, ConnectionLost)

    async def test_cancel_handshaking(self) -> None:
        """An upstream that never answers TLS is left at once."""
        upstream = self.listen(lambda it: None, None)
        self.url = self.url.replace("http:", "https:")
        asked = self.ask()
        while not upstream.connections:
            await self.turns(1)
        asked.cancel()
        await self.assertFailure(asked, CancelledError)
        await upstream.connections[0].lost

    async def test_stale(self) -> None:
        """A kept connection that is closed under a request is replaced, exactly once."""
        for options in (None, self.options()):

            def respond(connection: SocketConnection) -> None:
                if connection.requests > 1:
                    connection.reset()
                else:
                    connection.write(answer(b"hello"))

            upstream = self.listen(respond, options)
            for _ in range(2):
                self.assertEqual(await collect(await self.ask(), 100), b"hello")
            self.assertEqual((len(upstream.requests), len(upstream.connections)), (3, 2))
            await self.client.close()
            await DeferredList([it.lost for it in upstream.connections])

    async def test_reset(self) -> None:
        """A fresh connection that is reset fails the request."""
        for options in (None, self.options()):
            upstream = self.listen(SocketConnection.reset, options)
            error = await self.refusal(self.ask())
            self.assertIsInstance(error, ConnectFailed)
            self.assertIn("before it answered", str(error))
            self.assertEqual(len(upstream.requests), 1)

    async def test_refused(self) -> None:
        """Nobody listens."""
        self.listen(lambda it: None, None)
        await self.port.stopListening()
        self.assertIn("refused the connection", str(await self.refusal(self.ask())))

    async def test_unanswered_close(self) -> None:
        """An upstream that asks to close, and never says goodbye in TLS, is left alone."""

        def respond(connection: SocketConnection) -> None:
            connection.write(answer(b"", OK_HEAD + b"Connection: close\r\n"))

        upstream = self.listen(respond, self.options())
        await self.ask()
        await upstream.connections[0].lost
        self.assertEqual(self.client.counts(), {})

    async def test_certificates(self) -> None:
        """What is wrong with a certificate is said, and the request never sent."""
        for issued, why in (
            (self.authority.issue("api.example.com"), "is not valid for this host name"),
            (self.authority.issue("127.0.0.1", days=(-9, -2)), "has expired"),
            (Authority("Other").issue("127.0.0.1"), "is not signed by an authority that we trust"),
        ):
            upstream = self.listen(lambda it: None, server_options(issued))
            error = await self.refusal(self.ask())
            self.assertIsInstance(error, ConnectFailed)
            self.assertIn(f"the certificate of {self.url[8:-3]} {why}", str(error))
            self.assertEqual(upstream.requests, [])
            await DeferredList([it.lost for it in upstream.connections])

    async def test_load_again(self) -> None:
        """Files that were put right count from the next time they are loaded."""
        self.listen(lambda it: it.write(answer(b"")), self.options())
        path = self.mktemp()
        tls = TLSSettings(ca_bundle=write_file(path, pem(Authority("Other").certificate)))
        self.assertIsInstance(await self.refusal(self.ask(tls=tls)), ConnectFailed)
        write_file(path, pem(self.authority.certificate))
        self.assertIsInstance(await self.refusal(self.ask(tls=tls)), ConnectFailed)
        self.client.load(tls)
        self.assertEqual((await self.ask(tls=tls)).status, 200)

    async def test_silence(self) -> None:
        """A request and its connection leave no line in the log."""
        events: list[LogEvent] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        upstream = self.listen(lambda it: it.write(answer(b"")), self.options())
        events.clear()
        await self.ask()
        await self.client.close()
        await upstream.connections[0].lost
        self.assertEqual([event.get("log_format") for event in events], [])

    async def test_not_tls(self) -> None:
        """TLS with an upstream that does not speak it fails with OpenSSL's word for it."""
        upstream = self.listen(lambda it: None, None)
        upstream.buildProtocol = lambda addr: Greeter(upstream)  # type: ignore[method-assign]
        self.url = self.url.replace("http:", "https:")
        error = await self.refusal(self.ask())
        self.assertIsInstance(error, ConnectFailed)
        self.assertIn("TLS with 127.0.0.1", str(error))

    async def test_client_certificate_missing(self) -> None:
        """An upstream that wants to know who we are, and is not told, breaks off TLS."""
        from twisted.internet.ssl import Certificate, trustRootFromCertificates

        authority = Certificate.loadPEM(pem(self.authority.certificate))
        options = server_options(
            self.authority.issue("127.0.0.1"), trustRoot=trustRootFromCertificates([authority])
        )
        self.listen(lambda it: it.write(answer(b"")), options)
        error = await self.refusal(self.ask())
        self.assertIsInstance(error, ConnectFailed)
        self.assertIn("certificate required", str(error))

    async def test_header_bomb(self) -> None:
        """A head without an end is given up, by TCP and by TLS."""

        def respond(connection: SocketConnection) -> None:
            connection.write(OK_HEAD + (b"x: " + b"y" * 1000 + b"\r\n") * 1000)

        for options in (None, self.options()):
            upstream = self.listen(respond, options)
            self.assertIsInstance(await self.refusal(self.ask()), AnswerTooLarge)
            await upstream.connections[0].lost


class Greeter(SocketConnection):
    """Speaks first, and no TLS."""

    def connectionMade(self) -> None:
        self.write(b"220 smtp.example.com ESMTP\r\n")

    def dataReceived(self, data: bytes) -> None: ...


class KindTests(SynchronousTestCase):
    """Which HTTP it is."""

    def test_unknown(self) -> None:
        """There are two kinds, and a misspelt one is no third."""
        self.assertRaises(ValueError, UpstreamClient, MemoryUpstream().reactor, http="lhttp")

    def test_proxy(self) -> None:
        """A proxy that cannot be used is known at once."""
        environment = {"ALL_PROXY": "socks5://localhost"}
        self.assertRaises(
            ConfigurationError, UpstreamClient, MemoryUpstream().reactor, environment=environment
        )


class StockRequestTests(RequestTests):
    """The same over Twisted's own client."""

    http = "stock"


class StockResponseTests(ResponseTests):
    """The same over Twisted's own client."""

    http = "stock"


class StockFailureTests(FailureTests):
    """The same over Twisted's own client."""

    http = "stock"


class StockCancelTests(CancelTests):
    """The same over Twisted's own client."""

    http = "stock"


class StockPoolingTests(PoolingTests):
    """The same over Twisted's own client."""

    http = "stock"


class StockSocketTests(SocketTests):
    """The same over Twisted's own client."""

    http = "stock"

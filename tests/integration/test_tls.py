"""Whole servers within TLS, and upstreams that ask who we are."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import sys
import warnings
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.ssl import Certificate as TwistedCertificate
from twisted.internet.ssl import trustRootFromCertificates
from twisted.internet.threads import deferToThread
from twisted.protocols.tls import TLSMemoryBIOFactory

from tests.integration.servers import (
    TOKEN,
    Server,
    ServersTestCase,
    config_for,
    write_chat,
    write_request,
)
from tests.integration.test_clients import HEAD, completion
from tests.transport.certificates import Chain, show
from tests.transport.upstreams import Authority, SocketUpstream, pem, server_options, write_file

DEMO = "models: [{name: demo/echo, provider: demo}]\n"
HEALTH = write_request("GET", "/health/live")
OPENAI = """
import json, ssl, sys, openai
url, token, roots = sys.argv[1:]
trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
trust.load_verify_locations(roots)
http = openai.DefaultHttpxClient(verify=trust)
client = openai.OpenAI(base_url=url, api_key=token, http_client=http, max_retries=0)
ask = lambda **more: client.chat.completions.create(
    model="demo/echo", messages=[{"role": "user", "content": "one two three"}], **more)
plain = ask().choices[0].message.content
stream = "".join(chunk.choices[0].delta.content or "" for chunk in ask(stream=True))
try:
    openai.OpenAI(base_url=url, api_key=token, max_retries=0).models.list()
    other = None
except openai.APIConnectionError as error:
    other = str(error.__cause__)
print(json.dumps([plain, stream, other]))
"""


class Visitor:
    """A client on Python's ssl; its methods wait, so they are called in threads."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._raw = socket.create_connection(("127.0.0.1", port), 20)
        try:
            self.tls = context.wrap_socket(self._raw, server_hostname="localhost")
        except BaseException:
            self._raw.close()
            raise

    @property
    def seen(self) -> x509.Certificate:
        """The server's certificate."""
        found = self.tls.getpeercert(binary_form=True)
        assert found
        return x509.load_der_x509_certificate(found)

    def read_until(self, end: bytes) -> bytes:
        """Return what comes until these bytes have."""
        received = b""
        while end not in received:
            data = self.tls.recv(2**16)
            assert data, received
            received += data
        return received

    def finish(self, request: bytes = b"") -> bytes:
        """Send something; return what comes until the end of TLS."""
        with self.tls:
            self.tls.sendall(request)
            received = b""
            while data := self.tls.recv(2**16):
                received += data
            return received


class TLSTestCase(ServersTestCase):
    """Starts servers with a certificate of a chain."""

    def setUp(self) -> None:
        super().setUp()
        self.chain = Chain()
        self.first = self.chain.issue("localhost", "127.0.0.1")
        self.files = self.chain.write(self.folder, self.first)
        self.roots = self.chain.write_root(self.folder)

    async def begin(self, more: str = "", *options: str, config: str = DEMO) -> Server:
        """Start a server; return it when it serves."""
        self.write(config)
        server = self.start(more, *options)
        await server.serves()
        return server

    def start(self, more: str = "", *options: str) -> Server:
        """Start a server."""
        endpoint = f"tls:0:interface=127.0.0.1:certKey={self.files[0]}:privateKey={self.files[1]}"
        return self.twistd("-l", endpoint + more, *options, env={"AUTH_TOKEN": TOKEN})

    async def visit(self, server: Server, context: ssl.SSLContext | None = None) -> Visitor:
        """Connect; the client trusts the chain's root."""
        visitor: Visitor = await deferToThread(Visitor, server.port, context or self.chain.client())
        self.addCleanup(visitor.tls.close)
        return visitor

    async def hang_up(self, server: Server, says: bytes) -> None:
        """Send HUP, and wait until the server says this."""
        server.signal(signal.SIGHUP)
        await server.until_bytes(says)


class ServingTests(TLSTestCase):
    """What clients see."""

    async def test_official_client(self) -> None:
        """OpenAI's client is served, plain and streamed, and verifies the whole chain."""
        server = await self.begin()
        self.assertTrue(server.url.startswith("https://127.0.0.1:"))
        client = self.spawn([sys.executable, "-c", OPENAI, f"{server.url}/v1", TOKEN, self.roots])
        self.assertEqual(await client.ended(30), 0, client.output)
        plain, stream, other = json.loads(client.output.splitlines()[-1])
        self.assertIn("one two three", plain)
        self.assertEqual(stream, plain)
        self.assertIn("CERTIFICATE_VERIFY_FAILED", other)

    async def test_renewal(self) -> None:
        """A stream that runs while the certificate is renewed ends whole; new clients see it."""
        upstream, port = self.upstream(
            lambda connection: connection.write(
                HEAD % (b"200 OK", b"text/event-stream", b"") + event("first ")
            )
        )
        server = await self.begin(config=config_for(port))
        visitor = await self.visit(server)
        visitor.tls.sendall(write_chat("hi", model="up/one", stream=True))
        received = await deferToThread(visitor.read_until, b"first ")
        second = self.chain.issue("localhost")
        self.chain.write(self.folder, second)
        await self.hang_up(server, b"reloaded the configuration")
        newcomer = await self.visit(server)
        self.assertEqual((visitor.seen, newcomer.seen), (self.first[0], second[0]))
        self.assertIn("has a new certificate, valid until", server.output)
        [connection] = upstream.connections
        connection.write(event("last", "stop") + b"data: [DONE]\n\n")
        connection.close()
        received += await deferToThread(visitor.finish)
        self.assertRegex(received, b'(?s)"first ".*"last".*data: \\[DONE]')

    async def test_broken_renewal(self) -> None:
        """A reload with a broken file changes nothing, and the log says why."""
        server = await self.begin()
        visitors = [await self.visit(server)]
        Path(self.files[1]).write_bytes(b"")
        await self.hang_up(server, b"was not reloaded")
        self.assertIn(f"privateKey {self.files[1]}: holds no private key", server.output)
        visitors.append(await self.visit(server))
        for visitor in visitors:
            self.assertEqual(visitor.seen, self.first[0])
            self.assertIn(b" 200 OK", await deferToThread(visitor.finish, HEALTH))

    async def test_broken_start(self) -> None:
        """A server does not start with a file that it cannot use, and says which."""
        self.write(DEMO)
        Path(self.files[1]).write_bytes(pem(self.chain.issue("localhost")[1]))
        server = self.start()
        self.assertEqual(await server.ended(), 1)
        self.assertIn(f"privateKey {self.files[1]}: the private key belongs to", server.output)
        self.assertNotIn("Traceback", server.output)

    async def test_workers(self) -> None:
        """Workers serve it, too, and have a new certificate after a reload."""
        server = await self.begin("", "-w", "2")
        await self.visit(server)
        second = self.chain.issue("localhost")
        self.chain.write(self.folder, second)
        await self.hang_up(server, b"reloaded the configuration")
        for _ in range(6):
            visitor = await self.visit(server)
            self.assertEqual(visitor.seen, second[0])
            self.assertIn(b" 200 OK", await deferToThread(visitor.finish, HEALTH))


class StrangersTests(TLSTestCase):
    """Who is not served."""

    async def assert_refused(self, server: Server, context: ssl.SSLContext) -> None:
        """Assert that a client does not even get a request answered."""

        async def ask() -> None:
            visitor = await self.visit(server, context)
            # By TLS 1.3 a client only hears with the answer that it was refused.
            await deferToThread(visitor.finish, HEALTH)

        await self.assertFailure(Deferred.fromCoroutine(ask()), ssl.SSLError, ConnectionError)

    async def test_old(self) -> None:
        """TLS 1.1 is refused, and ciphers without forward secrecy or authentication are."""
        server = await self.begin()
        old, weak = self.chain.client(), self.chain.client()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            old.minimum_version = ssl.TLSVersion.TLSv1
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        weak.maximum_version = ssl.TLSVersion.TLSv1_2
        weak.set_ciphers("ECDHE-ECDSA-AES256-SHA384:ECDHE-ECDSA-AES128-SHA")
        for context in (old, weak):
            await self.assert_refused(server, context)

    async def test_no_tls(self) -> None:
        """Who speaks no TLS is sent away, without a word in the log but for one line."""
        server = await self.begin()
        for _ in range(3):
            connection = await self.connect(server.port, HEALTH)
            await connection.until(lambda one=connection: one.reason is not None)  # type: ignore[misc]
            self.assertNotIn(b"200 OK", connection.received)
        visitor = await self.visit(server)
        self.assertIn(b" 200 OK", await deferToThread(visitor.finish, HEALTH))
        self.assertLessEqual(server.output.count("TLS with 127.0.0.1 failed"), 1)
        for word in ("Traceback", "Unhandled", "Error"):
            self.assertNotIn(word, server.output)

    async def test_clients(self) -> None:
        """With clientCA, a certificate of that authority is needed, or checked where shown."""
        required = await self.begin(f":clientCA={self.roots}")
        optional = await self.begin(f":clientCA={self.roots}:clients=optional")
        known, stranger = self.chain.client(), self.chain.client()
        show(known, self.folder, *self.chain.issue("client")[::-1], self.chain.middle)
        show(stranger, self.folder, *Authority("Middle").issue("client")[::-1])
        for server, context, served in (
            (required, known, True),
            (required, stranger, False),
            (required, self.chain.client(), False),
            (optional, known, True),
            (optional, stranger, False),
            (optional, self.chain.client(), True),
        ):
            if served:
                visitor = await self.visit(server, context)
                self.assertIn(b" 200 OK", await deferToThread(visitor.finish, HEALTH))
            else:
                await self.assert_refused(server, context)
        self.assertIn("TLS with 127.0.0.1 failed: certificate verify failed", required.output)


class UpstreamTests(ServersTestCase):
    """Upstreams with an authority of their own, that ask for ours."""

    def listen(self, authority: Authority) -> int:
        """Start an upstream that only serves an authority's clients; return its port."""
        from twisted.internet import reactor

        running: Any = reactor
        trusted = trustRootFromCertificates(
            [TwistedCertificate.loadPEM(pem(authority.certificate))]
        )
        options = server_options(authority.issue("localhost", "127.0.0.1"), trustRoot=trusted)
        upstream = SocketUpstream(answer)
        factory = TLSMemoryBIOFactory(options, False, upstream, running)
        port = running.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(self.stop, upstream, port)
        return int(port.getHost().port)

    async def stop(self, upstream: SocketUpstream, port: Any) -> None:
        """Stop an upstream, when its connections have ended by themselves."""
        await port.stopListening()
        for connection in upstream.connections:
            await connection.lost

    def issue(self, authority: Authority) -> None:
        """Write the files of a provider's settings."""
        write_file(str(self.folder / "ca.pem"), pem(authority.certificate))
        write_file(str(self.folder / "client.pem"), pem(*authority.issue("aiproxy")))

    async def test_reload(self) -> None:
        """Each provider has its files, and a reload reads them anew."""
        first, second = Authority("First"), Authority("Second")
        self.issue(first)
        ports = [self.listen(authority) for authority in (first, second)]
        providers = "".join(
            f"  up{place}: {{base_url: 'https://127.0.0.1:{port}/v1', token: sk-upstream, "
            f"ca_bundle: {self.folder}/ca.pem, client_cert: {self.folder}/client.pem}}\n"
            for place, port in enumerate(ports)
        )
        models = "models: [{name: up0/one, provider: up0}, {name: up1/one, provider: up1}]\n"
        self.write(f"providers:\n{providers}{models}retry: {{max_retries: 0}}\n")
        server = await self.serve()

        async def ask(place: int) -> int:
            chat = write_chat("hi", model=f"up{place}/one")
            return (await self.ask(server.port, chat)).status

        self.assertEqual([await ask(0), await ask(1)], [200, 502])
        self.issue(second)
        server.signal(signal.SIGHUP)
        await server.until_bytes(b"reloaded the configuration")
        self.assertEqual(await ask(1), 200)


def event(text: str, reason: str | None = None) -> bytes:
    """Write an event of a stream."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": reason}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


def answer(connection: Any) -> None:
    """Answer a chat, and close."""
    connection.write(completion({"content": "hi"}))
    connection.close()

"""
Upstreams for the client's tests: in memory, and on real sockets with certificates.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from attrs import define, field
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from aiproxy.interfaces import IBodyConsumer

OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


def answer(body: bytes, head: bytes = OK_HEAD) -> bytes:
    """Return a whole answer with a content length."""
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


@implementer(ITCPTransport)
class MemoryTransport(StringTransport):
    """
    A transport that ends as TCP's does: in a later turn of the reactor.

    :ivar aborted: it was closed by RST.
    :ivar full: it pauses who writes to it.
    """

    def __init__(self, clock: MemoryReactorClock, protocol: Any) -> None:
        super().__init__(lenient=True)
        self.aborted = False
        self.full = False
        self.no_delay = False
        self._clock = clock
        self._protocol = protocol

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def getTcpNoDelay(self) -> bool:
        return self.no_delay

    def setTcpKeepAlive(self, enabled: bool) -> None: ...

    def getTcpKeepAlive(self) -> bool:
        return False

    def loseWriteConnection(self) -> None: ...

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.full and self.producer is not None:
            self.producer.pauseProducing()

    def resumeProducing(self) -> None:
        # TCP's takes no notice of it while it closes.
        if not self.disconnecting:
            super().resumeProducing()

    def stopProducing(self) -> None:
        self.producerState = "stopped"
        self.loseConnection()

    def loseConnection(self) -> None:
        if not self.disconnecting:
            self.disconnecting = True
            self._clock.callLater(0, self.lose, ConnectionDone())

    def abortConnection(self) -> None:
        if not self.aborted:
            self.aborted = True
            self._clock.callLater(0, self.lose, ConnectionAborted())

    def lose(self, reason: Exception) -> None:
        """The connection is gone."""
        if self.connected:
            self.connected = False
            self.disconnected = True
            if self.producer is not None:
                self.producer.stopProducing()
            self._protocol.connectionLost(Failure(reason))


class MemoryUpstream:
    """
    Upstreams on a reactor in memory, one after the other.

    :ivar connections: what was accepted.
    """

    def __init__(self) -> None:
        self.reactor = MemoryReactorClock()
        self.connections: list[MemoryConnection] = []

    @property
    def attempts(self) -> int:
        """How many connections were asked for."""
        return len(self.reactor.tcpClients)

    def accept(self, *, full: bool = False) -> MemoryConnection:
        """Let the newest attempt succeed; a ``full`` connection takes little at a time."""
        factory = self.reactor.tcpClients[-1][2]
        protocol: Any = factory.buildProtocol(None)
        connection = MemoryConnection(protocol, MemoryTransport(self.reactor, protocol))
        connection.transport.full = full
        protocol.makeConnection(connection.transport)
        self.connections.append(connection)
        return connection

    def refuse(self, reason: Exception) -> None:
        """Let the newest attempt fail."""
        factory = self.reactor.tcpClients[-1][2]
        factory.clientConnectionFailed(self.reactor.connectors[-1], Failure(reason))
        # Twisted's endpoint looks for further addresses after 0.3 s.
        self.reactor.advance(0.3)


@define
class MemoryConnection:
    """The upstream's end of one connection."""

    protocol: Any
    transport: MemoryTransport

    def send(self, data: bytes) -> None:
        """Let the upstream send some bytes."""
        self.protocol.dataReceived(data)

    def take(self) -> bytes:
        """Return what it was sent since the last time."""
        taken: bytes = self.transport.value()
        self.transport.clear()
        return taken

    def cut(self) -> None:
        """Let the connection break."""
        self.transport.lose(ConnectionLost())

    def end(self) -> None:
        """Let the upstream close."""
        self.transport.lose(ConnectionDone())


@implementer(IBodyConsumer)
class RecordingConsumer:
    """
    Writes down what it is told.

    :param on_begin: called with the consumer when the body begins.
    :param on_data: called with the consumer after each piece.
    """

    def __init__(
        self,
        on_begin: Callable[[RecordingConsumer], object] = lambda _: None,
        on_data: Callable[[RecordingConsumer], object] = lambda _: None,
    ) -> None:
        self.producer: IPushProducer
        self.pieces: list[bytes] = []
        self.ends: list[str | Exception] = []
        self.done: Deferred[None] = Deferred()
        self.first: Deferred[None] = Deferred()
        self._on_begin = on_begin
        self._on_data = on_data

    @property
    def data(self) -> bytes:
        """All that came."""
        return b"".join(self.pieces)

    def begin(self, producer: IPushProducer) -> None:
        self.producer = producer
        self._on_begin(self)

    def received(self, data: bytes) -> None:
        self.pieces.append(data)
        self._on_data(self)
        if not self.first.called:
            self.first.callback(None)

    def finished(self) -> None:
        self.ends.append("finished")
        self.done.callback(None)

    def failed(self, reason: Exception) -> None:
        self.ends.append(reason)
        self.done.callback(None)


class SocketConnection(Protocol):
    """The upstream's end of one real connection."""

    def __init__(self, upstream: SocketUpstream) -> None:
        self.upstream = upstream
        self.requests = 0
        self.lost: Deferred[BaseException | None] = Deferred()
        self._received = bytearray()
        self._length: int | None = None

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        if self._length is None:
            head, end, _ = bytes(self._received).lower().partition(b"\r\n\r\n")
            if not end:
                return
            body_length = head.partition(b"\r\ncontent-length: ")[2].split(b"\r\n")[0]
            self._length = len(head) + len(end) + int(body_length or 0)
        if len(self._received) >= self._length:
            self.upstream.requests.append(bytes(self._received))
            self._received.clear()
            self._length = None
            self.requests += 1
            self.upstream.respond(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason.value)

    def write(self, data: bytes) -> None:
        """Send some bytes."""
        self.transport.write(data)  # type: ignore[union-attr]

    def write_records(self, *records: bytes) -> None:
        """Send some bytes in TLS, each in a record of its own, all of them in one piece."""
        for record in records:
            # The transport's own method would join them.
            TLSMemoryBIOProtocol.write(cast(TLSMemoryBIOProtocol, self.transport), record)

    def close(self) -> None:
        """Close in order."""
        self.transport.loseConnection()  # type: ignore[union-attr]

    def reset(self) -> None:
        """Close by RST."""
        self.transport.abortConnection()  # type: ignore[union-attr]


class SocketUpstream(Factory):
    """
    A server whose answers are a function.

    :param respond: called with the connection for each whole request.
    :ivar requests: each request's bytes.
    """

    noisy = False

    def __init__(self, respond: Callable[[SocketConnection], object]) -> None:
        self.respond = respond
        self.requests: list[bytes] = []
        self.connections: list[SocketConnection] = []

    def buildProtocol(self, addr: IAddress | None) -> SocketConnection:
        connection = SocketConnection(self)
        self.connections.append(connection)
        return connection


#: What an authority's key may be used for.
_MAY_SIGN = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@define
class Authority:
    """A throw-away certificate authority."""

    name: str = "Throw-away"
    key: ec.EllipticCurvePrivateKey = field(factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def certificate(self) -> x509.Certificate:
        """Its own certificate, with all that Python asks for since 3.13 (RFC 5280, 4.2.1)."""
        public = self.key.public_key()
        builder = self._builder(self.name, public, days=(-1, 30))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        builder = builder.add_extension(_MAY_SIGN, True)
        return builder.sign(self.key, hashes.SHA256())

    def issue(
        self, *names: str, days: tuple[int, int] = (-1, 30)
    ) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        """Certify names and addresses, from and until so many days from now."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = []
        for name in names:
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                alternatives.append(x509.DNSName(name))
        builder = self._builder(names[0], key.public_key(), days)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(authority, False)
        return builder.sign(self.key, hashes.SHA256()), key

    def _builder(
        self, subject: str, key: ec.EllipticCurvePublicKey, days: tuple[int, int]
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(subject))
            .issuer_name(_name(self.name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=days[0]))
            .not_valid_after(now + datetime.timedelta(days=days[1]))
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def pem(*parts: x509.Certificate | ec.EllipticCurvePrivateKey, password: bytes = b"") -> bytes:
    """Write certificates and keys one after the other."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password)
    return b"".join(
        part.public_bytes(serialization.Encoding.PEM)
        if isinstance(part, x509.Certificate)
        else part.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
        for part in parts
    )


def write_file(path: str, data: bytes) -> str:
    """Write a file, return its path."""
    Path(path).write_bytes(data)
    return path


def server_options(
    issued: tuple[x509.Certificate, ec.EllipticCurvePrivateKey], **more: Any
) -> CertificateOptions:
    """Make a TLS server's side of a certificate."""
    # Twisted's annotations name pyOpenSSL's own types, which pyOpenSSL has deprecated.
    certificate: Any = issued[0]
    key: Any = issued[1]
    return CertificateOptions(certificate=certificate, privateKey=key, **more)


@contextmanager
def no_delayed_calls(reactor: MemoryReactorClock) -> Iterator[None]:
    """Assert that nothing waits any more when the block is over."""
    yield
    reactor.advance(0)
    left = reactor.getDelayedCalls()
    assert not left, left

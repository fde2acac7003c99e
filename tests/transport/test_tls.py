"""Tests of :mod:`aiproxy.transport.tls`."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import Certificate as TwistedCertificate
from twisted.internet.ssl import TLSVersion, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface.verify import verifyObject

from aiproxy.errors import ConfigurationError
from aiproxy.transport import tls
from aiproxy.transport.failures import CertificateRefused
from aiproxy.transport.tls import TLSSettings, UpstreamTrust
from tests.transport.upstreams import Authority, pem, server_options, write_file


class TLSEnd(Protocol):
    """One end of a connection."""

    def __init__(self) -> None:
        self.received = b""
        self.lost: list[BaseException | None] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason.value)


def talk(client: IOpenSSLClientConnectionCreator, server: Any) -> tuple[TLSEnd, TLSEnd, Any]:
    """
    Let two ends shake hands in memory.

    :return: the client's end, the server's, and the server's TLS.
    """
    clock = Clock()
    ends = []
    for creator, is_client in ((client, True), (server, False)):
        factory = TLSMemoryBIOFactory(creator, is_client, Factory.forProtocol(TLSEnd), clock)
        end: Any = factory.buildProtocol(None)
        transport = StringTransport()
        end.makeConnection(transport)
        ends.append((end.wrappedProtocol, end, transport))
    moved = True
    while moved:
        moved = False
        for (_, target, _), (_, _, source) in (ends, ends[::-1]):
            data = source.value()
            source.clear()
            if data:
                moved = True
                target.dataReceived(data)
    for _, end, transport in ends:
        if transport.disconnecting:
            end.connectionLost(Failure(ConnectionLost()))
    (client_end, client_tls, _), (server_end, server_tls, _) = ends
    if not client_end.lost:
        client_tls.write(b"hello")
        clock.advance(0)
        server_tls.dataReceived(ends[0][2].value())
    return client_end, server_end, server_tls


class TrustTests(SynchronousTestCase):
    """Which upstream passes."""

    def setUp(self) -> None:
        self.authority = Authority()
        self.bundle = write_file(self.mktemp(), pem(self.authority.certificate))

    def meet(
        self,
        host: str,
        server: Any,
        settings: TLSSettings | None = None,
    ) -> tuple[TLSEnd, TLSEnd, Any]:
        trust = UpstreamTrust(settings or TLSSettings(ca_bundle=self.bundle))
        return talk(trust.creatorForNetloc(host.encode("ascii"), 443), server)

    def assert_refused(self, host: str, server: Any, why: str, **settings: str) -> None:
        """Assert that the client refuses, and says so, before a byte of its request is sent."""
        client, end, _ = self.meet(host, server, TLSSettings(**settings) if settings else None)
        [reason] = client.lost
        self.assertIsInstance(reason, CertificateRefused)
        self.assertIn(why, str(reason))
        self.assertEqual(end.received, b"")

    def test_interface(self) -> None:
        """It is what Twisted's agent takes, and what that takes from it."""
        trust = UpstreamTrust(TLSSettings())
        self.assertTrue(verifyObject(IPolicyForHTTPS, trust))
        creator = trust.creatorForNetloc(b"api.example.com", 443)
        self.assertTrue(verifyObject(IOpenSSLClientConnectionCreator, creator))

    def test_right(self) -> None:
        """The right certificate passes; the name is asked for by SNI."""
        server = server_options(self.authority.issue("api.example.com"))
        client, end, served = self.meet("api.example.com", server)
        self.assertEqual(client.lost, [])
        self.assertEqual(end.received, b"hello")
        self.assertEqual(served.getHandle().get_servername(), b"api.example.com")

    def test_wildcard(self) -> None:
        """A wildcard stands for one label."""
        server = server_options(self.authority.issue("*.example.com"))
        self.assertEqual(self.meet("api.example.com", server)[1].received, b"hello")
        self.assert_refused("a.api.example.com", server, "not valid for this host name")

    def test_address(self) -> None:
        """An address is certified as an address, and never sent as a name."""
        for address in ("127.0.0.1", "::1"):
            server = server_options(self.authority.issue(address))
            _, end, served = self.meet(address, server)
            self.assertEqual(end.received, b"hello")
            self.assertIsNone(served.getHandle().get_servername())
        named = server_options(self.authority.issue("api.example.com"))
        self.assert_refused("127.0.0.1", named, "not valid for this host name")

    def test_wrong_host(self) -> None:
        """Another host's certificate does not pass."""
        server = server_options(self.authority.issue("other.example.com"))
        self.assert_refused("api.example.com", server, "not valid for this host name")

    def test_expired(self) -> None:
        """Nor does one out of its time."""
        server = server_options(self.authority.issue("api.example.com", days=(-9, -2)))
        self.assert_refused("api.example.com", server, "has expired")
        server = server_options(self.authority.issue("api.example.com", days=(2, 9)))
        self.assert_refused("api.example.com", server, "is not valid yet")

    def test_untrusted(self) -> None:
        """Nor one of another authority, nor the platform's when a bundle is given."""
        server = server_options(Authority("Other").issue("api.example.com"))
        self.assert_refused("api.example.com", server, "not signed by an authority")

    def test_platform(self) -> None:
        """Without a bundle the platform's authorities count, and ours is none of them."""
        server = server_options(self.authority.issue("api.example.com"))
        self.assert_refused("api.example.com", server, "not signed by", client_cert=self.identity())

    def test_self_signed(self) -> None:
        """Nor one that nobody but itself vouches for."""
        authority = Authority("api.example.com")
        issued = authority.certificate, authority.key
        self.assert_refused(
            "api.example.com",
            server_options(issued),
            "is self-signed; if it is yours, name it or its authority in the provider's"
            " `ca_bundle`",
        )

    def test_issued_by_no_authority(self) -> None:
        """What OpenSSL refuses for another reason is told with its code."""
        middle = self.authority.issue("middle")
        below = Authority("middle", middle[1])
        server = server_options(below.issue("api.example.com"), extraCertChain=[middle[0]])
        self.assert_refused("api.example.com", server, "does not pass (OpenSSL's code ")

    def test_old_protocol(self) -> None:
        """TLS 1.1 is not spoken."""
        server = server_options(
            self.authority.issue("api.example.com"),
            insecurelyLowerMinimumTo=TLSVersion.TLSv1_0,
            lowerMaximumSecurityTo=TLSVersion.TLSv1_1,
        )
        client, _, _ = self.meet("api.example.com", server)
        self.assertIsInstance(client.lost[0], SSL.Error)

    def test_unreadable_certificate(self) -> None:
        """An exception while verifying refuses."""
        server = server_options(self.authority.issue("api.example.com"))
        self.patch(tls, "extract_patterns", lambda certificate: 1 // 0)
        self.assert_refused("api.example.com", server, "cannot be read")

    def identity(self) -> str:
        """Write a client's certificate with its key."""
        return write_file(self.mktemp(), pem(*self.authority.issue("client")))

    def test_client_certificate(self) -> None:
        """An upstream that asks who we are is told."""
        authority = TwistedCertificate.loadPEM(pem(self.authority.certificate))
        server = server_options(
            self.authority.issue("api.example.com"),
            trustRoot=trustRootFromCertificates([authority]),
        )
        settings = TLSSettings(ca_bundle=self.bundle, client_cert=self.identity())
        _, end, served = self.meet("api.example.com", server, settings)
        self.assertEqual(end.received, b"hello")
        subject = served.getPeerCertificate().to_cryptography().subject
        self.assertEqual(subject.rfc4514_string(), "CN=client")
        anonymous = self.meet("api.example.com", server)
        self.assertEqual(anonymous[1].received, b"")

    def test_one_context(self) -> None:
        """All hosts share one context, for to load the authorities takes its time."""
        trust = UpstreamTrust(TLSSettings())
        contexts = set()
        for host in (b"a.example.com", b"b.example.com"):
            protocol = TLSMemoryBIOFactory(
                trust.creatorForNetloc(host, 443), True, Factory.forProtocol(Protocol), Clock()
            ).buildProtocol(None)
            protocol.makeConnection(StringTransport())
            contexts.add(protocol.getHandle().get_context())
        self.assertEqual(len(contexts), 1)


class FilesTests(SynchronousTestCase):
    """Files that cannot be used."""

    def problems(self, **settings: str) -> list[str]:
        error = self.assertRaises(ConfigurationError, UpstreamTrust, TLSSettings(**settings))
        return [problem.message for problem in error.problems]

    def test_missing(self) -> None:
        """A missing file is named, and all mistakes are told at once."""
        self.assertEqual(
            self.problems(ca_bundle="/no/ca.pem", client_cert="/no/client.pem"),
            [
                "ca_bundle /no/ca.pem: No such file or directory",
                "client_cert /no/client.pem: No such file or directory",
            ],
        )

    def test_no_certificate(self) -> None:
        """A file without a certificate, or with a broken one, is no bundle."""
        broken = pem(Authority().certificate).replace(b"MII", b"!!!", 1)
        for data in (b"", b"nonsense", broken):
            path = write_file(self.mktemp(), data)
            for setting in ("ca_bundle", "client_cert"):
                [problem] = self.problems(**{setting: path})
                self.assertIn("holds no certificate in PEM form", problem)

    def test_no_key(self) -> None:
        """A client's certificate needs its key in the same file."""
        path = write_file(self.mktemp(), pem(Authority().certificate))
        self.assertIn("holds no private key", self.problems(client_cert=path)[0])

    def test_encrypted_key(self) -> None:
        """Nobody is there to be asked for a password."""
        certificate, key = Authority().issue("client")
        path = write_file(self.mktemp(), pem(certificate, key, password=b"secret"))
        self.assertIn("is encrypted", self.problems(client_cert=path)[0])

    def test_wrong_key(self) -> None:
        """The key has to be the certificate's."""
        authority = Authority()
        path = write_file(
            self.mktemp(), pem(authority.issue("client")[0], authority.issue("other")[1])
        )
        self.assertIn("belongs to another certificate", self.problems(client_cert=path)[0])

    def test_bundle_of_many(self) -> None:
        """A bundle may hold many, one of them twice."""
        first, second = Authority("first"), Authority("second")
        path = write_file(
            self.mktemp(), pem(first.certificate, second.certificate, first.certificate)
        )
        second_server = server_options(second.issue("api.example.com"))
        creator = UpstreamTrust(TLSSettings(ca_bundle=path)).creatorForNetloc(
            b"api.example.com", 443
        )
        self.assertEqual(talk(creator, second_server)[1].received, b"hello")

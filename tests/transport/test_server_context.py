"""Tests of :mod:`aiproxy.transport.server_context`."""

from __future__ import annotations

import ssl
import warnings
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import ConfigurationError
from aiproxy.transport.server_context import Identity, explain, make_context
from tests.transport.certificates import Chain, shake_hands, show
from tests.transport.upstreams import Authority, pem


class ContextTestCase(SynchronousTestCase):
    """Has a chain, and a folder with the files of a server."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.chain = Chain()
        self.certificate, self.key = self.chain.write(self.folder, self.chain.issue("localhost"))
        self.client = self.chain.client()

    def connect(self, *, ask: bool = False, optional: bool = False) -> SSL.Connection:
        """Return the server's end of a connection."""
        authorities = self.chain.write_root(self.folder) if ask else None
        identity = Identity.load(self.certificate, self.key, authorities)
        return SSL.Connection(make_context(identity, clients_optional=optional), None)


class HandshakeTests(ContextTestCase):
    """What is agreed upon."""

    def test_chain(self) -> None:
        """A client that knows the root only can verify the whole chain, by TLS 1.3."""
        client = shake_hands(self.connect(), self.client)
        self.assertEqual(client.version(), "TLSv1.3")
        self.assertIsNone(client.compression())
        self.assertRaises(
            ssl.SSLCertVerificationError, shake_hands, self.connect(), self.client, "elsewhere"
        )

    def test_old_versions(self) -> None:
        """TLS 1.2 is the oldest."""
        self.client.minimum_version = ssl.TLSVersion.TLSv1_2
        self.client.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertEqual(shake_hands(self.connect(), self.client).version(), "TLSv1.2")
        self.client.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.client.minimum_version = ssl.TLSVersion.TLSv1_1
            self.client.maximum_version = ssl.TLSVersion.TLSv1_1
        error = self.assertRaises(SSL.Error, shake_hands, self.connect(), self.client)
        self.assertEqual(explain(error), "unsupported protocol")

    def test_ciphers(self) -> None:
        """By TLS 1.2, every cipher has forward secrecy and is an AEAD; the client chooses."""
        self.client.maximum_version = ssl.TLSVersion.TLSv1_2
        names = self.connect().get_cipher_list()
        old = [name for name in names if not name.startswith("TLS_")]
        self.assertEqual(len(old), 6)
        for name in old:
            self.assertRegex(name, "^ECDHE-(ECDSA|RSA)-.*(GCM|POLY1305)")
        for cipher in ("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"):
            self.client.set_ciphers(f"{cipher}:ECDHE-ECDSA-AES256-GCM-SHA384")
            agreed = shake_hands(self.connect(), self.client).cipher()
            assert agreed
            self.assertEqual(agreed[0], cipher)
        for weak in ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256"):
            self.client.set_ciphers(weak)
            error = self.assertRaises(SSL.Error, shake_hands, self.connect(), self.client)
            self.assertEqual(explain(error), "no shared cipher")

    def test_protocols(self) -> None:
        """HTTP/1.1 is chosen where the client asks; who asks for another only is let in."""
        for offered, agreed in (
            (["h2", "http/1.1"], "http/1.1"),
            (["h2"], None),
            ([], None),
        ):
            client = self.chain.client()
            if offered:
                client.set_alpn_protocols(offered)
            chosen = shake_hands(self.connect(), client).selected_alpn_protocol()
            self.assertEqual(chosen, agreed)

    def test_renegotiation(self) -> None:
        """A client cannot have us shake hands again and again, nor learn by what compresses."""
        identity = Identity.load(self.certificate, self.key, None)
        options = make_context(identity, clients_optional=False).set_options(0)
        self.assertTrue(options & SSL.OP_NO_RENEGOTIATION)
        self.assertTrue(options & SSL.OP_NO_COMPRESSION)


class ClientsTests(ContextTestCase):
    """Clients' certificates."""

    def test_right(self) -> None:
        """A certificate of the authority, with its chain, is let in."""
        certificate, key = self.chain.issue("client")
        client = show(self.client, self.folder, key, certificate, self.chain.middle)
        for optional in (False, True):
            server = self.connect(ask=True, optional=optional)
            shake_hands(server, client)
            shown = server.get_peer_certificate(as_cryptography=True)
            self.assertEqual(shown, certificate)

    def test_none(self) -> None:
        """Without one a client is refused, but for where it is optional."""
        error = self.assertRaises(SSL.Error, shake_hands, self.connect(ask=True), self.client)
        self.assertEqual(explain(error), "peer did not return a certificate")
        server = self.connect(ask=True, optional=True)
        shake_hands(server, self.client)
        self.assertIsNone(server.get_peer_certificate(as_cryptography=True))

    def test_wrong(self) -> None:
        """Another authority's is refused, and one out of its time, even where it is optional."""
        middle = self.chain.middle
        stranger = *Authority("Middle").issue("client"), middle
        late = *self.chain.issue("client", days=(-9, -2)), middle
        for parts in (stranger, late):
            client = show(self.chain.client(), self.folder, *parts)
            for optional in (False, True):
                server = self.connect(ask=True, optional=optional)
                error = self.assertRaises(SSL.Error, shake_hands, server, client)
                self.assertEqual(explain(error), "certificate verify failed")

    def test_told(self) -> None:
        """The client hears whose certificates are taken."""
        self.client.maximum_version = ssl.TLSVersion.TLSv1_2  # Later ones tell it encrypted.
        name = self.chain.root.subject.public_bytes()
        told = []
        for ask in (False, True):
            server, outgoing = self.connect(ask=ask), ssl.MemoryBIO()
            client = self.client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
            self.assertRaises(ssl.SSLWantReadError, client.do_handshake)
            server.set_accept_state()
            server.bio_write(outgoing.read())
            self.assertRaises(SSL.WantReadError, server.do_handshake)
            told.append(server.bio_read(2**16).count(name))
        # Once it stands in the chain.
        self.assertEqual(told, [1, 2])

    def test_resumed(self) -> None:
        """A client with a certificate may resume by a ticket."""
        certificate, key = self.chain.issue("client")
        client = show(self.client, self.folder, key, certificate, self.chain.middle)
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        server = self.connect(ask=True)
        first = shake_hands(server, client)
        self.assertFalse(first.session_reused)
        second = SSL.Connection(server.get_context(), None)
        self.assertTrue(shake_hands(second, client, session=first.session).session_reused)


class FilesTests(ContextTestCase):
    """Files that cannot be used."""

    def problems(self, *files: str | None) -> list[str]:
        [certificate, key, authorities] = files
        assert certificate is not None
        assert key is not None
        error = self.assertRaises(ConfigurationError, Identity.load, certificate, key, authorities)
        return [problem.message for problem in error.problems]

    def write(self, *parts: object, password: bytes = b"") -> str:
        path = self.folder / "other.pem"
        path.write_bytes(pem(*parts, password=password))  # type: ignore[arg-type]
        return str(path)

    def test_missing(self) -> None:
        """All that are missing are named."""
        self.assertEqual(
            self.problems("/no/a.pem", "/no/b.pem", "/no/c.pem"),
            [
                "certKey /no/a.pem: No such file or directory",
                "privateKey /no/b.pem: No such file or directory",
                "clientCA /no/c.pem: No such file or directory",
            ],
        )

    def test_empty(self) -> None:
        """A file has what it is named for."""
        path = self.write()
        [problem] = self.problems(path, self.key, None)
        self.assertEqual(
            problem, f"certKey {path}: holds no certificate in PEM form, or a broken one"
        )
        [problem] = self.problems(self.certificate, self.key, path)
        self.assertIn(f"clientCA {path}: holds no certificate", problem)
        [problem] = self.problems(self.certificate, self.certificate, None)
        self.assertIn(f"privateKey {self.certificate}: holds no private key", problem)

    def test_encrypted(self) -> None:
        """Nobody is there to be asked for a password."""
        path = self.write(self.chain.issue("localhost")[1], password=b"secret")
        [problem] = self.problems(self.certificate, path, None)
        self.assertEqual(problem, f"privateKey {path}: the private key is encrypted")

    def test_other_key(self) -> None:
        """The key is that of the first certificate, not of the chain."""
        path = self.write(self.chain.issue("localhost")[1])
        [problem] = self.problems(self.certificate, path, None)
        self.assertIn("the private key belongs to another certificate than the first", problem)

    def test_short_key(self) -> None:
        """What OpenSSL holds for too weak is told in its words."""
        key = rsa.generate_private_key(65537, 1024)
        authority = Authority()
        builder = authority._builder("localhost", key.public_key(), (-1, 1))  # type: ignore[arg-type]
        identity = Identity(builder.sign(authority.key, hashes.SHA256()), (), key, ())
        error = self.assertRaises(
            ConfigurationError, make_context, identity, clients_optional=False
        )
        self.assertIn("OpenSSL does not take the certificate: ee key too small", str(error))

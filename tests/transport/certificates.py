"""Certificates with a chain as real ones have it, and clients that check them with Python's ssl."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from tests.transport.upstreams import Authority, pem

Issued: TypeAlias = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


class Chain:
    """
    A root, what it has certified, and what that certifies.

    :ivar root: whom clients trust.
    :ivar middle: stands in the server's file.
    """

    def __init__(self) -> None:
        root = Authority("Root")
        self._authority = Authority("Middle")
        self.root = root.certificate
        builder = root._builder("Middle", self._authority.key.public_key(), (-1, 30))
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        self.middle = builder.sign(root.key, hashes.SHA256())

    def issue(self, *names: str, days: tuple[int, int] = (-1, 30)) -> Issued:
        """Certify names and addresses."""
        return self._authority.issue(*names, days=days)

    def write(self, folder: Path, issued: Issued) -> tuple[str, str]:
        """Write a certificate with its chain, and its key; return both paths."""
        certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
        certificate.write_bytes(pem(issued[0], self.middle))
        key.write_bytes(pem(issued[1]))
        return str(certificate), str(key)

    def write_root(self, folder: Path) -> str:
        """Write the root's certificate; return the path."""
        path = folder / "ca.pem"
        path.write_bytes(pem(self.root))
        return str(path)

    def client(self) -> ssl.SSLContext:
        """Make a client that trusts the root and nobody else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=pem(self.root).decode())
        return context


def show(context: ssl.SSLContext, folder: Path, *issued: object) -> ssl.SSLContext:
    """Let a client show a certificate: its parts, key and chain, are written to a file."""
    path = folder / "client.pem"
    path.write_bytes(pem(*issued))  # type: ignore[arg-type]
    context.load_cert_chain(path)
    return context


def shake_hands(
    server: SSL.Connection, context: ssl.SSLContext, name: str = "localhost", **more: Any
) -> ssl.SSLObject:
    """
    Let a client and a server shake hands in memory.

    :raises ssl.SSLError: the client refuses.
    :raises OpenSSL.SSL.Error: the server does.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name, **more)
    server.set_accept_state()
    for _ in range(3):
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        if outgoing.pending:
            server.bio_write(outgoing.read())
        with suppress(SSL.WantReadError):
            server.do_handshake()
        with suppress(SSL.WantReadError):
            incoming.write(server.bio_read(2**16))
    assert server.get_cipher_name()
    return client

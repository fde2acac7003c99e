"""Streams that are opened and kept: what each of them costs in memory."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_FIRST_EVENT = b"e000."
_SECONDS = 30.0


@contextmanager
def held_streams(
    port: int, count: int, write: Callable[[], bytes], certificate: Path | None = None
) -> Iterator[None]:
    """
    Hold so many streams, each after its first event.

    :param write: writes the next request.
    :param certificate: what to trust, where the server speaks TLS.
    :raises ConnectionError: a stream ended before its first event.
    """
    context = ssl.create_default_context(cafile=str(certificate)) if certificate else None
    with ExitStack() as stack:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), _SECONDS)
            if context is not None:
                connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
            stack.enter_context(connection)
            connection.sendall(write())
            received = b""
            while _FIRST_EVENT not in received:
                more = connection.recv(4096)
                if not more:
                    raise ConnectionError(f"no stream: {received.decode(errors='replace')}")
                received += more
        yield


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a key and a certificate for 127.0.0.1 that vouches for itself; where they are."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_file, certificate_file = folder / "key.pem", folder / "certificate.pem"
    key_file.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate_file.write_bytes(certificate.public_bytes(pem))
    return key_file, certificate_file

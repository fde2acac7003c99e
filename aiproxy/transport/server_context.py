"""The TLS that clients get: which versions and ciphers, which certificate, whose clients."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from OpenSSL import SSL, crypto

from aiproxy.errors import ConfigurationError, Problem
from aiproxy.transport.pem import Unusable, check_key, read_certificates, read_file, read_key

__all__ = ["Identity", "explain", "make_context"]

_T = TypeVar("_T")

_HTTP = b"http/1.1"
# Mozilla's "intermediate" (https://ssl-config.mozilla.org/guidelines/5.7.json) but for DHE,
# which needs parameters of its own and that no client of the last ten years needs.  As they
# say, the client chooses: it knows whether it has AES in hardware.
_TLS12_CIPHERS = b":".join(
    b"ECDHE-%s-%s" % (key, cipher)
    for cipher in (b"AES128-GCM-SHA256", b"AES256-GCM-SHA384", b"CHACHA20-POLY1305")
    for key in (b"ECDSA", b"RSA")
)


@frozen
class Identity:
    """
    What the files hold.

    :param certificate: ours.
    :param chain: who vouches for it.
    :param authorities: who vouches for clients.
    """

    certificate: x509.Certificate
    chain: Sequence[x509.Certificate]
    key: PrivateKeyTypes
    authorities: Sequence[x509.Certificate]

    @classmethod
    def load(cls, certificate_file: str, key_file: str, authorities_file: str | None) -> Identity:
        """
        Read the files.

        :raises ConfigurationError: with all that is wrong with them.
        """
        problems: list[Problem] = []
        certificates = _load("certKey", certificate_file, read_certificates, problems)
        key = _load("privateKey", key_file, read_key, problems)
        authorities: Sequence[x509.Certificate] | None = ()
        if authorities_file is not None:
            authorities = _load("clientCA", authorities_file, read_certificates, problems)
        if certificates is not None and key is not None:
            try:
                check_key(key, certificates[0])
            except Unusable as unusable:
                problems.append(Problem(f"privateKey {key_file}: {unusable} of {certificate_file}"))
        if problems or certificates is None or key is None or authorities is None:
            raise ConfigurationError(problems)
        return cls(certificates[0], certificates[1:], key, authorities)


def _load(name: str, path: str, read: Callable[[bytes], _T], problems: list[Problem]) -> _T | None:
    try:
        return read(read_file(path))
    except Unusable as unusable:
        problems.append(Problem(f"{name} {path}: {unusable}"))
    return None


def make_context(identity: Identity, *, clients_optional: bool) -> SSL.Context:
    """
    Make the OpenSSL context of new connections.

    :raises ConfigurationError: OpenSSL does not take the certificate, such as for a short key.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)
    context.set_cipher_list(_TLS12_CIPHERS)
    context.set_alpn_select_callback(_select_protocol)
    # Tickets only: the client keeps the session.  Those of a client with a certificate are
    # refused without an id.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(secrets.token_bytes(16))
    # pyOpenSSL knows fewer kinds of keys than cryptography reads.
    key: Any = identity.key
    try:
        context.use_certificate(identity.certificate)
        for certificate in identity.chain:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(key)
    except (SSL.Error, TypeError) as error:
        text = f"OpenSSL does not take the certificate: {explain(error)}"
        raise ConfigurationError([Problem(text)]) from None
    if identity.authorities:
        _ask_clients(context, identity.authorities, optional=clients_optional)
    return context


def explain(error: Exception) -> str:
    """Return OpenSSL's own reason, which never holds anything of a key."""
    reasons = error.args[0] if error.args else None
    if isinstance(reasons, list) and reasons:
        return str(reasons[-1][2])
    return "for no reason that OpenSSL tells" if isinstance(error, SSL.Error) else str(error)


def _ask_clients(
    context: SSL.Context, authorities: Sequence[x509.Certificate], *, optional: bool
) -> None:
    store = context.get_cert_store()
    assert store is not None
    for authority in authorities:
        store.add_cert(crypto.X509.from_cryptography(authority))
        # By these names a client chooses among its certificates.
        context.add_client_ca(authority)
    required = 0 if optional else SSL.VERIFY_FAIL_IF_NO_PEER_CERT
    context.set_verify(SSL.VERIFY_PEER | required)


def _select_protocol(connection: SSL.Connection, offered: list[bytes]) -> Any:
    return _HTTP if _HTTP in offered else SSL.NO_OVERLAPPING_PROTOCOLS

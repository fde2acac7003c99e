"""Whom we trust, and as whom we appear, when an upstream speaks TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import frozen
from OpenSSL import SSL, crypto
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, ServiceID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from aiproxy.errors import ConfigurationError, Problem
from aiproxy.transport.failures import CertificateRefused
from aiproxy.transport.pem import Unusable, check_key, read_certificates, read_file, read_key

if TYPE_CHECKING:
    from twisted.protocols.tls import TLSMemoryBIOProtocol

__all__ = ["TLSSettings", "UpstreamTrust"]


class TLSSettings(NamedTuple):
    """
    How to talk TLS with one provider; a tuple, for connections are found by it.

    :param ca_bundle: a PEM file with the authorities to trust *instead of* the
        platform's, as curl's ``--cacert`` and ``REQUESTS_CA_BUNDLE`` do; to
        add one, concatenate the files.
    :param client_cert: a PEM file with our certificate, its chain and its
        private key, for upstreams that ask who we are.
    """

    ca_bundle: str | None = None
    client_cert: str | None = None


_Codes = SSL.X509VerificationCodes
_TRUST_IT = "if it is yours, name it or its authority in the provider's `ca_bundle`"
_UNTRUSTED = f"is not signed by an authority that we trust; {_TRUST_IT}"
_WHY = {
    _Codes.ERR_CERT_HAS_EXPIRED: "has expired",
    _Codes.ERR_CERT_NOT_YET_VALID: "is not valid yet",
    _Codes.ERR_CERT_REVOKED: "was revoked",
    _Codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: f"is self-signed; {_TRUST_IT}",
    _Codes.ERR_SELF_SIGNED_CERT_IN_CHAIN: _UNTRUSTED,
    _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT: _UNTRUSTED,
    _Codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: _UNTRUSTED,
    _Codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: _UNTRUSTED,
}


@implementer(IPolicyForHTTPS)
class UpstreamTrust:
    """
    The TLS side of connections under one :class:`TLSSettings`.

    Its files are read here, once, and all hosts share one OpenSSL context:
    loading the platform's authorities takes 5 ms.

    :raises ConfigurationError: a file is missing or is not what it should be.
    """

    def __init__(self, settings: TLSSettings) -> None:
        certificates: dict[str, Any] = {}
        problems = []
        try:
            trusted = _read_authorities(settings.ca_bundle)
        except Unusable as unusable:
            problems.append(Problem(f"ca_bundle {settings.ca_bundle}: {unusable}"))
        try:
            certificates = _read_identity(settings.client_cert)
        except Unusable as unusable:
            problems.append(Problem(f"client_cert {settings.client_cert}: {unusable}"))
        if problems:
            raise ConfigurationError(problems)
        self._options = CertificateOptions(
            trustRoot=trusted, insecurelyLowerMinimumTo=TLSVersion.TLSv1_2, **certificates
        )

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        """Return what opens TLS towards one host; ``port`` has no part in it."""
        name = hostname.decode("ascii")
        if isIPAddress(name) or isIPv6Address(name):
            # RFC 6066, 3: an address is never sent as the server's name.
            return _HostVerification(self._options, IPAddress_ID(name), None)
        return _HostVerification(self._options, DNS_ID(name), hostname)


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class _HostVerification:
    """
    Opens TLS towards one host, whose certificate has to name it.

    It checks what ``optionsForClientTLS`` checks.  That one builds a context
    for each host, and all that it tells of a certificate that OpenSSL refuses
    is that it was refused.

    :param server_name: what the server is asked for (SNI).
    """

    options: CertificateOptions
    identity: ServiceID
    server_name: bytes | None

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = self.options.clientConnectionForTLS(tlsProtocol)
        if self.server_name is not None:
            connection.set_tlsext_host_name(self.server_name)

        def verify(_: SSL.Connection, leaf: crypto.X509, code: int, depth: int, ok: int) -> bool:
            # An exception would vanish in OpenSSL, so every way out refuses.
            try:
                why = _refuse(leaf, code, depth, bool(ok), self.identity)
            except Exception:
                why = "cannot be read"
            if why is None:
                return True
            tlsProtocol.failVerification(Failure(CertificateRefused(why)))
            return False

        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return connection


def _refuse(
    certificate: crypto.X509, code: int, depth: int, ok: bool, identity: ServiceID
) -> str | None:
    """Say why one certificate of a chain does not pass; ``None`` when it does."""
    if not ok:
        return _WHY.get(code, f"does not pass (OpenSSL's code {code})")
    if depth == 0:
        try:
            verify_service_identity(extract_patterns(certificate), [identity], [])
        except (VerificationError, CertificateError):
            return "is not valid for this host name"
    return None


def _read_authorities(path: str | None) -> Any:
    """Return what Twisted calls a trust root."""
    if path is None:
        return platformTrust()
    authorities = [
        Certificate(crypto.X509.from_cryptography(certificate))
        for certificate in read_certificates(read_file(path))
    ]
    return trustRootFromCertificates(authorities)


def _read_identity(path: str | None) -> dict[str, Any]:
    """Return our certificate as ``CertificateOptions`` takes it."""
    if path is None:
        return {}
    data = read_file(path)
    certificate, *chain = read_certificates(data)
    key = read_key(data)
    check_key(key, certificate)
    return {"certificate": certificate, "privateKey": key, "extraCertChain": chain}

"""
Where connections to upstreams come from.
"""

from __future__ import annotations

from typing import Any, cast

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

__all__ = ["UpstreamEndpoints"]

# HostnameEndpoint wants a number.  The gateway's deadlines, which cancel, come
# long before this one; so does the kernel, which gives up after two minutes.
_CONNECT_SECONDS = 600.0


@implementer(IAgentEndpointFactory)
class UpstreamEndpoints:
    """
    One endpoint for each origin, by name, with Twisted's happy eyeballs.

    They are kept, for Twisted normalizes the host's name to make one.  Origins
    come from the configuration, so they are few.

    :param reactor: what ``HostnameEndpoint`` takes.
    """

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS) -> None:
        self._reactor = reactor
        self._policy = policy
        self._endpoints: dict[tuple[bytes, bytes, int], IStreamClientEndpoint] = {}

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint of a URI's origin."""
        origin = (uri.scheme, uri.host, uri.port)
        endpoint = self._endpoints.get(origin)
        if endpoint is None:
            endpoint = self._endpoints[origin] = self._make(*origin)
        return endpoint

    def _make(self, scheme: bytes, host: bytes, port: int) -> IStreamClientEndpoint:
        if scheme not in (b"http", b"https"):
            raise SchemeNotSupported(f"Unsupported scheme: {scheme!r}")
        name = host.decode("ascii")
        endpoint = HostnameEndpoint(self._reactor, name, port, timeout=_CONNECT_SECONDS)
        if scheme == b"http":
            return endpoint
        return _TLSEndpoint(endpoint, self._policy.creatorForNetloc(host, port), self._reactor)


@implementer(IStreamClientEndpoint)
@frozen
class _TLSEndpoint:
    """TLS over an endpoint: ``wrapClientTLS``, but on our reactor instead of the global one."""

    endpoint: IStreamClientEndpoint
    creator: IOpenSSLClientConnectionCreator
    clock: IReactorTime

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        factory = TLSMemoryBIOFactory(self.creator, True, protocolFactory, self.clock)
        connecting = self.endpoint.connect(factory)
        return connecting.addCallback(lambda made: cast(TLSMemoryBIOProtocol, made).wrappedProtocol)

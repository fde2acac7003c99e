"""Where connections to upstreams come from: directly, or through a proxy."""

from __future__ import annotations

from typing import Any, cast

from attrs import frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from aiproxy.transport.proxies import Proxy, UpstreamProxies
from aiproxy.transport.socket_group import stages_of
from aiproxy.transport.stages import Stages
from aiproxy.transport.tunnel import ProxyEndpoint, TunnelEndpoint
from aiproxy.transport.upstream_tls import UpstreamTLSFactory

__all__ = ["UpstreamEndpoints"]

# HostnameEndpoint wants a number.  The gateway's deadlines, which cancel, come
# long before this one; so does the kernel, which gives up after two minutes.
_CONNECT_SECONDS = 600.0


_NO_PROXIES = UpstreamProxies()


@implementer(IAgentEndpointFactory)
class UpstreamEndpoints:
    """
    One endpoint for each origin, by name, with Twisted's happy eyeballs.

    They are kept, for Twisted normalizes the host's name to make one.  Origins
    come from the configuration, so they are few.

    :param reactor: what ``HostnameEndpoint`` takes.
    :param proxies: which origins are reached through which proxy.
    :param trusts_addresses: an address is connected to as it is.  Else it goes
        through the reactor's resolver like a name, as a guard there wants to see it.
    :param stages: those of who reads the connections; ``None``: the reactor's.
    """

    def __init__(
        self,
        reactor: Any,
        policy: IPolicyForHTTPS,
        proxies: UpstreamProxies = _NO_PROXIES,
        *,
        trusts_addresses: bool = False,
        stages: Stages | None = None,
    ) -> None:
        self._stages = stages_of(reactor) if stages is None else stages
        self._trusts_addresses = trusts_addresses
        self._reactor = reactor
        self._policy = policy
        self._proxies = proxies
        self._endpoints: dict[tuple[bytes, bytes, int], IStreamClientEndpoint] = {}

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint of a URI's origin."""
        origin = (uri.scheme, uri.host, uri.port)
        endpoint = self._endpoints.get(origin)
        if endpoint is None:
            endpoint = self._endpoints[origin] = self._make(*origin)
        return endpoint

    def plain_proxy(self, uri: URI) -> Proxy | None:
        """
        Return the proxy that a request itself is sent to, in absolute form (RFC 9112, 3.2.2).

        Through TLS it goes to the upstream, and its proxy only sees a tunnel.
        """
        if uri.scheme == b"https":
            return None
        return self._proxies.find("http", uri.host.decode("ascii"), uri.port)

    def _make(self, scheme: bytes, host: bytes, port: int) -> IStreamClientEndpoint:
        if scheme not in (b"http", b"https"):
            raise SchemeNotSupported(f"Unsupported scheme: {scheme!r}")
        name = host.decode("ascii")
        proxy = self._proxies.find(scheme.decode("ascii"), name, port)
        endpoint: IStreamClientEndpoint
        if proxy is None:
            endpoint = self._connect(name, port)
        else:
            endpoint = ProxyEndpoint(self._connect(proxy.host, proxy.port), proxy)
        if scheme == b"http":
            return endpoint
        if proxy is not None:
            endpoint = TunnelEndpoint(endpoint, proxy, name, port)
        creator = self._policy.creatorForNetloc(host, port)
        return _TLSEndpoint(endpoint, creator, self._reactor, self._stages)

    def _connect(self, name: str, port: int) -> IStreamClientEndpoint:
        if self._trusts_addresses:
            # HostnameEndpoint makes a class for each connection, which costs more than the rest.
            if isIPAddress(name):
                return TCP4ClientEndpoint(self._reactor, name, port, _CONNECT_SECONDS)
            if isIPv6Address(name):
                return TCP6ClientEndpoint(self._reactor, name, port, _CONNECT_SECONDS)
        return HostnameEndpoint(self._reactor, name, port, timeout=_CONNECT_SECONDS)


@implementer(IStreamClientEndpoint)
@frozen
class _TLSEndpoint:
    """TLS over an endpoint: ``wrapClientTLS``, but on our reactor instead of the global one."""

    endpoint: IStreamClientEndpoint
    creator: IOpenSSLClientConnectionCreator
    clock: IReactorTime
    stages: Stages

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        factory = UpstreamTLSFactory(self.creator, protocolFactory, self.clock, self.stages)
        connecting = self.endpoint.connect(factory)
        return connecting.addCallback(lambda made: cast(TLSMemoryBIOProtocol, made).wrappedProtocol)

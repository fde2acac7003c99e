"""
A guard against being sent where we should not go (SSRF): it sits in the resolver.

The connection itself asks this resolver, so there is no second look-up that
could be answered otherwise (DNS rebinding).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Any

from attrs import frozen
from twisted.internet import address as twisted_address
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from zope.interface import implementer

from aiproxy.policy.addresses import IPAddress

__all__ = ["GuardedReactor"]


@implementer(IReactorPluggableNameResolver, IHostnameResolver)
class GuardedReactor:
    """
    A reactor, and its resolver, that knows only the names that may be connected to.

    :param allowed: which addresses may be.
    """

    def __init__(self, reactor: Any, allowed: Callable[[IPAddress], bool]) -> None:
        self._reactor = reactor
        self._allowed = allowed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    @property
    def nameResolver(self) -> IHostnameResolver:
        return self

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        guard = _Guard(resolutionReceiver, self._allowed, [])
        resolver: IHostnameResolver = self._reactor.nameResolver
        return resolver.resolveHostName(
            guard, hostName, portNumber, addressTypes, transportSemantics
        )

    def installNameResolver(self, resolver: IHostnameResolver) -> IHostnameResolver:
        raise NotImplementedError("the guard stays")


@implementer(IResolutionReceiver)
@frozen
class _Guard:
    """Hands on the addresses of a name if all are allowed, and else none."""

    receiver: IResolutionReceiver
    allowed: Callable[[IPAddress], bool]
    addresses: list[IAddress]

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        self.receiver.resolutionBegan(resolutionInProgress)

    def addressResolved(self, address: IAddress) -> None:
        self.addresses.append(address)

    def resolutionComplete(self) -> None:
        if all(map(self._allows, self.addresses)):
            for address in self.addresses:
                self.receiver.addressResolved(address)
        self.receiver.resolutionComplete()

    def _allows(self, address: IAddress) -> bool:
        if not isinstance(address, twisted_address.IPv4Address | twisted_address.IPv6Address):
            return False
        return self.allowed(ip_address(address.host))

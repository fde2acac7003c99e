"""The site whose connections are read by llhttp."""

from __future__ import annotations

from types import MappingProxyType

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.web.http import datetimeToString
from twisted.web.resource import IResource

from aiproxy.transport.http.channel import HotRoute, HotRoutes, LlhttpChannel
from aiproxy.transport.http.site import GatewaySite
from aiproxy.transport.socket_group import stages_of

__all__ = ["HotRoute", "HotRoutes", "LlhttpSite"]

_NONE: HotRoutes = MappingProxyType({})


class LlhttpSite(GatewaySite):
    """
    The factory of connections that llhttp reads.

    :param hot: who answers some paths without the resource; see :class:`LlhttpRequest`.
    :ivar stages: of the reactor's present turn.
    """

    def __init__(
        self,
        resource: IResource,
        reactor: IReactorTime,
        *,
        max_request_bytes: int,
        hot: HotRoutes = _NONE,
    ) -> None:
        super().__init__(resource, reactor, max_request_bytes=max_request_bytes)
        self.hot = hot
        self.stages = stages_of(reactor)
        self._date = b""
        self._date_until = 0.0

    def buildProtocol(self, addr: IAddress | None) -> LlhttpChannel:  # type: ignore[override]
        """A client has come."""
        return LlhttpChannel(self)

    @property
    def date(self) -> bytes:
        """Now, for a ``Date`` header, which knows whole seconds."""
        now = self.reactor.seconds()
        if now >= self._date_until:
            self._date = datetimeToString()
            self._date_until = now + 0.5
        return self._date

"""Connections to upstreams within TLS, whose records of one read count as one turn."""

from __future__ import annotations

from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory

from aiproxy.transport.stages import Stages

__all__ = ["UpstreamTLSFactory"]


class _UpstreamTLSConnection(BufferingTLSTransport):
    """
    Twisted's, which hands each record on before it looks for the next.

    If the first ends an answer, the connection's next request could be on its way
    before the second is seen, which nobody has asked for and would be taken for
    the answer to it (RFC 9112, 6.3).  So all are seen before anything comes of one.
    """

    factory: UpstreamTLSFactory

    def dataReceived(self, data: bytes) -> None:
        """Some bytes have come, perhaps of several records."""
        stages = self.factory.stages
        if stages.shared:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
            return
        stages.begin()
        try:
            super().dataReceived(data)  # type: ignore[no-untyped-call]
        finally:
            stages.end()


class UpstreamTLSFactory(TLSMemoryBIOFactory):
    """
    Makes connections within TLS.

    :param contexts: begins TLS on each.
    :param wrapped: makes what is spoken there.
    :param stages: in which what is spoken there goes on.
    """

    protocol = _UpstreamTLSConnection

    def __init__(
        self,
        contexts: IOpenSSLClientConnectionCreator,
        wrapped: IProtocolFactory,
        clock: IReactorTime,
        stages: Stages,
    ) -> None:
        super().__init__(contexts, True, wrapped, clock)
        self.stages = stages

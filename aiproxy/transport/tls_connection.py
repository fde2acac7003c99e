"""Clients' connections within TLS, and their end."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet.interfaces import (
    IDelayedCall,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure

from aiproxy.errors import InvalidRequest
from aiproxy.transport.http.common import LINGER_SECONDS, choose_request_id
from aiproxy.transport.http.error_answers import describe_error, write_refusal
from aiproxy.transport.server_context import explain

__all__ = ["ServerTLSConnection", "ServerTLSFactory"]

#: So many seconds lie between two lines about handshakes that failed.
_QUIET_SECONDS = 60.0


class ServerTLSConnection(BufferingTLSTransport):
    """
    One client's connection: Twisted's, but that it ends whatever the client does.

    Twisted's waits without bound for the client's word that it closes too, reads
    nothing while it waits if reading was paused before, and may never close
    after a mistake in TLS of a client that did not read.
    """

    factory: ServerTLSFactory
    _closing: IDelayedCall | None = None

    def loseConnection(self) -> None:
        """Close in order; without the client's word, as TCP does it."""
        super().loseConnection()
        if self.connected and self._closing is None:
            transport: Any = self.transport
            transport.resumeProducing()
            self._closing = self.factory.clock.callLater(LINGER_SECONDS, transport.loseConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It is gone."""
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        failed = self._reason
        if failed is not None and not self._handshakeDone and failed.check(SSL.Error):
            peer = self.getPeer()  # type: ignore[no-untyped-call]
            self.factory.refused(peer, failed.value)
        super().connectionLost(reason)

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        # TCP would resume a paused producer in place of closing.
        self.unregisterProducer()  # type: ignore[no-untyped-call]
        if reason is not None and not self._handshakeDone and _is_http(reason.value):
            transport: Any = self.transport
            transport.write(_say_https())
        super()._tlsShutdownFinished(reason)  # type: ignore[no-untyped-call]


def _is_http(error: BaseException | None) -> bool:
    """Whether the client has begun with a request, in the clear."""
    return isinstance(error, SSL.Error) and explain(error) in (
        "http request",
        "https proxy request",
    )


def _say_https() -> bytes:
    """Write an answer in the clear: its client knows nothing else, and would see none at all."""
    message = "this port speaks TLS: the URL has to begin with https://"
    error = InvalidRequest(message, code="tls_required")
    request_id = choose_request_id(None)
    told = describe_error(error, request_id, b"", None)
    return b"".join(write_refusal(error, request_id, False, told))


class ServerTLSFactory(TLSMemoryBIOFactory):
    """
    Makes connections within TLS.

    :param contexts: begins TLS on each.
    :param wrapped: makes what is spoken there.
    """

    protocol = ServerTLSConnection
    _log = Logger()

    def __init__(
        self,
        contexts: IOpenSSLServerConnectionCreator,
        wrapped: IProtocolFactory,
        clock: IReactorTime,
    ) -> None:
        super().__init__(contexts, False, wrapped, clock)
        self.clock = clock
        self._untold = 0
        self._quiet_until = 0.0

    def refused(self, peer: object, error: SSL.Error) -> None:
        """
        A handshake failed.

        Scans are daily life, so only some are told of: enough to see why a
        client of one's own does not come in.
        """
        now = self.clock.seconds()
        if now < self._quiet_until:
            self._untold += 1
            return
        self._quiet_until = now + _QUIET_SECONDS
        more = f" ({self._untold} more since the last line)" if self._untold else ""
        self._untold = 0
        self._log.debug(
            "TLS with {peer} failed: {why}{more}",
            peer=getattr(peer, "host", peer),
            why=explain(error),
            more=more,
        )

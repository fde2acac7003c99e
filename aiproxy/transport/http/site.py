"""What makes connections of clients, and ends them in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Site

from aiproxy.errors import AIProxyError
from aiproxy.transport.http.error_answers import Describe, describe_error

__all__ = ["GatewayChannel", "GatewaySite"]


class GatewayChannel(Protocol):
    """A client's connection."""

    def connectionLost(self, reason: Failure = ...) -> None:
        """It is gone."""

    def close_when_idle(self) -> None:
        """Close now, or when the request that is running or arriving is done."""

    def abort(self) -> None:
        """Close at once."""


class GatewaySite(Site):
    """
    A factory of our connections, whichever kind they are of.

    :param max_request_bytes: bound on a request's body.
    :ivar describe: says what a request that is refused is told of the error.
    :ivar draining: connections close after their answer.
    :ivar refused: called with what is no request that anybody could answer: an
        id, the client's address, and why it was refused.
    """

    noisy = False

    def __init__(
        self, resource: IResource, reactor: IReactorTime, *, max_request_bytes: int
    ) -> None:
        super().__init__(resource, reactor=reactor, timeout=None)  # type: ignore[no-untyped-call]
        self.max_request_bytes = max_request_bytes
        self.channels: set[GatewayChannel] = set()
        self.draining = False
        self.describe: Describe = describe_error
        self.refused: Callable[[str, str, AIProxyError], None] = lambda *refusal: None
        self._empty: Deferred[None] | None = None

    def log(self, request: object) -> None:
        """Twisted's access log has the query, which may hold a key: there is none."""

    def startFactory(self) -> None:
        """Nothing to prepare: Twisted's would open that log."""

    def stopFactory(self) -> None:
        """Nothing to end."""

    def forget(self, channel: GatewayChannel) -> None:
        """A connection is gone."""
        self.channels.discard(channel)
        if self._empty is not None and not self.channels:
            empty, self._empty = self._empty, None
            empty.callback(None)

    def open(self) -> None:
        """Keep connections again, also after :meth:`drain` or :meth:`linger`."""
        self.draining = False

    def drain(self) -> Deferred[None]:
        """Close idle connections now and the others after their answer; fire when all are gone."""
        gone = self.linger()
        for channel in list(self.channels):
            channel.close_when_idle()
        return gone

    def linger(self) -> Deferred[None]:
        """Close each connection after its next answer; fire when all are gone."""
        self.draining = True
        if not self.channels:
            return succeed(None)
        if self._empty is None:
            self._empty = Deferred()
        return self._empty

    def abort(self) -> None:
        """Close all connections at once."""
        for channel in list(self.channels):
            channel.abort()

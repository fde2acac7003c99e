"""
Connections to upstreams, kept for the next request.

Twisted's own pool keeps two a host, gives out the one that has idled longest,
counts closed ones as idle, and never repeats a POST.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import cast

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory

from aiproxy.transport.connection import (
    ConnectionKey,
    Origin,
    ReusedConnection,
    UpstreamConnection,
)
from aiproxy.transport.tls import TLSSettings

__all__ = ["ConnectionCounts", "PoolView", "UpstreamPool"]

# How long idle connections may take to close in order.
_CLOSE_SECONDS = 1.0


@frozen
class ConnectionCounts:
    """
    How many connections an origin has.

    :param open: all, with the idle ones.
    :param idle: those without a request.
    """

    open: int
    idle: int


class UpstreamPool:
    """
    All connections to all upstreams, by origin and TLS settings.

    The one that was used last is given out first, so that what a quiet hour
    does not need can age and go.

    :param idle_per_origin: how many may idle for one origin and TLS settings.
    :param idle_total: how many may idle in all; the longest idle makes room.
    """

    def __init__(
        self, clock: IReactorTime, *, idle_per_origin: int = 50, idle_total: int = 200
    ) -> None:
        self._clock = clock
        self._idle_per_origin = idle_per_origin
        self._idle_total = idle_total
        self._open: dict[ConnectionKey, set[UpstreamConnection]] = {}
        # Both oldest first: one for each key, and one for all with the timers.
        self._idle: dict[ConnectionKey, list[UpstreamConnection]] = {}
        self._timers: dict[UpstreamConnection, IDelayedCall] = {}
        self._closing: dict[UpstreamConnection, Deferred[None]] = {}

    def counts(self) -> Mapping[Origin, ConnectionCounts]:
        """Count the connections of each origin that has one."""
        counts: dict[Origin, ConnectionCounts] = {}
        for key, connections in self._open.items():
            before = counts.get(key[0], ConnectionCounts(0, 0))
            counts[key[0]] = ConnectionCounts(
                before.open + len(connections), before.idle + len(self._idle.get(key, ()))
            )
        return counts

    def take(self, key: ConnectionKey) -> UpstreamConnection | None:
        """Take an idle connection out of the pool."""
        while idle := self._idle.get(key):
            connection = idle[-1]
            self.withdraw(connection)
            if not connection.closing:
                return connection
        return None

    def withdraw(self, connection: UpstreamConnection) -> None:
        """Count a connection no longer as idle, if it was."""
        timer = self._timers.pop(connection, None)
        if timer is None:
            return
        if timer.active():
            timer.cancel()
        idle = self._idle[connection.key]
        idle.remove(connection)
        if not idle:
            del self._idle[connection.key]

    def connect(
        self, key: ConnectionKey, endpoint: IStreamClientEndpoint, idle_timeout: float
    ) -> Deferred[UpstreamConnection]:
        """Open a connection.  Cancelling the Deferred leaves nothing of it."""

        def build() -> UpstreamConnection:
            return UpstreamConnection(key, idle_timeout, self, secure=key[0][0] == b"https")

        connecting = endpoint.connect(_ConnectionFactory(build))
        return connecting.addCallback(lambda made: cast(UpstreamConnection, made).when_ready())

    def opened(self, connection: UpstreamConnection) -> None:
        """A connection has come."""
        self._open.setdefault(connection.key, set()).add(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self.withdraw(connection)
        connections = self._open[connection.key]
        connections.remove(connection)
        if not connections:
            del self._open[connection.key]
        if (closed := self._closing.pop(connection, None)) is not None:
            closed.callback(None)

    def keep(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose request is done, or close it."""
        if not connection.reusable or connection.closing:
            connection.close()
            return
        if len(self._idle.get(connection.key, ())) >= self._idle_per_origin:
            self._drop(self._idle[connection.key][0])
        elif len(self._timers) >= self._idle_total:
            self._drop(next(iter(self._timers)))
        self._idle.setdefault(connection.key, []).append(connection)
        self._timers[connection] = self._clock.callLater(
            connection.idle_timeout, self._drop, connection
        )

    def close(self) -> Deferred[None]:
        """
        Close what is idle; what is in use closes when its request is done.

        The Deferred fires within a second: what does not close in order is
        aborted then.  The pool can be used again.
        """
        for connections in self._open.values():
            for connection in connections:
                connection.reusable = False
        closings = []
        for connection in list(self._timers):
            closing: Deferred[None] = Deferred()
            self._closing[connection] = closing
            closings.append(closing)
            self._drop(connection)
        if not closings:
            return succeed(None)
        deadline = self._clock.callLater(_CLOSE_SECONDS, self._abort_closing)

        def closed(_: object) -> None:
            if deadline.active():
                deadline.cancel()

        return gatherResults(closings).addCallback(closed)

    def _abort_closing(self) -> None:
        closing, self._closing = self._closing, {}
        for connection, closed in closing.items():
            connection.abort_now()
            closed.callback(None)

    def _drop(self, connection: UpstreamConnection) -> None:
        """Close an idle connection."""
        self.withdraw(connection)
        connection.close()


@frozen
class PoolView:
    """
    The pool as a Twisted ``Agent`` wants it, for requests of one kind.

    :param tls: connections under other settings are none of its.
    :param idle_timeout: seconds that a connection may idle after its request.
    """

    pool: UpstreamPool
    tls: TLSSettings
    idle_timeout: float
    persistent = True

    def getConnection(
        self, key: Origin, endpoint: IStreamClientEndpoint
    ) -> Deferred[UpstreamConnection | ReusedConnection]:
        """Return a connection for one request: an idle one, or else a fresh one."""
        connect = partial(self.pool.connect, (key, self.tls), endpoint, self.idle_timeout)
        connection = self.pool.take((key, self.tls))
        if connection is None:
            return connect()  # type: ignore[return-value]
        connection.idle_timeout = self.idle_timeout
        return succeed(ReusedConnection(connection, connect))


class _ConnectionFactory(Factory):
    """Builds connections for an endpoint, without a log line for each."""

    noisy = False

    def __init__(self, build: Callable[[], UpstreamConnection]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> UpstreamConnection:
        """A connection is there."""
        return self._build()

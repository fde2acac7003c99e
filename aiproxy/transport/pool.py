"""
Connections to upstreams, kept for the next request.

Twisted's own pool keeps two a host, gives out the one that has idled longest,
counts closed ones as idle, and never repeats a POST.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias, cast

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory

from aiproxy.transport.socket_group import stages_of
from aiproxy.transport.stages import Stages
from aiproxy.transport.tls import TLSSettings

__all__ = [
    "ConnectionCounts",
    "ConnectionKey",
    "ConnectionOwner",
    "Origin",
    "PooledConnection",
    "UpstreamPool",
]

#: Scheme, host and port, as Twisted's agent names them.
Origin: TypeAlias = tuple[bytes, bytes, int]
#: Connections under one key can stand in for each other.
ConnectionKey: TypeAlias = tuple[Origin, TLSSettings]

# How long idle connections may take to close in order.
_CLOSE_SECONDS = 1.0


class PooledConnection(Protocol):
    """
    What the pool knows of a connection, whoever speaks HTTP over it.

    :ivar reusable: it may be kept when its request is done.
    :ivar idle_timeout: seconds that it may be kept for.
    """

    key: ConnectionKey
    reusable: bool
    idle_timeout: float

    @property
    def closing(self) -> bool:
        """Somebody has asked it to close."""

    def when_ready(self) -> Deferred[Any]:
        """Fire with it when requests can be sent.  Cancelling it closes the connection."""

    def close(self) -> None:
        """Close in order, but without waiting for TLS."""

    def abort_now(self) -> None:
        """Close by RST, without waiting for anything."""


class ConnectionOwner(Protocol):
    """Who is told what becomes of a connection."""

    stages: Stages

    def opened(self, connection: PooledConnection) -> None:
        """It is there."""

    def keep(self, connection: PooledConnection) -> None:
        """Its request is done, and another could follow."""

    def withdraw(self, connection: PooledConnection) -> None:
        """It can take no more requests."""

    def forget(self, connection: PooledConnection) -> None:
        """It is gone."""


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
    does not need can age and go.  One timer serves all of them: it is moved
    when it has run, not whenever a connection comes or goes.

    :param idle_per_origin: how many may idle for one origin and TLS settings.
    :param idle_total: how many may idle in all; the longest idle makes room.
    :ivar stages: of the reactor's present turn.
    """

    def __init__(
        self, clock: IReactorTime, *, idle_per_origin: int = 50, idle_total: int = 200
    ) -> None:
        self.stages = stages_of(clock)
        self._clock = clock
        self._idle_per_origin = idle_per_origin
        self._idle_total = idle_total
        self._open: dict[ConnectionKey, set[PooledConnection]] = {}
        # Both oldest first: one for each key, and one for all with their last seconds.
        self._idle: dict[ConnectionKey, list[PooledConnection]] = {}
        self._deadlines: dict[PooledConnection, float] = {}
        self._timer: IDelayedCall | None = None
        self._timer_at = 0.0
        self._closing: dict[PooledConnection, Deferred[None]] = {}

    def counts(self) -> Mapping[Origin, ConnectionCounts]:
        """Count the connections of each origin that has one."""
        counts: dict[Origin, ConnectionCounts] = {}
        for key, connections in self._open.items():
            before = counts.get(key[0], ConnectionCounts(0, 0))
            counts[key[0]] = ConnectionCounts(
                before.open + len(connections), before.idle + len(self._idle.get(key, ()))
            )
        return counts

    def take(self, key: ConnectionKey) -> PooledConnection | None:
        """Take an idle connection out of the pool."""
        idle = self._idle.get(key)
        while idle:
            connection = idle.pop()
            del self._deadlines[connection]
            if not connection.closing:
                return connection
        return None

    def withdraw(self, connection: PooledConnection) -> None:
        """Count a connection no longer as idle, if it was."""
        if self._deadlines.pop(connection, None) is not None:
            self._idle[connection.key].remove(connection)

    def connect(
        self, endpoint: IStreamClientEndpoint, build: Callable[[], PooledConnection]
    ) -> Deferred[Any]:
        """
        Open a connection.  Cancelling the Deferred leaves nothing of it.

        :param build: makes the protocol, which has us as its owner.
        """
        connecting = endpoint.connect(_ConnectionFactory(build))
        return connecting.addCallback(lambda made: cast(PooledConnection, made).when_ready())

    def opened(self, connection: PooledConnection) -> None:
        """A connection has come."""
        self._open.setdefault(connection.key, set()).add(connection)

    def forget(self, connection: PooledConnection) -> None:
        """A connection is gone."""
        self.withdraw(connection)
        connections = self._open[connection.key]
        connections.remove(connection)
        if not connections:
            del self._open[connection.key]
            self._idle.pop(connection.key, None)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (closed := self._closing.pop(connection, None)) is not None:
            closed.callback(None)

    def keep(self, connection: PooledConnection) -> None:
        """Take back a connection whose request is done, or close it."""
        if not connection.reusable or connection.closing:
            connection.close()
            return
        idle = self._idle.setdefault(connection.key, [])
        if len(idle) >= self._idle_per_origin:
            self._drop(idle[0])
        elif len(self._deadlines) >= self._idle_total:
            self._drop(next(iter(self._deadlines)))
        idle.append(connection)
        deadline = self._clock.seconds() + connection.idle_timeout
        self._deadlines[connection] = deadline
        if self._timer is None or deadline < self._timer_at:
            self._wait(deadline)

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
        for connection in list(self._deadlines):
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

    def _wait(self, deadline: float) -> None:
        """Look at what is idle when ``deadline`` comes."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        delay = max(0.0, deadline - self._clock.seconds())
        self._timer = self._clock.callLater(delay, self._expire)

    def _expire(self) -> None:
        """Close what has idled for long enough."""
        self._timer = None
        now = self._timer_at
        for connection in [it for it, deadline in self._deadlines.items() if deadline <= now]:
            self._drop(connection)
        if self._deadlines and self._timer is None:
            self._wait(min(self._deadlines.values()))

    def _drop(self, connection: PooledConnection) -> None:
        """Close an idle connection."""
        self.withdraw(connection)
        connection.close()


class _ConnectionFactory(Factory):
    """Builds connections for an endpoint, without a log line for each."""

    noisy = False

    def __init__(self, build: Callable[[], PooledConnection]) -> None:
        self._build = build

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A connection is there."""
        return self._build()

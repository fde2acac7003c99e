"""Starting and stopping, in one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.defer import TimeoutError as NotInTime
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger

from aiproxy.config.sections import Server
from aiproxy.errors import ConfigurationError
from aiproxy.gateway.running import RunningCalls
from aiproxy.listening import cannot_listen
from aiproxy.providers.discovery import Discovery
from aiproxy.transport.client import UpstreamClient
from aiproxy.transport.http.site import GatewaySite
from aiproxy.transport.state import StateStore

__all__ = ["CannotStart", "Listener", "ProxyService"]

# After the last answer was written, at least: for the clients to read it.
_FLUSH_SECONDS = 1.0
# For how long clients on idle connections may be told that theirs is to be closed.
_LINGER_SECONDS = 5.0


class CannotStart(SystemExit, Exception):
    """
    The server cannot start; the text says why, and the process ends with it.

    It is an ``Exception`` because of twistd, which lets who has started a
    daemon wait for ever where its start ends with anything else.
    """


@frozen
class Listener:
    """
    One place where clients are served.

    :param name: what an error calls it.
    :param factory: makes their connections.
    """

    name: str
    endpoint: IStreamServerEndpoint
    factory: IProtocolFactory


class ProxyService(Service):
    """
    The proxy as a service.

    A stop is one sequence: ready says 503, ``shutdown_delay``, no new
    connections, the running calls end or ``drain_timeout``, the connections to
    upstreams close.  Without :class:`Listener` the sockets are the embedder's.
    Once that is over it can be started again.

    :ivar listeners: where to listen.
    :ivar site: makes all of their connections, within TLS or without.
    :ivar draining: a stop has begun.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        *,
        running: RunningCalls,
        client: UpstreamClient,
        discovery: Discovery,
        state: StateStore | None = None,
        server: Server,
    ) -> None:
        self.draining = False
        self.listeners: Sequence[Listener] = ()
        self.site: GatewaySite | None = None
        self.ports: list[IListeningPort] = []
        self._clock: Any = clock
        self._running_calls = running
        self._client = client
        self._discovery = discovery
        self._state = state
        self._server = server
        self._lingers = False
        #: Fires when the stop that has begun is over; ``None``: none has.
        self._stopping: Deferred[None] | None = None

    def change(self, server: Server) -> None:
        """Stop, when it comes to that, as another configuration has it."""
        self._server = server

    @property
    def calls(self) -> int:
        """How many calls are running."""
        return len(self._running_calls)

    def privilegedStartService(self) -> None:
        """
        Listen, where that is ours, while the process may still do it anywhere.

        :raises CannotStart: it cannot be done.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        for listener in self.listeners:
            failures: list[Any] = []
            listening = listener.endpoint.listen(listener.factory)
            listening.addCallbacks(self.ports.append, failures.append)
            if failures:
                raise CannotStart(f"aiproxy: {cannot_listen(listener.name, failures[0])}")

    def startService(self) -> None:
        """
        Begin what goes on in the background, with what is known from before.

        :raises ConfigurationError: ``server.state`` cannot be used (where
            listening is ours it ends the process).
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._stopping, self.draining = None, False
        self._running_calls.open()
        if self.site is not None:
            self.site.open()
        if self._state is not None:
            # Not before: under twistd a fork and the loss of privileges lie behind us now.
            self._open(self._state)
        self._discovery.open()

    def _open(self, state: StateStore) -> None:
        try:
            state.open()
        except ConfigurationError as error:
            if not self.listeners:
                raise
            raise CannotStart(f"aiproxy: {error}") from None
        state.start()

    def stopService(self) -> Deferred[None]:
        """Stop; fires when all is done.  Harmless when repeated."""
        super().stopService()  # type: ignore[no-untyped-call]
        if self._stopping is None:
            self._stopping = Deferred.fromCoroutine(self._stop())
        stopped: Deferred[None] = Deferred()

        def over(result: Any) -> None:
            stopped.callback(result)

        self._stopping.addBoth(over)
        return stopped

    def linger(self) -> None:
        """
        When it comes to a stop, somebody else goes on listening on our sockets.

        Then ready need not say 503, and idle connections stay open for some
        seconds: who sends a request on one gets its answer, and with it learns
        that it was the last.
        """
        self._lingers = True

    async def _stop(self) -> None:
        self.draining = not self._lingers
        self._discovery.close()
        if self._server.shutdown_delay and not self._lingers:
            await deferLater(self._clock, self._server.shutdown_delay)
        await DeferredList([_stopped(port) for port in self.ports], consumeErrors=True)
        self.ports.clear()
        if self._lingers and self.site is not None:
            await self._happens(self.site.linger(), _LINGER_SECONDS)
        gone = self.site.drain() if self.site is not None else None
        drain_timeout = self._server.drain_timeout
        if len(self._running_calls):
            self._log.info(
                "calls that are still running: {count}; they have {seconds:g} seconds",
                count=len(self._running_calls),
                seconds=drain_timeout,
            )
        drained_by = self._clock.seconds() + drain_timeout
        if not await self._happens(self._running_calls.close(), drain_timeout):
            self._log.warn("calls that are ended now: {count}", count=len(self._running_calls))
            self._running_calls.interrupt()
        if self.site is not None and gone is not None:
            left = drained_by - self._clock.seconds()
            await self._happens(gone, max(_FLUSH_SECONDS, left))
            self.site.abort()
        await self._client.close()
        if self._state is not None:
            await self._state.close()

    async def _happens(self, deferred: Deferred[None], seconds: float) -> bool:
        """Whether it fires in that time."""
        if deferred.called:
            return True
        waiting: Deferred[None] = Deferred()

        def happened(_: None) -> None:
            if not waiting.called:
                waiting.callback(None)

        deferred.addCallback(happened)
        waiting.addTimeout(seconds, self._clock)
        try:
            await waiting
        except NotInTime:
            return False
        return True


def _stopped(port: IListeningPort) -> Deferred[Any]:
    stopping = port.stopListening()
    return stopping if isinstance(stopping, Deferred) else succeed(None)

"""Starting and stopping, in one sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.defer import TimeoutError as NotInTime
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamServerEndpoint
from twisted.internet.task import deferLater
from twisted.logger import Logger

from aiproxy.errors import ConfigurationError
from aiproxy.gateway.running import RunningCalls
from aiproxy.providers.discovery import Discovery
from aiproxy.transport.client import UpstreamClient
from aiproxy.transport.http.site import GatewaySite
from aiproxy.transport.state import StateStore

__all__ = ["Listening", "ProxyService"]

# After the last answer was written, at least: for the clients to read it.
_FLUSH_SECONDS = 1.0


@frozen
class Listening:
    """
    Where and how clients are served.

    :param endpoints: each with what an error calls it.
    """

    site: GatewaySite
    endpoints: Sequence[tuple[str, IStreamServerEndpoint]]


class ProxyService(Service):
    """
    The proxy as a service.

    A stop is one sequence: ready says 503, ``shutdown_delay``, no new
    connections, the running calls end or ``drain_timeout``, the connections to
    upstreams close.  Without :class:`Listening` the sockets are the embedder's.

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
        drain_timeout: float,
        shutdown_delay: float,
    ) -> None:
        self.draining = False
        self.listening: Listening | None = None
        self.ports: list[IListeningPort] = []
        self._clock: Any = clock
        self._running_calls = running
        self._client = client
        self._discovery = discovery
        self._state = state
        self._drain_timeout = drain_timeout
        self._shutdown_delay = shutdown_delay

    def privilegedStartService(self) -> None:
        """
        Listen, where that is ours, while the process may still do it anywhere.

        :raises Exception: what the endpoint says, if it cannot.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        if self.listening is None:
            return
        for name, endpoint in self.listening.endpoints:
            failures: list[Any] = []
            listening = endpoint.listen(self.listening.site)
            listening.addCallbacks(self.ports.append, failures.append)
            if failures:
                raise SystemExit(f"aiproxy: cannot listen on {name}: {_why(failures[0])}")

    def startService(self) -> None:
        """
        Begin what goes on in the background, with what is known from before.

        :raises ConfigurationError: ``server.state`` cannot be used (where
            listening is ours it ends the process).
        """
        super().startService()  # type: ignore[no-untyped-call]
        if self._state is not None:
            # Not before: under twistd a fork and the loss of privileges lie behind us now.
            self._open(self._state)
        self._discovery.refresh()

    def _open(self, state: StateStore) -> None:
        try:
            state.open()
        except ConfigurationError as error:
            if self.listening is None:
                raise
            raise SystemExit(f"aiproxy: {error}") from None
        state.start()

    def stopService(self) -> Deferred[None]:
        """Stop; fires when all is done."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self.draining = True
        self._discovery.close()
        if self._shutdown_delay:
            await deferLater(self._clock, self._shutdown_delay)
        await DeferredList([_stopped(port) for port in self.ports], consumeErrors=True)
        self.ports.clear()
        gone = self.listening.site.drain() if self.listening is not None else None
        if len(self._running_calls):
            self._log.info(
                "calls that are still running: {count}; they have {seconds:g} seconds",
                count=len(self._running_calls),
                seconds=self._drain_timeout,
            )
        drained_by = self._clock.seconds() + self._drain_timeout
        if not await self._happens(self._running_calls.close(), self._drain_timeout):
            self._log.warn("calls that are ended now: {count}", count=len(self._running_calls))
            self._running_calls.interrupt()
        if self.listening is not None and gone is not None:
            left = drained_by - self._clock.seconds()
            await self._happens(gone, max(_FLUSH_SECONDS, left))
            self.listening.site.abort()
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


def _why(failure: Any) -> str:
    error = getattr(failure.value, "socketError", failure.value)
    return str(getattr(error, "strerror", None) or error)

"""The calls that are running: whom a stop waits for."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from aiproxy.errors import ShuttingDown
from aiproxy.gateway.watch import Watch

__all__ = ["RunningCalls"]


class RunningCalls:
    """Counts calls in and out, and ends them when their time is over."""

    def __init__(self) -> None:
        self._watches: set[Watch] = set()
        self._closed = False
        self._idle: Deferred[None] | None = None

    def __len__(self) -> int:
        return len(self._watches)

    def open(self) -> None:
        """Take calls again after :meth:`close`."""
        self._closed = False

    def begin(self, watch: Watch) -> None:
        """
        A call begins.

        :raises ShuttingDown: no more calls are taken.
        """
        if self._closed:
            watch.stop()
            raise ShuttingDown("the server is shutting down")
        self._watches.add(watch)

    def end(self, watch: Watch) -> None:
        """A call is over, with all that was written for it."""
        self._watches.discard(watch)
        watch.stop()
        idle = self._idle
        if idle is not None and not self._watches:
            self._idle = None
            idle.callback(None)

    def close(self) -> Deferred[None]:
        """Take no more calls; fire when the running ones are over."""
        self._closed = True
        if not self._watches:
            return succeed(None)
        if self._idle is None:
            self._idle = Deferred()
        return self._idle

    def interrupt(self) -> None:
        """End the running calls now, each with an error for its caller."""
        for watch in list(self._watches):
            watch.end(ShuttingDown("the server is shutting down"))

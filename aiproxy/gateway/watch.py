"""The clock over one call: which time bounds what is being waited for."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from aiproxy.errors import AIProxyError, UpstreamTimeout
from aiproxy.transport.deadline import Deadline

__all__ = ["Watch"]

T = TypeVar("T")


class Watch:
    """
    Ends a wait with an error when its time is over.

    :param total: seconds that the whole call may take.
    """

    def __init__(self, clock: IReactorTime, total: float) -> None:
        #: The whole call is over, whoever else could be asked.
        self.over: AIProxyError | None = None
        self._clock = clock
        self._total_due = clock.seconds() + total
        self._deadline = Deadline(clock, self._expire)
        self._phase: tuple[float, AIProxyError] | None = None
        self._expired: AIProxyError | None = None
        self._waiting: Deferred[object] | None = None
        self._deadline.set_at(self._total_due)

    def bound(self, seconds: float | None, what: str) -> None:
        """
        Bound what follows, in place of what was bound before.

        :param seconds: from now on; ``None``: only by the whole call's time.
        :param what: what did not happen in time, for the error.
        """
        if seconds is None:
            self._phase = None
        else:
            due = self._clock.seconds() + seconds
            error = UpstreamTimeout(f"{what} within {seconds:g} seconds")
            self._phase = due, error
            if due < self._total_due:
                self._deadline.set_at(due)

    async def wait(self, deferred: Deferred[T]) -> T:
        """Wait, within the bounds; whoever cancels us cancels ``deferred``."""
        if self.over is not None:
            deferred.addErrback(lambda _: None)
            deferred.cancel()
            raise self.over
        self._expired = None
        self._waiting = deferred  # type: ignore[assignment]
        try:
            return await deferred
        except CancelledError:
            if self._expired is not None:
                raise self._expired from None
            raise
        finally:
            self._waiting = None

    def end(self, error: AIProxyError) -> None:
        """Let the whole call end with this error."""
        if self.over is None:
            self.over = error
            self._cancel(error)

    def stop(self) -> None:
        """The call is over: leave no timer."""
        self._deadline.cancel()

    def _expire(self) -> None:
        now = self._clock.seconds()
        if now >= self._total_due:
            self.end(UpstreamTimeout("the request took longer than timeouts.total allows"))
        elif self._phase is not None and now >= self._phase[0]:
            error = self._phase[1]
            self._phase = None
            self._deadline.set_at(self._total_due)
            self._cancel(error)
        else:
            later = self._total_due if self._phase is None else self._phase[0]
            self._deadline.set_at(min(later, self._total_due))

    def _cancel(self, error: AIProxyError) -> None:
        self._expired = error
        if self._waiting is not None:
            self._waiting.cancel()

"""The clock over one call, and who else may end it."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aiproxy.errors import AIProxyError, UpstreamTimeout

__all__ = ["Watch"]

T = TypeVar("T")


class Watch:
    """
    Ends a call, whatever it waits for, when its time is over.

    :param total: seconds that the whole call may take.
    :ivar over: why the call is over, whoever else could be asked.
    """

    __slots__ = (
        "_timer",
        "_total",
        "_waiting",
        "over",
    )

    def __init__(self, clock: IReactorTime, total: float) -> None:
        self.over: AIProxyError | None = None
        self._total = total
        self._waiting: list[Deferred[object]] = []
        self._timer: IDelayedCall | None = clock.callLater(total, self._expire)

    async def wait(self, deferred: Deferred[T]) -> T:
        """
        Wait, perhaps several at a time; whoever cancels us cancels ``deferred``.

        :raises AIProxyError: the call is over.
        """
        if self.over is not None:
            deferred.addErrback(lambda _: None)
            deferred.cancel()
            raise self.over
        waiting: Deferred[object] = deferred  # type: ignore[assignment]
        self._waiting.append(waiting)
        try:
            return await deferred
        except CancelledError:
            if self.over is not None:
                raise self.over from None
            raise
        finally:
            self._waiting.remove(waiting)

    def end(self, error: AIProxyError) -> None:
        """Let the whole call end with this error."""
        if self.over is None:
            self.over = error
            for waiting in self._waiting[:]:
                waiting.cancel()

    def stop(self) -> None:
        """The call is over: leave no timer."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _expire(self) -> None:
        self._timer = None
        self.end(UpstreamTimeout(f"the request took longer than the {self._total:g} seconds that"
                                 " it may take in all"))  # fmt: skip

"""The clock over one call, and who else may end it."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from aiproxy.errors import AIProxyError, UpstreamTimeout
from aiproxy.transport.timeout_queue import TimeoutQueue

__all__ = ["Watch"]

T = TypeVar("T")


class Watch:
    """
    Ends a call, whatever it waits for, when its time is over.

    :param queue: of those calls that may take as long as this one.
    :ivar over: why the call is over, whoever else could be asked.
    :ivar waiting: what it waits for; cancelled when it is over.
    """

    __slots__ = (
        "_queue",
        "over",
        "waiting",
    )

    def __init__(self, queue: TimeoutQueue) -> None:
        self.over: AIProxyError | None = None
        self.waiting: list[Deferred[Any]] = []
        self._queue = queue
        queue.add(self)

    async def wait(self, deferred: Deferred[T]) -> T:
        """
        Wait, perhaps several at a time; whoever cancels us cancels ``deferred``.

        :raises AIProxyError: the call is over.
        """
        if self.over is not None:
            self.refuse(deferred)
        self.waiting.append(deferred)
        try:
            return await deferred
        except CancelledError:
            if self.over is not None:
                raise self.over from None
            raise
        finally:
            self.waiting.remove(deferred)

    def refuse(self, deferred: Deferred[Any]) -> NoReturn:
        """
        End what would be waited for, for the call is over already.

        :raises AIProxyError: it is.
        """
        assert self.over is not None
        deferred.addErrback(lambda _: None)
        deferred.cancel()
        raise self.over

    def end(self, error: AIProxyError) -> None:
        """Let the whole call end with this error."""
        if self.over is None:
            self.over = error
            for waiting in self.waiting[:]:
                waiting.cancel()

    def stop(self) -> None:
        """The call is over: leave no timer."""
        self._queue.discard(self)

    def expire(self) -> None:
        """The time is over, and with it our plan, whoever is left in it."""
        seconds = self._queue.seconds
        error = UpstreamTimeout(f"the request took longer than the {seconds:g} seconds that"
                                " it may take in all")  # fmt: skip
        error.exhausted = True
        self.end(error)

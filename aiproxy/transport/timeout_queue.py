"""One timer for all that may take equally long."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["Expiring", "TimeoutQueue", "TimeoutQueues"]

_log = Logger()

#: The rounding of a clock must not make a loop of a wait.
_SHORTEST = 1e-6
#: So many lengths have a queue of their own before those that are empty go.
_MOST_QUEUES = 256


class Expiring(Protocol):
    """What ends when its time is over; told apart by identity."""

    def expire(self) -> None:
        """Its time is over."""


class TimeoutQueue:
    """
    Ends what takes too long.

    Whoever came first is due first, so a call costs no timer of its own: the
    reactor has one for all of them, and none while there is nobody.

    :param seconds: that each may take.
    """

    __slots__ = ("_clock", "_due", "_timer", "seconds")

    def __init__(self, clock: IReactorTime, seconds: float) -> None:
        self.seconds = seconds
        self._clock = clock
        self._due: dict[Expiring, float] = {}
        self._timer: IDelayedCall | None = None

    def __bool__(self) -> bool:
        return bool(self._due)

    def add(self, one: Expiring) -> None:
        """Let one expire that long from now; if it is there already, later than it would."""
        self._due.pop(one, None)
        self._due[one] = self._clock.seconds() + self.seconds
        if self._timer is None:
            self._timer = self._clock.callLater(self.seconds, self._fire)

    def discard(self, one: Expiring) -> None:
        """Never expire it.  Harmless when repeated."""
        self._due.pop(one, None)
        if not self._due and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        while self._due:
            one, due = next(iter(self._due.items()))
            left = due - self._clock.seconds()
            if left > _SHORTEST:
                if self._timer is None:  # Who has expired may have brought others.
                    self._timer = self._clock.callLater(left, self._fire)
                return
            del self._due[one]
            try:
                one.expire()
            except Exception:
                # A bug of ours.  The others expire all the same.
                _log.failure("what took too long could not be ended")


class TimeoutQueues:
    """A queue for each length, as they are asked for."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._queues: dict[float, TimeoutQueue] = {}

    def find(self, seconds: float) -> TimeoutQueue:
        """Return the queue of those that may take so long."""
        queue = self._queues.get(seconds)
        if queue is None:
            if len(self._queues) >= _MOST_QUEUES:
                # Callers say how long they wait.
                self._queues = {length: one for length, one in self._queues.items() if one}
            queue = self._queues[seconds] = TimeoutQueue(self._clock, seconds)
        return queue

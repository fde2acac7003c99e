"""One timer for a deadline that moves with every chunk."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Deadline"]


class Deadline:
    """
    Calls ``expired`` when its time has come.

    Moving it later costs no timer: the one that runs looks at the time when it
    fires, and goes to sleep again.

    :param expired: called once for each time that was set and has passed.
    """

    __slots__ = (
        "_clock",
        "_due",
        "_expired",
        "_timer",
        "_timer_due",
    )

    def __init__(self, clock: IReactorTime, expired: Callable[[], None]) -> None:
        self._clock = clock
        self._expired = expired
        self._due: float | None = None
        self._timer: IDelayedCall | None = None
        self._timer_due = 0.0

    def set(self, seconds: float | None) -> None:
        """Let it expire that long from now; ``None``: never."""
        if seconds is None:
            self.cancel()
            return
        due = self._clock.seconds() + seconds
        if self._timer is not None and due >= self._timer_due:
            self._due = due  # It mostly is so.
        else:
            self.set_at(due)

    def set_at(self, due: float) -> None:
        """Let it expire at a time of the clock."""
        self._due = due
        if self._timer is not None:
            if due >= self._timer_due:
                return
            self._timer.cancel()
        self._start(due)

    def rest(self) -> None:
        """Never expire, but leave the timer for the next time that is set."""
        self._due = None

    def cancel(self) -> None:
        """Never expire; leave no timer behind."""
        self._due = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """Never expire again, and forget who would have been called."""
        self.cancel()
        self._expired = _nobody

    def _start(self, due: float) -> None:
        self._timer_due = due
        delay = max(0.0, due - self._clock.seconds())
        self._timer = self._clock.callLater(delay, self._fire)

    def _fire(self) -> None:
        self._timer = None
        due = self._due
        if due is None:
            return
        # The clock's own rounding must not make a loop of it.
        if due - self._clock.seconds() > 1e-6:
            self._start(due)
            return
        self._due = None
        self._expired()


def _nobody() -> None:
    """Nobody is called any more."""

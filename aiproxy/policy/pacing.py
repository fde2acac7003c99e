"""``min_interval``: requests are spread out in time, without blocking anyone else."""

from __future__ import annotations

import math
from bisect import bisect_left, insort

from aiproxy.policy.windows import seconds_until

__all__ = ["MAX_WAIT", "Pace", "Turn"]

#: Seconds that a turn may be away; longer where ``queue_timeout`` is.
MAX_WAIT = 30.0


class Turn:
    """
    When a request may be sent.

    :param delay: the seconds that were left when it was given.
    """

    __slots__ = ("_at", "_interval", "_pace", "delay")

    def __init__(self, pace: Pace, at: float, delay: float) -> None:
        self._pace: Pace | None = pace
        self._at = at
        self._interval = pace.interval
        self.delay = delay

    def give_up(self) -> None:
        """Leave the turn to somebody else: the request was not sent, and will not be."""
        pace, self._pace = self._pace, None
        if pace is not None:
            pace.take_back(self._at, self._interval)


class Pace:
    """
    The turns of one candidate: two are ``interval`` seconds apart, or more.

    :param max_wait: a turn that is further away is not given.
    """

    __slots__ = ("_free", "_last", "interval", "max_wait")

    def __init__(self, interval: float = 0.0, max_wait: float = MAX_WAIT) -> None:
        self.interval = interval
        self.max_wait = max_wait
        self._last = -math.inf
        #: Turns before the last that were given up, in order.
        self._free: list[float] = []

    def change(self, interval: float, max_wait: float) -> None:
        """Go on with other parameters; turns that were given stay."""
        if interval != self.interval:
            self._free.clear()
        self.interval = interval
        self.max_wait = max_wait

    def when(self, now: float) -> float:
        """Return the seconds until :meth:`reserve` gives a turn: 0 if it does so now."""
        if not self.interval:
            return 0.0
        return seconds_until(self._next(now) - self.max_wait, now)

    def reserve(self, now: float) -> Turn | None:
        """
        Take the next turn.

        :param now: of a monotonic clock.
        :return: ``None`` if that is further away than :attr:`max_wait`.
        """
        if not self.interval:
            return Turn(self, now, 0.0)
        at = self._next(now)
        if now < at - self.max_wait:
            return None
        del self._free[: bisect_left(self._free, now)]
        if self._free:
            del self._free[0]
        else:
            self._last = at
        return Turn(self, at, seconds_until(at, now))

    def take_back(self, at: float, interval: float) -> None:
        """
        Give the turn at ``at`` to who comes next; :meth:`Turn.give_up` calls this once.

        :param interval: what was between the turns then; with another one, it is lost.
        """
        if not interval or interval != self.interval:
            return
        # Sums of floats are not equal, but no two turns are half an interval apart.
        if at < self._last - interval / 2:
            insort(self._free, at)
            return
        # Whatever came before is no later than this.
        self._last = at - interval
        while self._free and self._free[-1] > self._last - interval / 2:
            self._last = self._free.pop() - interval

    def is_idle(self, now: float) -> bool:
        """Whether a new :class:`Pace` would do the same."""
        return self._last + self.interval <= now

    def _next(self, now: float) -> float:
        """Return when the next turn is."""
        place = bisect_left(self._free, now)
        if place < len(self._free):
            return self._free[place]
        return max(self._last + self.interval, now)

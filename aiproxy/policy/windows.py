"""
One limit over a sliding window: no window of its length ever holds more than N.

The window is a ring of 60 sub-windows before the one in progress.  A
sub-window counts in full until all of it has left the window, so that an amount
is held at most a sixtieth of the window too long, and never too short.

The state is 512 bytes of somebody's buffer, all zero at first: a
``bytearray``, or a part of an ``mmap`` for several processes, who then hold
their lock for each call.  It is 64 signed words of 64 bits in the machine's own
order:

====== ===============================================================
word   meaning
====== ===============================================================
0      the newest sub-window's number, counted from the clock's zero
1      the sum of the cells
2      the newest sub-window's slot; slots count up whatever clocks do
3-63   the cells: a sub-window's amount is in cell ``slot % 61``
====== ===============================================================

The clock may be any that is told in seconds.  If it is set forward, what has
gone by counts as gone by.  If it is set back, the ring goes back with it and
keeps its counts: it holds back for one window at most, and heals.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["WINDOW_BYTES", "SlidingWindow", "seconds_until"]

#: What the state of one limit takes.
WINDOW_BYTES = 512

_TICK, _TOTAL, _SLOT, _FIRST = range(4)
_PARTS = 60
_CELLS = _PARTS + 1


class SlidingWindow:
    """
    At most :attr:`limit` within ``seconds``.

    :param limit: may be changed at any time; the counts live on.
    :param seconds: the window's length, a multiple of 60.
    :param buffer: :data:`WINDOW_BYTES` of it are used, and kept.
    """

    __slots__ = ("_width", "_words", "limit")

    def __init__(
        self, limit: int, seconds: int, buffer: bytearray | memoryview | None = None
    ) -> None:
        self.limit = limit
        self._width, rest = divmod(seconds, _PARTS)
        if rest or seconds <= 0:
            raise ValueError("a window's length must be a multiple of 60 seconds")
        state = memoryview(bytearray(WINDOW_BYTES) if buffer is None else buffer)
        self._words = state[:WINDOW_BYTES].cast("q")

    def room(self, now: float) -> int:
        """Return how much may be taken; negative after an overshoot or a lowered limit."""
        if now // self._width != self._words[_TICK]:
            self._step(now)
        return self.limit - self._words[_TOTAL]

    def add(self, now: float, amount: int) -> int:
        """Take ``amount``, whether there is :meth:`room` or not; return its slot."""
        words = self._words
        if now // self._width != words[_TICK]:
            self._step(now)
        slot = words[_SLOT]
        # The cell first: a total that a crash left behind is put right at the next step.
        words[_FIRST + slot % _CELLS] += amount
        words[_TOTAL] += amount
        return slot

    def give_back(self, slot: int, amount: int) -> None:
        """Undo a part of what was taken into ``slot``; nothing if that is over already."""
        words = self._words
        if 0 <= words[_SLOT] - slot < _CELLS:
            cell = _FIRST + slot % _CELLS
            amount = min(amount, words[cell])
            words[cell] -= amount
            words[_TOTAL] -= amount

    def when(self, now: float, amount: int) -> float:
        """
        Return the seconds until there is room for ``amount`` if nobody else comes.

        :return: 0 if there is room now; infinity if it is more than the limit.
        """
        missing = amount - self.room(now)
        if missing <= 0:
            return 0.0
        if amount > self.limit:
            return math.inf
        words = self._words
        for age in reversed(range(_CELLS)):
            missing -= words[_FIRST + (words[_SLOT] - age) % _CELLS]
            if missing <= 0:
                break
        return seconds_until((words[_TICK] - age + _CELLS) * self._width, now)

    def is_empty(self, now: float) -> bool:
        """Whether nothing counts any more."""
        return self.room(now) == self.limit

    def counts(self) -> list[tuple[int, int]]:
        """Return when each sub-window that is not empty began, and its amount; oldest first."""
        words = self._words
        cells = [
            (words[_TICK] - age, words[_FIRST + (words[_SLOT] - age) % _CELLS])
            for age in reversed(range(_CELLS))
        ]
        return [(tick * self._width, amount) for tick, amount in cells if amount]

    def restore(self, now: float, counts: Iterable[tuple[int, int]]) -> None:
        """Add what :meth:`counts` once returned; what lies in the future counts as of now."""
        self.room(now)
        words = self._words
        for start, amount in counts:
            age = max(words[_TICK] - start // self._width, 0)
            if age < _CELLS:
                words[_FIRST + (words[_SLOT] - age) % _CELLS] += amount
                words[_TOTAL] += amount

    def _step(self, now: float) -> None:
        """Bring the ring to the sub-window that ``now`` is in."""
        words = self._words
        tick = int(now // self._width)
        steps = tick - words[_TICK]
        if steps == -1:
            return  # two processes that read the clock on both sides of a boundary
        if steps > 0:
            newest = words[_SLOT]
            for slot in range(newest + 1, newest + 1 + min(steps, _CELLS)):
                words[_FIRST + slot % _CELLS] = 0
            words[_SLOT] = newest + min(steps, _CELLS)
            words[_TOTAL] = sum(words[_FIRST:])
        words[_TICK] = tick


def seconds_until(end: float, now: float) -> float:
    """Return how long to wait so that ``end`` has come: rounded up, 0 if it has."""
    delay = max(end - now, 0.0)
    return delay if now + delay >= end else delay + math.ulp(end)

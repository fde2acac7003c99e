"""
Whether to wait awake for what happens next: busy polling, as long as it pays.

To sleep and to be woken costs a process some 50 µs in a virtual machine, and
what it needs next is no longer where the processor finds it at once.  Who looks
about for a while before it sleeps spares that when the next event is near, as
between a client and an upstream that are both quick, and loses about as much
when it is not.  So it is only done where the last waits were short, and each
time that nothing came makes the next try rarer: where upstreams take their
time, or need the very processor that we would keep busy, it costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

__all__ = ["BusyPolling"]

#: A wait is short up to this, and so long we look at most.
_SHORT_SECONDS: Final = 0.0001
#: So many short waits in a row it takes at most before it is tried again.
_MOST_ASKED: Final = 256

T = TypeVar("T")


class BusyPolling:
    """
    Decides before each sleep, by those before.

    :param seconds: the time.
    """

    __slots__ = ("_asked", "_asleep_since", "_seconds", "_short")

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._asleep_since = -math.inf
        self._short = 0  # so many waits in a row
        self._asked = 1

    def woke(self) -> None:
        """Something has happened, perhaps after a sleep: take down how long it was."""
        if _is_short(self._seconds() - self._asleep_since):
            self._short += 1
        else:
            self._short = 0

    def look(self, poll: Callable[[], Sequence[T]]) -> Sequence[T]:
        """
        Look for what happens, if that pays.

        :param poll: returns what has happened, at once.
        :return: that, or nothing: sleep.
        """
        if self._short >= self._asked:
            began = self._seconds()
            while _is_short(self._seconds() - began):
                happened = poll()
                if happened:
                    self._asked = 1
                    return happened
            self._short = 0
            self._asked = min(2 * self._asked, _MOST_ASKED)
        return ()

    def sleeps(self) -> None:
        """Nothing is left to do."""
        self._asleep_since = self._seconds()


def _is_short(waited: float) -> bool:
    return 0 <= waited < _SHORT_SECONDS  # It is less than nothing where the clock was set back.

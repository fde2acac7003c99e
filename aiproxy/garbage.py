"""
How Python's cyclic garbage collector runs in a server of ours.

A collection stops everything, the longer the more objects it looks at: a full
one takes a tenth of a second with thousands of open streams.  And Python looks
at all of them whenever a quarter has been added, so just when streams are opened
one after the other.  A call that is answered leaves no cycles behind, and one
that fails leaves some that are found while they are young; so full collections
are ours, and come when they are short, or when they may be worth it.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["LOOK_SECONDS", "MOST_GROWN", "QUIET_CALLS", "THRESHOLDS", "GarbageCollector"]

#: Objects that have come and not gone until the youngest are looked at (some
#: milliseconds for the two younger generations); a full collection never comes by itself.
THRESHOLDS: Final = (10_000, 2, 1_000_000)
#: Seconds between two looks whether a full collection is due.
LOOK_SECONDS: Final = 5.0
#: With so few calls running it takes a few milliseconds, and comes at once.
QUIET_CALLS: Final = 100
#: With more it comes when so many objects have grown old (some 75 MB), or twice as
#: many as there were after the last one.
MOST_GROWN: Final = 300_000

#: So many objects, at most, grow old with each collection of the two younger generations.
_STEP: Final = THRESHOLDS[0] * (THRESHOLDS[1] + 1)


class GarbageCollector:
    """
    See the module.

    :param running: returns how many calls are running.
    """

    def __init__(self, clock: IReactorTime, running: Callable[[], int]) -> None:
        self._clock = clock
        self._running = running
        #: Objects that the last full collection has left.
        self._left = 0
        self._timer: IDelayedCall | None = None

    def start(self) -> None:
        """Leave what was loaded so far out of all collections, and let them be rare."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)

    def stop(self) -> None:
        """Look no more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look(self) -> None:
        self._timer = self._clock.callLater(LOOK_SECONDS, self._look)
        grown = gc.get_count()[2] * _STEP
        if not grown:
            return
        if self._running() <= QUIET_CALLS or grown >= max(MOST_GROWN, 2 * self._left):
            gc.collect()
            self._left = len(gc.get_objects(generation=2))

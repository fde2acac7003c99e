"""An admission whose counts lie in a memory that several processes have."""

from __future__ import annotations

import math

from aiproxy.config.schema import Limits
from aiproxy.policy.limits import Admission, Held, Lease, make_windows
from aiproxy.policy.pacing import MAX_WAIT, Pace
from aiproxy.policy.shared_counts import SharedCounts, Slot
from aiproxy.policy.windows import SlidingWindow

__all__ = ["SharedAdmission", "is_idle"]

#: Seconds after which a slot is not kept for the sake of its pace.
_PACE_KEPT = 60.0


class SharedAdmission(Admission):
    """
    See the module, and :class:`~aiproxy.policy.limits.Admission`.

    What takes or looks at counts holds the slot's lock.  A slot that others have given away
    while nothing was counted in it is claimed anew.  What the upstream has told,
    and turns that were given up, stay this process's own.
    """

    __slots__ = ("_counts", "_key", "_slot")

    def __init__(self, counts: SharedCounts, key: tuple[str, ...], slot: Slot) -> None:
        self._counts = counts
        self._key = key
        self._slot = slot
        super().__init__(Limits(), slot.windows)
        self.pace = _SharedPace(self._counts, slot)

    def admit(self, now: float, wall: float, tokens: int = 0) -> Lease | Held:
        # With every request: a context manager would cost as much as the lock.
        slot = self._ours()
        self._counts.hold(slot)
        try:
            return Admission.admit(self, now, wall, tokens)
        finally:
            self._counts.let_go(slot)

    def find_hold(self, now: float, wall: float, tokens: int = 0) -> Held | None:
        with self._counts.lock(self._ours()):
            return super().find_hold(now, wall, tokens)

    def remaining(self, now: float, wall: float) -> dict[str, int]:
        with self._counts.lock(self._ours()):
            return super().remaining(now, wall)

    def is_idle(self, now: float, wall: float) -> bool:
        with self._counts.lock(self._slot):
            return not self._slot.is_ours or super().is_idle(now, wall)

    @property
    def is_lost(self) -> bool:
        """Whether its slot was given away, so that what lies there is another key's."""
        return not self._slot.is_ours

    @property
    def in_flight(self) -> int:
        """Leases that are not released, of all processes."""
        return sum(self._slot.in_flight)

    @in_flight.setter
    def in_flight(self, count: int) -> None:
        """Nothing is in flight in a new one; what others have is theirs."""

    @property
    def changed(self) -> bool:
        return self._slot.changed

    @changed.setter
    def changed(self, changed: bool) -> None:
        if changed:
            self._slot.changed = True

    def saved_counts(self) -> list[tuple[str, int, int]]:
        with self._counts.lock(self._slot):
            return super().saved_counts()

    def restore(self, name: str, start: int, requests: int, wall: float) -> None:
        with self._counts.lock(self._ours()):
            super().restore(name, start, requests, wall)

    def take_changed(self) -> bool:
        with self._counts.lock(self._slot):
            changed, self._slot.changed = self._slot.changed, False
        return changed

    def _come(self) -> None:
        self._slot.in_flight[self._counts.place] += 1

    def _leave(self) -> None:
        # Nobody else writes there, so it needs no lock.
        self._slot.in_flight[self._counts.place] -= 1

    def _undo(self, requests: list[tuple[SlidingWindow, int]]) -> None:
        with self._counts.lock(self._slot):
            super()._undo(requests)

    def _settle(self, used: int, reserved: int, slot: int, now: float) -> None:
        if used != reserved and self._tokens.limit:
            with self._counts.lock(self._slot):
                super()._settle(used, reserved, slot, now)

    def _ours(self) -> Slot:
        """
        Return our slot, another one if ours was given away.

        Between this look and the lock it may happen again, in a table that is
        full: then one request counts in a slot that is nobody's yet.
        """
        if not self._slot.is_ours:
            slot = self._counts.claim(self._key, reserved=True)
            if slot is not None:
                self._slot = slot
                limits, pace = self.limits, self.pace
                self.windows = make_windows(slot.windows)
                self.pace = _SharedPace(self._counts, slot)
                self.change(limits, pace.interval, pace.max_wait)
        return self._slot


class _SharedPace(Pace):
    """A pace whose last turn is everybody's; zero stands for none."""

    def __init__(self, counts: SharedCounts, slot: Slot) -> None:
        self._counts = counts
        self._slot = slot
        # Without Pace's own __init__, which would forget the last turn of all processes.
        self.interval, self.max_wait = 0.0, MAX_WAIT
        self._free = []

    def take_back(self, at: float, interval: float) -> None:
        with self._counts.lock(self._slot):
            super().take_back(at, interval)

    @property
    def _last(self) -> float:
        last: float = self._slot.paced[0]
        return last or -math.inf

    @_last.setter
    def _last(self, last: float) -> None:
        self._slot.paced[0] = 0.0 if math.isinf(last) else last


def is_idle(slot: Slot, now: float, wall: float) -> bool:
    """Whether a slot says no more than a new one would, to any process; its lock is held."""
    if any(slot.in_flight) or slot.paced[0] > now - _PACE_KEPT:
        return False
    return all(
        window.is_empty(wall if on_wall else now)
        for window, on_wall in make_windows(slot.windows).values()
    )

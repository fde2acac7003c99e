"""
Whether a candidate, or a client's key, may be used now: the one admission point.

An :class:`Admission` holds what is configured for one of them, what its
upstream has told, and its pace.  It gives a :class:`Lease`, or says what holds
the request back and for how long.  Nothing is taken if anything refuses.

Hours and days are counted on the wall clock, for they survive a restart;
everything else on the monotonic one.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from aiproxy.config.schema import Limits
from aiproxy.policy.learned import Learned
from aiproxy.policy.pacing import MAX_WAIT, Pace, Turn
from aiproxy.policy.routing import Candidate
from aiproxy.policy.windows import WINDOW_BYTES, SlidingWindow, seconds_until

__all__ = [
    "ADMISSION_BYTES",
    "SAVED",
    "Admission",
    "Held",
    "Lease",
    "limit_key",
    "make_windows",
]

#: What the windows of one :class:`Admission` take.
ADMISSION_BYTES: Final = 4 * WINDOW_BYTES

#: By its name, in the order of the buffer: a window's seconds, whether it is on the wall clock.
_WINDOWS: Final = {
    "requests_per_minute": (60, False),
    "requests_per_hour": (3_600, True),
    "requests_per_day": (86_400, True),
    "tokens_per_minute": (60, False),
}
#: Those whose counts survive a restart.
SAVED: Final = tuple(name for name, (_, on_wall) in _WINDOWS.items() if on_wall)

#: More is nonsense, and sums of it still fit a cell.
_MOST: Final = 2**40


@frozen
class Held:
    """
    A request may not go now.

    :param limit: what holds it back (the longest, if several do): the name of a
        limit as in the configuration, or ``upstream`` for what that has told.
    :param delay: after so many seconds it is admitted if nobody else comes;
        ``None`` if that is when a running request ends.
    """

    limit: str
    delay: float | None


class Lease:
    """
    The right to one request.  :meth:`settle` first, then :meth:`release`.

    A request that fails, or is cancelled, keeps what it has taken: the upstream
    may have counted it.  Only one that never left is undone, by :meth:`forget`.
    Each counts once: repeating it does nothing.

    :ivar delay: seconds to wait before the request is sent (``min_interval``).
    :ivar is_saved: it has taken from hours or days, which survive a restart.
    """

    __slots__ = (
        "_admission",
        "_released",
        "_requests",
        "_settled",
        "_tokens",
        "_turn",
        "delay",
        "is_saved",
    )

    def __init__(
        self,
        admission: Admission,
        requests: list[tuple[SlidingWindow, int]],
        tokens: tuple[int, int],
        turn: Turn | None,
    ) -> None:
        self._admission = admission
        #: Windows and the slots in which they count this request.
        self._requests = requests
        #: How many tokens are reserved, and in which slot.
        self._tokens = tokens
        self._turn = turn
        self._released = self._settled = False
        self.delay = 0.0 if turn is None else turn.delay
        self.is_saved = admission.is_saved

    def settle(self, tokens: int, now: float) -> None:
        """
        Put the tokens that were used in the place of those reserved.

        What is too much counts from now on, and is carried as debt: there is
        no room until enough has left the window.
        """
        if not self._settled:
            self._settled = True
            admission, reserved = self._admission, self._tokens
            if reserved[0] or admission.limits.tokens_per_minute:
                admission._settle(min(max(tokens, 0), _MOST), *reserved, now)

    def release(self) -> None:
        """Say that the request is over."""
        if not self._released:
            self._released = True
            self._admission._leave()

    def forget(self) -> None:
        """Undo everything: the request never left."""
        if self._released:
            return
        if self._requests:
            self._admission._undo(self._requests)
        if not self._settled:
            self._settled = True
            self._admission._settle(0, *self._tokens, 0.0)
        if self._turn is not None:
            self._turn.give_up()
        self.release()


class Admission:
    """
    The admission point of one candidate or client's key.

    :param buffer: :data:`ADMISSION_BYTES` for the windows; zero at first.
    :ivar in_flight: leases that are not released.
    :ivar learned: what the upstream has told; its owner feeds it.
    :ivar is_saved: it counts hours or days, which survive a restart.
    :ivar changed: the counts of hours or days are not what they were when it
        was last set to false.
    """

    __slots__ = (
        "_requests",
        "_tokens",
        "changed",
        "in_flight",
        "is_saved",
        "learned",
        "limits",
        "pace",
        "windows",
    )

    def __init__(
        self, limits: Limits | None = None, buffer: bytearray | memoryview | None = None
    ) -> None:
        state = memoryview(bytearray(ADMISSION_BYTES) if buffer is None else buffer)
        #: By the limit's name: the window, and whether it is on the wall clock.
        self.windows = make_windows(state)
        self.learned = Learned()
        self.pace = Pace()
        self.in_flight = 0
        self.changed = False
        self.change(Limits() if limits is None else limits)

    def change(self, limits: Limits, min_interval: float = 0.0, max_wait: float = MAX_WAIT) -> None:
        """Go on under other limits: what is counted stays counted."""
        self.limits = limits
        for name, (window, _) in self.windows.items():
            window.limit = min(getattr(limits, name) or 0, _MOST)
        *requests, (self._tokens, _) = self.windows.values()
        self._requests = tuple((window, wall) for window, wall in requests if window.limit)
        self.is_saved = any(on_wall for _, on_wall in self._requests)
        self.pace.change(min_interval, max_wait)

    def admit(self, now: float, wall: float, tokens: int = 0) -> Lease | Held:
        """
        Take one request and its tokens from every limit, or nothing.

        :param now: of the monotonic clock.
        :param wall: seconds since the epoch.
        :param tokens: how many it may use, roughly.  More than the limit itself
            counts as all of it: the upstream may judge.
        """
        if not self._is_free(now, wall, tokens):
            return self._hold(now, wall, tokens)
        turn = self.pace.reserve(now) if self.pace.interval else None
        requests = []
        for window, on_wall in self._requests:
            requests.append((window, window.add(wall if on_wall else now, 1)))
        reserved = (0, 0)
        if self._tokens.limit:
            amount = self._reservation(tokens)
            reserved = (amount, self._tokens.add(now, amount))
        if self.is_saved:
            self.changed = True
        self._come()
        return Lease(self, requests, reserved, turn)

    def find_hold(self, now: float, wall: float, tokens: int = 0) -> Held | None:
        """Return what :meth:`admit` would be held back by, and take nothing."""
        return None if self._is_free(now, wall, tokens) else self._hold(now, wall, tokens)

    def remaining(self, now: float, wall: float) -> dict[str, int]:
        """Return what is left of each limit that there is, by its name; never below 0."""
        left = {
            name: max(window.room(wall if on_wall else now), 0)
            for name, (window, on_wall) in self.windows.items()
            if window.limit
        }
        if self.limits.max_concurrent:
            left["max_concurrent"] = max(self.limits.max_concurrent - self.in_flight, 0)
        return left

    def is_idle(self, now: float, wall: float) -> bool:
        """Whether a new admission would do the same."""
        return (
            not self.in_flight
            and self.pace.is_idle(now)
            and self.learned.blocked_until(now) is None
            and all(
                window.is_empty(wall if on_wall else now)
                for window, on_wall in self.windows.values()
            )
        )

    def saved_counts(self) -> list[tuple[str, int, int]]:
        """Return the counts of hours and days: limit, start of a sub-window, requests."""
        return [
            (name, start, count)
            for name in SAVED
            for start, count in self.windows[name][0].counts()
        ]

    def restore(self, name: str, start: int, requests: int, wall: float) -> None:
        """Add one of those counts; what is over counts no more."""
        self.windows[name][0].restore(wall, [(start, min(requests, _MOST))])

    def take_changed(self) -> bool:
        """Return :attr:`changed`, and set it to false."""
        changed, self.changed = self.changed, False
        return changed

    def _is_free(self, now: float, wall: float, tokens: int) -> bool:
        limit = self.limits.max_concurrent
        if limit and self.in_flight >= limit:
            return False
        for window, on_wall in self._requests:
            if window.room(wall if on_wall else now) < 1:
                return False
        if self._tokens.limit and self._tokens.room(now) < self._reservation(tokens):
            return False
        if self.pace.interval and self.pace.when(now):
            return False
        learned = self.learned
        return learned.until <= now or learned.blocked_until(now) is None

    def _hold(self, now: float, wall: float, tokens: int) -> Held:
        """Say what takes longest."""
        amounts = {"tokens_per_minute": self._reservation(tokens)}
        delays = [
            (window.when(wall if on_wall else now, amounts.get(name, 1)), name)
            for name, (window, on_wall) in self.windows.items()
            if window.limit
        ]
        delays.append((self.learned.when(now), "upstream"))
        delay, name = max(delays)
        # Not from now: a turn that was given up and is free now may be over by then.
        then = now + delay
        paced = self.pace.when(then)
        if paced:
            delay, name = seconds_until(then + paced, now), "min_interval"
        return Held(name, delay) if delay else Held("max_concurrent", None)

    def _reservation(self, tokens: int) -> int:
        """Return how many tokens are reserved: at least one, at most all that there are."""
        return min(max(tokens, 1), self._tokens.limit)

    def _come(self) -> None:
        self.in_flight += 1

    def _leave(self) -> None:
        self.in_flight -= 1

    def _undo(self, requests: list[tuple[SlidingWindow, int]]) -> None:
        for window, slot in requests:
            window.give_back(slot, 1)
        self.changed = True

    def _settle(self, used: int, reserved: int, slot: int, now: float) -> None:
        if used < reserved:
            self._tokens.give_back(slot, reserved - used)
        elif used > reserved and self._tokens.limit:
            self._tokens.add(now, used - reserved)


def make_windows(state: memoryview) -> dict[str, tuple[SlidingWindow, bool]]:
    """Return the windows in :data:`ADMISSION_BYTES`: by name, and whether on the wall clock."""
    return {
        name: (SlidingWindow(0, seconds, state[place * WINDOW_BYTES :]), on_wall)
        for place, (name, (seconds, on_wall)) in enumerate(_WINDOWS.items())
    }


def limit_key(candidate: Candidate) -> tuple[str, str, str]:
    """
    Return what a candidate's admission is found by: its name, URL and credential.

    Credentials are told apart by fingerprints, so that it may be stored.
    """
    return candidate.limit_key

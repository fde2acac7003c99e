"""
The one admission point: every attempt of every call comes through here.

A call brings its candidates in order and gets the first that is free, with a
lease.  Where all are busy it may wait its turn, fair between callers: each
caller's oldest request in turn, however many he has.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aiproxy.errors import LimitReached
from aiproxy.policy.limits import Admission, Held, Lease, LimitBook, limit_key
from aiproxy.policy.pacing import MAX_WAIT
from aiproxy.policy.routing import Candidate

__all__ = ["Entry", "Gate"]

#: Calls that may wait at the same time; further ones are refused at once.
_MOST_WAITING = 10_000


@frozen
class Entry:
    """
    The right to ask one candidate.

    :param place: of the candidate among those that were brought.
    """

    place: int
    admission: Admission
    lease: Lease
    _gate: Gate

    def leave(self) -> None:
        """The attempt is over: who waits may go.  Harmless when repeated."""
        self.lease.release()
        self._gate.wake()


@define(eq=False)
class _Waiter:
    """
    A call that waits its turn.

    :ivar held: what held it back when it was last looked at.
    """

    candidates: Sequence[Candidate]
    tokens: int
    patience: float
    held: LimitReached
    entered: Deferred[Entry] = field(init=False)
    timer: IDelayedCall | None = None


class _Queue:
    """Who waits for one name: callers in turn, each with his requests in order."""

    def __init__(self) -> None:
        self.callers: OrderedDict[str, deque[_Waiter]] = OrderedDict()

    def add(self, caller: str, waiter: _Waiter) -> None:
        self.callers.setdefault(caller, deque()).append(waiter)

    def remove(self, caller: str, waiter: _Waiter) -> None:
        own = self.callers.get(caller)
        if own is not None and waiter in own:
            own.remove(waiter)
            if not own:
                del self.callers[caller]

    def served(self, caller: str) -> _Waiter:
        """Take a caller's oldest, and put the caller behind the others."""
        own = self.callers[caller]
        waiter = own.popleft()
        if own:
            self.callers.move_to_end(caller)
        else:
            del self.callers[caller]
        return waiter


class Gate:
    """
    Admits calls.

    :param book: owns the limits' state.
    :param clock: monotonic.
    :param wall: seconds since the epoch, for hours and days.
    :ivar waiting: how many calls wait.
    """

    def __init__(self, book: LimitBook, clock: IReactorTime, wall: Callable[[], float]) -> None:
        self.waiting = 0
        self._book = book
        self._clock = clock
        self._wall = wall
        self._queues: dict[str, _Queue] = {}
        self._timer: IDelayedCall | None = None

    def enter(
        self,
        name: str,
        candidates: Sequence[Candidate],
        *,
        caller: str,
        tokens: int,
        patience: float = 0.0,
    ) -> Entry | Deferred[Entry]:
        """
        Admit a call to the first of its candidates that is free.

        :param name: what was asked for: calls for the same wait in one queue.
        :param caller: among whom the turns are fair.
        :param tokens: how many it may use, roughly.
        :param patience: seconds that it may wait.
        :raises LimitReached: all are busy, and it may not wait; the Deferred
            fails with it when the patience is over.
        """
        queue = self._queues.get(name)
        if queue is None or not patience:
            found = self._try(candidates, tokens, patience)
            if isinstance(found, Entry):
                return found
        else:
            # Nobody overtakes those that wait.
            found = _limit_reached(candidates[0], Held("queue", None))
        if not patience or self.waiting >= _MOST_WAITING:
            raise found
        return self._wait(name, caller, _Waiter(candidates, tokens, patience, found))

    def find_hold(self, candidate: Candidate, tokens: int, patience: float = 0.0) -> Held | None:
        """Say what would hold a call back at a candidate; nothing is taken."""
        now, wall = self._clock.seconds(), self._wall()
        return self._admission(candidate, now, wall, patience).find_hold(now, wall, tokens)

    def wake(self) -> None:
        """Something has become free: look who may go, soon."""
        if self._queues:
            self._look_in(0.0)

    # --- trying ---------------------------------------------------------------

    def _try(
        self, candidates: Sequence[Candidate], tokens: int, patience: float
    ) -> Entry | LimitReached:
        now, wall = self._clock.seconds(), self._wall()
        best: LimitReached | None = None
        for place, candidate in enumerate(candidates):
            admission = self._admission(candidate, now, wall, patience)
            found = admission.admit(now, wall, tokens)
            if isinstance(found, Lease):
                return Entry(place, admission, found, self)
            held = _limit_reached(candidate, found)
            if best is None or _soon(held) < _soon(best):
                best = held
        assert best is not None  # There is always a candidate.
        return best

    def _admission(
        self, candidate: Candidate, now: float, wall: float, patience: float
    ) -> Admission:
        model = candidate.model
        return self._book.find(
            limit_key(candidate),
            model.limits,
            now,
            wall,
            min_interval=model.min_interval,
            max_wait=max(MAX_WAIT, patience),
        )

    # --- waiting --------------------------------------------------------------

    def _wait(self, name: str, caller: str, waiter: _Waiter) -> Deferred[Entry]:
        def left(_: object) -> None:
            self._drop(name, caller, waiter)

        def give_up() -> None:
            waiter.timer = None
            self._drop(name, caller, waiter)
            waiter.entered.errback(waiter.held)

        waiter.entered = Deferred(left)
        waiter.timer = self._clock.callLater(waiter.patience, give_up)
        self._queues.setdefault(name, _Queue()).add(caller, waiter)
        self.waiting += 1
        self._look_in(_soon(waiter.held))
        return waiter.entered

    def _drop(self, name: str, caller: str, waiter: _Waiter) -> None:
        """A call waits no more."""
        if waiter.timer is not None:
            waiter.timer.cancel()
            waiter.timer = None
        self.waiting -= 1
        queue = self._queues.get(name)
        if queue is not None:
            queue.remove(caller, waiter)
            if not queue.callers:
                del self._queues[name]
        if not self._queues and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_in(self, seconds: float) -> None:
        """Look who may go, in so many seconds at the latest."""
        due = self._clock.seconds() + min(seconds, MAX_WAIT)
        if self._timer is not None:
            if self._timer.getTime() <= due:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._look)

    def _look(self) -> None:
        self._timer = None
        next_look = MAX_WAIT
        for name, queue in list(self._queues.items()):
            held = self._serve(name, queue)
            if held is not None:
                next_look = min(next_look, held)
        if self._queues:
            self._look_in(max(next_look, 0.001))

    def _serve(self, name: str, queue: _Queue) -> float | None:
        """Let go who may; return when to look again, if anybody is left."""
        soonest: float | None = None
        blocked: set[str] = set()
        while True:
            caller = next((one for one in queue.callers if one not in blocked), None)
            if caller is None:
                return soonest
            waiter = queue.callers[caller][0]
            found = self._try(waiter.candidates, waiter.tokens, waiter.patience)
            if isinstance(found, Entry):
                queue.served(caller)
                self._drop(name, caller, waiter)
                waiter.entered.callback(found)
                continue
            waiter.held = found
            blocked.add(caller)
            soonest = _soon(found) if soonest is None else min(soonest, _soon(found))


def _soon(held: LimitReached) -> float:
    """Seconds until it makes sense to look again; a lease's end looks by itself."""
    return MAX_WAIT if held.retry_after is None else held.retry_after


def _limit_reached(candidate: Candidate, held: Held) -> LimitReached:
    what = {
        "upstream": "its provider asks for patience",
        "queue": "others are waiting already",
    }.get(held.limit, f"its limit {held.limit} is reached")
    return LimitReached(
        f"the model {candidate.name} is busy: {what}",
        retry_after=held.delay,
        provider=candidate.model.provider,
        model=candidate.name,
    )

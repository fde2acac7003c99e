"""
The one admission point: every attempt of every call comes through here.

A call brings its candidates in order and gets the first that is free, with a
lease.  Where all are busy it may wait its turn, fair between callers: each
caller's oldest request in turn, however many he has, and whatever name he asks
for.  Nobody takes what somebody before him waits for.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from aiproxy.errors import LimitReached, ModelUnavailable, PolicyError
from aiproxy.policy.breaker import StandingBook
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.limits import Admission, Held, Lease, limit_key
from aiproxy.policy.pacing import MAX_WAIT
from aiproxy.policy.routing import Candidate

__all__ = ["Entry", "Gate"]

#: Calls that may wait at the same time; further ones are refused at once.
_MOST_WAITING = 10_000

#: What a call that is paced may wait for in any case.
_PACED = ("min_interval", "queue")

#: Seconds between two looks where others take from the same limits.
_SHARED_LOOK = 0.03

#: What holds a call back where another one has the right to go first.
_OTHERS_WAIT = Held("queue", None)


@define(eq=False)
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
        if self._gate.waiting:
            self._gate.wake()


@define(eq=False)
class _Waiter:
    """
    A call that waits its turn.

    :ivar keys: what it waits for, by :func:`limit_key`.
    """

    name: str
    caller: str
    candidates: Sequence[Candidate]
    tokens: int
    patience: float
    keys: frozenset[tuple[str, ...]] = field(init=False)
    entered: Deferred[Entry] = field(init=False)
    timer: IDelayedCall | None = None

    def __attrs_post_init__(self) -> None:
        self.keys = frozenset(map(limit_key, self.candidates))


class _Queue:
    """
    Callers in turn, each with a line for every name, in which the oldest is first.

    :ivar wanted: how many wait for a candidate, by :func:`limit_key`.
    """

    def __init__(self) -> None:
        self.wanted: Counter[tuple[str, ...]] = Counter()
        self._callers: OrderedDict[str, OrderedDict[str, deque[_Waiter]]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._callers)

    def turns(self) -> deque[tuple[str, deque[str]]]:
        """Return the callers in turn, each with its names in turn."""
        return deque((caller, deque(lines)) for caller, lines in self._callers.items())

    def head(self, caller: str, name: str) -> _Waiter | None:
        """Return the oldest of a line, if it is still there."""
        lines = self._callers.get(caller)
        line = None if lines is None else lines.get(name)
        return line[0] if line else None

    def add(self, waiter: _Waiter) -> None:
        """Put one behind those of its caller, and a new caller behind all."""
        lines = self._callers.setdefault(waiter.caller, OrderedDict())
        lines.setdefault(waiter.name, deque()).append(waiter)
        self.wanted.update(waiter.keys)

    def remove(self, waiter: _Waiter) -> None:
        """Take one out."""
        lines = self._callers[waiter.caller]
        lines[waiter.name].remove(waiter)
        if not lines[waiter.name]:
            del lines[waiter.name]
        if not lines:
            del self._callers[waiter.caller]
        for key in waiter.keys:
            self.wanted[key] -= 1
            if not self.wanted[key]:
                del self.wanted[key]

    def move_back(self, caller: str, name: str) -> None:
        """A caller has had a turn with a name: the others come before, if he waits on."""
        if caller in self._callers:
            self._callers.move_to_end(caller)
            if name in self._callers[caller]:
                self._callers[caller].move_to_end(name)


class Gate:
    """
    Admits calls.

    :param book: owns the limits' state.
    :param standings: says who is passed by.
    :param clock: monotonic.
    :param wall: seconds since the epoch, for hours and days.
    :ivar waiting: how many calls wait.
    """

    def __init__(
        self,
        book: LimitBook,
        standings: StandingBook,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self.waiting = 0
        self._book = book
        self._standings = standings
        self._clock = clock
        self._wall = wall
        self._queue = _Queue()
        self._timer: IDelayedCall | None = None
        # Nobody says what becomes free in another process.
        self._patience = _SHARED_LOOK if book.is_shared else MAX_WAIT

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

        :param name: what was asked for: a caller's calls for the same go in order.
        :param caller: among whom the turns are fair.
        :param tokens: how many it may use, roughly.
        :param patience: seconds that it may wait.
        :raises LimitReached: all are busy, and it may not wait; the Deferred
            fails with it when the patience is over.
        :raises ModelUnavailable: so it is with those that are passed by.
        """
        paced = 0.0
        for candidate in candidates:
            paced = max(paced, candidate.model.min_interval)
        waits = patience > 0 or paced > 0
        found = self._try(candidates, tokens, patience, self._queue.wanted if waits else ())
        if isinstance(found, Entry):
            return found
        if not patience and paced and found.limit in _PACED:
            # The turn itself may be as far away as the interval.
            patience = MAX_WAIT - paced
            if _soon(found) > patience and found.limit != "queue":
                patience = 0.0
        if patience <= 0 or self.waiting >= _MOST_WAITING:
            raise found
        return self._wait(_Waiter(name, caller, candidates, tokens, patience), found)

    def find_hold(
        self, candidate: Candidate, tokens: int, patience: float | None = None
    ) -> Held | None:
        """
        Say what would hold a call back at a candidate now; nothing is taken.

        :param patience: seconds that it would wait for its pace; ``None``: for the next turn.
        """
        now, wall = self._clock.seconds(), self._wall()
        standing = self._standings.find(candidate.standing_key)
        if standing.when(now):
            return Held("breaker", standing.when(now))
        reach = candidate.model.min_interval if patience is None else max(MAX_WAIT, patience)
        return self._admission(candidate, now, wall, reach).find_hold(now, wall, tokens)

    def is_suspect(self, candidate: Candidate) -> bool:
        """Whether a candidate shares a key that was refused: it is asked behind the others."""
        return self._standings.is_suspect(candidate.standing_key, self._clock.seconds())

    def wake(self) -> None:
        """Something has become free: look who may go, soon."""
        if self.waiting:
            self._look_in(0.0)

    # --- trying ---------------------------------------------------------------

    def _try(
        self,
        candidates: Sequence[Candidate],
        tokens: int,
        patience: float,
        taken: Collection[tuple[str, ...]],
    ) -> Entry | PolicyError:
        """
        Enter, or say which candidate is free first, and when.

        :param taken: the candidates that others have a right to.
        """
        now, wall = self._clock.seconds(), self._wall()
        errors = []
        for place, candidate in enumerate(candidates):
            held = _OTHERS_WAIT
            if not taken or limit_key(candidate) not in taken:
                found = self._admit(candidate, now, wall, tokens, patience)
                if isinstance(found, tuple):
                    return Entry(place, *found, self)
                held = found
            errors.append(_busy_error(candidate, held))
        return min(errors, key=_soon)

    def _admit(
        self, candidate: Candidate, now: float, wall: float, tokens: int, patience: float
    ) -> tuple[Admission, Lease] | Held:
        standing = self._standings.find(candidate.standing_key)
        is_open = standing.open
        if is_open and (out := standing.when(now)):
            return Held("breaker", out)
        # Turns that are further away are given here, to callers in turn.
        reach = candidate.model.min_interval
        if reach:
            reach = min(reach, max(MAX_WAIT, patience))
        admission = self._admission(candidate, now, wall, reach)
        found = admission.admit(now, wall, tokens)
        if isinstance(found, Held):
            return found
        if is_open:
            standing.admit(now)  # It is the probe.
        return admission, found

    def _refuse(self, waiter: _Waiter) -> PolicyError:
        """Say what holds a call back now, which is not what did when it came."""
        errors = []
        for candidate in waiter.candidates:
            held = self.find_hold(candidate, waiter.tokens)
            errors.append(_busy_error(candidate, held or _OTHERS_WAIT))
        return min(errors, key=_soon)

    def _admission(self, candidate: Candidate, now: float, wall: float, reach: float) -> Admission:
        model = candidate.model
        return self._book.find(
            candidate.limit_key,
            model.limits,
            now,
            wall,
            min_interval=model.min_interval,
            max_wait=reach,
        )

    # --- waiting --------------------------------------------------------------

    def _wait(self, waiter: _Waiter, held: PolicyError) -> Deferred[Entry]:
        def left(_: object) -> None:
            self._drop(waiter)
            self.wake()  # Who stood behind it may go.

        def give_up() -> None:
            waiter.timer = None
            left(None)
            waiter.entered.errback(self._refuse(waiter))

        waiter.entered = Deferred(left)
        waiter.timer = self._clock.callLater(waiter.patience, give_up)
        self._queue.add(waiter)
        self.waiting += 1
        self._look_in(_soon(held))
        return waiter.entered

    def _drop(self, waiter: _Waiter) -> None:
        """A call waits no more."""
        if waiter.timer is not None:
            waiter.timer.cancel()
            waiter.timer = None
        self.waiting -= 1
        self._queue.remove(waiter)
        if not self._queue and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_in(self, seconds: float) -> None:
        """Look who may go, in so many seconds at the latest."""
        due = self._clock.seconds() + min(seconds, self._patience)
        if self._timer is not None:
            if self._timer.getTime() <= due:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(max(0.0, due - self._clock.seconds()), self._look)

    def _look(self) -> None:
        """Let go who may, one of each caller in turn."""
        self._timer = None
        taken: set[tuple[str, ...]] = set()
        next_look = MAX_WAIT
        turns = self._queue.turns()
        while turns:
            caller, names = turns.popleft()
            while names:
                name = names.popleft()
                waiter = self._queue.head(caller, name)
                # Who was let go may have ended others.
                if waiter is None or waiter.keys <= taken:
                    continue
                found = self._try(waiter.candidates, waiter.tokens, waiter.patience, taken)
                if isinstance(found, Entry):
                    self._drop(waiter)
                    self._queue.move_back(caller, name)
                    waiter.entered.callback(found)
                    names.append(name)
                    turns.append((caller, names))
                    break
                taken |= waiter.keys
                next_look = min(next_look, _soon(found))
        if self._queue:
            self._look_in(max(next_look, 0.001))


def _soon(held: PolicyError) -> float:
    """Seconds until it makes sense to look again; a lease's end looks by itself."""
    return MAX_WAIT if held.retry_after is None else held.retry_after


def _busy_error(candidate: Candidate, held: Held) -> PolicyError:
    kind: type[PolicyError] = LimitReached
    what = f"is busy: its limit {held.limit} is reached"
    if held.limit == "breaker":
        kind = ModelUnavailable
        what = "is out: its provider has failed, and is tried again now and then"
    elif held.limit == "upstream":
        what = "is busy: its provider asks for patience"
    elif held.limit == "queue":
        what = "is busy: others are waiting already"
    error = kind(
        f"the model {candidate.name} {what}",
        retry_after=held.delay,
        provider=candidate.model.provider,
        model=candidate.name,
    )
    error.limit = held.limit
    return error

"""Hedging: where the first token is late a second upstream is asked, and the faster one wins."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from aiproxy.policy.traffic import Flow

__all__ = ["HedgeBudget", "hedge_delay", "race"]

T = TypeVar("T")

_MINUTE: Final = 60.0


class HedgeBudget:
    """How many hedges a group may have, counted over the last sixty seconds."""

    def __init__(self) -> None:
        self._begun: deque[float] = deque()

    def take(self, most: int, now: float) -> bool:
        """Take one of so many; ``False``: there is none left."""
        while self._begun and self._begun[0] <= now - _MINUTE:
            self._begun.popleft()
        if len(self._begun) >= most:
            return False
        self._begun.append(now)
        return True


def hedge_delay(after: float | str, flow: Flow) -> float | None:
    """
    Return the seconds after which a first token is late; ``None``: nobody knows.

    :param after: as ``hedge.after`` is configured: seconds, or a percentile such as ``p95``.
    :param flow: what was seen of the candidate that is asked first.
    """
    if isinstance(after, str):
        return flow.percentile(float(after.removeprefix("p")) / 100)
    return after


def race(
    first: Deferred[T], second: Callable[[], Deferred[T] | None], after: float, clock: IReactorTime
) -> Deferred[T]:
    """
    Let two run, the second one later; the one that loses is cancelled.

    :param second: begins it, if it may.
    :param after: seconds until then.
    :return: fires with what the winner brings; if both fail, with the failure
        of the first.  Who cancels it cancels both.
    """
    runners = [first]
    failures: dict[int, Failure] = {}
    over = False

    def stop() -> None:
        nonlocal over
        over = True
        if timer.active():
            timer.cancel()
        for runner in runners:
            runner.cancel()

    def begin() -> None:
        runner = second()
        if runner is not None:
            runners.append(runner)
            watch(runner, 1)

    def watch(runner: Deferred[T], place: int) -> None:
        def won(result: T) -> None:
            if not over:
                stop()
                outcome.callback(result)

        def lost(failure: Failure) -> None:
            failures[place] = failure
            # Once it is stopped, an earlier failure must not become the outcome.
            if not over and len(failures) == len(runners):
                stop()
                outcome.errback(failures[0])

        runner.addCallbacks(won, lost)

    outcome: Deferred[T] = Deferred(lambda _: stop())
    timing: Any = clock
    timer = timing.callLater(after, begin)
    watch(first, 0)
    return outcome

"""
What is going on at each candidate: how many calls, since when, how fast.

Written by the gateway as calls go on, read when one is to be chosen.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from typing import Final

from attrs import Factory, define

__all__ = ["LONG_REST", "Flow", "Traffic"]

#: Seconds after which what was seen of a candidate's speed counts half.
_HALF_LIFE: Final = 300.0
#: Seconds without a call after which it is seen anew.
LONG_REST: Final = 600.0
#: The last times to the first token, for percentiles; fewer say nothing.
_SAMPLES: Final = 100
_FEWEST: Final = 20
#: Candidates that are remembered: a wildcard's names are made up by callers.
_MOST: Final = 10_000


@define
class Flow:
    """
    One candidate's.

    :ivar running: calls that go on.
    :ivar last_used: when the newest began; minus infinity if none has.
    :ivar first_token: seconds to the first token, as an average in which the
        newest count most; ``None`` if none was seen.
    """

    running: int = 0
    last_used: float = -math.inf
    first_token: float | None = None
    _samples: deque[float] = Factory(lambda: deque(maxlen=_SAMPLES))
    _weight: float = 0.0
    _seen: float = 0.0

    def began(self, now: float) -> None:
        """A call begins."""
        self.running += 1
        if now - self.last_used > LONG_REST:
            self._weight = 0.0
        self.last_used = now

    def ended(self) -> None:
        """It is over, however."""
        self.running -= 1

    def answered(self, seconds: float, now: float, *, streamed: bool = True) -> None:
        """
        Note a time to the first token.

        :param seconds: how long it took.
        :param streamed: of a whole answer it is the time to its end.
        """
        if streamed:
            self._samples.append(seconds)
        self._average(seconds, now)

    def failed(self, seconds: float, now: float) -> None:
        """Note that a first token has not come, and how long it was waited for."""
        self._average(seconds, now)

    def percentile(self, share: float) -> float | None:
        """
        Return the time within which this share of the last first tokens came.

        :param share: from 0 to 1.
        :return: seconds; ``None`` while too few are known.
        """
        if len(self._samples) < _FEWEST:
            return None
        return sorted(self._samples)[max(0, math.ceil(share * len(self._samples)) - 1)]

    def _average(self, seconds: float, now: float) -> None:
        kept = self._weight * 0.5 ** ((now - self._seen) / _HALF_LIFE)
        average = 0.0 if self.first_token is None else self.first_token
        self._weight = kept + 1.0
        self._seen = now
        self.first_token = (average * kept + seconds) / self._weight


class Traffic:
    """All candidates', by their keys."""

    def __init__(self) -> None:
        self._flows: dict[Hashable, Flow] = {}
        self._turns: dict[str, int] = {}

    def find(self, key: Hashable) -> Flow:
        """Return a candidate's flow; whoever writes into it, writes into ours."""
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= _MOST:
                self._forget()
            flow = self._flows[key] = Flow()
        return flow

    def turn(self, name: str) -> int:
        """Count up: how often a name was asked for before, as far as that is remembered."""
        if len(self._turns) >= _MOST and name not in self._turns:
            self._turns.clear()
        turn = self._turns[name] = self.next_turn(name)
        return turn

    def next_turn(self, name: str) -> int:
        """Return what :meth:`turn` will; nothing is counted."""
        return self._turns.get(name, -1) + 1

    def look(self, key: Hashable) -> Flow:
        """Return a candidate's flow to be read only: nothing is kept for one that is new."""
        return self._flows.get(key) or _NOTHING

    def _forget(self) -> None:
        """Forget the half that has rested longest."""
        idle = [key for key, flow in self._flows.items() if not flow.running]
        idle.sort(key=lambda key: self._flows[key].last_used)
        for key in idle[: _MOST // 2]:
            del self._flows[key]


_NOTHING: Final = Flow()

"""
How many repeats a model may have, so that they never multiply an outage.

Of the requests of the last ten seconds a fifth may be repeats, and always ten.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["FLOOR", "SECONDS", "RetryBudget", "RetryBudgets"]

#: The window, in seconds.
SECONDS: Final = 10
#: Repeats that are always allowed within it.
FLOOR: Final = 10
#: So many requests pay for one repeat.
_REQUESTS_PER_RETRY: Final = 5

#: A second counts until all of it has left the window, so there is one more.
_CELLS: Final = SECONDS + 1


class RetryBudget:
    """
    One model's: a ring of seconds, whatever goes on.

    A repeat counts for up to a second too long, a request for up to a second
    too short: it may hold back too much, not too little.
    """

    __slots__ = ("_requests", "_retries", "_second")

    def __init__(self) -> None:
        self._requests = [0] * _CELLS
        self._retries = [0] * _CELLS
        self._second = 0

    def requested(self, now: float) -> None:
        """
        Count a caller's request, however often it will be repeated.

        :param now: of a monotonic clock.
        """
        second = int(now)
        cell = second % _CELLS if second == self._second else self._turn_to(now)
        self._requests[cell] += 1

    def take(self, now: float) -> bool:
        """Take a repeat; ``False``: there is none left, and nothing is taken."""
        cell = self._turn_to(now)
        # The next cell of the ring is the oldest, and only in part in the window.
        requests = sum(self._requests) - self._requests[(cell + 1) % _CELLS]
        if sum(self._retries) >= max(FLOOR, requests // _REQUESTS_PER_RETRY):
            return False
        self._retries[cell] += 1
        return True

    def _turn_to(self, now: float) -> int:
        """Empty the cells whose seconds are over; return that of this second."""
        second = int(now)
        # If the clock should ever go back, this second goes on.
        if second <= self._second:
            return self._second % _CELLS
        for passed in range(max(self._second + 1, second - SECONDS), second + 1):
            self._requests[passed % _CELLS] = self._retries[passed % _CELLS] = 0
        self._second = second
        return second % _CELLS


class RetryBudgets:
    """
    Every model's, by its name; they outlive what is configured.

    :param capacity: how many there are at most: a wildcard's names are made up
        by callers.  Beyond it, the one goes that was not used for longest.
    """

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._budgets: OrderedDict[str, RetryBudget] = OrderedDict()

    def __len__(self) -> int:
        return len(self._budgets)

    def find(self, model: str) -> RetryBudget:
        """Return a model's budget."""
        budget = self._budgets.get(model)
        if budget is None:
            if len(self._budgets) >= self._capacity:
                self._budgets.popitem(last=False)
            budget = self._budgets[model] = RetryBudget()
        else:
            self._budgets.move_to_end(model)
        return budget

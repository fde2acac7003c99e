"""Tests of :mod:`aiproxy.policy.retry_budget`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.policy.retry_budget import FLOOR, SECONDS, RetryBudget, RetryBudgets

#: Any clock's start; sums with multiples of 1/16 are exact.
START = 70_000.0

#: Seconds that go by, how many requests come then, and how many repeats are asked for.
steps = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 40), st.integers(0, 16 * 30)).map(lambda ticks: ticks / 16),
        st.integers(0, 60),
        st.integers(0, 15),
    ),
    max_size=40,
)


def takes(budget: RetryBudget, now: float) -> int:
    """Take all that there are."""
    taken = 0
    while budget.take(now):
        taken += 1
    return taken


def within(times: list[float], now: float, seconds: float) -> int:
    """Count those of the last ``seconds``."""
    return sum(now - seconds < time <= now for time in times)


class RetryBudgetTests(SynchronousTestCase):
    """One model's repeats."""

    def test_floor(self) -> None:
        """Without traffic there are ten in ten seconds."""
        budget = RetryBudget()
        self.assertEqual(takes(budget, START), 10)
        self.assertFalse(budget.take(START + 10.9))
        self.assertEqual(takes(budget, START + 11), 10)

    def test_share(self) -> None:
        """With traffic there is a fifth of it, as long as it counts."""
        budget = RetryBudget()
        for _ in range(104):
            budget.requested(START)
        self.assertEqual(takes(budget, START + 9), 20)
        budget = RetryBudget()
        for _ in range(104):
            budget.requested(START)
        self.assertEqual(takes(budget, START + 10), 10)

    def test_long_ago(self) -> None:
        """After a long silence nothing of before counts."""
        budget = RetryBudget()
        for _ in range(1_000):
            budget.requested(START)
        takes(budget, START)
        self.assertEqual(takes(budget, START + 86_400), 10)

    def test_clock_set_back(self) -> None:
        """A clock that goes back neither raises nor gives more."""
        budget = RetryBudget()
        self.assertEqual(takes(budget, START), 10)
        budget.requested(START - 100)
        self.assertFalse(budget.take(START - 100))
        self.assertFalse(budget.take(START))

    @given(steps)
    def test_oracle(self, going: list[tuple[float, int, int]]) -> None:
        """Never over the share of any ten seconds; held back for nothing older than eleven."""
        budget, now = RetryBudget(), START
        requests: list[float] = []
        retries: list[float] = []
        for seconds, requested, wanted in going:
            now += seconds
            for _ in range(requested):
                budget.requested(now)
            requests += [now] * requested
            for _ in range(wanted):
                if budget.take(now):
                    retries.append(now)
                    most = max(FLOOR, 0.2 * within(requests, now, SECONDS))
                    self.assertLessEqual(within(retries, now, SECONDS), most)
                else:
                    least = max(FLOOR, 0.2 * within(requests, now, SECONDS - 1) - 1)
                    self.assertGreaterEqual(within(retries, now, SECONDS + 1), least)


class RetryBudgetsTests(SynchronousTestCase):
    """All models' repeats."""

    def test_apart(self) -> None:
        """Each model has its own, and finds it again."""
        budgets = RetryBudgets()
        takes(budgets.find("a"), START)
        self.assertFalse(budgets.find("a").take(START))
        self.assertTrue(budgets.find("b").take(START))

    def test_bounded(self) -> None:
        """Of very many the one goes that was not used for longest."""
        budgets = RetryBudgets(capacity=3)
        for name in "abc":
            takes(budgets.find(name), START)
        budgets.find("a")
        for name in "de":
            takes(budgets.find(name), START)
            budgets.find("a")
        self.assertEqual(len(budgets), 3)
        left = [name for name in "ade" if not budgets.find(name).take(START)]
        self.assertEqual(left, ["a", "d", "e"])
        self.assertTrue(budgets.find("b").take(START))
        self.assertEqual(len(budgets), 3)

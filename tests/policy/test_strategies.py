"""Tests of :mod:`aiproxy.policy.strategies`."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.policy.strategies import Member, order_group, order_size
from aiproxy.policy.traffic import Flow

NAMES = ("priority", "weighted", "round_robin", "least_busy", "fastest")


def member(
    *, priority: int = 1, weight: float = 1.0, running: int = 0, last_used: float = 0.0,
    first_token: float | None = None,
) -> Member:  # fmt: skip
    """Make a member."""
    return Member(priority, weight, Flow(running, last_used, first_token))


class OrderTests(SynchronousTestCase):
    """Who is asked first."""

    def order(self, strategy: str, *members: Member, turn: int = 0, seed: int = 1) -> list[int]:
        """Return the places of members in the order in which they are asked."""
        placed = [(one, place) for place, one in enumerate(members)]
        return order_group(strategy, placed, turn=turn, chance=random.Random(seed))

    def test_priority(self) -> None:
        """The lowest number first; equals as they are written."""
        members = [member(priority=2), member(), member(priority=2), member()]
        self.assertEqual(self.order("priority", *members), [1, 3, 0, 2])

    def test_round_robin(self) -> None:
        """Each is first in its turn, and so are those behind it."""
        members = [member(), member(), member()]
        found = [self.order("round_robin", *members, turn=turn) for turn in range(7)]
        self.assertEqual(found[:3], [[0, 1, 2], [1, 2, 0], [2, 0, 1]])
        self.assertEqual(found[3:], [[0, 2, 1], [1, 0, 2], [2, 1, 0], [0, 1, 2]])

    def test_round_robin_without_one(self) -> None:
        """The turns of one that is off are shared by all others, not its neighbor's."""
        members = [member(), member(), member(), member()]
        orders = [self.order("round_robin", *members, turn=turn) for turn in range(24)]
        served = Counter(next(place for place in order if place != 1) for order in orders)
        self.assertEqual(served, {0: 8, 2: 8, 3: 8})

    def test_weighted(self) -> None:
        """In the long run each is first by its share; who has none comes last."""
        members = [member(weight=3), member(weight=1), member(weight=0)]
        found = [self.order("weighted", *members, seed=seed) for seed in range(2_000)]
        first = Counter(order[0] for order in found)
        self.assertLess(abs(first[0] / 2_000 - 0.75), 0.04)
        self.assertEqual({order[-1] for order in found}, {2})

    def test_least_busy(self) -> None:
        """The fewest running calls for its weight, then priority, then the longest rest."""
        members = [
            member(running=2),
            member(running=3, weight=3),
            member(running=1, priority=2, last_used=1),
            member(running=1, priority=2, last_used=0),
        ]
        self.assertEqual(self.order("least_busy", *members), [1, 3, 2, 0])

    def test_fastest(self) -> None:
        """The soonest first token, in which calls that go on count."""
        members = [
            member(first_token=0.3),
            member(first_token=0.2, running=1),
            member(first_token=0.1, running=1),
        ]
        self.assertEqual(self.order("fastest", *members), [2, 0, 1])

    def test_fastest_unknown(self) -> None:
        """One that nobody has tried yet comes last, but now and then it is tried."""
        members = [member(first_token=0.3), member()]
        found = Counter(self.order("fastest", *members, seed=seed)[0] for seed in range(2_000))
        self.assertLess(abs(found[1] / 2_000 - 0.1), 0.03)

    def test_fastest_again(self) -> None:
        """So is one whose speed was seen long ago: it may have become faster."""
        for rested, share in ((500, 0.0), (700, 0.1)):
            members = [
                member(first_token=0.3, last_used=1_000),
                member(first_token=9.0, last_used=1_000 - rested),
            ]
            found = Counter(self.order("fastest", *members, seed=seed)[0] for seed in range(2_000))
            self.assertLess(abs(found[1] / 2_000 - share), 0.03, rested)

    def test_size(self) -> None:
        """A size class: by priority, then who has rested longest."""
        members = [member(last_used=5), member(priority=0, last_used=9), member(last_used=3)]
        placed = [(one, place) for place, one in enumerate(members)]
        self.assertEqual(order_size(placed), [1, 2, 0])

    @given(
        st.sampled_from(NAMES),
        st.lists(
            st.builds(
                member,
                priority=st.integers(0, 3),
                weight=st.floats(0, 10),
                running=st.integers(0, 3),
                first_token=st.none() | st.floats(0, 9),
            ),
            max_size=6,
        ),
        st.integers(0, 20),
        st.integers(),
    )
    def test_all(self, strategy: str, members: list[Member], turn: int, seed: int) -> None:
        """Whatever the strategy, each member is there once."""
        found = self.order(strategy, *members, turn=turn, seed=seed)
        self.assertEqual(sorted(found), list(range(len(members))))

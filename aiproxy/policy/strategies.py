"""
In which order equals are asked: a group's strategy, or a size class's rule.

Every strategy orders all members, so that each of them is there when those
before it fail.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from attrs import frozen

from aiproxy.policy.traffic import LONG_REST, Flow

__all__ = ["Member", "order_group", "order_size"]

T = TypeVar("T")

#: A candidate whose speed nobody has seen, or not of late, is asked now and then, to see it.
_CURIOSITY: Final = 0.1


@frozen
class Member:
    """
    What a strategy looks at.

    :param priority: lower is asked first.
    :param weight: a share, for ``weighted``.
    :param flow: what goes on there.
    """

    priority: int
    weight: float
    flow: Flow


def order_size(members: Sequence[tuple[Member, T]]) -> list[T]:
    """Order a size class: by priority, among equals the one that has rested longest."""
    return _sorted(members, lambda member: (member.priority, member.flow.last_used))


def order_group(
    strategy: str, members: Sequence[tuple[Member, T]], *, turn: int, chance: random.Random
) -> list[T]:
    """
    Order a group.

    :param strategy: as in the configuration.
    :param turn: counts up with each request.
    """
    if strategy == "priority":
        return _sorted(members, lambda member: member.priority)
    if strategy == "round_robin":
        return _take_turns([item for _, item in members], turn)
    if strategy == "weighted":
        # Exponential races: the first to finish is member i with probability w_i / sum(w).
        return _sorted(members, lambda member: _race(member.weight, chance))
    if strategy == "least_busy":
        return _sorted(
            members,
            lambda member: (
                member.flow.running / (member.weight or 1.0),
                member.priority,
                member.flow.last_used,
            ),
        )
    return _order_by_speed(members, chance)


def _take_turns(items: list[T], turn: int) -> list[T]:
    """
    Put each first in its turn; who comes second takes turns, too.

    Else the one behind a member that is off would have its turns beside his own.
    """
    if len(items) < 2:
        return items
    rounds, place = divmod(turn, len(items))
    start = rounds % (len(items) - 1)
    others = items[place + 1 :] + items[:place]
    return [items[place], *others[start:], *others[:start]]


def _order_by_speed(members: Sequence[tuple[Member, T]], chance: random.Random) -> list[T]:
    """
    Order by time to the first token, in which a queue counts.

    Those of unknown speed come last, but each request has a small chance to
    begin with one of them, or with one that has rested for long: it was slow,
    and would never be asked again.
    """
    curious = chance.random() < _CURIOSITY
    newest = max((member.flow.last_used for member, _ in members), default=-math.inf)

    def speed(member: Member) -> tuple[float, int]:
        flow = member.flow
        if flow.first_token is None:
            return -math.inf if curious else math.inf, member.priority
        if curious and flow.last_used < newest - LONG_REST:
            return -math.inf, member.priority
        return flow.first_token * (1 + flow.running), member.priority

    return _sorted(members, speed)


def _race(weight: float, chance: random.Random) -> float:
    return chance.expovariate(weight) if weight > 0 else math.inf


def _sorted(
    members: Sequence[tuple[Member, T]], key: Callable[[Member], tuple[float, ...] | float]
) -> list[T]:
    keyed = [(key(member), item) for member, item in members]
    keyed.sort(key=lambda pair: pair[0])
    return [item for _, item in keyed]

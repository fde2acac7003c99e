"""What all calls share, whatever is configured: it outlives a reload."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import Factory, define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from aiproxy.config.sections import Breaker
from aiproxy.gateway.admission import Gate
from aiproxy.gateway.continuation import Capabilities
from aiproxy.gateway.hedge import HedgeBudget
from aiproxy.policy.breaker import StandingBook
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.retry_budget import RetryBudgets
from aiproxy.policy.traffic import Traffic
from aiproxy.transport.socket_group import stages_of
from aiproxy.transport.stages import Stages
from aiproxy.transport.timeout_queue import TimeoutQueues

__all__ = ["Shared"]


@define
class Shared:
    """
    See the module.

    :param clock: for all timeouts.
    :param wall: seconds since the epoch.
    :param chance: for weighted choices and jitter.
    :param cover: makes sure that what was admitted is not forgotten; see
        :meth:`aiproxy.transport.state.StateStore.cover`.
    """

    clock: IReactorTime
    wall: Callable[[], float]
    chance: random.Random = Factory(random.Random)
    cover: Callable[[tuple[str, ...]], Deferred[None] | None] = lambda key: None
    traffic: Traffic = Factory(Traffic)
    book: LimitBook = Factory(LimitBook)
    standings: StandingBook = Factory(lambda: StandingBook(Breaker()))
    budgets: RetryBudgets = Factory(RetryBudgets)
    capabilities: Capabilities = Factory(Capabilities)
    #: By the group's name.
    hedges: dict[str, HedgeBudget] = Factory(dict)
    gate: Gate = field(init=False)
    timeouts: TimeoutQueues = field(init=False)
    stages: Stages = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stages = stages_of(self.clock)
        self.timeouts = TimeoutQueues(self.clock)
        self.gate = Gate(self.book, self.standings, self.clock, self.wall)

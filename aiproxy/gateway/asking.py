"""What candidates are asked for: a whole answer, a stream, or to go on with one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from attrs import define, frozen
from twisted.internet.defer import Deferred

from aiproxy.config.sections import Hedge
from aiproxy.dialects.face import WrittenAnswer
from aiproxy.dialects.shapes import ChatAnswer
from aiproxy.errors import AIProxyError, CallerError, ContentRefused, UpstreamRefused
from aiproxy.gateway.attempt import Attempt, Pipe, target_of
from aiproxy.gateway.entrance import Entrance, Found
from aiproxy.gateway.failover import Anew, Failover, Others, Verdict
from aiproxy.gateway.hedge import HedgeBudget, hedge_delay, race
from aiproxy.gateway.shared import Shared
from aiproxy.gateway.takeover import GiveUp, Takeover
from aiproxy.gateway.watch import Watch
from aiproxy.policy.routing import Candidate

__all__ = ["AskPlain", "GoOn", "OpenStream", "Tell"]

#: Called with an attempt and with what becomes of it.
Tell: TypeAlias = Callable[[Attempt, str], None]


@define
class AskPlain:
    """
    Asks for a whole answer; see :class:`aiproxy.gateway.failover.Asking`.

    :param write: writes it for the caller; what cannot be written is none.
    :param tries_all: the caller has chosen nobody: what one refuses another may take.
    """

    write: Callable[[Candidate, ChatAnswer], WrittenAnswer]
    tries_all: bool = False
    insists: bool = False

    def keep(self, left: list[Found]) -> list[Found]:
        """Anybody may be asked."""
        return left

    async def ask(self, attempt: Attempt, left: list[Found]) -> tuple[Attempt, WrittenAnswer]:
        """Ask one."""
        return attempt, self.write(attempt.candidate, await attempt.ask_plain())

    def judge(self, attempt: Attempt, error: AIProxyError) -> Verdict | None:
        """As usual, but for a refusal where all are tried; a content policy's is final."""
        if self.tries_all and isinstance(error, UpstreamRefused | CallerError):
            return None if isinstance(error, ContentRefused) else Others()
        return None


@frozen
class OpenStream:
    """
    Asks for a stream, perhaps two at a time; see :class:`aiproxy.gateway.failover.Asking`.

    :param make_pipe: makes the caller's side of a stream that begins with a candidate.
    :param hedge: when a second one is asked, if at all.
    :param group: whose hedges are counted together.
    :param tell: tells a reader of the stream what becomes of an attempt.
    """

    watch: Watch
    failover: Failover
    entrance: Entrance
    shared: Shared
    make_pipe: Callable[[Candidate], Pipe]
    hedge: Hedge | None
    group: str
    tell: Tell
    insists: bool = False

    def keep(self, left: list[Found]) -> list[Found]:
        """Anybody may be asked."""
        return left

    async def ask(self, attempt: Attempt, left: list[Found]) -> Attempt:
        """Ask one; where its first token is late, ask the next one too."""
        self.tell(attempt, "is asked")
        hedge, clock = self.hedge, self.shared.clock
        if hedge is None or not left:
            return await self._open(attempt)
        flow = self.shared.traffic.find(attempt.candidate.name)
        delay = hedge_delay(hedge.after, flow)
        if delay is None:
            return await self._open(attempt)
        opening = Deferred.fromCoroutine(self._open(attempt))
        budget = self.shared.hedges.setdefault(self.group, HedgeBudget())
        began, most, begun = clock.seconds(), hedge.budget_per_minute, [attempt]

        def second() -> Deferred[Attempt] | None:
            if not self.entrance.any_free(left) or not budget.take(most, clock.seconds()):
                return None
            return Deferred.fromCoroutine(self._open_second(left, begun))

        winner = await self.watch.wait(race(opening, second, delay, clock))
        if winner is not attempt:
            # It would have taken longer still: percentiles without it would sink.
            flow.answered(clock.seconds() - began, clock.seconds())
        for other in begun:
            if other is not winner:
                self.failover.leave(other, "late")
        return winner

    def judge(self, attempt: Attempt, error: AIProxyError) -> Verdict | None:
        """As usual."""
        return None

    async def _open(self, attempt: Attempt) -> Attempt:
        try:
            await attempt.open_stream(self.make_pipe(attempt.candidate))
        except AIProxyError as error:
            # Known at once, whatever becomes of the other one.
            if self.watch.over is None or attempt.phases.overdue:
                self.failover.failed(attempt, error)
            raise
        return attempt

    async def _open_second(self, left: list[Found], begun: list[Attempt]) -> Attempt:
        found, entry = await self.entrance.enter(left)
        attempt = self.failover.begin(found, entry, last=not self.entrance.any_free(left))
        begun.append(attempt)
        self.tell(attempt, "is asked too: the first token is late")
        return await self._open(attempt)


@frozen
class GoOn:
    """
    Asks to go on with what was cut; see :class:`aiproxy.gateway.failover.Asking`.

    :param failover: knows who has failed before.
    :param tell: tells a reader of the stream what becomes of an attempt.
    """

    takeover: Takeover
    pipe: Pipe
    failover: Failover
    tell: Tell
    insists: bool = True

    def keep(self, left: list[Found]) -> list[Found]:
        """Nobody who has brought nothing before, or would not now either."""
        return [
            found
            for found in left
            if self.takeover.may_ask(target_of(found[0])) and self.failover.may_ask(found[0])
        ]

    async def ask(self, attempt: Attempt, left: list[Found]) -> Attempt:
        """Ask one, in the way that it can take."""
        self.tell(attempt, "is asked to go on")
        continuation = self.takeover.ask(target_of(attempt.candidate))
        await attempt.open_stream(self.pipe, continuation)
        return attempt

    def judge(self, attempt: Attempt, error: AIProxyError) -> Verdict | None:
        """Decide by what it was asked, which is not what the caller has asked for."""
        continuation = attempt.continuation
        if continuation is not None and self.takeover.refused(continuation, error):
            return Anew()
        if attempt.pipe is None:
            # What is refused now is what we have made of the request.
            return Others() if isinstance(error, UpstreamRefused) else None
        step = self.takeover.cut(error, attempt.usage)
        if isinstance(step, GiveUp):
            raise step.error
        return Others()

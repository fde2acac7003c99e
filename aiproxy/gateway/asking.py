"""What candidates are asked for: a whole answer, a stream, or to go on with one."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred

from aiproxy.config.sections import Hedge
from aiproxy.dialects.face import WrittenAnswer
from aiproxy.dialects.shapes import ChatAnswer
from aiproxy.errors import AIProxyError, UpstreamRefused
from aiproxy.gateway.attempt import Attempt, Pipe, target_of
from aiproxy.gateway.entrance import Entrance, Found
from aiproxy.gateway.failover import Anew, Failover, Others, Verdict
from aiproxy.gateway.hedge import HedgeBudget, hedge_delay, race
from aiproxy.gateway.shared import Shared
from aiproxy.gateway.takeover import GiveUp, Takeover
from aiproxy.gateway.watch import Watch
from aiproxy.policy.routing import Candidate

__all__ = ["AskPlain", "GoOn", "OpenStream"]


@frozen
class AskPlain:
    """
    Asks for a whole answer; see :class:`aiproxy.gateway.failover.Asking`.

    :param write: writes it for the caller; what cannot be written is none.
    """

    watch: Watch
    write: Callable[[Candidate, ChatAnswer], WrittenAnswer]
    insists: bool = False

    def may_ask(self, candidate: Candidate) -> bool:
        """Anybody may be asked."""
        return True

    async def ask(self, attempt: Attempt, left: list[Found]) -> tuple[Attempt, WrittenAnswer]:
        """Ask one."""
        answer = await self.watch.wait(Deferred.fromCoroutine(attempt.ask_plain()))
        return attempt, self.write(attempt.candidate, answer)

    def judge(self, attempt: Attempt, error: AIProxyError) -> Verdict | None:
        """As usual."""
        return None


@frozen
class OpenStream:
    """
    Asks for a stream, perhaps two at a time; see :class:`aiproxy.gateway.failover.Asking`.

    :param make_pipe: makes the caller's side of a stream that begins with a candidate.
    :param hedge: when a second one is asked, if at all.
    :param group: whose hedges are counted together.
    """

    watch: Watch
    failover: Failover
    entrance: Entrance
    shared: Shared
    make_pipe: Callable[[Candidate], Pipe]
    hedge: Hedge | None
    group: str
    insists: bool = False

    def may_ask(self, candidate: Candidate) -> bool:
        """Anybody may be asked."""
        return True

    async def ask(self, attempt: Attempt, left: list[Found]) -> Attempt:
        """Ask one; where its first token is late, ask the next one too."""
        opening = Deferred.fromCoroutine(self._open(attempt))
        hedge, clock = self.hedge, self.shared.clock
        if hedge is None or not left:
            return await self.watch.wait(opening)
        flow = self.shared.traffic.look(attempt.candidate.name)
        delay = hedge_delay(hedge.after, flow)
        if delay is None:
            return await self.watch.wait(opening)
        budget = self.shared.hedges.setdefault(self.group, HedgeBudget())
        most = hedge.budget_per_minute

        def second() -> Deferred[Attempt] | None:
            if not budget.take(most, clock.seconds()):
                return None
            return Deferred.fromCoroutine(self._open_second(left))

        winner = await self.watch.wait(race(opening, second, delay, clock))
        if winner is not attempt:
            self.failover.leave(attempt, "late")
        return winner

    def judge(self, attempt: Attempt, error: AIProxyError) -> Verdict | None:
        """As usual."""
        return None

    async def _open(self, attempt: Attempt) -> Attempt:
        await attempt.open_stream(self.make_pipe(attempt.candidate))
        return attempt

    async def _open_second(self, left: list[Found]) -> Attempt:
        found, entry = await self.entrance.enter(left)
        attempt = self.failover.begin(found, entry, last=True)
        try:
            return await self._open(attempt)
        except AIProxyError as error:
            self.failover.failed(attempt, error)
            raise
        except BaseException:
            self.failover.leave(attempt, "late")
            raise


@frozen
class GoOn:
    """Asks to go on with what was cut; see :class:`aiproxy.gateway.failover.Asking`."""

    watch: Watch
    takeover: Takeover
    pipe: Pipe
    insists: bool = True

    def may_ask(self, candidate: Candidate) -> bool:
        """Nobody who has brought nothing before."""
        return self.takeover.may_ask(target_of(candidate))

    async def ask(self, attempt: Attempt, left: list[Found]) -> Attempt:
        """Ask one, in the way that it can take."""
        continuation = self.takeover.ask(target_of(attempt.candidate))
        opening = Deferred.fromCoroutine(attempt.open_stream(self.pipe, continuation))
        await self.watch.wait(opening)
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

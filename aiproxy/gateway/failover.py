"""Asks one candidate after the other until one answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, TypeVar

from attrs import frozen
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel

from aiproxy.config.schema import Config
from aiproxy.errors import (
    AIProxyError,
    ContextTooLong,
    LimitReached,
    ModelUnavailable,
    NetworkError,
    OurError,
    UpstreamAuthFailed,
    UpstreamError,
    UpstreamModelNotFound,
    UpstreamOutOfCredit,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamTimeout,
)
from aiproxy.gateway.admission import Entry
from aiproxy.gateway.attempt import Asked, Attempt
from aiproxy.gateway.entrance import Entrance, Found
from aiproxy.gateway.phases import Phases
from aiproxy.gateway.shared import Shared
from aiproxy.gateway.turn import CandidateTurn
from aiproxy.gateway.usage import CallRecord
from aiproxy.gateway.watch import Watch
from aiproxy.policy.limits import limit_key
from aiproxy.policy.retry import Again, Next, Stop, decide, final_error, may_try
from aiproxy.policy.routing import Candidate

__all__ = ["Anew", "Asking", "Failover", "Others", "Verdict"]

T = TypeVar("T", covariant=True)

_OURS = (UpstreamAuthFailed, UpstreamModelNotFound, UpstreamOutOfCredit, OurError)


@frozen
class Anew:
    """The same candidate is asked in another way, which is no repeat."""


@frozen
class Others:
    """Everybody else that is left: what was refused was not the caller's request."""


Verdict: TypeAlias = Again | Anew | Next | Others | Stop


class Asking(Protocol[T]):
    """What each candidate is asked for, one after the other."""

    #: The caller has had something already: those that are busy are waited for.
    @property
    def insists(self) -> bool: ...

    def keep(self, left: list[Found]) -> list[Found]:
        """Return of those that are left whom it makes sense to ask, again or at all."""

    async def ask(self, attempt: Attempt, left: list[Found]) -> T:
        """
        Ask.

        :param left: who else could be asked.
        :raises AIProxyError: there is no answer.
        """

    def judge(self, attempt: Attempt, error: AIProxyError) -> Verdict | None:
        """
        Decide how to go on after a failure; ``None``: as usual.

        :raises AIProxyError: there is no going on.
        """


class Failover:
    """
    See the module.

    :param note: called with what a reader of the stream may be told.
    """

    __slots__ = (
        "_asked",
        "_entrance",
        "_known",
        "_note",
        "_open",
        "_record",
        "_repeats",
        "_retry",
        "_shared",
        "_unfit",
        "_watch",
    )

    _log = Logger()

    def __init__(
        self,
        shared: Shared,
        config: Config,
        asked: Asked,
        entrance: Entrance,
        watch: Watch,
        record: CallRecord,
        note: Callable[[str], None],
    ) -> None:
        self._shared = shared
        self._retry = config.retry
        self._asked = asked
        self._entrance = entrance
        self._watch = watch
        self._record = record
        self._note = note
        #: Repeats so far, by candidate.
        self._repeats: dict[tuple[str, ...], int] = {}
        #: The models that were asked at all, with whichever key.
        self._known: set[str] = set()
        #: Those whose leases are not given back.
        self._open: list[Attempt] = []
        #: Who cannot answer this call, however often it is asked, and why.
        self._unfit: list[tuple[Candidate, AIProxyError]] = []

    async def run(self, left: list[Found], asking: Asking[T]) -> T:
        """
        Ask until one answers.

        :param left: who may be asked, best first; it is used up.
        :raises AIProxyError: nobody has; for the caller.
        """
        #: Each candidate's last one.
        failures: dict[tuple[str, ...], AIProxyError] = {}
        everybody = left[:]
        while left := asking.keep(left):
            try:
                insists = asking.insists or bool(failures)
                found, entry = await self._entrance.enter(left, queues=not insists, insists=insists)
            except (LimitReached, ModelUnavailable) as busy:
                failures[()] = busy
                break
            attempt = self.begin(found, entry, last=not left or self._is_last(found[0], left))
            try:
                return await asking.ask(attempt, left)
            except AIProxyError as error:
                if self._watch.over is not None:
                    if attempt.phases.overdue:
                        self.failed(attempt, error)
                    raise
                self.failed(attempt, error)
                key = found[0].limit_key
                failures.pop(key, None)
                failures[key] = error
                verdict = asking.judge(attempt, error) or self._decide(attempt, error, left)
                left = await self._choose(verdict, found, error, left)
        raise _exhausted([*failures.values()], self._entrance.soonest(everybody))

    def may_ask(self, candidate: Candidate) -> bool:
        """Whether it makes sense to ask somebody, who may have failed before, to go on."""
        return all(
            may_try(candidate.model, error, failed.model)
            if isinstance(error, ContextTooLong)
            else candidate != failed
            for failed, error in self._unfit
        )

    def begin(self, found: Found, entry: Entry, *, last: bool) -> Attempt:
        """
        Begin an attempt.

        :param last: nobody else can be asked.
        """
        candidate, provider = found
        shared, timeouts = self._shared, candidate.model.timeouts
        clock = shared.clock
        now, flow = clock.seconds(), shared.traffic.find(candidate.name)
        turn = CandidateTurn(
            entry,
            flow,
            shared.standings.find(candidate.standing_key),
            clock,
            shared.wall(),
            timeouts.first_token,
            now,
        )
        flow.began(now)
        if candidate.name not in self._known:
            self._known.add(candidate.name)
            shared.budgets.find(candidate.name).requested(now)
        phases = Phases(clock, timeouts, self._watch, last=last)
        attempt = Attempt(
            self._asked, candidate, provider, turn, phases, clock, shared.stages, self._record
        )
        self._open.append(attempt)
        self._record.attempts += 1
        return attempt

    def failed(self, attempt: Attempt, error: AIProxyError) -> None:
        """Note that an attempt has failed, or that its stream was cut."""
        if attempt not in self._open:
            return
        self._open.remove(attempt)
        self._record.heard(self._shared.clock.seconds())
        candidate = attempt.candidate
        outcome = "cut" if attempt.said else "failed"
        self._record.account(candidate.model.name, candidate.model.provider, outcome, attempt.spent)
        if attempt.trace is not None:
            attempt.trace.end(self._record.spent[-1], error)
        opened = attempt.fail(error)
        if isinstance(error, ContextTooLong) or (
            isinstance(error, UpstreamTimeout) and not attempt.said
        ):
            self._unfit.append((candidate, error))
        self._tell(candidate, error)
        if opened:
            self._log.warn(
                "{model} of {provider} is passed by from now on (key {key})",
                model=candidate.model.name,
                provider=candidate.model.provider,
                key=_fingerprint(candidate),
            )

    def leave(self, attempt: Attempt, outcome: str) -> None:
        """An attempt is over that has not failed."""
        if attempt in self._open:
            self._open.remove(attempt)
            self._record.heard(self._shared.clock.seconds())
            candidate, usage = attempt.candidate, attempt.spent
            self._record.account(candidate.model.name, candidate.model.provider, outcome, usage)
            if attempt.trace is not None:
                attempt.trace.end(self._record.spent[-1], None)
            attempt.leave(usage)

    def close(self, *, whole: bool) -> None:
        """
        The call is over, however: give back what is held.

        :param whole: it has its whole answer.
        """
        if not self._open:
            return
        for attempt in self._open[:]:
            if whole:
                attempt.turn.completed()
            self.leave(attempt, "answered" if whole else "left")

    def _is_last(self, candidate: Candidate, left: list[Found]) -> bool:
        """Whether nobody of them could be asked when this one has taken too long."""
        model = candidate.model
        streamed = self._record.stream or model.stream_upstream
        within = model.timeouts.first_token if streamed else model.timeouts.attempt
        return not self._entrance.any_free(left, within)

    def _decide(self, attempt: Attempt, error: AIProxyError, left: list[Found]) -> Verdict:
        return decide(
            error,
            repeats=self._repeats.get(limit_key(attempt.candidate), 0),
            settings=self._retry,
            others_free=self._entrance.any_free(left),
            soonest_other=self._entrance.soonest(left),
            chance=self._shared.chance,
        )

    async def _choose(
        self, verdict: Verdict, found: Found, error: AIProxyError, left: list[Found]
    ) -> list[Found]:
        """Return who is left after a failure; before a repeat, wait."""
        candidate = found[0]
        if isinstance(verdict, Anew):
            return [found, *left]
        if isinstance(verdict, Again) and self._take_repeat(candidate):
            if verdict.delay:
                self._note(f"again in {verdict.delay:.1f} s")
                await self._watch.wait(deferLater(self._shared.clock, verdict.delay))
            return [found, *left]
        if isinstance(verdict, Others):
            return left
        if isinstance(verdict, Stop):
            return []
        # Each failure rules some out for good: what is too long stays so.
        reroutes = self._retry.reroute_refusals
        others = [
            one
            for one in left
            if may_try(one[0].model, error, candidate.model, reroute_refusals=reroutes)
        ]
        if others and self._is_back_soon(candidate, error) and self._take_repeat(candidate):
            others.append(found)  # If all others fail too, it may be the first that is free.
        return others

    def _is_back_soon(self, candidate: Candidate, error: AIProxyError) -> bool:
        """Whether a candidate has named a time that is worth a wait."""
        if self._repeats.get(limit_key(candidate), 0) >= self._retry.max_retries:
            return False
        if not isinstance(error, UpstreamRateLimited) or error.should_retry is False:
            return False
        return 0 < (error.retry_after or 0) <= self._retry.max_delay

    def _take_repeat(self, candidate: Candidate) -> bool:
        """Take a repeat from the model's budget."""
        if not self._shared.budgets.find(candidate.name).take(self._shared.clock.seconds()):
            return False
        key = limit_key(candidate)
        self._repeats[key] = self._repeats.get(key, 0) + 1
        return True

    def _tell(self, candidate: Candidate, error: AIProxyError) -> None:
        # A provider's own words may hold the prompt: they are the caller's alone.  What is
        # said of the network is ours, and names a host at most.
        why = f": {error.message}" if isinstance(error, NetworkError) else ""
        status = getattr(error, "upstream_status", None)
        level = LogLevel.error if isinstance(error, _OURS) else LogLevel.warn
        self._log.emit(
            level,
            "{model} of {provider} failed: {error_type} {code}{why} ({known}key {key},"
            " request {id})",
            model=candidate.model.name,
            provider=candidate.model.provider,
            error_type=type(error).__name__,
            code=error.word,
            why=why,
            known="" if status is None else f"status {status}, ",
            upstream_status=status,
            key=_fingerprint(candidate),
            id=self._asked.id,
        )
        told = "" if status is None else f", status {status}"
        self._note(f"{candidate.name} failed: {error.word}{told}")


def _fingerprint(candidate: Candidate) -> str:
    return candidate.token.fingerprint if candidate.token else "none"


def _exhausted(failures: Sequence[AIProxyError], soonest: float | None) -> AIProxyError:
    error = final_error(failures, soonest=soonest)
    if isinstance(error, UpstreamError) and not isinstance(error, UpstreamRefused):
        error.exhausted = True
    return error

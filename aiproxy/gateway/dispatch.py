"""
One call, from the plan to the answer: ask one candidate after the other until
one answers.

Before the first byte for the client any failure may go to the next candidate;
after it, :class:`~aiproxy.gateway.answer.StreamedAnswer` tells a cut.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel

from aiproxy.dialects.dialect import StreamReader
from aiproxy.dialects.face import Face
from aiproxy.dialects.operations import CHAT, PASSED
from aiproxy.dialects.raw_stream import RawStreamReader
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.dialects.whole_answer import WholeAnswerReader
from aiproxy.errors import (
    AIProxyError,
    LimitReached,
    OurError,
    ShuttingDown,
    UpstreamAuthFailed,
    UpstreamError,
    UpstreamModelNotFound,
    UpstreamOutOfCredit,
    UpstreamRefused,
)
from aiproxy.gateway.admission import Gate
from aiproxy.gateway.answer import PlainAnswer, Served, StreamedAnswer
from aiproxy.gateway.explain import explain
from aiproxy.gateway.passing import PassedRelay, keep_able, passed_headers
from aiproxy.gateway.plan import Plan
from aiproxy.gateway.running import RunningCalls
from aiproxy.gateway.transcode import StreamTranscoder
from aiproxy.gateway.turn import CandidateTurn
from aiproxy.gateway.usage import CallRecord, UsageLedger
from aiproxy.gateway.watch import Watch
from aiproxy.interfaces import IProvider, IReply
from aiproxy.policy.access import Principal
from aiproxy.policy.limits import Lease, LimitBook
from aiproxy.policy.retry import final_error, may_try
from aiproxy.policy.routing import Candidate, Situation, configured_name
from aiproxy.policy.traffic import Traffic
from aiproxy.providers.call import Call, name_source
from aiproxy.providers.http import read_rate_limits
from aiproxy.transport.collect import collect
from aiproxy.transport.relay import ClientStalled, StreamRelay

__all__ = ["ClientCall", "Dispatcher"]

#: Tokens that an answer without a limit is reckoned with.
_ANSWER_TOKENS = 1_000


@define
class ClientCall:
    """
    One caller's request.

    :param id: the request's id.
    :param face: what the caller speaks.
    :param principal: who asks.
    :param body: the request as it came.
    :param caller: among whom turns are fair: a key's name, or an address.
    """

    id: str
    face: Face
    principal: Principal
    body: bytes = field(repr=False)
    caller: str = ""


class Dispatcher:
    """
    Serves calls.

    :param plan: whose attribute a reload replaces.
    :param clock: for all timeouts.
    :param wall: seconds since the epoch, for ``created``.
    :param report: called with each call's record when it is over.
    :param chance: for weighted choices.
    """

    _log = Logger()

    def __init__(
        self,
        plan: Plan,
        clock: IReactorTime,
        *,
        wall: Callable[[], float],
        report: Callable[[CallRecord], None] = lambda record: None,
        chance: random.Random | None = None,
    ) -> None:
        self.plan = plan
        self.traffic = Traffic()
        self.book = LimitBook()
        self.gate = Gate(self.book, clock, wall)
        self.clock = clock
        self.wall = wall
        self.running = RunningCalls()
        self.usage = UsageLedger()
        self._report = report
        self._chance = random.Random() if chance is None else chance

    async def answer(self, call: ClientCall) -> PlainAnswer | StreamedAnswer:
        """
        Answer a request.

        Cancelling it closes the upstream's connection at once.

        :raises AIProxyError: for the caller.
        """
        record = CallRecord(call.id, call.principal.name, self.clock.seconds())
        try:
            request = call.face.read_request(call.body)
            record.stream = request.get("stream") is True
            found = self.plan.find(
                request["model"],
                self._situation(call, request),
                call.principal,
                call.face.operation,
            )
            if call.face.operation in PASSED:
                found = keep_able(self.plan, found, call.face.operation)
            record.model = configured_name(self.plan.config, request["model"])
            key = self._admit_key(call, request)
            exchange = _Exchange(self, call, request, found, record, key)
            self.running.begin(exchange.watch)
        except AIProxyError as error:
            self._finish(record, error)
            raise
        try:
            answer = await exchange.run(self._settled(exchange), created=int(self.wall()))
        except (CancelledError, Exception) as error:
            self._settled(exchange)(error)
            raise
        if isinstance(answer, PlainAnswer):
            self._settled(exchange)(None)
        return answer

    def explain(self, request: ChatRequest, body_bytes: int) -> list[dict[str, Any]]:
        """
        Say who would be asked for a chat request, and why the others would not.

        :param body_bytes: the length of its body.
        """
        situation = Situation(0, body_bytes, self.traffic, self._chance)
        return explain(
            self.plan.config,
            self.gate,
            request["model"],
            situation,
            operation=CHAT,
            tokens=estimate_tokens(request, body_bytes),
        )

    def _situation(self, call: ClientCall, request: ChatRequest) -> Situation:
        turn = self.traffic.turn(request["model"])
        return Situation(turn, len(call.body), self.traffic, self._chance)

    def _admit_key(self, call: ClientCall, request: ChatRequest) -> Lease | None:
        """
        Take a call from the limits of the key that it came with.

        :raises LimitReached: there is nothing left of one.
        """
        limits = call.principal.limits
        if limits is None:
            return None
        now, wall = self.clock.seconds(), self.wall()
        admission = self.book.find(("key", call.principal.name), limits, now, wall)
        found = admission.admit(now, wall, estimate_tokens(request, len(call.body)))
        if isinstance(found, Lease):
            return found
        raise LimitReached(
            f"the limit {found.limit} of your key is reached", retry_after=found.delay
        )

    def _settled(self, exchange: _Exchange) -> Callable[[BaseException | None], None]:
        def settled(error: BaseException | None) -> None:
            exchange.leave()
            self.running.end(exchange.watch)
            self._finish(exchange.record, error)

        return settled

    def _finish(self, record: CallRecord, error: BaseException | None) -> None:
        record.ended = self.clock.seconds()
        if isinstance(error, AIProxyError):
            record.error = str(error.code)
        elif isinstance(error, (CancelledError, ClientStalled)):
            record.error = "client_left"
        elif error is not None:
            record.error = "internal_error"
        self.usage.add(record)
        self._report(record)


class _Exchange:
    """One call, as it goes on."""

    _log = Logger()

    def __init__(
        self,
        owner: Dispatcher,
        call: ClientCall,
        request: ChatRequest,
        found: Sequence[tuple[Candidate, IProvider]],
        record: CallRecord,
        key: Lease | None,
    ) -> None:
        self.record = record
        self.watch = Watch(owner.clock, found[0][0].model.timeouts.total)
        self._owner = owner
        self._call = call
        self._request = request
        self._found = found
        self._server = owner.plan.config.server
        self._clock = owner.clock
        self._tokens = estimate_tokens(request, len(call.body))
        self._key = key
        self._turn: CandidateTurn | None = None
        self._reader: StreamReader | None = None

    async def run(
        self, ended: Callable[[BaseException | None], None], *, created: int
    ) -> PlainAnswer | StreamedAnswer:
        """
        Ask until one answers.

        :param ended: for :class:`StreamedAnswer`.
        """
        failures: list[AIProxyError] = []
        left = list(self._found)
        while left:
            try:
                turn, candidate, provider = await self._enter(left, waits=not failures)
            except LimitReached as error:
                failures.append(error)
                break
            attempt = _Attempt(self.watch, self._clock, candidate, last=not self._any_free(left))
            self.record.attempts += 1
            try:
                if self.record.stream:
                    return await self._stream(attempt, provider, created, ended)
                return await self._plain(attempt, provider, created)
            except AIProxyError as error:
                if isinstance(error, ShuttingDown):
                    raise
                name_source(error, candidate)
                turn.failed(error)
                failures.append(error)
                self._tell_failure(candidate, error)
                if self.watch.over is not None:
                    break
                # Each failure rules some out for good: what is too long stays so.
                left = [
                    (other, its_provider)
                    for other, its_provider in left
                    if may_try(other.model, error, candidate.model)
                ]
        raise _exhausted(failures)

    async def _enter(
        self, left: list[tuple[Candidate, IProvider]], *, waits: bool
    ) -> tuple[CandidateTurn, Candidate, IProvider]:
        """Take the first that is free out of those that are left, and wait for its pace."""
        patience = self._server.queue_timeout if waits else 0.0
        entered = self._owner.gate.enter(
            self._request["model"],
            [candidate for candidate, _ in left],
            caller=self._call.caller,
            tokens=self._tokens,
            patience=patience,
        )
        entry = await self.watch.wait(entered) if isinstance(entered, Deferred) else entered
        candidate, provider = left.pop(entry.place)
        if entry.lease.delay:
            try:
                await self.watch.wait(deferLater(self._clock, entry.lease.delay))
            except BaseException:
                entry.lease.forget()
                entry.leave()
                raise
        timeouts = candidate.model.timeouts
        self._turn = CandidateTurn(
            entry,
            self._owner.traffic.find(candidate.name),
            self._clock,
            self._owner.wall(),
            timeouts.first_token,
        )
        return self._turn, candidate, provider

    def _any_free(self, left: Sequence[tuple[Candidate, IProvider]]) -> bool:
        """Whether there is somewhere left to go."""
        return any(self._owner.gate.find_hold(other, self._tokens) is None for other, _ in left)

    def leave(self) -> None:
        """The call is over, however: note what it has used, and let others in."""
        if self._reader is not None:
            self.record.read_usage(self._reader.usage)
        if self._turn is not None:
            used = self.record.tokens.prompt + self.record.tokens.completion
            self._turn.leave(used or None)
            if self._key is not None and used:
                self._key.settle(used, self._clock.seconds())
        if self._key is not None:
            self._key.release()

    async def _plain(self, attempt: _Attempt, provider: IProvider, created: int) -> PlainAnswer:
        attempt.begin_plain()
        reply = await self.watch.wait(provider.start(self._make_call(attempt)))
        attempt.headers_came()
        self._learn(reply)
        body = await self.watch.wait(collect(reply, self._server.max_response_bytes))
        answer = reply.dialect.read_reply(body)
        self._answered()
        served = self._served(attempt, reply)
        self.record.read_usage(answer.get("usage"))
        written = self._call.face.write_answer(
            answer, identity=self._identity, created=created, model=attempt.candidate.name
        )
        return PlainAnswer(served, written.body, written.content_type)

    async def _stream(
        self,
        attempt: _Attempt,
        provider: IProvider,
        created: int,
        ended: Callable[[BaseException | None], None],
    ) -> StreamedAnswer:
        reasoning = attempt.candidate.model.reasoning or _asks_for_thought(self._request)
        attempt.begin_stream(reasoning=reasoning)
        reply = await self.watch.wait(provider.start(self._make_call(attempt)))
        attempt.headers_came()
        self._learn(reply)
        self._reader = reader = self._make_reader(reply)
        writer = self._call.face.stream_writer(
            self._request, identity=self._identity, created=created, model=attempt.candidate.name
        )
        timeouts = attempt.candidate.model.timeouts
        transcoder = StreamTranscoder(reader, writer, timeouts, reasoning=reasoning)
        if isinstance(reader, RawStreamReader):
            relay: StreamRelay = PassedRelay(transcoder, self._clock, reader)
        else:
            relay = StreamRelay(transcoder, self._clock)
        reply.deliver(relay)
        await self.watch.wait(relay.started)
        self.watch.bound(None, "")
        self.record.first_token = self._clock.seconds()
        self._answered()
        return StreamedAnswer(self._served(attempt, reply), relay, writer, self.watch, ended)

    def _learn(self, reply: IReply) -> None:
        if self._turn is not None:
            self._turn.learn(reply.headers)

    def _answered(self) -> None:
        if self._turn is not None:
            self._turn.answered()

    @property
    def _identity(self) -> str:
        return f"chatcmpl-{self._call.id}"

    def _make_call(self, attempt: _Attempt) -> Call:
        return Call(
            id=self._call.id,
            request=self._request,
            candidate=attempt.candidate,
            stream=self.record.stream,
            connected=attempt.connected,
            sent=attempt.sent,
            operation=self._call.face.operation,
        )

    def _make_reader(self, reply: IReply) -> StreamReader:
        if not reply.streamed and self._call.face.operation not in PASSED:
            return WholeAnswerReader(
                reply.dialect.read_reply, limit_bytes=self._server.max_response_bytes
            )
        return reply.dialect.stream_reader(
            choices=self._request.get("n") or 1, max_event_bytes=self._server.max_event_bytes
        )

    def _served(self, attempt: _Attempt, reply: IReply) -> Served:
        model = attempt.candidate.model
        self.record.served_by, self.record.provider = model.name, model.provider
        headers = read_rate_limits(reply.headers)
        if self._call.face.operation in PASSED:
            headers |= passed_headers(reply.headers)
        if reply.dropped:
            headers["x-aiproxy-dropped"] = ", ".join(reply.dropped)
        return Served(attempt.candidate, self.record.attempts, headers)

    def _tell_failure(self, candidate: Candidate, error: AIProxyError) -> None:
        # A provider's own words may hold the prompt: they are the caller's alone.
        level = LogLevel.error if isinstance(error, _OURS) else LogLevel.warn
        self._log.emit(
            level,
            "{model} of {provider} failed: {error_type} {code} (status {upstream_status},"
            " key {key}, request {id})",
            model=candidate.model.name,
            provider=candidate.model.provider,
            error_type=type(error).__name__,
            code=error.code,
            upstream_status=getattr(error, "upstream_status", None),
            key=candidate.token.fingerprint if candidate.token else "none",
            id=self._call.id,
        )


class _Attempt:
    """
    One candidate's turn, with the times of its phases.

    They exist to go on to the next candidate, so the last one has none but the
    whole call's.
    """

    def __init__(
        self, watch: Watch, clock: IReactorTime, candidate: Candidate, *, last: bool
    ) -> None:
        self.candidate = candidate
        self._watch = watch
        self._clock = clock
        self._last = last
        self._timeouts = candidate.model.timeouts
        self._sent: float | None = None
        self._headers = self._first_token = 0.0
        self._whole_due: float | None = None

    def begin_plain(self) -> None:
        """A whole answer is asked for."""
        self._whole_due = self._clock.seconds() + self._timeouts.attempt
        self._bound(
            min(self._timeouts.connect, self._timeouts.attempt), "the provider was not reached"
        )

    def begin_stream(self, *, reasoning: bool) -> None:
        """A stream is asked for."""
        timeouts = self._timeouts
        self._headers = timeouts.reasoning if reasoning else timeouts.headers
        self._first_token = timeouts.reasoning if reasoning else timeouts.first_token
        self._bound(timeouts.connect, "the provider was not reached")

    def connected(self) -> None:
        """The connection stands."""
        if self._whole_due is not None:
            self._bound(
                self._whole_due - self._clock.seconds(), "the provider's answer did not come"
            )
        else:
            self._bound(self._headers, "the provider did not take the request and answer")

    def sent(self) -> None:
        """The request's last byte was written."""
        if self._whole_due is None:
            self._sent = self._clock.seconds()
            if self._headers <= self._first_token:
                self._bound(self._headers, "the provider's headers did not come")
            else:
                self._bound(self._first_token, "the provider's first token did not come")

    def headers_came(self) -> None:
        """The answer begins, whether or not the provider told the phases before."""
        if self._whole_due is not None:
            self.connected()
            return
        since = self._clock.seconds() if self._sent is None else self._sent
        left = since + self._first_token - self._clock.seconds()
        self._bound(left, "the provider's first token did not come")

    def _bound(self, seconds: float, what: str) -> None:
        self._watch.bound(None if self._last else max(0.0, seconds), what)


_OURS = (UpstreamAuthFailed, UpstreamModelNotFound, UpstreamOutOfCredit, OurError)


def estimate_tokens(request: ChatRequest, body_bytes: int) -> int:
    """Estimate what a request will use, before anybody knows: four bytes a token and its limit."""
    most = request.get("max_completion_tokens") or request.get("max_tokens")
    answer = most if isinstance(most, int) and most > 0 else _ANSWER_TOKENS
    n = request.get("n")
    return body_bytes // 4 + answer * (n if isinstance(n, int) and n > 0 else 1)


def _asks_for_thought(request: ChatRequest) -> bool:
    """Whether a model may think for long before it says a word."""
    effort = request.get("reasoning_effort")
    if effort is not None and effort != "none":
        return True
    return any(request.get(name) for name in ("reasoning", "thinking", "tools", "functions"))


def _exhausted(failures: Sequence[AIProxyError]) -> AIProxyError:
    error = final_error(failures)
    if isinstance(error, UpstreamError) and not isinstance(error, UpstreamRefused):
        error.exhausted = True
    return error

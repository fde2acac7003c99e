"""
One call, from the plan to the answer: ask one candidate after the other until
one answers.

Before the first byte for the client any failure may go to the next candidate;
after it, :class:`~aiproxy.gateway.answer.StreamedAnswer` tells a cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger, LogLevel

from aiproxy.config.schema import Server
from aiproxy.dialects.dialect import StreamReader
from aiproxy.dialects.face import Face
from aiproxy.dialects.operations import PASSED
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
from aiproxy.gateway.attempt import Attempt
from aiproxy.gateway.passing import PassedRelay, passed_headers
from aiproxy.gateway.transcode import StreamTranscoder
from aiproxy.gateway.turn import CandidateTurn
from aiproxy.gateway.usage import CallRecord
from aiproxy.gateway.watch import Watch
from aiproxy.interfaces import IProvider, IReply
from aiproxy.policy.access import Principal
from aiproxy.policy.estimate import estimate_tokens
from aiproxy.policy.limits import Lease, LimitBook, limit_key
from aiproxy.policy.retry import final_error, may_try
from aiproxy.policy.routing import Candidate
from aiproxy.policy.traffic import Traffic
from aiproxy.providers.call import Call, name_source
from aiproxy.providers.http import read_rate_limits
from aiproxy.transport.collect import collect
from aiproxy.transport.relay import StreamRelay

__all__ = ["ClientCall", "Exchange", "Shared"]


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


@define
class Shared:
    """
    What all calls share.

    :param clock: for all timeouts.
    :param wall: seconds since the epoch.
    :param cover: makes sure that what was admitted is not forgotten; see
        :meth:`aiproxy.transport.state.StateStore.cover`.
    """

    clock: IReactorTime
    wall: Callable[[], float]
    cover: Callable[[tuple[str, ...]], Deferred[None] | None] = lambda key: None
    traffic: Traffic = field(factory=Traffic)
    book: LimitBook = field(factory=LimitBook)
    gate: Gate = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.gate = Gate(self.book, self.clock, self.wall)


class Exchange:
    """One call, as it goes on."""

    _log = Logger()

    def __init__(
        self,
        shared: Shared,
        server: Server,
        call: ClientCall,
        request: ChatRequest,
        found: Sequence[tuple[Candidate, IProvider]],
        record: CallRecord,
    ) -> None:
        self.record = record
        self.watch = Watch(shared.clock, found[0][0].model.timeouts.total)
        self._shared = shared
        self._call = call
        self._request = request
        self._found = found
        self._server = server
        self._clock = shared.clock
        self._tokens = estimate_tokens(request, len(call.body))
        self._key: Lease | None = None
        self._turn: CandidateTurn | None = None
        self._reader: StreamReader | None = None

    async def run(
        self, ended: Callable[[BaseException | None], None], *, created: int
    ) -> PlainAnswer | StreamedAnswer:
        """
        Ask until one answers.

        :param ended: for :class:`StreamedAnswer`.
        """
        await self._admit_key()
        failures: list[AIProxyError] = []
        left = list(self._found)
        while left:
            try:
                turn, candidate, provider = await self._enter(left, waits=not failures)
            except LimitReached as error:
                failures.append(error)
                break
            attempt = Attempt(self.watch, self._clock, candidate, last=not self._any_free(left))
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

    async def _admit_key(self) -> None:
        """
        Take the call from the limits of the key that it came with.

        :raises LimitReached: there is nothing left of one.
        """
        principal = self._call.principal
        if principal.limits is None:
            return
        now, wall = self._clock.seconds(), self._shared.wall()
        key = ("key", principal.name)
        admission = self._shared.book.find(key, principal.limits, now, wall)
        found = admission.admit(now, wall, self._tokens)
        if not isinstance(found, Lease):
            raise LimitReached(
                f"the limit {found.limit} of your key is reached", retry_after=found.delay
            )
        self._key = found
        await self._cover(key, found)

    async def _cover(self, key: tuple[str, ...], lease: Lease) -> None:
        """See that what was taken is not forgotten, whatever happens to this process."""
        if lease.is_saved:
            stored = self._shared.cover(key)
            if stored is not None:
                await self.watch.wait(stored)

    async def _enter(
        self, left: list[tuple[Candidate, IProvider]], *, waits: bool
    ) -> tuple[CandidateTurn, Candidate, IProvider]:
        """Take the first that is free out of those that are left, and wait for its pace."""
        patience = self._server.queue_timeout if waits else 0.0
        entered = self._shared.gate.enter(
            self._request["model"],
            [candidate for candidate, _ in left],
            caller=self._call.caller,
            tokens=self._tokens,
            patience=patience,
        )
        entry = await self.watch.wait(entered) if isinstance(entered, Deferred) else entered
        candidate, provider = left.pop(entry.place)
        try:
            await self._cover(limit_key(candidate), entry.lease)
            if entry.lease.delay:
                await self.watch.wait(deferLater(self._clock, entry.lease.delay))
        except BaseException:
            entry.lease.forget()
            entry.leave()
            raise
        timeouts = candidate.model.timeouts
        self._turn = CandidateTurn(
            entry,
            self._shared.traffic.find(candidate.name),
            self._clock,
            self._shared.wall(),
            timeouts.first_token,
        )
        return self._turn, candidate, provider

    def _any_free(self, left: Sequence[tuple[Candidate, IProvider]]) -> bool:
        """Whether there is somewhere left to go."""
        return any(self._shared.gate.find_hold(other, self._tokens) is None for other, _ in left)

    def leave(self) -> None:
        """The call is over, however: note what it has used, and let others in."""
        if self._reader is not None:
            self.record.read_usage(self._reader.usage)
        used = self.record.tokens.prompt + self.record.tokens.completion
        if self._turn is not None:
            self._turn.leave(used or None)
        if self._key is not None:
            if not self.record.attempts:
                self._key.forget()  # Nobody was asked.
            elif used:
                self._key.settle(used, self._clock.seconds())
            self._key.release()

    async def _plain(self, attempt: Attempt, provider: IProvider, created: int) -> PlainAnswer:
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
        attempt: Attempt,
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

    def _make_call(self, attempt: Attempt) -> Call:
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

    def _served(self, attempt: Attempt, reply: IReply) -> Served:
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


_OURS = (UpstreamAuthFailed, UpstreamModelNotFound, UpstreamOutOfCredit, OurError)


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

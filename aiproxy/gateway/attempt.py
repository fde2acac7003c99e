"""One attempt: one candidate is asked, with its lease, its times and what it has used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from aiproxy.config.schema import Model
from aiproxy.dialects.answers import misshapen
from aiproxy.dialects.dialect import StreamReader
from aiproxy.dialects.face import StreamWriter
from aiproxy.dialects.operations import CHAT, PASSED
from aiproxy.dialects.raw_stream import RawStreamReader
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest, Usage
from aiproxy.dialects.whole_answer import WholeAnswerReader
from aiproxy.errors import AIProxyError
from aiproxy.gateway.continuation import Continuation, Target
from aiproxy.gateway.passing import PassedRelay
from aiproxy.gateway.phases import Phases
from aiproxy.gateway.takeover import Takeover
from aiproxy.gateway.tracing import AttemptTrace, CallTrace, TracedTranscoder
from aiproxy.gateway.transcode import FoldingTranscoder, StreamTranscoder
from aiproxy.gateway.turn import CandidateTurn
from aiproxy.gateway.usage import CallRecord, reckon_usage
from aiproxy.interfaces import IProvider, IReply
from aiproxy.policy.estimate import estimate_prompt
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call, name_source
from aiproxy.transport.collect import collect_now
from aiproxy.transport.relay import StreamRelay
from aiproxy.transport.stages import Stages

__all__ = ["Asked", "Attempt", "Pipe", "target_of"]


@define
class Asked:
    """
    What is asked for, the same in each attempt.

    :param id: the caller's request's id.
    :param operation: of :mod:`aiproxy.dialects.operations`.
    :param trace: who watches the call; mostly nobody does.
    :param body_bytes: the length of the caller's request.
    """

    id: str
    operation: str
    request: ChatRequest
    max_response_bytes: int
    max_event_bytes: int
    trace: CallTrace | None = None
    body_bytes: int = 0


@define
class Pipe:
    """
    The caller's side of a stream; whoever takes a stream over, takes this over.

    :param takeover: ``None`` for what cannot be continued.
    """

    writer: StreamWriter
    takeover: Takeover | None


@define(eq=False)
class Attempt:
    """
    See the module.

    :param turn: the right to ask this candidate.
    :param record: of the call.
    :ivar relay: of a stream whose first content is there.
    :ivar reply: the upstream's, once its headers are there.
    :ivar trace: who watches it, once it is asked.
    :ivar usage: as far as the upstream has told.
    """

    asked: Asked
    candidate: Candidate
    provider: IProvider
    turn: CandidateTurn
    phases: Phases
    clock: IReactorTime
    stages: Stages
    record: CallRecord
    pipe: Pipe | None = None
    continuation: Continuation | None = None
    reply: IReply | None = None
    trace: AttemptTrace | None = None
    relay: StreamRelay = field(init=False)
    _reader: StreamReader | None = None
    _folding: FoldingTranscoder | None = None
    _usage: Usage | None = None

    @property
    def usage(self) -> Usage | None:
        """What the upstream has told of its usage so far."""
        return self._usage if self._reader is None else self._reader.usage

    @property
    def spent(self) -> Usage | None:
        """What it has used, reckoned where a stream broke off before that was told."""
        if self._reader is None:
            return self._usage
        usage, characters = self._reader.usage, self._loose_characters
        if not characters:
            return usage
        if not usage:
            usage = {"prompt_tokens": estimate_prompt(self.asked.request, self.asked.body_bytes)}
        return reckon_usage(usage, characters)

    @property
    def _loose_characters(self) -> int:
        """How much came of a stream that broke off."""
        reader, pipe = self._reader, self.pipe
        if reader is None or (reader.ended and reader.error is None):
            return 0
        if self._folding is not None:
            return self._folding.characters
        if isinstance(reader, RawStreamReader):
            return reader.characters
        return 0 if pipe is None or pipe.takeover is None else pipe.takeover.received

    @property
    def said(self) -> bool:
        """Whether it has said something, of a stream."""
        return self._reader is not None and self._reader.said

    async def ask_plain(self) -> ChatAnswer:
        """
        Ask for a whole answer.

        :raises AIProxyError: there is none.
        """
        asked = self.asked
        try:
            if self.candidate.model.stream_upstream and asked.operation == CHAT:
                answer = await self._fold()
            else:
                self.phases.begin_plain()
                await self.stages.next()
                starting = self._start(asked.request, stream=False)
                reply = self._take(await self.phases.wait(starting))
                body = collect_now(reply, asked.max_response_bytes)
                if not isinstance(body, bytes):
                    body = await self.phases.wait(body)
                self.record.heard(self.clock.seconds())
                await self.stages.next()
                try:
                    answer = reply.dialect.read_reply(body)
                except AIProxyError:
                    raise
                except Exception as mistake:
                    raise misshapen(mistake) from mistake
        except AIProxyError as error:
            self._name(error)
            raise
        finally:
            self.phases.stop()
        self._usage = answer.get("usage")
        if self.trace is not None:
            self.trace.read(answer)
        self.turn.answered(streamed=False)
        return answer

    async def _fold(self) -> ChatAnswer:
        """Ask for a stream, whose life can be watched, and fold it."""
        timeouts = self.candidate.model.timeouts
        reasoning = _may_think(self.candidate.model, self.asked.request)
        self.phases.begin_stream(reasoning=reasoning)
        starting = self._start(self.asked.request, stream=True)
        reply = self._take(await self.phases.wait(starting))
        reader = self._reader = self._make_reader(reply)
        folding = self._folding = FoldingTranscoder(
            reader, timeouts, self.phases, limit_bytes=self.asked.max_response_bytes,
            reasoning=reasoning,
        )  # fmt: skip
        relay = StreamRelay(folding, self.clock)
        reply.deliver(relay)
        await self.phases.wait(relay.started)
        self.record.heard(self.clock.seconds())
        return folding.answer()

    async def open_stream(self, pipe: Pipe, continuation: Continuation | None = None) -> None:
        """
        Ask for a stream, until its first content is there.

        :param continuation: what to ask instead of the caller's request.
        :raises AIProxyError: there is none.
        """
        request = self.asked.request if continuation is None else continuation.request
        reasoning = _may_think(self.candidate.model, self.asked.request)
        self.continuation = continuation
        self.phases.begin_stream(reasoning=reasoning)
        try:
            await self.stages.next()
            starting = self._start(request, stream=True)
            reply = self._take(await self.phases.wait(starting))
            await self.stages.next()
            self._relay(reply, pipe, reasoning=reasoning)
            await self.phases.wait(self.relay.started)
            await self.stages.next()
            self.record.heard(self.clock.seconds())
        except AIProxyError as error:
            self._name(error)
            raise
        except CancelledError:
            # Between two stages nobody has been told.
            if self._reader is not None:
                self.relay.stop()
            elif self.reply is not None:
                self.reply.abandon()
            raise
        finally:
            self.phases.stop()
        self.turn.answered(streamed=True)

    def _name(self, error: AIProxyError) -> None:
        if error is not self.phases.over:  # That is nobody's.
            name_source(error, self.candidate)

    def _relay(self, reply: IReply, pipe: Pipe, *, reasoning: bool) -> None:
        reader = self._reader = self._make_reader(reply)
        self.pipe = pipe
        if pipe.takeover is not None:
            pipe.takeover.begin(target_of(self.candidate), self.continuation)
        timeouts = self.candidate.model.timeouts
        make: Callable[..., StreamTranscoder] = StreamTranscoder
        if self.trace is not None:
            make = partial(TracedTranscoder, self.trace)
        transcoder = make(
            reader, pipe.writer, timeouts, reasoning=reasoning, takeover=pipe.takeover
        )
        most = self.asked.max_event_bytes
        if isinstance(reader, RawStreamReader):
            self.relay = PassedRelay(transcoder, self.clock, reader, most_kept=most)
        else:
            self.relay = StreamRelay(
                transcoder,
                self.clock,
                keeps_cut=self.continuation is not None,
                most_kept=most,
            )
        reply.deliver(self.relay)

    def leave(self, usage: Usage | None) -> None:
        """
        It is over, however.  Harmless when repeated.

        :param usage: what it has used, as far as that is known.
        """
        self.turn.leave(None if usage is None else _total(usage))

    def fail(self, error: AIProxyError) -> bool:
        """
        It has failed, or its stream was cut.

        :return: whether its candidate is passed by from now on.
        """
        opened = self.turn.failed(error)
        used = _total(self.spent or {})
        # What was cut has used something; what never began has not.
        self.turn.leave(used or (0 if self.pipe is None and not self.said else None))
        return opened

    def _start(self, request: ChatRequest, *, stream: bool) -> Deferred[IReply]:
        """Send the call; what comes of it is for :meth:`_take`."""
        asked, phases = self.asked, self.phases
        call = Call(
            asked.id,
            request,
            self.candidate,
            stream,
            phases.connected,
            phases.sent,
            asked.operation,
            queued=phases.queued,
            preparing=phases.preparing,
        )
        if asked.trace is not None:
            self.trace = asked.trace.ask(self.candidate)
            call = evolve(call, headers=self.trace.headers)
        starting: Deferred[IReply] = self.provider.start(call)
        self.record.asked(self.clock.seconds())
        return starting

    def _take(self, reply: IReply) -> IReply:
        """Note what the head of an answer says."""
        self.reply = reply
        self.phases.headers_came()
        self.turn.learn(reply.headers)
        return reply

    def _make_reader(self, reply: IReply) -> StreamReader:
        asked = self.asked
        if not reply.streamed and asked.operation not in PASSED:
            return WholeAnswerReader(reply.dialect.read_reply, limit_bytes=asked.max_response_bytes)
        return reply.dialect.stream_reader(
            choices=asked.request.get("n") or 1, max_event_bytes=asked.max_event_bytes
        )


def target_of(candidate: Candidate) -> Target:
    """Return what a takeover knows of a candidate."""
    model = candidate.model
    return Target(
        candidate.name,
        model.provider,
        model.provider_type,
        candidate.upstream_model,
        model.url or model.base_url or "",
        candidate.limit_key[2],
    )


def _may_think(model: Model, request: ChatRequest) -> bool:
    """Whether a model may think for long before it says a word."""
    if model.reasoning:
        return True
    effort = request.get("reasoning_effort")
    if effort is not None and effort != "none":
        return True
    return any(request.get(name) for name in ("reasoning", "thinking", "tools", "functions"))


def _total(usage: Usage) -> int | None:
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    total = prompt if isinstance(prompt, int) else 0
    total += completion if isinstance(completion, int) else 0
    return total or None

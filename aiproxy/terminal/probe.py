"""
``aiproxy check --probe``: each upstream is asked one tiny question, by the adapters that serve.

A question goes to one model with one of its keys.  Nothing stands between:
no fallbacks, retries, hedges or limits, so an answer tells of this upstream
alone.  Times begin when a question does and hold the opening of its
connection, which the next one to the same provider may find open.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import define, evolve, field, frozen
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredSemaphore,
    FirstError,
    gatherResults,
)
from twisted.internet.defer import TimeoutError as NotInTime

from aiproxy.config.schema import Config
from aiproxy.dialects.dialect import StreamReader
from aiproxy.dialects.operations import CHAT, EMBEDDINGS, IMAGES
from aiproxy.dialects.shapes import ChatChunk, ChatRequest, Usage
from aiproxy.dialects.whole_answer import WholeAnswerReader
from aiproxy.errors import AIProxyError, InternalError, UpstreamFailed, UpstreamTimeout
from aiproxy.interfaces import IProvider, IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call, name_source
from aiproxy.providers.http import HTTPProvider
from aiproxy.providers.registry import ProviderParts, ProviderRegistry
from aiproxy.terminal.probe_questions import LIST, Question
from aiproxy.terminal.probe_report import ProbeResult, find_hint, first_line
from aiproxy.transport.client import UpstreamClient
from aiproxy.transport.collect import collect
from aiproxy.transport.images import ImageFetcher
from aiproxy.transport.relay import StreamRelay

__all__ = ["probe"]

_MOST_AT_ONCE: Final = 4
_REQUESTS: Final[Mapping[str, ChatRequest]] = {
    # Room for a model that thinks before it speaks.
    CHAT: {
        "messages": [{"role": "user", "content": "Reply with the word OK."}],
        "max_tokens": 64,
    },
    EMBEDDINGS: {"input": "OK"},
    IMAGES: {"prompt": "A small red circle on white."},
}


async def probe(
    config: Config,
    reactor: Any,
    questions: Sequence[Question],
    *,
    seconds: float,
    told: Callable[[ProbeResult], None] = lambda result: None,
    environment: Mapping[str, str] = os.environ,
    variables: Mapping[str, str] = os.environ,
) -> list[ProbeResult]:
    """
    Ask, a few at a time and one at a time of each provider.

    Cancelling it closes all connections.

    :param reactor: as a :class:`aiproxy.proxy.Proxy` takes it.
    :param seconds: for each answer.
    :param told: called with each result as it comes.
    :param environment: names the HTTP proxies on the way.
    :param variables: where the keys may be from, for hints.
    :return: in the order of ``questions``.
    :raises ConfigurationError: an HTTP proxy cannot be used.
    """
    client = UpstreamClient(reactor, http=config.server.http, environment=environment)
    registry = ProviderRegistry(ProviderParts(client, reactor, ImageFetcher(reactor)), {})
    prober = _Prober(config, reactor, registry, seconds, variables)
    slots = DeferredSemaphore(_MOST_AT_ONCE)
    results: dict[int, ProbeResult] = {}

    async def ask_in_turn(lane: list[int]) -> None:
        for number in lane:
            await slots.acquire()
            try:
                results[number] = await prober.ask(questions[number])
            finally:
                slots.release()
            told(results[number])

    lanes: dict[str, list[int]] = {}
    for number, question in enumerate(questions):
        lanes.setdefault(question.candidate.model.provider, []).append(number)
    asking = [Deferred.fromCoroutine(ask_in_turn(lane)) for lane in lanes.values()]
    try:
        await gatherResults(asking, consumeErrors=True)
    except FirstError as failed:
        failed.subFailure.raiseException()
    finally:
        for lane in asking:
            lane.cancel()
        await client.close()
    return [results[number] for number in sorted(results)]


@define
class _Progress:
    """How far one question has come; times are the clock's."""

    clock: Any
    began: float = field(init=False)
    connected: float | None = None
    first: float | None = None
    usage: Usage | None = None
    models: int | None = None

    def __attrs_post_init__(self) -> None:
        self.began = self.clock.seconds()

    def note_connection(self) -> None:
        """The connection stands."""
        self.connected = self.clock.seconds()

    def since(self, time: float | None) -> float | None:
        """Return after how many seconds something was."""
        return None if time is None else time - self.began


@frozen
class _Prober:
    """Asks one question after the other."""

    config: Config
    clock: Any
    registry: ProviderRegistry
    seconds: float
    variables: Mapping[str, str]

    async def ask(self, question: Question) -> ProbeResult:
        """Ask one; never fails but by being cancelled."""
        candidate = question.candidate
        result = ProbeResult(
            model=candidate.name,
            provider=candidate.model.provider,
            key=question.key,
            fingerprint=candidate.token.fingerprint if candidate.token else None,
            outcome="not asked",
            message=question.skipped,
        )
        if question.skipped is not None:
            return result
        progress = _Progress(self.clock)
        error: AIProxyError | None = None
        try:
            asked = Deferred.fromCoroutine(self._ask(question, progress))
            if not await asked.addTimeout(self.seconds, self.clock):
                what = "image" if question.operation == IMAGES else "wildcard"
                return evolve(result, message=what)
        except NotInTime:
            error = UpstreamTimeout(f"{_missing(question, progress)} within {self.seconds:g} s")
        except CancelledError:
            raise
        except AIProxyError as told:
            error = told
        except Exception as problem:  # Of an adapter that is not ours.
            error = InternalError(f"the adapter failed: {type(problem).__name__}")
        result = evolve(
            result,
            outcome="ok",
            connect_seconds=progress.since(progress.connected),
            first_token_seconds=progress.since(progress.first),
            total_seconds=progress.since(self.clock.seconds()),
            tokens=_total(progress.usage),
            models=progress.models,
        )
        return result if error is None else self._failed(result, candidate, error)

    def _failed(
        self, result: ProbeResult, candidate: Candidate, error: AIProxyError
    ) -> ProbeResult:
        name_source(error, candidate)
        message = error.message
        for token in candidate.model.tokens:
            message = message.replace(token.reveal(), "***")
        return evolve(
            result,
            outcome="failed",
            type=error.type,
            status=getattr(error, "upstream_status", None),
            code=None if error.code is None else first_line(str(error.code)),
            message=first_line(message),
            hint=find_hint(error, candidate, self.variables),
        )

    async def _ask(self, question: Question, progress: _Progress) -> bool:
        """Ask one; return whether there was a way to."""
        candidate = question.candidate
        provider = self.registry.find(candidate.model)
        if provider is None:
            raise UpstreamFailed(f"{candidate.model.provider_type} is not served by this version")
        if question.operation == LIST:
            if not (isinstance(provider, HTTPProvider) and candidate.model.base_url):
                return False
            progress.models = len(await provider.list_models(candidate))
            return True
        operation = question.operation
        if operation not in (CHAT, *getattr(provider, "operations", ())):
            if operation == IMAGES:
                return False
            operation = CHAT
        call = Call(
            id="probe",
            request={"model": candidate.name, **_REQUESTS[operation]},
            candidate=candidate,
            stream=operation == CHAT,
            connected=progress.note_connection,
            operation=operation,
        )
        await (self._ask_stream if call.stream else self._ask_whole)(provider, call, progress)
        return True

    async def _ask_whole(self, provider: IProvider, call: Call, progress: _Progress) -> None:
        reply: IReply = await provider.start(call)
        body = await collect(reply, self.config.server.max_response_bytes)
        # It refuses an answer without a vector or an image.
        progress.usage = reply.dialect.read_reply(body).get("usage")

    async def _ask_stream(self, provider: IProvider, call: Call, progress: _Progress) -> None:
        reply: IReply = await provider.start(call)
        listener = _Listener(self._make_reader(reply), progress)
        relay = StreamRelay(listener, self.clock)
        reply.deliver(relay)
        try:
            await relay.started
        finally:
            relay.stop()
        if progress.first is None and not listener.cut_short:
            raise UpstreamFailed("the answer holds no text", code="empty_answer")

    def _make_reader(self, reply: IReply) -> StreamReader:
        server = self.config.server
        if reply.streamed:
            return reply.dialect.stream_reader(choices=1, max_event_bytes=server.max_event_bytes)
        return WholeAnswerReader(reply.dialect.read_reply, limit_bytes=server.max_response_bytes)


class _Listener:
    """
    Notes what a stream brings; see :class:`aiproxy.transport.relay.Transcoder`.

    :ivar cut_short: the answer has come to ``max_tokens``.
    """

    #: Nobody is told anything before the end.
    started = False
    #: The timeout is for the whole of it.
    patience: float | None = None

    def __init__(self, reader: StreamReader, progress: _Progress) -> None:
        self.ended = False
        self.error: AIProxyError | None = None
        self.cut_short = False
        self._reader = reader
        self._progress = progress

    @property
    def finished(self) -> bool:
        """The answer is complete."""
        return self._reader.finished

    def feed(self, data: bytes) -> bytes:
        """Take some bytes of the body."""
        return self._take(self._reader.feed(data))

    def close(self) -> bytes:
        """No more bytes come."""
        return self._take(self._reader.close())

    def _take(self, chunks: list[ChatChunk]) -> bytes:
        reader, progress = self._reader, self._progress
        if reader.said and progress.first is None:
            progress.first = progress.clock.seconds()
        for chunk in chunks:
            for choice in chunk["choices"]:
                self.cut_short = self.cut_short or choice.get("finish_reason") == "length"
        progress.usage = reader.usage
        self.ended, self.error = reader.ended, reader.error
        return b""


def _missing(question: Question, progress: _Progress) -> str:
    """Say what did not come."""
    if question.operation == LIST:
        return "there was no list"
    if progress.first is not None:
        return "the answer did not end"
    return "there was no connection" if progress.connected is None else "there was no answer"


def _total(usage: Usage | None) -> int | None:
    """Return how many tokens a question has cost, both ways."""
    counts = [(usage or {}).get(name) for name in ("prompt_tokens", "completion_tokens")]
    told = [count for count in counts if isinstance(count, int)]
    return sum(told) if told else None

"""
The adapter that all providers share: an endpoint, a dialect and credentials.

What a provider says is its dialect's matter; how its key travels is its
credentials'.  A provider that needs more requests than one for a call
(files to be uploaded) extends :meth:`HTTPProvider.prepare`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from aiproxy.config.schema import Model
from aiproxy.dialects.dialect import AnswerReader, Dialect, WireRequest
from aiproxy.dialects.model_lists import ListedModel, list_route, read_model_list
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.operations import CHAT
from aiproxy.dialects.parts import image_links, with_images
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import AIProxyError, InvalidRequest, UpstreamError
from aiproxy.interfaces import IBodyConsumer, ICredentials, IImageFetcher, IProvider, IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call, name_source
from aiproxy.providers.credentials import KeyHeader
from aiproxy.transport.client import UpstreamClient, UpstreamResponse
from aiproxy.transport.collect import collect, collect_some
from aiproxy.transport.tls import TLSSettings
from aiproxy.wire.urls import join_url

__all__ = ["HTTPProvider", "HTTPReply", "read_rate_limits", "tls_settings"]

_DEFAULT_IDLE_SECONDS = 90.0
#: Of a list of models.
_LIST_BYTES = 8 * 1024 * 1024


class Afterwards:
    """What has to be done when a call is over, however it ends."""

    def __init__(self) -> None:
        self._tasks: list[Callable[[], object]] = []

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def add(self, task: Callable[[], object]) -> None:
        """Add what is to be done."""
        self._tasks.append(task)

    def run(self) -> None:
        """Do it, the last first; there is nothing left then."""
        while self._tasks:
            self._tasks.pop()()


@implementer(IReply)
@frozen
class HTTPReply:
    """
    See :class:`aiproxy.interfaces.IReply`.

    :param after: runs when the body has ended, or is not wanted any more.
    """

    response: UpstreamResponse
    dialect: AnswerReader
    streamed: bool
    dropped: tuple[str, ...] = ()
    after: Afterwards = field(factory=Afterwards)

    @property
    def headers(self) -> Mapping[str, str]:
        """The upstream's."""
        return self.response.headers

    def deliver(self, consumer: IBodyConsumer) -> None:
        """Start the body."""
        # Few wait for the end: nothing else stands in the body's way.
        self.response.deliver(_Ending(consumer, self.after.run) if self.after else consumer)

    def abandon(self) -> None:
        """Close the connection."""
        self.response.abandon()
        self.after.run()


@implementer(IProvider)
@define
class HTTPProvider:
    """
    See :class:`aiproxy.interfaces.IProvider`.

    :param dialect: what the provider speaks.
    :param credentials: what a request shows to be let in.
    :param images: fetches what the dialect wants to have in the request.
    :param others: what the provider speaks for other operations than chat.
    :param bases: for operations that are elsewhere: from the chat's base URL to theirs.
    """

    client: UpstreamClient
    dialect: Dialect
    credentials: ICredentials = field(factory=KeyHeader)
    images: IImageFetcher | None = None
    others: Mapping[str, Dialect] = field(factory=dict)
    bases: Mapping[str, Callable[[str], str]] = field(factory=dict)
    #: URLs whose servers refuse ``stream_options``: they are not asked for usage again.
    _without_usage: set[str] = field(init=False, factory=set)
    #: For each credential with ``max_concurrent``: how many calls go on at a time.
    _slots: dict[tuple[str, str], DeferredSemaphore] = field(init=False, factory=dict)

    @property
    def operations(self) -> Collection[str]:
        """What the provider does beside chat, of :mod:`aiproxy.dialects.operations`."""
        return self.others.keys()

    def start(self, call: Call) -> Deferred[IReply]:
        """Send the call."""
        return Deferred.fromCoroutine(self._start(call))

    def list_models(self, candidate: Candidate) -> Deferred[list[ListedModel]]:
        """Ask the provider for its models.  It fails only with our errors."""
        return Deferred.fromCoroutine(self._list_models(candidate))

    async def _list_models(self, candidate: Candidate) -> list[ListedModel]:
        model = evolve(candidate.model, url=None)
        call = Call("", {}, evolve(candidate, model=model), stream=False)
        response = await self._send(call, WireRequest(list_route(model.dialect), b"", method="GET"))
        body = await collect(response, _LIST_BYTES)
        if response.status == 200:
            return read_model_list(body)
        raise self.dialect.read_error(response.status, response.headers, body)

    async def prepare(self, call: Call, request: ChatRequest, after: Afterwards) -> ChatRequest:
        """
        Make of a request what the dialect can write.

        :param request: it is not changed.
        :param after: takes what has to be done when the call is over, however it ends.
        """
        model = call.candidate.upstream_model
        if self.images is None or not self.dialect.wants_images(request, model=model):
            return request
        return with_images(request, await self.images.fetch(image_links(request)))

    async def _start(self, call: Call) -> IReply:
        after = Afterwards()
        try:
            await self._wait_for_turn(call.candidate, after)
            return await self._ask(call, after)
        except Exception as error:
            after.run()
            if isinstance(error, AIProxyError):
                name_source(error, call.candidate)
            raise

    async def _wait_for_turn(self, candidate: Candidate, after: Afterwards) -> None:
        most = candidate.model.provider_max_concurrent
        if most is None:
            return
        token = candidate.token
        key = candidate.model.provider, token.fingerprint if token else ""
        slots = self._slots.get(key)
        if slots is None or slots.limit != most:
            slots = self._slots[key] = DeferredSemaphore(most)
        await slots.acquire()
        after.add(slots.release)

    async def _ask(self, call: Call, after: Afterwards) -> IReply:
        candidate = call.candidate
        dialect = self._find_dialect(call)
        request = {**call.request, **candidate.model.body}
        if call.operation == CHAT:
            request = await self.prepare(call, request, after)
        where = candidate.model.url or candidate.model.base_url or ""
        if where in self._without_usage:
            dialect = _without_usage(dialect)
        wire = self._write(call, request, dialect)
        response = await self._send(call, wire)
        if 200 <= response.status < 300:
            return _reply(call, response, wire, wire.reader or dialect, after)
        body = await collect_some(response)
        if _refuses_usage(call, dialect, response.status, body):
            wire = self._write(call, request, _without_usage(dialect))
            response = await self._send(call, wire)
            if 200 <= response.status < 300:
                self._without_usage.add(where)
                return _reply(call, response, wire, wire.reader or dialect, after)
            body = await collect_some(response)
        reader = wire.reader or dialect
        error = reader.read_error(response.status, response.headers, body)
        if isinstance(error, UpstreamError):
            error.rate_limits = read_rate_limits(response.headers)
        raise error

    def _find_dialect(self, call: Call) -> Dialect:
        model = call.candidate.model
        if call.operation == CHAT:
            if isinstance(self.dialect, OpenAIDialect):
                return self.dialect.at(model.url or model.base_url or "", model.api_version)
            return self.dialect
        dialect = self.others.get(call.operation)
        if dialect is None:
            raise InvalidRequest(
                f"the provider {model.provider} of this model has no {call.operation}",
                param="model",
                code="model_not_supported",
            )
        return dialect

    def _write(self, call: Call, request: ChatRequest, dialect: Dialect) -> WireRequest:
        return dialect.write_request(
            request, model=call.candidate.upstream_model, stream=call.stream
        )

    def _locate(self, call: Call, wire: WireRequest) -> str:
        """Return the URL of a request."""
        model = call.candidate.model
        if model.url:
            return self._find_dialect(call).locate(model.url, wire)
        rebase = self.bases.get(call.operation, str)
        return join_url(rebase(model.base_url or ""), wire.route)

    async def _send(self, call: Call, wire: WireRequest) -> UpstreamResponse:
        """Send a request; once more with fresh credentials where ours had worn out."""
        shown = await self.credentials.show(call.candidate)
        response = await self._post(call, wire, shown)
        if response.status != 401:
            return response
        try:
            fresh = await self.credentials.renew(call.candidate, shown)
        except Exception:
            response.abandon()
            raise
        if fresh is None:
            return response
        response.abandon()
        return await self._post(call, wire, fresh)

    def _post(
        self, call: Call, wire: WireRequest, shown: Mapping[str, str]
    ) -> Deferred[UpstreamResponse]:
        model = call.candidate.model
        return self.client.request(
            wire.method,
            self._locate(call, wire),
            headers={
                "accept": "text/event-stream" if call.stream else "application/json",
                **wire.headers,
                "x-request-id": call.id,
                **shown,
                **model.headers,
            },
            body=wire.body,
            tls=tls_settings(model),
            idle_timeout=model.pool_idle_timeout or _DEFAULT_IDLE_SECONDS,
            connected=call.connected,
            sent=call.sent,
        )


def _reply(
    call: Call,
    response: UpstreamResponse,
    wire: WireRequest,
    reader: AnswerReader,
    after: Afterwards,
) -> HTTPReply:
    # Errors come as JSON that calls itself an event stream, and streams as
    # anything: only JSON by its name is taken for a whole answer.
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return HTTPReply(
        response,
        reader,
        streamed=call.stream and not kind.endswith("json"),
        dropped=wire.dropped,
        after=after,
    )


@implementer(IBodyConsumer, IPushProducer)
@define
class _Ending:
    """Between a body and its consumer: notes when it is over, whoever ends it."""

    consumer: IBodyConsumer
    over: Callable[[], None]
    _producer: IPushProducer = field(init=False)

    def begin(self, producer: IPushProducer) -> None:
        self._producer = producer
        self.consumer.begin(self)

    def received(self, data: bytes) -> None:
        self.consumer.received(data)

    def finished(self) -> None:
        self.over()
        self.consumer.finished()

    def failed(self, reason: Exception) -> None:
        self.over()
        self.consumer.failed(reason)

    def pauseProducing(self) -> None:
        self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._producer.resumeProducing()

    def stopProducing(self) -> None:
        self._producer.stopProducing()
        self.over()


def tls_settings(model: Model) -> TLSSettings:
    """Return how TLS is talked with a model's provider."""
    return TLSSettings(ca_bundle=model.ca_bundle, client_cert=model.client_cert)


def read_rate_limits(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what an upstream says of its limits, for the caller."""
    return {name: value for name, value in headers.items() if name.startswith("x-ratelimit-")}


def _without_usage(dialect: Dialect) -> Dialect:
    """Return the dialect without the question for usage, where it has one."""
    return evolve(dialect, asks_usage=False) if isinstance(dialect, OpenAIDialect) else dialect


def _refuses_usage(call: Call, dialect: Dialect, status: int, body: bytes) -> bool:
    """Whether an error is about the question for usage, which is ours."""
    if not call.stream or status not in (400, 422):
        return False
    if not isinstance(dialect, OpenAIDialect) or not dialect.asks_usage:
        return False
    return b"stream_options" in body or b"include_usage" in body

"""
The adapter that all providers share: an endpoint, a dialect and credentials.

What a provider says is its dialect's matter; how its key travels is its
credentials'.  A provider that needs more requests than one for a call
(files to be uploaded) extends :meth:`HTTPProvider.prepare`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, DeferredSemaphore, fail
from twisted.python.failure import Failure
from zope.interface import implementer

from aiproxy.config.schema import Model
from aiproxy.dialects.dialect import Dialect, WireRequest
from aiproxy.dialects.model_lists import ListedModel, list_route, read_model_list
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.operations import CHAT
from aiproxy.dialects.parts import image_links, with_images
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import AIProxyError, InvalidRequest, UpstreamError
from aiproxy.interfaces import ICredentials, IImageFetcher, IProvider, IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call, name_source
from aiproxy.providers.credentials import KeyHeader
from aiproxy.providers.http_reply import Afterwards, HTTPReply
from aiproxy.transport.client import UpstreamClient, UpstreamResponse
from aiproxy.transport.collect import collect
from aiproxy.transport.tls import TLSSettings
from aiproxy.wire.urls import join_url

__all__ = ["HTTPProvider", "read_rate_limits", "tls_settings"]

_DEFAULT_IDLE_SECONDS = 90.0
#: What Anthropic, and other proxies of our kind, say of an error.
_SHOULD_RETRY = {"true": True, "false": False}
#: Of a list of models.
_LIST_BYTES = 8 * 1024 * 1024


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
        credentials = self.credentials
        if not isinstance(credentials, KeyHeader) or self.takes_steps(call):
            return Deferred.fromCoroutine(self._start(call))
        # Nearly all calls are one request and one answer: a coroutine would
        # cost as much as sending it.
        try:
            request = _laid_over(call) if call.candidate.model.body else call.request
            question = self._put(call, request)
            asked = self._post(call, question.wire, credentials.show(call.candidate))
        except Exception as error:
            return fail(_named(error, call.candidate))
        return asked.addCallbacks(
            self._take,
            _name_failure,
            callbackArgs=(call, question),
            errbackArgs=(call.candidate,),
        )

    def takes_steps(self, call: Call) -> bool:
        """Whether there is anything to be done before the request, or to be waited for."""
        candidate = call.candidate
        if candidate.model.provider_max_concurrent is not None:
            return True
        if self.images is None or call.operation != CHAT:
            return False
        return self.dialect.wants_images(call.request, model=candidate.upstream_model)

    def _take(self, response: UpstreamResponse, call: Call, question: _Question) -> Any:
        """Take an answer; what is no success may need another request."""
        if 200 <= response.status < 300:
            return question.reply(call, response)
        settling = Deferred.fromCoroutine(self._settle(call, question, response, Afterwards()))
        return settling.addErrback(_name_failure, call.candidate)

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
        call.preparing(True)
        images = await self.images.fetch(image_links(request))
        call.preparing(False)
        return with_images(request, images)

    async def _start(self, call: Call) -> IReply:
        after = Afterwards()
        try:
            await self._wait_for_turn(call, after)
            return await self._ask(call, after)
        except Exception as error:
            after.run()
            _named(error, call.candidate)
            raise

    async def _wait_for_turn(self, call: Call, after: Afterwards) -> None:
        candidate = call.candidate
        most = candidate.model.provider_max_concurrent
        if most is None:
            return
        token = candidate.token
        key = candidate.model.provider, token.fingerprint if token else ""
        slots = self._slots.get(key)
        if slots is None or slots.limit != most:
            slots = self._slots[key] = DeferredSemaphore(most)
        turn = slots.acquire()
        waits = not turn.called
        if waits:
            call.queued(True)
        await turn
        after.add(slots.release)
        if waits:
            call.queued(False)

    async def _ask(self, call: Call, after: Afterwards) -> IReply:
        request = _laid_over(call)
        if call.operation == CHAT:
            request = await self.prepare(call, request, after)
        question = self._put(call, request)
        response = await self._send(call, question.wire)
        return await self._settle(call, question, response, after)

    def _put(self, call: Call, request: ChatRequest) -> _Question:
        """Write a request for the wire."""
        dialect = self._find_dialect(call)
        model = call.candidate.model
        if self._without_usage and (model.url or model.base_url or "") in self._without_usage:
            dialect = _without_usage(dialect)
        return _Question(request, dialect, self._write(call, request, dialect))

    async def _settle(
        self, call: Call, question: _Question, response: UpstreamResponse, after: Afterwards
    ) -> IReply:
        """Make of a response what it is, or fail with its error."""
        if 200 <= response.status < 300:
            return question.reply(call, response, after)
        body = await self.client.first_words(response)
        if _refuses_usage(call, question.dialect, response.status, body):
            dialect = _without_usage(question.dialect)
            wire = self._write(call, question.request, dialect)
            question = _Question(question.request, dialect, wire)
            response = await self._send(call, wire)
            if 200 <= response.status < 300:
                model = call.candidate.model
                self._without_usage.add(model.url or model.base_url or "")
                return question.reply(call, response, after)
            body = await self.client.first_words(response)
        reader = question.wire.reader or question.dialect
        error = reader.read_error(response.status, response.headers, body)
        if isinstance(error, UpstreamError):
            error.headers = response.headers
            error.rate_limits = read_rate_limits(response.headers)
            error.should_retry = _SHOULD_RETRY.get(response.headers.get("x-should-retry", ""))
        raise error

    def _find_dialect(self, call: Call) -> Dialect:
        model = call.candidate.model
        if call.operation == CHAT:
            if isinstance(self.dialect, OpenAIDialect) and type(self.dialect) is not OpenAIDialect:
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
        base = model.base_url or ""
        rebase = self.bases.get(call.operation)
        return join_url(base if rebase is None else rebase(base), wire.route)

    async def _send(self, call: Call, wire: WireRequest) -> UpstreamResponse:
        """Send a request; once more with fresh credentials where ours had worn out."""
        shown = self.credentials.show(call.candidate)
        if isinstance(shown, Deferred):
            shown = await shown
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
                **call.headers,
                **shown,
                **model.headers,
            },
            body=wire.body,
            tls=_tls_settings(model.ca_bundle, model.client_cert),
            idle_timeout=model.pool_idle_timeout or _DEFAULT_IDLE_SECONDS,
            connected=call.connected,
            sent=call.sent,
        )


@define
class _Question:
    """
    A request, ready for the wire.

    :param request: what it was written of.
    """

    request: ChatRequest
    dialect: Dialect
    wire: WireRequest

    def reply(
        self, call: Call, response: UpstreamResponse, after: Afterwards | None = None
    ) -> HTTPReply:
        """Make the reply of a response that is a success."""
        streamed, headers = False, response.headers
        if call.stream:
            # Errors come as JSON that calls itself an event stream, and streams as
            # anything: only JSON by its name is taken for a whole answer.
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            streamed = not kind.endswith("json")
        wire = self.wire
        reader = wire.reader or self.dialect
        return HTTPReply(response, headers, reader, streamed, wire.dropped, after)


def _laid_over(call: Call) -> ChatRequest:
    """Return the request with what the configuration lays over it."""
    body = call.candidate.model.body
    return {**call.request, **body} if body else call.request


def _named(error: Exception, candidate: Candidate) -> Exception:
    if isinstance(error, AIProxyError):
        name_source(error, candidate)
    return error


def _name_failure(failure: Failure, candidate: Candidate) -> Failure:
    if isinstance(failure.value, AIProxyError):
        name_source(failure.value, candidate)
    return failure


def tls_settings(model: Model) -> TLSSettings:
    """Return how TLS is talked with a model's provider."""
    return _tls_settings(model.ca_bundle, model.client_cert)


#: A few, for each request.
_tls_settings = lru_cache(maxsize=256)(TLSSettings)


def read_rate_limits(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what an upstream says of its limits, for the caller."""
    told = {}
    for name, value in headers.items():
        if name.startswith("x-ratelimit-"):
            told[name] = value
    return told


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

"""
The adapter that all providers share: an endpoint, a dialect and credentials.

What a provider says is its dialect's matter; how its key travels is data of
:mod:`aiproxy.config.known_providers`.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from zope.interface import implementer

from aiproxy.config.known_providers import find_known_provider
from aiproxy.config.schema import Model
from aiproxy.config.secret import Secret
from aiproxy.dialects.dialect import Dialect, WireRequest
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.errors import AIProxyError, UpstreamError
from aiproxy.interfaces import IBodyConsumer, IProvider, IReply
from aiproxy.policy.routing import Candidate
from aiproxy.providers.call import Call, name_source
from aiproxy.transport.client import UpstreamClient, UpstreamResponse
from aiproxy.transport.collect import collect_some
from aiproxy.transport.tls import TLSSettings
from aiproxy.wire.urls import join_url

__all__ = ["HTTPProvider", "HTTPReply", "tls_settings"]

_DEFAULT_IDLE_SECONDS = 90.0
_WITHOUT_USAGE = OpenAIDialect(asks_usage=False)


@implementer(IReply)
@frozen
class HTTPReply:
    """See :class:`aiproxy.interfaces.IReply`."""

    response: UpstreamResponse
    dialect: Dialect
    streamed: bool

    @property
    def headers(self) -> Mapping[str, str]:
        """The upstream's."""
        return self.response.headers

    def deliver(self, consumer: IBodyConsumer) -> None:
        """Start the body."""
        self.response.deliver(consumer)

    def abandon(self) -> None:
        """Close the connection."""
        self.response.abandon()


@implementer(IProvider)
@define
class HTTPProvider:
    """
    See :class:`aiproxy.interfaces.IProvider`.

    :param dialect: what the provider speaks.
    """

    client: UpstreamClient
    dialect: Dialect
    #: URLs whose servers refuse ``stream_options``: they are not asked for usage again.
    _without_usage: set[str] = field(init=False, factory=set)

    def start(self, call: Call) -> Deferred[IReply]:
        """Send the call."""
        return Deferred.fromCoroutine(self._start(call))

    async def _start(self, call: Call) -> IReply:
        try:
            return await self._ask(call)
        except AIProxyError as error:
            name_source(error, call.candidate)
            raise

    async def _ask(self, call: Call) -> IReply:
        candidate = call.candidate
        where = candidate.model.url or candidate.model.base_url or ""
        dialect = _WITHOUT_USAGE if where in self._without_usage else self.dialect
        response = await self._send(call, dialect)
        if 200 <= response.status < 300:
            return _reply(call, response, dialect)
        body = await collect_some(response)
        if dialect is not _WITHOUT_USAGE and _refuses_usage(call, response.status, body):
            response = await self._send(call, _WITHOUT_USAGE)
            if 200 <= response.status < 300:
                self._without_usage.add(where)
                return _reply(call, response, _WITHOUT_USAGE)
            body = await collect_some(response)
        error = dialect.read_error(response.status, response.headers, body)
        if isinstance(error, UpstreamError):
            error.rate_limits = read_rate_limits(response.headers)
        raise error

    def _send(self, call: Call, dialect: Dialect) -> Deferred[UpstreamResponse]:
        candidate, model = call.candidate, call.candidate.model
        wire = dialect.write_request(
            {**call.request, **model.body}, model=candidate.upstream_model, stream=call.stream
        )
        return self.client.request(
            "POST",
            model.url or join_url(model.base_url or "", wire.route),
            headers=_write_headers(call, wire, candidate),
            body=wire.body,
            tls=tls_settings(model),
            idle_timeout=model.pool_idle_timeout or _DEFAULT_IDLE_SECONDS,
            connected=call.connected,
            sent=call.sent,
        )


def tls_settings(model: Model) -> TLSSettings:
    """Return how TLS is talked with a model's provider."""
    return TLSSettings(ca_bundle=model.ca_bundle, client_cert=model.client_cert)


def read_rate_limits(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what an upstream says of its limits, for the caller."""
    return {name: value for name, value in headers.items() if name.startswith("x-ratelimit-")}


def _reply(call: Call, response: UpstreamResponse, dialect: Dialect) -> HTTPReply:
    # Errors come as JSON that calls itself an event stream, and streams as
    # anything: only JSON by its name is taken for a whole answer.
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return HTTPReply(response, dialect, streamed=call.stream and not kind.endswith("json"))


def _refuses_usage(call: Call, status: int, body: bytes) -> bool:
    """Whether an error is about the question for usage, which is ours."""
    if not call.stream or status not in (400, 422):
        return False
    return b"stream_options" in body or b"include_usage" in body


def _write_headers(call: Call, wire: WireRequest, candidate: Candidate) -> dict[str, str]:
    headers = {
        **wire.headers,
        "accept": "text/event-stream" if call.stream else "application/json",
        "x-request-id": call.id,
    }
    if candidate.token is not None:
        headers.update(_write_credentials(candidate.model.provider_type, candidate.token))
    headers.update(candidate.model.headers)
    return headers


def _write_credentials(provider_type: str, token: Secret) -> dict[str, str]:
    known = find_known_provider(provider_type)
    name = known.key_header if known else "authorization"
    if name == "authorization":
        return {name: f"Bearer {token.reveal()}"}
    return {name: token.reveal()}

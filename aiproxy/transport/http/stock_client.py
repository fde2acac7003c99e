"""Requests to upstreams by Twisted's own client: treq over its agent over our pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from attrs import frozen
from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from aiproxy.interfaces import IBodyConsumer
from aiproxy.transport.bodies import BodyDelivery, BytesBody, Nobody
from aiproxy.transport.endpoints import UpstreamEndpoints
from aiproxy.transport.failures import read_failure, read_refusal
from aiproxy.transport.http.fields import FRAMING, read_fields
from aiproxy.transport.http.stock_connection import ReusedConnection, StockConnection
from aiproxy.transport.pool import Origin, UpstreamPool
from aiproxy.transport.proxies import Proxy
from aiproxy.transport.tls import TLSSettings
from aiproxy.transport.tunnel import refuse_proxied

if TYPE_CHECKING:
    from http.cookiejar import Cookie

__all__ = ["NoCookies", "PoolView", "ReadyURL", "StockClient", "StockResponse"]


class StockClient:
    """
    Asks upstreams as :class:`~aiproxy.transport.client.UpstreamClient` says.

    :param endpoints: where the connections under some TLS settings come from.
    """

    def __init__(
        self,
        reactor: Any,
        pool: UpstreamPool,
        endpoints: Callable[[TLSSettings], UpstreamEndpoints],
        user_agent: str,
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._endpoints = endpoints
        self._user_agent = user_agent
        self._clients: dict[tuple[TLSSettings, float], HTTPClient] = {}

    def forget(self) -> None:
        """The endpoints have changed."""
        self._clients.clear()

    def request(
        self,
        method: str,
        url: str,
        host: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        tls: TLSSettings,
        idle_timeout: float,
        connected: Callable[[], None],
        sent: Callable[[], None],
    ) -> Deferred[StockResponse]:
        """Send one request; see ``UpstreamClient``."""
        try:
            asked = self._client(tls, idle_timeout).request(
                method,
                ReadyURL.from_text(url),
                headers=self._write_headers(headers),
                data=BytesBody(body, connected, sent),
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
        except Exception:
            return fail(read_failure(Failure(), host))
        return _answer(asked, host)

    def _client(self, tls: TLSSettings, idle_timeout: float) -> HTTPClient:
        client = self._clients.get((tls, idle_timeout))
        if client is None:
            view = PoolView(self._pool, tls, idle_timeout)
            agent = cast(Any, _ProxiedAgent).usingEndpointFactory(
                self._reactor, self._endpoints(tls), view
            )
            client = HTTPClient(_PlainAgent(agent), cookiejar=NoCookies())
            self._clients[tls, idle_timeout] = client
        return client

    def _write_headers(self, headers: Mapping[str, str]) -> Headers:
        written = Headers({b"user-agent": [self._user_agent.encode("ascii")]})
        for name, value in headers.items():
            if name.lower() not in FRAMING:
                # What a client has sent in another encoding passes as it came.
                raw = value.encode("utf-8", "surrogateescape")
                written.setRawHeaders(name.encode("ascii"), [raw])
        return written


class StockResponse:
    """
    See :class:`aiproxy.transport.client.UpstreamResponse`.

    :param response: its headers have at most 64 KiB.
    """

    def __init__(self, response: IResponse, host: str) -> None:
        self.status: int = response.code
        fields = response.headers.getAllRawHeaders()
        self.headers: Mapping[str, str] = read_fields(
            [(name.lower(), values[0]) for name, values in fields]
        )
        self._response = response
        self._host = host
        self._delivery: BodyDelivery | None = None

    def deliver(self, consumer: IBodyConsumer) -> None:
        """Start the body towards ``consumer``."""
        if self._delivery is not None:
            raise RuntimeError("the body has a consumer already")
        self._delivery = BodyDelivery(consumer, self._host)
        self._delivery.start(self._response)

    def abandon(self) -> None:
        """Close the connection, whatever the body's state."""
        if self._delivery is None:
            self.deliver(Nobody())
        else:
            self._delivery.stopProducing()


def _answer(asked: Deferred[Any], host: str) -> Deferred[StockResponse]:
    """
    Turn what Twisted answers into what we do.

    Twisted's client has several words for having been cancelled, among them
    "could not resolve the name": so the caller's Deferred is one of our own.
    """

    cancelled = False

    def cancel(_: Deferred[StockResponse]) -> None:
        nonlocal cancelled
        cancelled = True
        asked.cancel()

    def failed(failure: Failure) -> None:
        if not cancelled:
            result.errback(read_failure(failure, host))

    result: Deferred[StockResponse] = Deferred(cancel)
    asked.addCallback(StockResponse, host).addCallbacks(result.callback, failed)
    return result


@frozen
class PoolView:
    """
    The pool as a Twisted ``Agent`` wants it, for requests of one kind.

    :param tls: connections under other settings are none of its.
    :param idle_timeout: seconds that a connection may idle after its request.
    """

    pool: UpstreamPool
    tls: TLSSettings
    idle_timeout: float
    persistent = True

    def getConnection(
        self, key: Origin, endpoint: IStreamClientEndpoint
    ) -> Deferred[StockConnection | ReusedConnection]:
        """Return a connection for one request: an idle one, or else a fresh one."""
        kept = (key, self.tls)
        secure = key[0] == b"https"
        build = partial(StockConnection, kept, self.idle_timeout, self.pool, secure=secure)

        def connect() -> Deferred[Any]:
            return self.pool.connect(endpoint, build)

        connection = self.pool.take(kept)
        if connection is None:
            return connect()
        connection.idle_timeout = self.idle_timeout
        return succeed(ReusedConnection(cast(StockConnection, connection), connect))


class _ProxiedAgent(Agent):
    """Twisted's agent, which asks a proxy in absolute form for what is not secured by TLS."""

    def _requestWithEndpoint(  # type: ignore[no-untyped-def]
        self, key, endpoint, method, parsedURI, headers, bodyProducer, requestPath
    ):
        # What Twisted's own ProxyAgent calls, too.
        proxy = self._endpointFactory.plain_proxy(parsedURI)
        if proxy is not None:
            requestPath = parsedURI.toBytes().partition(b"#")[0]
            if proxy.authorization is not None:
                headers.setRawHeaders(b"proxy-authorization", [proxy.authorization])
        asked = super()._requestWithEndpoint(
            key, endpoint, method, parsedURI, headers, bodyProducer, requestPath
        )
        return asked.addCallback(_check_proxied, proxy)


def _check_proxied(response: IResponse, proxy: Proxy | None) -> IResponse:
    refusal = refuse_proxied(response.code, proxy)
    if refusal is None:
        return response
    StockResponse(response, "").abandon()
    raise refusal


@implementer(IAgent)
@frozen
class _PlainAgent:
    """
    Asks for answers that are not compressed.

    It stands beneath treq's own agents, the last of which asks for gzip.  A
    compressed stream would be held back by the compressor, and to inflate it
    within bounds is not worth it for upstreams that ignore what we ask.
    """

    agent: IAgent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        plain = Headers() if headers is None else headers
        plain.setRawHeaders(b"accept-encoding", [b"identity"])
        return self.agent.request(method, uri, plain, bodyProducer).addCallback(_check)


def _check(response: IResponse) -> IResponse:
    """Refuse what Twisted lets pass and nobody above us could read."""
    encodings = response.headers.getRawHeaders(b"content-encoding", [])
    refusal = read_refusal(response.code, encodings)
    if refusal is None:
        return response
    StockResponse(response, "").abandon()
    raise refusal


class ReadyURL(EncodedURL):
    """
    A URL that treq sends as it is.

    It is in ASCII already, and hyperlink's ``to_uri`` takes an IPv6 address for a bad name.
    """

    def to_uri(self) -> EncodedURL:
        return self


class NoCookies(IndexableCookieJar):
    """A cookie jar that stores nothing: what one caller is told is not the next one's."""

    def set_cookie(self, cookie: Cookie) -> None: ...

    def add_cookie_header(self, request: object) -> None: ...

    def extract_cookies(self, response: object, request: object) -> None: ...

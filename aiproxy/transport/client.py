"""
Requests to upstreams: treq over Twisted's agent over our pool.

Nothing here has a deadline of its own.  Who asks watches the clock and
cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import frozen
from hyperlink import EncodedURL
from treq.client import HTTPClient
from treq.cookies import IndexableCookieJar
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from aiproxy.errors import ConnectFailed, UpstreamFailed
from aiproxy.interfaces import IBodyConsumer
from aiproxy.transport.bodies import BodyDelivery, BytesBody
from aiproxy.transport.connection import Origin
from aiproxy.transport.endpoints import UpstreamEndpoints
from aiproxy.transport.failures import read_failure
from aiproxy.transport.pool import ConnectionCounts, PoolView, UpstreamPool
from aiproxy.transport.tls import TLSSettings, UpstreamTrust

if TYPE_CHECKING:
    from http.cookiejar import Cookie
    from typing import Any

__all__ = ["UpstreamClient", "UpstreamResponse"]

_PLATFORM = TLSSettings()

# Twisted writes these by what the body and the pool are.
_FRAMING = frozenset({"connection", "content-length", "keep-alive", "te", "transfer-encoding"})


class UpstreamClient:
    """
    Asks upstreams.  Making one opens nothing.

    :param reactor: ``IReactorTCP``, ``IReactorTime`` and
        ``IReactorPluggableNameResolver`` in one.
    :param idle_per_origin: see :class:`UpstreamPool`.
    :param idle_total: see :class:`UpstreamPool`.
    :param user_agent: what we call ourselves where the caller does not say.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        idle_per_origin: int = 50,
        idle_total: int = 200,
        user_agent: str = "aiproxy",
    ) -> None:
        self._reactor = reactor
        self._user_agent = user_agent
        self._pool = UpstreamPool(reactor, idle_per_origin=idle_per_origin, idle_total=idle_total)
        self._endpoints: dict[TLSSettings, UpstreamEndpoints] = {}
        self._clients: dict[tuple[TLSSettings, float], HTTPClient] = {}

    def load(self, tls: TLSSettings) -> None:
        """
        Read the files of ``tls``, now and anew: new connections use what they hold.

        Settings that were never loaded are at their first request.

        :raises ConfigurationError: a file is missing, or is not what it should be.
        """
        endpoints = UpstreamEndpoints(self._reactor, UpstreamTrust(tls))
        self._endpoints[tls] = endpoints
        for settings, idle_timeout in list(self._clients):
            if settings == tls:
                del self._clients[settings, idle_timeout]

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        tls: TLSSettings = _PLATFORM,
        idle_timeout: float = 90.0,
        connected: Callable[[], None],
        sent: Callable[[], None],
    ) -> Deferred[UpstreamResponse]:
        """
        Send one request.

        The Deferred fires when the answer's headers are in; then the response
        must be delivered or abandoned.  It fails only with our errors.
        Cancelling it closes the connection at once and fails it with
        ``CancelledError``.

        A connection that had served before, and that the upstream closes
        without a byte of an answer, is replaced by a fresh one, once:
        ``connected`` and ``sent`` are then called again.

        :param headers: compression is never asked for, whatever stands here.
        :param idle_timeout: seconds that the connection may idle afterwards.
        :param connected: called when the connection stands, TLS included.
        :param sent: called when the last byte of ``body`` was handed over.
        """
        host = "the provider"
        try:
            host = _read_host(url)
            asked = self._client(tls, idle_timeout).request(
                method,
                _ReadyURL.from_text(url),
                headers=self._write_headers(headers),
                data=BytesBody(body, connected, sent),
                allow_redirects=False,
                unbuffered=True,
                reactor=self._reactor,
            )
        except Exception:
            return fail(read_failure(Failure(), host))
        return _answer(asked, host)

    def counts(self) -> Mapping[Origin, ConnectionCounts]:
        """Count the connections of each origin that has one."""
        return self._pool.counts()

    def close(self) -> Deferred[None]:
        """
        Close the idle connections, within a second.

        Those in use close when their requests are done.
        """
        return self._pool.close()

    def _client(self, tls: TLSSettings, idle_timeout: float) -> HTTPClient:
        client = self._clients.get((tls, idle_timeout))
        if client is None:
            if tls not in self._endpoints:
                self.load(tls)
            agent = Agent.usingEndpointFactory(
                self._reactor, self._endpoints[tls], PoolView(self._pool, tls, idle_timeout)
            )
            client = HTTPClient(_PlainAgent(agent), cookiejar=_NoCookies())
            self._clients[tls, idle_timeout] = client
        return client

    def _write_headers(self, headers: Mapping[str, str]) -> Headers:
        written = Headers({b"user-agent": [self._user_agent.encode("ascii")]})
        for name, value in headers.items():
            if name.lower() not in _FRAMING:
                written.setRawHeaders(name.encode("ascii"), [value.encode("utf-8")])
        return written


class UpstreamResponse:
    """
    An answer whose headers have arrived; its body waits in the upstream.

    :ivar status: the status code.
    :ivar headers: names in lower case, the first value of each; at most 64 KiB.
    """

    def __init__(self, response: IResponse, host: str) -> None:
        self.status: int = response.code
        self.headers: dict[str, str] = {
            name.decode("ascii").lower(): _read_text(values[0])
            for name, values in response.headers.getAllRawHeaders()
        }
        # At most "identity", or the empty one that treq leaves.
        self.headers.pop("content-encoding", None)
        self._response = response
        self._host = host
        self._delivery: BodyDelivery | None = None

    def deliver(self, consumer: IBodyConsumer) -> None:
        """Start the body towards ``consumer``.  Called once, or else :meth:`abandon` is."""
        if self._delivery is not None:
            raise RuntimeError("the body has a consumer already")
        self._delivery = BodyDelivery(consumer, self._host)
        self._delivery.start(self._response)

    def abandon(self) -> None:
        """Close the connection, whatever the body's state.  Harmless when repeated."""
        if self._delivery is None:
            self.deliver(_Nobody())
        else:
            self._delivery.stopProducing()


def _answer(asked: Deferred[Any], host: str) -> Deferred[UpstreamResponse]:
    """
    Turn what Twisted answers into what we do.

    Twisted's client has several words for having been cancelled, among them
    "could not resolve the name": so the caller's Deferred is one of our own.
    """

    cancelled = False

    def cancel(_: Deferred[UpstreamResponse]) -> None:
        nonlocal cancelled
        cancelled = True
        asked.cancel()

    def failed(failure: Failure) -> None:
        if not cancelled:
            result.errback(read_failure(failure, host))

    result: Deferred[UpstreamResponse] = Deferred(cancel)
    asked.addCallback(UpstreamResponse, host).addCallbacks(result.callback, failed)
    return result


def _read_host(url: str) -> str:
    """
    Return what to call the upstream: its name, and its port where the URL has one.

    :raises ConnectFailed: we cannot ask such a URL; the error does not show it.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConnectFailed("the provider's URL is not an http or https URL with a host")
    if "@" in parts.netloc:
        raise ConnectFailed("the provider's URL holds credentials, which belong into a header")
    return parts.netloc


def _read_text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


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
    if any(encoding.strip().lower() not in (b"", b"identity") for encoding in encodings):
        why = "the provider sent a compressed answer, which we did not ask for"
    elif not 200 <= response.code <= 599:
        why = "the provider answered with a status that HTTP does not have"
    else:
        return response
    UpstreamResponse(response, "").abandon()
    refused = UpstreamFailed(why)
    refused.upstream_status = response.code
    raise refused


class _ReadyURL(EncodedURL):
    """
    A URL that treq sends as it is.

    It is in ASCII already, and hyperlink's ``to_uri`` takes an IPv6 address for a bad name.
    """

    def to_uri(self) -> EncodedURL:
        return self


class _NoCookies(IndexableCookieJar):
    """A cookie jar that stores nothing: what one caller is told is not the next one's."""

    def set_cookie(self, cookie: Cookie) -> None: ...

    def add_cookie_header(self, request: object) -> None: ...

    def extract_cookies(self, response: object, request: object) -> None: ...


@implementer(IBodyConsumer)
class _Nobody:
    """Wants no body."""

    def begin(self, producer: IPushProducer) -> None:
        producer.stopProducing()

    def received(self, data: bytes) -> None: ...

    def finished(self) -> None: ...

    def failed(self, reason: Exception) -> None: ...

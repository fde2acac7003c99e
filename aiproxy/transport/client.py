"""
Requests to upstreams, over llhttp or over Twisted's own client.

Nothing here has a deadline of its own.  Who asks watches the clock and
cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from treq.client import HTTPClient
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from aiproxy.errors import ConnectFailed
from aiproxy.interfaces import IBodyConsumer
from aiproxy.transport.collect import collect_some
from aiproxy.transport.endpoints import UpstreamEndpoints
from aiproxy.transport.failures import read_failure
from aiproxy.transport.http.agent import UpstreamAgent
from aiproxy.transport.http.routes import Routes, read_host
from aiproxy.transport.http.stock_client import NoCookies, StockClient
from aiproxy.transport.pool import ConnectionCounts, Origin, UpstreamPool
from aiproxy.transport.proxies import UpstreamProxies
from aiproxy.transport.tls import TLSSettings, UpstreamTrust

__all__ = ["UpstreamClient", "UpstreamResponse"]

_PLATFORM = TLSSettings()
_NO_ENVIRONMENT: Mapping[str, str] = {}


class UpstreamResponse(Protocol):
    """
    An answer whose headers have arrived; its body waits in the upstream.
    """

    @property
    def status(self) -> int:
        """The status code."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case, the first value of each; at most 64 KiB."""

    def deliver(self, consumer: IBodyConsumer) -> None:
        """Start the body towards ``consumer``.  Called once, or else :meth:`abandon` is."""

    def abandon(self) -> None:
        """Close the connection, whatever the body's state.  Harmless when repeated."""


class UpstreamClient:
    """
    Asks upstreams.  Making one opens nothing.

    :param reactor: ``IReactorTCP``, ``IReactorTime`` and
        ``IReactorPluggableNameResolver`` in one.
    :param idle_per_origin: see :class:`UpstreamPool`.
    :param idle_total: see :class:`UpstreamPool`.
    :param user_agent: what we call ourselves where the caller does not say.
    :param http: ``llhttp``, or ``stock`` for treq over Twisted's agent.
    :param environment: names the proxies; see :class:`UpstreamProxies`.
    :raises ConfigurationError: a proxy there cannot be used.
    """

    def __init__(
        self,
        reactor: Any,
        *,
        idle_per_origin: int = 50,
        idle_total: int = 200,
        user_agent: str = "aiproxy",
        http: str = "llhttp",
        environment: Mapping[str, str] = _NO_ENVIRONMENT,
    ) -> None:
        if http not in ("llhttp", "stock"):
            raise ValueError("http is llhttp or stock")
        self._reactor = reactor
        self._user_agent = user_agent
        self._proxies = UpstreamProxies.from_environment(environment)
        self._pool = UpstreamPool(reactor, idle_per_origin=idle_per_origin, idle_total=idle_total)
        self._endpoints: dict[TLSSettings, UpstreamEndpoints] = {}
        self._routes = Routes(self._pool, self._find_endpoints)
        self._stock: StockClient | None = None
        if http == "stock":
            self._stock = StockClient(reactor, self._pool, self._find_endpoints, user_agent)

    def load(self, tls: TLSSettings) -> None:
        """
        Read the files of ``tls``, now and anew: new connections use what they hold.

        Settings that were never loaded are at their first request.

        :raises ConfigurationError: a file is missing, or is not what it should be.
        """
        trust = UpstreamTrust(tls)
        self._endpoints[tls] = UpstreamEndpoints(
            self._reactor,
            trust,
            self._proxies,
            trusts_addresses=True,
            stages=self._pool.stages,
        )
        self._routes.forget()
        if self._stock is not None:
            self._stock.forget()

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
        try:
            if self._stock is None:
                route = self._routes.find(method, url, tls, idle_timeout)
                llhttp: Any = route.request(headers, self._user_agent, body, connected, sent)
                return llhttp  # type: ignore[no-any-return]
            stock: Any = self._stock.request(
                method,
                url,
                read_host(url),
                headers=headers,
                body=body,
                tls=tls,
                idle_timeout=idle_timeout,
                connected=connected,
                sent=sent,
            )
            return stock  # type: ignore[no-any-return]
        except Exception:
            return fail(read_failure(Failure(), _name(url)))

    def first_words(self, response: UpstreamResponse) -> Deferred[bytes]:
        """
        Take the beginning of an error's body: what comes within two seconds, if we can read it.

        Never fails but by being cancelled.
        """
        body = collect_some(response, clock=self._reactor)
        if "content-encoding" in response.headers:
            body.addCallback(lambda _: b"")
        return body

    def treq(self, tls: TLSSettings = _PLATFORM, *, idle_timeout: float = 90.0) -> HTTPClient:
        """
        Return a treq client over our connections, for providers that are more than a dialect.

        It keeps no cookies, fails only with our errors and asks for no
        compression.  ``allow_redirects=False`` keeps keys from going elsewhere.
        """
        name = self._user_agent.encode("ascii")
        agent = UpstreamAgent(self._routes, tls, idle_timeout, name)
        return HTTPClient(agent, cookiejar=NoCookies())

    def counts(self) -> Mapping[Origin, ConnectionCounts]:
        """Count the connections of each origin that has one."""
        return self._pool.counts()

    def close(self) -> Deferred[None]:
        """
        Close the idle connections, within a second.

        Those in use close when their requests are done.
        """
        return self._pool.close()

    def _find_endpoints(self, tls: TLSSettings) -> UpstreamEndpoints:
        if tls not in self._endpoints:
            self.load(tls)
        return self._endpoints[tls]


def _name(url: str) -> str:
    try:
        return read_host(url)
    except ConnectFailed:
        return "the provider"

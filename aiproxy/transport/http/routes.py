"""Where requests go: what is the same for all that go to one URL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IBodyProducer

from aiproxy.errors import AIProxyError, ConnectFailed
from aiproxy.transport.endpoints import UpstreamEndpoints
from aiproxy.transport.http.connection import HTTPConnection
from aiproxy.transport.http.exchange import HTTPExchange
from aiproxy.transport.http.fields import write_fields
from aiproxy.transport.pool import ConnectionKey, UpstreamPool
from aiproxy.transport.proxies import Proxy
from aiproxy.transport.tls import TLSSettings
from aiproxy.transport.tunnel import refuse_proxied

__all__ = ["Routes", "UpstreamRoute", "read_host"]

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Z-]+")
_TARGET: Final = re.compile(r"[!-~]+")
#: URLs with keys or dates in them must not fill the memory.
_MAX_ROUTES: Final = 512
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE"})


@frozen
class UpstreamRoute:
    """
    Sends requests with one method to one URL.

    :param host: what an error calls the upstream.
    :param line: the request line with its end, and what a proxy is told.
    :param authority: the value of ``Host``.
    :param proxy: what the request itself goes to, instead of the upstream.
    """

    pool: UpstreamPool
    key: ConnectionKey
    endpoints: UpstreamEndpoints
    uri: URI
    host: str
    method: str
    line: bytes
    authority: str
    proxy: Proxy | None
    idle_timeout: float

    def request(
        self,
        headers: Mapping[str, str],
        user_agent: str,
        body: bytes,
        connected: Callable[[], None],
        sent: Callable[[], None],
    ) -> Deferred[HTTPExchange]:
        """
        Send one request; the Deferred fires with its answer.

        :raises ValueError: the headers cannot be written.
        """
        fields = write_fields(headers, self.authority, user_agent)
        if body or self.method not in _WITHOUT_BODY:
            framing = b"Content-Length: %d\r\n\r\n" % len(body)
        else:
            framing = b"\r\n"
        return self.send(self.line + fields + framing, body, connected, sent)

    def send(
        self,
        head: bytes,
        body: bytes | IBodyProducer,
        connected: Callable[[], None],
        sent: Callable[[], None],
        *,
        fresh: bool = False,
    ) -> Deferred[HTTPExchange]:
        """
        Send one request whose head is written.

        :param fresh: on a connection of its own: it could not be sent a second time.
        """
        exchange = HTTPExchange(
            self.host,
            head,
            body,
            bodiless=self.method == "HEAD",
            connected=connected,
            sent=sent,
        )
        exchange.route = self
        result = exchange.result
        assert result is not None
        connection = None if fresh else self.pool.take(self.key)
        if connection is None:
            self.open(exchange)
        else:
            ours: Any = connection
            ours.idle_timeout = self.idle_timeout
            exchange.reused = True
            try:
                ours.send(exchange)
            except Exception:
                exchange.failed_to_send(Failure())
        return result

    def open(self, exchange: HTTPExchange) -> None:
        """Send a request on a fresh connection."""

        def opened(connection: HTTPConnection) -> None:
            exchange.opening = None
            connection.send(exchange)

        exchange.reused = False
        build = partial(
            HTTPConnection,
            self.key,
            self.idle_timeout,
            self.pool,
            secure=self.key[0][0] == b"https",
        )
        try:
            opening = self.pool.connect(self.endpoints.endpointForURI(self.uri), build)
        except Exception:
            exchange.failed_to_send(Failure())
            return
        exchange.opening = opening
        opening.addCallback(opened).addErrback(exchange.failed_to_send)

    def refuse(self, status: int) -> AIProxyError | None:
        """Say why an answer with this status is not the upstream's."""
        return refuse_proxied(status, self.proxy)


class Routes:
    """
    All routes that were taken lately.

    :param endpoints: where the connections under some TLS settings come from.
    """

    def __init__(
        self, pool: UpstreamPool, endpoints: Callable[[TLSSettings], UpstreamEndpoints]
    ) -> None:
        self._pool = pool
        self._endpoints = endpoints
        self._routes: dict[tuple[str, str, TLSSettings, float], UpstreamRoute] = {}

    def forget(self) -> None:
        """The endpoints have changed."""
        self._routes.clear()

    def find(self, method: str, url: str, tls: TLSSettings, idle_timeout: float) -> UpstreamRoute:
        """
        Return the route of a method and a URL.

        :raises ConnectFailed: see :func:`read_host`.
        :raises ValueError: the method or the URL cannot be sent.
        :raises ConfigurationError: a file of ``tls`` cannot be used.
        """
        key = (method, url, tls, idle_timeout)
        route = self._routes.get(key)
        if route is None:
            route = self._make(method.upper(), url, tls, idle_timeout)
            if len(self._routes) >= _MAX_ROUTES:
                self._routes.clear()
            self._routes[key] = route
        return route

    def _make(self, method: str, url: str, tls: TLSSettings, idle_timeout: float) -> UpstreamRoute:
        host = read_host(url)
        if not (_TARGET.fullmatch(url) and _TOKEN.fullmatch(method)):
            raise ValueError("the method or the URL cannot be sent")
        endpoints = self._endpoints(tls)
        scheme, _, rest = url.partition("#")[0].partition("://")
        uri = URI.fromBytes(f"{scheme.lower()}://{rest}".encode("ascii"))
        uri.host = uri.host.lower()
        name = uri.host.decode("ascii")
        authority = f"[{name}]" if ":" in name else name
        if uri.port != {b"http": 80, b"https": 443}[uri.scheme]:
            authority = f"{authority}:{uri.port}"
        target = uri.originForm.decode("ascii")
        if not target.startswith("/"):
            target = f"/{target}"
        proxy = endpoints.plain_proxy(uri)
        if proxy is not None:
            target = f"http://{authority}{target}"
        line = f"{method} {target} HTTP/1.1\r\n".encode("ascii")
        if proxy is not None and proxy.authorization is not None:
            line += b"Proxy-Authorization: " + proxy.authorization + b"\r\n"
        return UpstreamRoute(
            self._pool,
            ((uri.scheme, uri.host, uri.port), tls),
            endpoints,
            uri,
            host,
            method,
            line,
            authority,
            proxy,
            idle_timeout,
        )


def read_host(url: str) -> str:
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

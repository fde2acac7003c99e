"""Connections through an HTTP proxy: to it, and by ``CONNECT`` through it (RFC 9110, 9.3.6)."""

from __future__ import annotations

from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from aiproxy.errors import AIProxyError, ConnectFailed
from aiproxy.transport.failures import read_failure, read_loss
from aiproxy.transport.http.response_reader import ResponseReader
from aiproxy.transport.proxies import Proxy

__all__ = ["ProxyEndpoint", "TunnelEndpoint", "refuse_proxied"]


@implementer(IStreamClientEndpoint)
@frozen
class ProxyEndpoint:
    """A proxy: what fails on the way to it is told of it, not of the upstream."""

    endpoint: IStreamClientEndpoint
    proxy: Proxy

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the proxy."""
        return self.endpoint.connect(protocolFactory).addErrback(self._failed)

    def _failed(self, failure: Failure) -> Failure:
        if failure.check(CancelledError):
            return failure
        return Failure(read_failure(failure, self.proxy.shown))


@implementer(IStreamClientEndpoint)
@frozen
class TunnelEndpoint:
    """A host and port, through a proxy."""

    endpoint: IStreamClientEndpoint
    proxy: Proxy
    host: str
    port: int

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the proxy, let it connect to the host, and start the protocol then."""

        def opened(made: Any) -> Deferred[IProtocol]:
            return made.opened  # type: ignore[no-any-return]

        name = f"[{self.host}]" if ":" in self.host else self.host
        head = f"CONNECT {name}:{self.port} HTTP/1.1\r\nHost: {name}:{self.port}\r\n".encode(
            "ascii"
        )
        if self.proxy.authorization is not None:
            head += b"Proxy-Authorization: " + self.proxy.authorization + b"\r\n"
        factory = _TunnelFactory(self.proxy, head + b"\r\n", protocolFactory)
        return self.endpoint.connect(factory).addCallback(opened)


class _TunnelFactory(Factory):
    noisy = False

    def __init__(self, proxy: Proxy, head: bytes, inner: IProtocolFactory) -> None:
        self._proxy = proxy
        self._head = head
        self._inner = inner

    def buildProtocol(self, addr: IAddress | None) -> _Tunnel:
        return _Tunnel(self._proxy, self._head, self._inner)


class _Tunnel(Protocol):
    """
    Asks the proxy, then stands between the transport and the protocol in the tunnel.

    :ivar opened: fires with that protocol.  Cancelling it closes the connection.
    """

    def __init__(self, proxy: Proxy, head: bytes, factory: IProtocolFactory) -> None:
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self._abort())
        self._proxy = proxy
        self._head = head
        self._factory = factory
        self._reader = ResponseReader(proxy.shown)
        # The tunnel begins with the end of the head.
        self._reader.expect(bodiless=True)
        self._inner: IProtocol | None = None

    def connectionMade(self) -> None:
        """The proxy is there."""
        self.transport.write(self._head)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """Read the proxy's answer; what follows it is the upstream's."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        if self.opened.called:
            return
        try:
            self._reader.feed(data)
        except AIProxyError as error:
            self._refuse(ConnectFailed(error.message))
            return
        if self._reader.ended:
            self._answered(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, and the tunnel with it."""
        self._reader.close()
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.opened.called:
            loss = read_loss(reason, self._proxy.shown, heard=False)
            self.opened.errback(Failure(loss))

    def _answered(self, data: bytes) -> None:
        status = self._reader.status
        if not 200 <= status <= 299:
            why = f"{self._proxy.shown} refused to connect us: status {status}"
            self._refuse(refuse_proxied(status, self._proxy) or ConnectFailed(why))
        elif _after_head(data):
            # In TLS the client speaks first.
            self._refuse(ConnectFailed(f"{self._proxy.shown} sent more than it was asked for"))
        else:
            assert self.transport is not None
            inner = self._factory.buildProtocol(self.transport.getPeer())
            assert inner is not None
            self._inner = inner
            inner.makeConnection(self.transport)
            self.opened.callback(inner)

    def _refuse(self, error: AIProxyError) -> None:
        self._abort()
        self.opened.errback(Failure(error))

    def _abort(self) -> None:
        self.transport.abortConnection()  # type: ignore[union-attr]


def _after_head(data: bytes) -> bytes:
    """Return what follows a head's end, of which ``data`` holds at least the last byte."""
    # Preliminary answers before it have heads of their own.
    _, end, rest = data.rpartition(b"\r\n\r\n")
    return rest if end else data.lstrip(b"\r\n")


def refuse_proxied(status: int, proxy: Proxy | None) -> ConnectFailed | None:
    """Say why an answer to a request that went to a proxy is not the upstream's."""
    if proxy is None or status != 407:
        return None
    if proxy.authorization is None:
        return ConnectFailed(f"{proxy.shown} asks for credentials")
    return ConnectFailed(f"{proxy.shown} did not accept our credentials")

"""The client as Twisted's ``IAgent``, for treq and for whoever takes one."""

from __future__ import annotations

from typing import Any, cast

from attrs import frozen
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IConsumer, IProtocol, IPushProducer
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH, IAgent, IBodyProducer, IClientRequest, IResponse
from zope.interface import implementer

from aiproxy.interfaces import IBodyConsumer
from aiproxy.transport.failures import read_failure
from aiproxy.transport.http.exchange import HTTPExchange
from aiproxy.transport.http.fields import FRAMING
from aiproxy.transport.http.routes import Routes
from aiproxy.transport.tls import TLSSettings

__all__ = ["UpstreamAgent"]


@implementer(IAgent)
@frozen
class UpstreamAgent:
    """
    Asks by our own connections; it fails only with our errors.

    A request with a body has a fresh connection: on one that the upstream is
    about to close it would be lost, and cannot be sent a second time.

    :param tls: see :class:`TLSSettings`.
    :param idle_timeout: seconds that a connection may idle after its request.
    :param user_agent: what we call ourselves where the caller does not say.
    :param persistent: connections may serve more than one request.
    """

    routes: Routes
    tls: TLSSettings
    idle_timeout: float
    user_agent: bytes
    persistent: bool = True

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send a request; see ``IAgent``.  Compression is never asked for."""
        asked = _Request(method, uri, Headers() if headers is None else headers)
        try:
            route = self.routes.find(
                method.decode("ascii"), uri.decode("ascii"), self.tls, self.idle_timeout
            )
        except Exception:
            return fail(read_failure(Failure(), "the upstream"))
        written = asked.headers.copy()
        written.setRawHeaders(b"accept-encoding", [b"identity"])
        for name, value in ((b"user-agent", self.user_agent), (b"host", route.authority.encode())):
            if not written.hasHeader(name):
                written.setRawHeaders(name, [value])
        for framing in FRAMING:
            written.removeHeader(framing.encode("ascii"))
        if not self.persistent:
            written.setRawHeaders(b"connection", [b"close"])
        body: bytes | IBodyProducer = b""
        if bodyProducer is not None:
            body = _FramedBody(bodyProducer)
            if bodyProducer.length is UNKNOWN_LENGTH:
                written.setRawHeaders(b"transfer-encoding", [b"chunked"])
            else:
                written.setRawHeaders(b"content-length", [b"%d" % bodyProducer.length])
        elif method not in (b"GET", b"HEAD"):
            written.setRawHeaders(b"content-length", [b"0"])
        head = bytearray(route.line)
        for name, values in written.getAllRawHeaders():
            for value in values:
                head += name + b": " + value + b"\r\n"
        fresh = bodyProducer is not None or not self.persistent
        answered = route.send(bytes(head + b"\r\n"), body, _nothing, _nothing, fresh=fresh)
        return answered.addCallback(_AgentResponse, asked)


def _nothing() -> None: ...


@implementer(IClientRequest)
@frozen
class _Request:
    method: bytes
    absoluteURI: bytes
    headers: Headers


@implementer(IBodyProducer)
class _FramedBody:
    """A body with its framing: in chunks where its length is not known."""

    def __init__(self, body: IBodyProducer) -> None:
        self.length = body.length
        self._body = body
        self._left = None if body.length is UNKNOWN_LENGTH else body.length
        self._consumer: IConsumer

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write to ``consumer``."""
        self._consumer = consumer
        # What bodies want of a consumer is write().
        written: Deferred[None] = self._body.startProducing(cast(IConsumer, self))
        return written.addCallback(self._end)

    def write(self, data: bytes) -> None:
        """Take some bytes of the body."""
        if self._left is None:
            if data:
                self._consumer.write(b"%x\r\n%b\r\n" % (len(data), data))
            return
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("the body is longer than it said")
        self._consumer.write(data)

    def _end(self, _: object) -> None:
        if self._left is None:
            self._consumer.write(b"0\r\n\r\n")
        elif self._left:
            raise ValueError("the body is shorter than it said")

    def pauseProducing(self) -> None:
        """The transport is full."""
        self._body.pauseProducing()

    def resumeProducing(self) -> None:
        """The transport has room again."""
        self._body.resumeProducing()

    def stopProducing(self) -> None:
        """Nobody wants the rest."""
        self._body.stopProducing()


@implementer(IResponse)
class _AgentResponse:
    """An answer whose body waits in the upstream."""

    previousResponse: IResponse | None = None

    def __init__(self, exchange: HTTPExchange, request: IClientRequest) -> None:
        major, _, minor = exchange.version.partition(".")
        self.version = (b"HTTP", int(major), int(minor))
        self.code = exchange.status
        self.phrase = exchange.reason
        self.request = request
        self.headers = Headers()
        self.length: Any = UNKNOWN_LENGTH
        for name, value in exchange.fields:
            if name == b"content-length":
                self.length = int(value)
            elif name.decode("ascii") not in FRAMING:
                self.headers.addRawHeader(name, value)
        self._exchange = exchange

    def deliverBody(self, protocol: IProtocol) -> None:
        """Start the body towards ``protocol``, once."""
        self._exchange.deliver(_ProtocolBody(protocol, self._exchange.until_close))

    def setPreviousResponse(self, response: IResponse) -> None:
        """Remember what has redirected here."""
        self.previousResponse = response


@implementer(IBodyConsumer, IPushProducer)
class _ProtocolBody:
    """Brings a body to one of Twisted's protocols, whose transport it is."""

    disconnecting = False

    def __init__(self, protocol: IProtocol, until_close: bool) -> None:
        self._protocol = protocol
        self._until_close = until_close
        self._producer: IPushProducer

    def begin(self, producer: IPushProducer) -> None:
        """The body starts."""
        self._producer = producer
        self._protocol.makeConnection(self)  # type: ignore[arg-type]

    def received(self, data: bytes) -> None:
        """Some bytes of it came."""
        self._protocol.dataReceived(data)

    def finished(self) -> None:
        """It is complete, as far as one can know."""
        self._lose(PotentialDataLoss() if self._until_close else ResponseDone())

    def failed(self, reason: Exception) -> None:
        """It has ended early."""
        self._lose(ResponseFailed([Failure(reason)]))

    def pauseProducing(self) -> None:
        """Read no more from the upstream."""
        self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self._producer.resumeProducing()

    def stopProducing(self) -> None:
        """Close the upstream's connection at once."""
        if not self.disconnecting:
            self.disconnecting = True
            self._producer.stopProducing()
            self._lose(ResponseFailed([Failure(ConnectionAborted())]))

    loseConnection = abortConnection = stopProducing

    def _lose(self, reason: Exception) -> None:
        self.disconnecting = True
        self._protocol.connectionLost(Failure(reason))

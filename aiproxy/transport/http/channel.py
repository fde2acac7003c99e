"""
One client's connection, read by llhttp.

It stands where Twisted's ``HTTPChannel`` would: a request for an exact path of
the hot routes is a slim one of ours, any other is Twisted's own, rendered by
the site's resource.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from io import BytesIO
from typing import Any, TypeAlias
from typing import Protocol as Shape

from twisted.internet._producer_helpers import _PullToPush
from twisted.internet.interfaces import IAddress, IProducer, IPushProducer, ISSLTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from zope.interface import implementer

from aiproxy.errors import AIProxyError, RequestTimedOut
from aiproxy.transport.deadline import Deadline
from aiproxy.transport.http.common import (
    BODY_BYTES_PER_SECOND,
    BODY_SECONDS,
    FLUSH_ROUNDS,
    HEAD_SECONDS,
    IDLE_SECONDS,
    LINGER_SECONDS,
    choose_request_id,
)
from aiproxy.transport.http.error_answers import Describe, write_refusal
from aiproxy.transport.http.request import LlhttpRequest
from aiproxy.transport.http.request_reader import ReceivedRequest, RequestReader
from aiproxy.transport.http.site import GatewayChannel
from aiproxy.transport.http.stock import StockRequest
from aiproxy.transport.stages import Stages
from aiproxy.transport.write_batch import BatchedWriter

__all__ = ["HotRoute", "HotRoutes", "LlhttpChannel"]

_log = Logger()

#: Answers a request, now or later.
HotRoute: TypeAlias = Callable[[LlhttpRequest], None]
#: Who answers a request for exactly this method and path.
HotRoutes: TypeAlias = Mapping[tuple[bytes, bytes], HotRoute]

#: While a request is answered so much of the next ones is read ahead.
_READ_AHEAD_BYTES = 16 * 1024


class ChannelOwner(Shape):
    """What makes connections, and what they serve."""

    hot: HotRoutes
    channels: set[GatewayChannel]
    describe: Describe
    draining: bool
    max_request_bytes: int
    reactor: Any
    refused: Callable[[str, str, AIProxyError], None]
    stages: Stages

    @property
    def date(self) -> bytes:
        """Now, for a ``Date`` header."""

    def forget(self, channel: GatewayChannel) -> None:
        """A connection is gone."""


@implementer(IPushProducer)
class LlhttpChannel(Protocol):
    """
    One client's connection.

    :ivar refused: a request was refused, or the time is over: nothing more is taken.
    :ivar is_last: the connection ends with the answer that is written now.
    :ivar peer: who is at the other end, known from the first request on.
    :ivar secure: the connection has TLS, so too.
    :ivar write: writes to the client.
    """

    write: Callable[[bytes], None]
    _writer: BatchedWriter

    def __init__(self, site: ChannelOwner) -> None:
        self.site = site
        self.factory = site
        self.refused = False
        self.is_last = False
        self.peer: IAddress | None = None
        self.secure = False
        self._request: Any = None
        self._serving = self._due = False
        self._waiting = b""
        self._stopped_reading = False
        self._producer: IPushProducer | None = None
        self._client_full = False
        self._flush_rounds = 0
        self._body_started = 0.0
        self._reader = RequestReader(site.max_request_bytes)
        self._deadline = Deadline(site.reactor, self._expire)

    # --- from the transport -----------------------------------------------------

    def connectionMade(self) -> None:
        """A client is there."""
        transport: Any = self.transport
        transport.registerProducer(self, True)
        set_no_delay = getattr(transport, "setTcpNoDelay", None)
        if set_no_delay is not None:
            set_no_delay(True)
        self._writer = BatchedWriter(self.site.stages.writes, transport)
        self.write = self._writer.write
        self.site.channels.add(self)
        self._deadline.set(IDLE_SECONDS)

    def dataReceived(self, data: bytes) -> None:
        """Some bytes came."""
        if self.refused or self.is_last:
            return
        if self._request is not None or self._due or self._client_full:
            self._waiting += data
            if len(self._waiting) > _READ_AHEAD_BYTES and not self._stopped_reading:
                self._stopped_reading = True
                self.transport.pauseProducing()  # type: ignore[union-attr]
            return
        self._read(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone."""
        self.is_last = True
        self._writer.drop()
        self._deadline.close()
        self._reader.close()
        # Within TLS nobody else may have told it.
        self.stopProducing()
        request, self._request = self._request, None
        if request is not None:
            request.connectionLost(reason)
        self.site.forget(self)

    def pauseProducing(self) -> None:
        """The client does not read as fast as we write."""
        self._client_full = True
        if self._producer is not None:
            self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        """The client reads again."""
        self._client_full = False
        if self._producer is not None:
            self._producer.resumeProducing()
        elif self._request is None and not (self.refused or self.is_last):
            if self._reader.begun or self._waiting:
                self._go_on()
            self._serve()

    def stopProducing(self) -> None:
        """The client is gone, which :meth:`connectionLost` also says."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()

    # --- requests -----------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        """Read on, and serve what is complete."""
        reader = self._reader
        begun, in_body = reader.begun, reader.in_body
        rest = reader.feed(data)
        if reader.ready or reader.refusal is not None:
            self._waiting = rest
            if not self._serving:
                self._due = self.site.stages.soon(self._serve)
        elif reader.in_body:
            if not in_body:
                self._body_started = self.site.reactor.seconds()
            self._wait_for_body()
        elif reader.begun and not begun:
            self._deadline.set(HEAD_SECONDS)

    def _wait_for_body(self) -> None:
        reader = self._reader
        grown = reader.body_bytes / BODY_BYTES_PER_SECOND
        self._deadline.set_at(self._body_started + BODY_SECONDS + grown)
        if reader.expects:
            reader.expects = False
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _serve(self) -> None:
        """Serve what was read, one after the other, as long as the client reads the answers."""
        if self._serving:
            return
        self._serving = True
        self._due = False
        reader = self._reader
        try:
            while self._request is None and not (self.refused or self.is_last or self._client_full):
                if reader.ready:
                    self._start(reader.ready.pop(0))
                elif reader.refusal is not None:
                    self.refuse(reader.refusal)
                elif self._waiting:
                    waiting, self._waiting = self._waiting, b""
                    self._read(waiting)
                else:
                    self._listen()
                    break
        except Exception:
            # A bug of ours.  Other calls of this turn go on.
            _log.failure("a connection failed")
            self.abort()
        finally:
            self._serving = False

    def _listen(self) -> None:
        """Wait for the next request, or for more of it."""
        if self._stopped_reading:
            self._stopped_reading = False
            self.transport.resumeProducing()  # type: ignore[union-attr]

    def _start(self, received: ReceivedRequest) -> None:
        if self.peer is None:
            self._look_at_peer()
        self._deadline.rest()
        self.is_last = received.last or self.site.draining
        answer = self.site.hot.get((received.method, received.target))
        if answer is not None:
            self._request = request = LlhttpRequest(self, received)
            answer(request)
            return
        stock = self._request = StockRequest(self, False)  # type: ignore[no-untyped-call]
        headers = Headers()
        for name, value in received.pairs:
            headers.addRawHeader(name, value)
        stock.requestHeaders = headers
        stock.content = BytesIO(received.body)
        if self.is_last:
            stock.responseHeaders.setRawHeaders(b"connection", [b"close"])
        stock.requestReceived(received.method, received.target, received.version)

    def _look_at_peer(self) -> None:
        self.peer = self.transport.getPeer()  # type: ignore[union-attr]
        self.secure = bool(ISSLTransport.providedBy(self.transport))

    def requestDone(self, request: LlhttpRequest | StockRequest) -> None:
        """An answer was written."""
        self._request = None
        self._producer = None
        self._flush_rounds = 0
        if self.is_last:
            # Its end waits for a client that may never read the rest.
            self._deadline.set(IDLE_SECONDS)
            self.loseConnection()
            return
        reader = self._reader
        if reader.begun or self._waiting:
            self._go_on()
        else:
            self._deadline.set(IDLE_SECONDS)
        if self._waiting or self._stopped_reading or reader.ready or reader.refusal is not None:
            self._serve()

    def _go_on(self) -> None:
        """The next request has begun: its time begins now."""
        if self._reader.in_body:
            self._body_started = self.site.reactor.seconds()
            self._wait_for_body()
        else:
            self._deadline.set(HEAD_SECONDS)

    # --- what requests ask of it --------------------------------------------------

    def getPeer(self) -> IAddress:
        """Return who is at the other end."""
        if self.peer is None:
            self._look_at_peer()
        peer: Any = self.peer
        return peer  # type: ignore[no-any-return]

    def getHost(self) -> IAddress:
        """Return what of us is at this end."""
        host: IAddress = self.transport.getHost()  # type: ignore[union-attr]
        return host

    def isSecure(self) -> bool:
        """Whether the connection has TLS."""
        return self.secure

    def writeHeaders(self, version: bytes, code: bytes, reason: bytes, headers: Headers) -> None:
        """Write the head of one of Twisted's answers."""
        lines = [version + b" " + code + b" " + reason]
        for name, values in headers.getAllRawHeaders():
            lines += [name + b": " + value for value in values]
        self.write(b"\r\n".join(lines) + b"\r\n\r\n")

    def writeSequence(self, pieces: Iterable[bytes]) -> None:
        """Write several pieces."""
        self.write(b"".join(pieces))

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let the client's reading pause a producer."""
        if self._producer is not None:
            raise RuntimeError("there is a producer already")
        pushing: Any = producer
        if not streaming:
            pushing = _PullToPush(producer, self)
            pushing.startStreaming()
        self._producer = pushing
        if self._client_full:
            pushing.pauseProducing()

    def unregisterProducer(self) -> None:
        """The producer is done."""
        producer, self._producer = self._producer, None
        if isinstance(producer, _PullToPush):
            producer.stopStreaming()

    # --- its end --------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """No request is in progress, nor has one begun."""
        busy = self._request is not None or self._due or self._reader.begun
        return not (busy or self.refused)

    def close_when_idle(self) -> None:
        """Close now, or when the request that is running or arriving is done."""
        if self.idle:
            self.loseConnection()
        elif self._request is not None:
            # One whose head is still to come sees by the site that it is the last.
            self.is_last = True
            if isinstance(self._request, StockRequest) and not self._request.startedWriting:
                self._request.responseHeaders.setRawHeaders(b"connection", [b"close"])

    def loseConnection(self) -> None:
        """Close in order."""
        self.is_last = True
        self._writer.flush()
        transport: Any = self.transport
        transport.unregisterProducer()
        transport.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        self._writer.drop()
        self.transport.abortConnection()  # type: ignore[union-attr]

    abortConnection = abort

    def refuse(self, error: AIProxyError) -> None:
        """Answer with an error, take nothing more, close."""
        if self.refused:
            return
        self.refused = True
        if self.peer is None:
            self._look_at_peer()
        asked: Any = self._request or self._reader.current
        if self._request is not None:
            find, target = asked.getHeader, asked.uri
        else:
            find, target = asked.headers.get, asked.target
        chosen = choose_request_id(find(b"x-request-id"))
        if self._request is None:  # Else that one has a line of its own.
            address = getattr(self.peer, "host", "local")
            self.site.refused(chosen.decode("ascii"), address, error)
        told = self.site.describe(error, chosen, target, find(b"origin"))
        head, body = write_refusal(error, chosen, self.secure, told)
        transport: Any = self.transport
        # What the client still sends is read, whatever has paused it.
        transport.unregisterProducer()
        transport.resumeProducing()
        self.write(head if asked.method == b"HEAD" else head + body)
        self._writer.flush()
        self._waiting = b""
        self._deadline.set(LINGER_SECONDS)
        if self.secure:
            # Its end is TLS's own: below it, a FIN would overtake what TLS has yet to write.
            transport.loseConnection()
        else:
            transport.loseWriteConnection()

    def _expire(self) -> None:
        unread = self._client_full or self._writer.waits
        if self.refused:
            self.abort()
        elif unread and self._flush_rounds < FLUSH_ROUNDS:
            self._flush_rounds += 1
            self._deadline.set(IDLE_SECONDS)
        elif (self._reader.begun or self._waiting) and not unread:
            self.refuse(RequestTimedOut("the request did not arrive in time"))
        else:
            self.loseConnection()
            self.refused = True
            self._deadline.set(LINGER_SECONDS)

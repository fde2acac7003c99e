"""One connection to an upstream, for one request after the other: over llhttp."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from twisted.internet import tcp
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IHandshakeListener, IProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aiproxy.errors import AIProxyError, InternalError
from aiproxy.transport.bodies import BytesBody
from aiproxy.transport.failures import read_cut, read_loss
from aiproxy.transport.http.exchange import HTTPExchange
from aiproxy.transport.http.fields import read_keep_alive
from aiproxy.transport.http.response_reader import ResponseReader
from aiproxy.transport.pool import ConnectionKey, ConnectionOwner
from aiproxy.transport.write_batch import BatchedWriter

__all__ = ["HTTPConnection"]

#: A body up to this goes out in one write with its head.
_SMALL_BYTES: Final = 64 * 1024


@implementer(IProtocol, IHandshakeListener)
class HTTPConnection:
    """
    One connection to an upstream.

    :param secure: it has TLS.
    :ivar reusable: it may be kept when its request is done.
    :ivar idle_timeout: seconds that it may be kept for.
    """

    __slots__ = (
        "_agreed",
        "_cut_short",
        "_due",
        "_end",
        "_error",
        "_exchange",
        "_owner",
        "_peer_timeout",
        "_reader",
        "_ready",
        "_sending",
        "_tcp",
        "_writer",
        "idle_timeout",
        "key",
        "reusable",
        "transport",
    )

    def __init__(
        self, key: ConnectionKey, idle_timeout: float, owner: ConnectionOwner, *, secure: bool
    ) -> None:
        self.key = key
        self.idle_timeout = idle_timeout
        self.reusable = True
        self.transport: Any = None
        #: The same, or what is beneath TLS.
        self._tcp: Any = None
        self._owner = owner
        self._reader = ResponseReader(key[0][1].decode("ascii"))
        self._exchange: HTTPExchange | None = None
        self._sending: IBodyProducer | None = None
        self._agreed = not secure
        #: The upstream may never read what is left of a request that was stopped.
        self._cut_short = False
        #: Something has come that is to be handed on; and what was wrong with it.
        self._due = False
        self._error: AIProxyError | None = None
        self._end: Failure | None = None
        self._ready: Deferred[HTTPConnection] | None = None
        self._peer_timeout: float | None = None
        self._writer: BatchedWriter

    # --- for the pool -----------------------------------------------------------------

    def when_ready(self) -> Deferred[HTTPConnection]:
        """
        Fire when requests can be sent: with TLS, when the upstream has proven who it is.

        Cancelling it closes the connection.
        """
        if self._end is not None:
            return fail(self._end)
        if self._agreed:
            return succeed(self)
        self._ready = Deferred(self._cancel)
        return self._ready

    @property
    def closing(self) -> bool:
        """
        Somebody has asked it to close.

        ``stopProducing`` goes past TLS to the TCP transport beneath, so that
        one is asked as well.
        """
        return bool(self._tcp.disconnecting or self.transport.disconnecting)

    def close(self) -> None:
        """Close in order, but without waiting for TLS: a peer may never say goodbye."""
        self._writer.drop()
        self.transport.stopProducing()

    def abort_now(self) -> None:
        """Close by RST, without waiting for anything."""
        self.reusable = False
        self._writer.drop()
        self.transport.abortConnection()

    # --- from the transport -------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """TCP is there."""
        self.transport = transport
        self.connectionMade()

    def connectionMade(self) -> None:
        """TCP is there."""
        transport = self.transport
        transport.setTcpNoDelay(True)
        if isinstance(transport, tcp.Connection):
            # The endpoint's wrapper around us has nothing more to do.
            transport.protocol = self
        self._tcp = getattr(transport, "transport", transport)
        self._writer = BatchedWriter(self._owner.stages.writes, transport)
        self._owner.opened(self)

    def handshakeCompleted(self) -> None:
        """TLS is agreed."""
        self._agreed = True
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.callback(self)

    def dataReceived(self, data: bytes) -> None:
        """Parse what the upstream sends; what comes of it is handed on with the next stage."""
        exchange = self._exchange
        if exchange is None:
            # Nobody has asked.  It would be taken for the next request's answer.
            if not self.closing:
                self._break()
            return
        if self._writer.unsent:
            # Nor is this what was asked for: the request is still to be sent, elsewhere.
            self.abort_now()
            return
        if self._error is None:
            try:
                self._reader.feed(data)
            except AIProxyError as refused:
                self._error = refused
        if not self._due:
            self._due = self._owner.stages.soon(self._hand_on)

    def _hand_on(self) -> None:
        """Hand on what has come of an answer, in one piece."""
        self._due = False
        exchange, reader, error = self._exchange, self._reader, self._error
        if exchange is None:
            return  # Nobody wants it any more.
        if reader.status:
            first = not exchange.status
            if first:
                exchange.begin(reader)
                if self._peer_timeout is None:
                    self._peer_timeout = read_keep_alive(reader.fields)
                reader.fields = []
                if self._sending is not None and reader.status >= 300:
                    # It does not want the rest.
                    self._stop_sending()
            pieces = reader.pieces
            if pieces:
                exchange.receive(pieces[0] if len(pieces) == 1 else b"".join(pieces))
                pieces.clear()
            if reader.ended and self._exchange is exchange:
                self._finish(exchange)
            if first:
                exchange.answer()
                if self._exchange is exchange and exchange.awaited:
                    self._owner.stages.soon(partial(self._hold, exchange))
        if error is not None and self._exchange is exchange:
            self._exchange = None
            self._break()
            exchange.fail(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        if self._due:
            self._hand_on()
        self._end = reason
        self._writer.drop()
        self._owner.forget(self)
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.errback(reason)
        exchange, self._exchange = self._exchange, None
        reader = self._reader
        reader.close()
        self._sending = None
        if exchange is None:
            return
        exchange.connection = None
        secure = self.key[0][0] == b"https"
        if reader.until_close and (secure or not reason.check(ConnectionLost)):
            # RFC 9112, 6.3; whether the content is whole, its reader knows.  Within TLS
            # a server that ends without a word looks like a reset, and many do (9.8).
            exchange.end()
        elif reader.status:
            exchange.fail(read_cut(reason, exchange.host))
        elif exchange.reused and not reader.heard:
            # It was closed while the request was on its way.
            exchange.route.open(exchange)
        else:
            exchange.fail(read_loss(reason, exchange.host, heard=reader.heard))

    # --- for an exchange ------------------------------------------------------------------

    def send(self, exchange: HTTPExchange) -> None:
        """Send a request; the connection is its until the answer has ended."""
        self._exchange = exchange
        exchange.connection = self
        self._reader.expect(bodiless=exchange.bodiless)
        body = exchange.body
        if isinstance(body, bytes) and len(body) <= _SMALL_BYTES:
            exchange.connected()
            if self._exchange is exchange:
                self._writer.write(exchange.head + body)
                exchange.sent()
        else:
            if isinstance(body, bytes):
                body = BytesBody(body, exchange.connected, exchange.sent)
            self._send_slowly(exchange.head, body)

    def pause(self) -> None:
        """Read no more."""
        self.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        self.transport.resumeProducing()

    def leave(self, exchange: HTTPExchange) -> None:
        """
        Nobody wants the exchange any more: close at once.

        By RST where the answer has not begun, so that the upstream sees it
        before it has done the work.
        """
        if self._exchange is not exchange:
            return
        self._exchange = None
        if self._sending is not None:
            self._stop_sending()
            self.abort_now()
        elif exchange.status and not self._cut_short:
            self.close()
        else:
            self.abort_now()

    # --- inside -----------------------------------------------------------------------------

    def _send_slowly(self, head: bytes, body: IBodyProducer) -> None:
        """Write a request whose body stops while the transport is full."""
        self._sending = body
        self.transport.registerProducer(body, True)
        self.transport.write(head)
        body.startProducing(self.transport).addCallbacks(
            self._sent, self._not_sent, callbackArgs=(body,), errbackArgs=(body,)
        )

    def _sent(self, _: object, body: IBodyProducer) -> None:
        if self._sending is body:
            self._sending = None
            self.transport.unregisterProducer()

    def _not_sent(self, failure: Failure, body: IBodyProducer) -> None:
        """Who writes the body has failed."""
        exchange = self._exchange
        if self._sending is not body or exchange is None:
            return
        self._sending = self._exchange = None
        self._break()
        error = InternalError("the request's body could not be written")
        error.__cause__ = failure.value
        exchange.fail(error)

    def _stop_sending(self) -> None:
        body, self._sending = self._sending, None
        if body is not None:
            self.reusable = False
            self._cut_short = True
            self.transport.unregisterProducer()
            body.stopProducing()

    def _finish(self, exchange: HTTPExchange) -> None:
        """The answer is complete: give the connection back, then tell."""
        self._exchange = None
        if self._sending is not None:
            self._stop_sending()
        if self._cut_short:
            self.abort_now()
        else:
            if exchange.paused:
                self.transport.resumeProducing()
            if not self._reader.in_step:
                self.reusable = False
            if self._peer_timeout is not None and self._peer_timeout < self.idle_timeout:
                self.idle_timeout = self._peer_timeout
            self._owner.keep(self)
        exchange.end()

    def _hold(self, exchange: HTTPExchange) -> None:
        """Let the rest of a body wait in the upstream, if nobody has begun to take it."""
        if self._exchange is exchange and exchange.awaited:
            self.transport.pauseProducing()

    def _break(self) -> None:
        """The connection is out of step."""
        self._sending = None
        self._owner.withdraw(self)
        self.abort_now()

    def _cancel(self, _: Deferred[HTTPConnection]) -> None:
        self._ready = None
        self.abort_now()

"""One connection to an upstream, for one request after the other: over Twisted's own client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import (
    BODY,
    HEADER,
    STATUS,
    HTTP11ClientProtocol,
    Request,
    RequestNotSent,
    RequestTransmissionFailed,
    ResponseNeverReceived,
)
from twisted.web.iweb import IResponse
from zope.interface import implementer

from aiproxy.errors import AIProxyError, AnswerTooLarge, StreamCut, UpstreamFailed
from aiproxy.transport.pool import ConnectionKey, ConnectionOwner

__all__ = ["ReusedConnection", "StockConnection"]

# The largest block of headers that we take; real ones stay under 8 KiB.
_MAX_HEAD_BYTES = 64 * 1024


@implementer(IHandshakeListener)
class StockConnection(HTTP11ClientProtocol):
    """
    One connection to an upstream.

    On top of Twisted's: it says when TLS is agreed, bounds the head of an
    answer, knows whether the upstream has said anything, and is never kept
    when it is out of step.  Twisted sets TCP_NODELAY on it.

    :param secure: it has TLS.
    :ivar heard: a byte came since the last request began.
    :ivar reusable: it may be kept when its request is done.
    :ivar idle_timeout: seconds that it may be kept for.
    """

    def __init__(
        self, key: ConnectionKey, idle_timeout: float, owner: ConnectionOwner, *, secure: bool
    ) -> None:
        super().__init__(owner.keep)  # type: ignore[no-untyped-call]
        self.key = key
        self.idle_timeout = idle_timeout
        self.heard = False
        self.reusable = True
        self._owner = owner
        self._head_bytes = 0
        #: What has come in this turn and is still to be parsed, and whether anything has.
        self._received = b""
        self._due = False
        self._agreed = not secure
        self._end: Failure | None = None
        self._ready: Deferred[StockConnection] | None = None

    def when_ready(self) -> Deferred[StockConnection]:
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

        A body's ``stopProducing`` goes past TLS to the TCP transport beneath,
        so that one is asked as well.
        """
        transport: Any = self.transport
        beneath = getattr(transport, "transport", transport)
        return bool(transport.disconnecting or beneath.disconnecting)

    def close(self) -> None:
        """Close in order, but without waiting for TLS: a peer may never say goodbye."""
        self.transport.stopProducing()  # type: ignore[union-attr]

    def abort_now(self) -> None:
        """Close by RST, without waiting for anything."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def connectionMade(self) -> None:
        """TCP is there."""
        super().connectionMade()
        self._owner.opened(self)

    def handshakeCompleted(self) -> None:
        """TLS is agreed."""
        self._agreed = True
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.callback(self)

    def request(self, request: Request) -> Deferred[IResponse]:
        """Send one request; see Twisted's."""
        self.heard = False
        self._head_bytes = 0
        answered = super().request(request)
        if self._parser is not None:
            # The bound on the whole head comes first.
            self._parser.MAX_LENGTH = 2 * _MAX_HEAD_BYTES
        return answered

    def dataReceived(self, data: bytes) -> None:
        """Parse what the upstream sends, with all that comes of it in this turn."""
        self._received += data
        if not self._due:
            self._due = self._owner.stages.soon(self._parse)

    def _parse(self) -> None:
        """
        Parse what has come.

        What cannot be parsed ends the connection at once, and only then the
        request: Twisted's own way asks TLS for an orderly end, for which it
        may wait forever, and loses a request that is still being sent.
        """
        self._due = False
        data, self._received = self._received, b""
        if self._end is not None:
            return
        self.heard = True
        parser = self._parser
        if parser is None:
            # Nobody has asked.  It would be taken for the next request's answer.
            self._refuse(Failure(RequestNotSent()))
            return
        try:
            parser.dataReceived(data)
        except Exception as error:
            self._refuse(Failure(self._not_http(in_body=parser.state == BODY, cause=error)))
            return
        if self._parser is parser and parser.state in (STATUS, HEADER):
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                self._refuse(Failure(AnswerTooLarge(f"{self._host} sent headers without an end")))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        if self._due:
            self._parse()
        self._end = self._end or reason
        self._owner.forget(self)
        super().connectionLost(self._end)  # type: ignore[no-untyped-call]
        ready, self._ready = self._ready, None
        if ready is not None:
            ready.errback(self._end)

    def _cancel(self, _: Deferred[StockConnection]) -> None:
        self._ready = None
        self.abort_now()

    @property
    def _host(self) -> str:
        return self.key[0][1].decode("ascii")

    def _not_http(self, *, in_body: bool, cause: Exception) -> AIProxyError:
        error: AIProxyError
        if in_body:
            error = StreamCut(f"{self._host} sent a body that is not proper HTTP")
        else:
            error = UpstreamFailed(f"{self._host} did not answer in proper HTTP")
        error.__cause__ = cause
        return error

    def _refuse(self, why: Failure) -> None:
        self._end = why
        self._owner.withdraw(self)
        self.abort_now()

    def _finishResponse(self, rest: bytes) -> None:
        if rest:
            self.reusable = False
        super()._finishResponse(rest)

    def _giveUp(self, reason: Failure) -> None:
        # The answer is complete and the connection not to be kept.
        if self.state == "QUIESCENT":
            self.close()
        else:
            # The request is still on its way: nobody wants it any more.
            self.abort_now()
        self._disconnectParser(reason)  # type: ignore[no-untyped-call]


@frozen
class ReusedConnection:
    """
    A connection that has served before, for one more request.

    An upstream may have closed it while the request was on its way.  If it
    ends without a byte, the request goes out once more, on a fresh one.
    Twisted repeats only requests without a body; no upstream of ours is asked
    by anything but POST.

    :param connect: opens a fresh connection.
    """

    connection: StockConnection
    connect: Callable[[], Deferred[StockConnection]]

    def request(self, request: Request) -> Deferred[IResponse]:
        """Send one request, twice if need be."""

        def again(failure: Failure) -> Deferred[IResponse]:
            if self.connection.heard or not _was_closed(failure):
                return fail(failure)
            return self.connect().addCallback(lambda fresh: fresh.request(request))

        return self.connection.request(request).addErrback(again)


def _was_closed(failure: Failure) -> bool:
    """Tell the upstream's end of a connection from ours, and from a cancelled request's."""
    error = failure.value
    if isinstance(error, RequestTransmissionFailed | ResponseNeverReceived):
        return not any(reason.check(CancelledError) for reason in error.reasons)
    return isinstance(error, RequestNotSent)

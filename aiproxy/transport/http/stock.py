"""
Our HTTP server of Twisted's parts: bounded in bytes and in time.

What Twisted's channel answers by itself is HTML or nothing; here each refusal
is OpenAI's error envelope.  Request bodies stay in memory, within the bound.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any, cast

from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, parse_qs
from twisted.web.server import Request

from aiproxy.errors import (
    AIProxyError,
    InternalError,
    InvalidRequest,
    RequestHeadTooLarge,
    RequestTimedOut,
    RequestTooLarge,
)
from aiproxy.transport.deadline import Deadline
from aiproxy.transport.http.common import (
    BODY_BYTES_PER_SECOND,
    BODY_SECONDS,
    FLUSH_ROUNDS,
    HEAD_SECONDS,
    IDLE_SECONDS,
    LINGER_SECONDS,
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_LINE_BYTES,
    choose_request_id,
    is_proper_head,
    origin_form,
)
from aiproxy.transport.http.error_answers import write_refusal
from aiproxy.transport.http.site import GatewaySite
from aiproxy.wire.durations import write_size

__all__ = ["StockSite"]

_TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\r\n\0]*")

_log = Logger()


class StockRequest(Request):
    """A request whose body is kept in memory and has a bound."""

    def processingFailed(self, reason: Failure) -> Failure:
        """A bug of ours, or of an embedder's: the log has it, the client a word of it."""
        _log.failure("a request failed", reason)
        if not (self.finished or self._disconnected):
            channel = cast(StockChannel, self.channel)
            if self.startedWriting:
                channel.abort()
            else:
                channel.refuse(InternalError("an internal error; it is in the server's log"))
        return reason

    def gotLength(self, length: int | None) -> None:
        """The head is here."""
        self.content = BytesIO()
        if length is not None and length > self._limit:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Some bytes of the body came."""
        channel = cast(StockChannel, self.channel)
        if channel.refused:
            return
        body = cast(BytesIO, self.content)
        if body.tell() + len(data) > self._limit:
            self._refuse()
            return
        body.write(data)
        channel.body_grew(body.tell())

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The whole request is here; Twisted would look for a form in it."""
        cast(BytesIO, self.content).seek(0)
        self.method, self.uri, self.clientproto = command, origin_form(path), version
        self.path, _, query = self.uri.partition(b"?")
        self.args = parse_qs(query, True)
        self.process()

    def _handleStar(self) -> None:
        # Twisted would answer by itself, without our headers.
        self.postpath = [b"*"]
        self.render(cast(StockSite, self.site).resource)

    @property
    def _limit(self) -> int:
        return cast(StockChannel, self.channel).site.max_request_bytes

    def _refuse(self) -> None:
        self.content = BytesIO()
        error = RequestTooLarge(f"the request body is longer than {write_size(self._limit)}")
        cast(StockChannel, self.channel).refuse(error)


class StockChannel(HTTPChannel):
    """
    One client's connection.

    :ivar refused: a request was refused, or the time is over: nothing more is taken.
    """

    MAX_LENGTH = MAX_LINE_BYTES
    totalHeadersSize = 2 * MAX_HEAD_BYTES  # ours comes first
    maxHeaders = 2 * MAX_HEADERS
    site: StockSite

    def connectionMade(self) -> None:
        """A client is there."""
        self.refused = False
        self._busy = False
        self._begun = False
        self._flush_rounds = 0
        self._deadline = Deadline(self.site.reactor, self._expire)
        super().connectionMade()
        self.site.channels.add(self)
        self._deadline.set(IDLE_SECONDS)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The client is gone."""
        self._deadline.cancel()
        super().connectionLost(reason)
        self.site.forget(self)

    def close_when_idle(self) -> None:
        """Close now, or when the request that is running or arriving is done."""
        if not (self._busy or self._begun or self.refused):
            self.loseConnection()
        elif self.requests:
            # One whose head is still to come sees by the site that it is the last.
            self.persistent = 0
            request = self.requests[0]
            if not request.startedWriting:
                request.responseHeaders.setRawHeaders(b"connection", [b"close"])

    def abort(self) -> None:
        """Close at once."""
        self.transport.abortConnection()  # type: ignore[union-attr]

    def body_grew(self, length_bytes: int) -> None:
        """The body of the request is so long by now."""
        self._deadline.set_at(
            self._body_started + BODY_SECONDS + length_bytes / BODY_BYTES_PER_SECOND
        )

    def refuse(self, error: AIProxyError) -> None:
        """Answer with an error, take nothing more, close."""
        if self.refused:
            return
        self.refused = True
        chosen = choose_request_id(self._find_header(b"x-request-id"))
        if not self._busy:  # Else that request has a line of its own.
            address = getattr(self.getPeer(), "host", "local")
            self.site.refused(chosen.decode("ascii"), address, error)
        target = getattr(self, "_path", b"")
        told = self.site.describe(error, chosen, target, self._find_header(b"origin"))
        head, body = write_refusal(error, chosen, self.isSecure(), told)
        transport: Any = self.transport
        # What the client still sends is read, whatever has paused it.
        transport.unregisterProducer()
        self._networkProducer.resumeProducing()
        transport.write(head)
        if not self._asked_for_head():
            transport.write(body)
        self._deadline.set(LINGER_SECONDS)
        if self.isSecure():
            # Its end is TLS's own: below it, a FIN would overtake what TLS has yet to write.
            transport.loseConnection()
        else:
            transport.loseWriteConnection()

    # --- what Twisted calls -----------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Some bytes came."""
        if not self.refused:
            self._begin()
            super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """A line of the head came."""
        if self.refused:
            return
        self._begin()
        if self._receivedHeaderSize + len(line) > MAX_HEAD_BYTES:
            self._refuse_head()
        elif line[:1] in (b" ", b"\t"):
            # A header's continuation: others read something else in it (RFC 9112, 5.2).
            self._respondToBadRequestAndDisconnect()
        else:
            super().lineReceived(line)

    def rawDataReceived(self, data: bytes) -> None:
        """Some bytes of a body came, or of what follows."""
        if not self.refused:
            super().rawDataReceived(data)

    def headerReceived(self, line: bytes) -> bool:
        """A header came."""
        if self._receivedHeaderCount >= MAX_HEADERS:
            self._refuse_head()
            return False
        try:
            return bool(super().headerReceived(line))
        except ValueError:  # a length of thousands of digits
            self._respondToBadRequestAndDisconnect()
            return False

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line has no end."""
        self._refuse_head()

    def allHeadersReceived(self) -> None:
        """The head is here."""
        headers = self.requests[0].requestHeaders
        if not is_proper_head(self._command, self._path, self._version, headers):
            return self._respondToBadRequestAndDisconnect()
        self._body_started = self.site.reactor.seconds()
        self._deadline.set(BODY_SECONDS)
        super().allHeadersReceived()

    def allContentReceived(self) -> None:
        """The whole request is here."""
        if self.refused:
            return
        trailers = getattr(self._transferDecoder, "_trailerHeaders", ())
        if not all(map(_TRAILER.fullmatch, trailers)):
            # To who takes a bare LF for an end they hold the next request (RFC 9112, 2.2).
            self._respondToBadRequestAndDisconnect()
            return
        self._begun = False
        self._busy = True
        self._deadline.cancel()
        super().allContentReceived()

    def checkPersistence(self, request: Request, version: bytes) -> bool:
        """Whether another request may follow."""
        asked = b",".join(request.requestHeaders.getRawHeaders(b"connection", [])).lower()
        closes = b"close" in [token.strip() for token in asked.split(b",")]
        if closes or self.site.draining:
            request.responseHeaders.setRawHeaders(b"connection", [b"close"])
            return False
        return version == b"HTTP/1.1"

    def requestDone(self, request: Request) -> None:
        """An answer was written."""
        self._busy = False
        self._flush_rounds = 0
        self._deadline.set(IDLE_SECONDS)
        super().requestDone(request)

    def _send100Continue(self) -> None:
        if not self.refused:
            super()._send100Continue()

    def _respondToBadRequestAndDisconnect(self) -> None:
        self.refuse(InvalidRequest("the request is not proper HTTP", code="bad_request"))

    # --- inside -------------------------------------------------------------------

    def _begin(self) -> None:
        """A request begins with its first byte."""
        # What follows the last request is none.
        if self.persistent and not (self._begun or self._busy):
            self._begun = True
            self._deadline.set(HEAD_SECONDS)

    def _asked_for_head(self) -> bool:
        """Whether the request that is refused is for a head alone."""
        method = self.requests[0].method if self._busy else getattr(self, "_command", b"")
        return bool(method == b"HEAD")

    def _find_header(self, name: bytes) -> bytes | None:
        """Return a header of the request that is refused, as far as it has come."""
        return self.requests[0].getHeader(name) if self.requests else None

    def _refuse_head(self) -> None:
        self.refuse(RequestHeadTooLarge("the request line or the headers are too long"))

    def _expire(self) -> None:
        if self.refused:
            self.abort()
        elif self._begun:
            self.refuse(RequestTimedOut("the request did not arrive in time"))
        elif self._waitingForTransport and self._flush_rounds < FLUSH_ROUNDS:
            self._flush_rounds += 1
            self._deadline.set(IDLE_SECONDS)
        else:
            self.loseConnection()
            self.refused = True
            self._deadline.set(LINGER_SECONDS)


class StockSite(GatewaySite):
    """The factory of connections of Twisted's kind."""

    protocol = StockChannel  # type: ignore[assignment]
    requestFactory = StockRequest

"""
Reads requests out of a connection's bytes: llhttp, and what it leaves to its users.

Sans-IO: fed by any split of the bytes.  llhttp refuses by itself what RFC 9112
forbids and others read in different ways (bare LF, obs-fold, whitespace before
the colon, a length beside chunks, two lengths, chunk sizes that are none).
What it would let pass and a stricter parser would not is refused here.
"""

from __future__ import annotations

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from aiproxy.errors import AIProxyError, InvalidRequest, RequestHeadTooLarge, RequestTooLarge
from aiproxy.transport.http.common import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_LINE_BYTES,
    METHODS,
    origin_form,
)
from aiproxy.wire.durations import write_size

__all__ = ["ReceivedRequest", "RequestReader"]

#: Of a head, and of chunks, so much is looked at in one go: what follows the
#: request's end in the same piece is the next ones', and not read yet.
_SLICE_BYTES: Final = 4096
#: Between two signs of progress in a body (chunk extensions are none).
_MAX_SILENT_BYTES: Final = 16 * 1024
#: A body may come byte by byte, and each piece costs an object of some 50 bytes:
#: where they are shorter than this on average they are joined now and then.
_PIECE_BYTES: Final = 512
_JOINED_BYTES: Final = 64 * 1024


class ReceivedRequest:
    """
    One request, as it came.

    :ivar target: the request target, without the authority if it had one.
    :ivar headers: by name in lower case, the last value of each.
    :ivar repeated: those that were followed by another of their name.
    :ivar last: no other may follow it on its connection.
    """

    __slots__ = ("body", "headers", "last", "method", "repeated", "target", "version")

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.version = b""
        self.headers: dict[bytes, bytes] = {}
        self.repeated: tuple[tuple[bytes, bytes], ...] = ()
        self.body = b""
        self.last = False

    @property
    def pairs(self) -> list[tuple[bytes, bytes]]:
        """All headers; those of one name in the order in which they came."""
        return [*self.repeated, *self.headers.items()]


class RequestReader:
    """
    Turns bytes into requests.

    :param max_body_bytes: bound on a request's body.
    :ivar ready: complete requests, the oldest first.
    :ivar refusal: why nothing more can be read; it comes after those that are ready.
    :ivar current: the request that is arriving, as far as it is known.
    :ivar in_body: its head is complete.
    :ivar body_bytes: so much of its body has come.
    :ivar expects: its client waits for permission to send the body.
    """

    __slots__ = (
        "_body",
        "_framing",
        "_head_bytes",
        "_host",
        "_left",
        "_max_body_bytes",
        "_moved",
        "_parser",
        "_silent_bytes",
        "begun",
        "body_bytes",
        "current",
        "expects",
        "in_body",
        "ready",
        "refusal",
    )

    def __init__(self, max_body_bytes: int) -> None:
        self.ready: list[ReceivedRequest] = []
        self.refusal: AIProxyError | None = None
        self.begun = self.in_body = self.expects = self._moved = False
        self.current = ReceivedRequest()
        self._max_body_bytes = max_body_bytes
        self._parser = HttpRequestParser(self)
        self._silent_bytes = self._left = 0
        self._reset()

    def _reset(self) -> None:
        self._head_bytes = self._host = self.body_bytes = 0
        self._framing: bytes | None = None
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """
        Take bytes until a request is complete; return those that were not looked at.

        Nothing is taken after the last request, nor after a refusal.
        """
        if len(data) <= _SLICE_BYTES and not self.ready:
            self._feed(data)
            return b""
        offset = 0
        while offset < len(data) and not self.ready and self.refusal is None:
            # Within a body of known length nothing can follow the request.
            end = offset + max(_SLICE_BYTES, self._left)
            self._feed(data[offset:end])
            offset = end
        return data[offset:]

    def close(self) -> None:
        """No more bytes come: let go of the parser, which holds us as we hold it."""
        del self._parser

    def _feed(self, data: bytes) -> None:
        if self.refusal is not None or (self.ready and self.ready[-1].last):
            return
        self.begun = True
        self._moved = False
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except HttpParserError:  # or one of our own callbacks has refused
            if not (self.ready and self.ready[-1].last):
                self._refuse(_bad())
        if self._moved:
            self._silent_bytes = 0
        elif self.begun:
            self._silent_bytes += len(data)
            if self.in_body:
                if self._silent_bytes > _MAX_SILENT_BYTES:
                    self._refuse(_bad())
            elif self._silent_bytes > MAX_LINE_BYTES:
                self._refuse(_too_long())

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """
        Read a request that asks for another protocol as if it did not (RFC 9110, 7.8).

        llhttp ends it with its head, so its body is read by a parser that has
        not seen the wish.
        """
        asked = self.ready.pop()
        if asked.method == b"CONNECT":
            self._refuse(_bad())
            return
        lines = [b"%b %b %b" % (asked.method, asked.target, asked.version)]
        lines += [b"%b: %b" % pair for pair in asked.pairs if pair[0] != b"upgrade"]
        self._parser = HttpRequestParser(self)
        self._feed(b"\r\n".join(lines) + b"\r\n\r\n")
        if rest:
            self._feed(rest)

    def _refuse(self, error: AIProxyError) -> None:
        if self.refusal is None:
            self.refusal = error

    # --- what llhttp calls ------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request came."""
        if self.ready and self.ready[-1].last:
            raise _Refused
        self.begun = True
        self.in_body = False
        self._reset()

    def on_url(self, url: bytes) -> None:
        """A part of the target came."""
        self._moved = True
        self._head_bytes += len(url)
        self.current.target += url
        if self._head_bytes > MAX_LINE_BYTES:
            self._refuse(_too_long())
            raise _Refused

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came, or a trailer, which nobody needs."""
        self._moved = True
        size = len(name) + len(value)
        self._head_bytes += size + 4
        if self._head_bytes > MAX_HEAD_BYTES or size > MAX_LINE_BYTES:
            self._refuse(_bad() if self.in_body else _too_long())
            raise _Refused
        if self.in_body:
            return
        current = self.current
        headers = current.headers
        if len(headers) + len(current.repeated) >= MAX_HEADERS:
            self._refuse(_too_long())
            raise _Refused
        name = name.lower()
        if name == b"host":
            self._host += 1
        elif name == b"transfer-encoding":
            if self._framing is not None or value.strip().lower() != b"chunked":
                self._refuse(_bad())
                raise _Refused
            self._framing = value
        elif name == b"content-length":
            self._left = int(value)
        if name in headers:
            current.repeated += ((name, headers[name]),)
        headers[name] = value.strip(b" \t")

    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._moved = True
        self.in_body = True
        current, parser = self.current, self._parser
        version = parser.get_http_version()
        current.method = parser.get_method()
        current.last = not parser.should_keep_alive()
        if version == "1.1":
            current.version = b"HTTP/1.1"
            # RFC 9112, 3.2: exactly one.
            proper = self._host == 1
        else:
            current.version = b"HTTP/1.0"
            current.last = True
            proper = (
                version == "1.0"
                and self._host < 2
                and self._framing is None
                and current.method != b"OPTIONS"  # It may be RTSP's.
            )
        if not proper or (current.method not in METHODS and current.method != b"CONNECT"):
            self._refuse(_bad())
            raise _Refused
        if not current.target.startswith(b"/"):
            current.target = origin_form(current.target)
        if self._left > self._max_body_bytes:
            self._refuse_body()
        # A client of HTTP/1.0 would not know the answer (RFC 9110, 10.1.1).
        if (self._left or self._framing) and version == "1.1":
            self.expects = current.headers.get(b"expect", b"").lower() == b"100-continue"

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._moved = True

    def on_body(self, data: bytes) -> None:
        """Some bytes of the body came."""
        self._moved = True
        self.expects = False
        self.body_bytes += len(data)
        if self._left:
            self._left -= len(data)
        if self.body_bytes > self._max_body_bytes:
            self._refuse_body()
        body = self._body
        body.append(data)
        if len(body) * _PIECE_BYTES > self.body_bytes + _JOINED_BYTES:
            self._body = [b"".join(body)]

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._moved = True
        body = self._body
        self.current.body = body[0] if len(body) == 1 else b"".join(body)
        self.ready.append(self.current)
        # Now and not with the next byte: a refusal before it has nothing of this one.
        self.current = ReceivedRequest()
        self.begun = self.in_body = self.expects = False
        self._left = 0
        self._body = []

    def _refuse_body(self) -> None:
        self._body.clear()
        limit = write_size(self._max_body_bytes)
        self._refuse(RequestTooLarge(f"the request body is longer than {limit}"))
        raise _Refused


class _Refused(Exception):
    """Nothing more is read: the refusal stands."""


def _bad() -> AIProxyError:
    return InvalidRequest("the request is not proper HTTP", code="bad_request")


def _too_long() -> AIProxyError:
    return RequestHeadTooLarge("the request line or the headers are too long")

"""
Reads requests out of a connection's bytes: llhttp, and what it leaves to its users.

Sans-IO: fed by any split of the bytes.  llhttp refuses by itself what RFC 9112
forbids and others read in different ways (bare LF, obs-fold, whitespace before
the colon, a length beside chunks, two lengths, chunk sizes that are none).
What it would let pass and a stricter parser would not is refused here.  For that
a request's first line is needed as it came, and llhttp does not tell where one
began: so no piece that it is given goes on after a request's end.
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
    is_proper_host,
    is_proper_target,
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
#: Headers of which a second one could be read in two ways.
_SINGLE: Final = frozenset((b"host", b"transfer-encoding", b"content-length"))


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
        "_head_bytes",
        "_left",
        "_line",
        "_max_body_bytes",
        "_moved",
        "_pairs",
        "_parser",
        "_silent_bytes",
        "_tail",
        "_target",
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
        self.body_bytes = 0
        self._max_body_bytes = max_body_bytes
        self._parser = HttpRequestParser(self)
        #: Of the head, in pieces before the last one.
        self._head_bytes = 0
        self._silent_bytes = self._left = 0
        self._target = b""
        #: The head as it came, to the end of the request line at least.
        self._line = b""
        #: The last bytes of the piece before, which may begin an empty line.
        self._tail = b""
        #: Headers, or trailers, as they came.
        self._pairs: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []

    def feed(self, data: bytes) -> bytes:
        """
        Take bytes until a request is complete; return those that were not looked at.

        Nothing is taken after a refusal.  After the last request nothing is to be fed.
        """
        offset = 0
        while offset < len(data) and not self.ready and self.refusal is None:
            if self._left and self.in_body:
                end = offset + self._left
            else:  # A head ends with an empty line, and so do chunks.
                piece = self._tail + data[offset : offset + _SLICE_BYTES]
                place = piece.find(b"\r\n\r\n")
                size = len(piece) if place < 0 else place + 4
                end = offset + size - len(self._tail)
                self._tail = piece[:size][-3:]
            self._feed(data[offset:end])
            offset = end
        rest = data[offset:]
        # Some clients end a body with an empty line more (RFC 9112, 2.2): nothing begins with it.
        return b"" if rest == b"\r\n" else rest

    def close(self) -> None:
        """No more bytes come: let go of the parser, which holds us as we hold it."""
        del self._parser

    def _feed(self, data: bytes) -> None:
        self.begun = True
        self._moved = False
        if not (self.in_body or self._pairs):
            self._line = self._line + data if self._line else data
        known = len(self._pairs)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._go_on_without_upgrade()
        except HttpParserError:  # or one of our own callbacks has refused
            self._refuse(_bad())
        if not self.begun:
            return  # It was complete.
        if self._moved or (len(self._pairs) > known and not self.in_body):
            self._silent_bytes = 0
        else:
            self._silent_bytes += len(data)
        if self.in_body:
            if self._silent_bytes > _MAX_SILENT_BYTES:
                self._refuse(_bad())
            return
        self._head_bytes += len(data)
        if self._silent_bytes > MAX_LINE_BYTES or self._is_head_long():
            self._refuse(_too_long())

    def _is_head_long(self) -> bool:
        """Whether what is known of the head is beyond its bounds; its last piece counts not yet."""
        if self._head_bytes <= MAX_LINE_BYTES - _SLICE_BYTES:
            return False
        sizes = [len(name) + len(value) for name, value in self._pairs]
        line = max(len(self._target), *sizes, 0)
        return (
            line > MAX_LINE_BYTES
            or len(self._target) + sum(sizes) + 4 * len(sizes) > MAX_HEAD_BYTES
        )

    def _go_on_without_upgrade(self) -> None:
        """
        Read a request that asks for another protocol as if it did not (RFC 9110, 7.8).

        llhttp ends it with its head, so its body is read by a parser that has
        not seen the wish.
        """
        asked = self.ready.pop()
        lines = [b"%b %b %b" % (asked.method, asked.target, asked.version)]
        lines += [b"%b: %b" % pair for pair in asked.pairs if pair[0] != b"upgrade"]
        self._parser = HttpRequestParser(self)
        self._feed(b"\r\n".join(lines) + b"\r\n\r\n")

    def _refuse(self, error: AIProxyError) -> None:
        if self.refusal is None:
            self.refusal = error
            if not self.in_body:
                # Who is told of it wants to know whose it is.
                self.current.headers = self.current.headers or dict(_tidy(self._pairs))

    # --- what llhttp calls ------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request came."""
        self.begun = True
        self.body_bytes = self._head_bytes = self._silent_bytes = 0

    def on_url(self, url: bytes) -> None:
        """A part of the target came."""
        self._moved = True
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came, or a trailer, which nobody needs."""
        pairs = self._pairs
        pairs.append((name, value))
        if len(pairs) > MAX_HEADERS:
            self._refuse(_bad() if self.in_body else _too_long())
            raise _Refused

    def on_headers_complete(self) -> None:
        """The head is complete."""
        current, parser = self.current, self._parser
        headers = self._take_headers()
        target = current.target = self._target
        self._target = b""
        self._moved = self.in_body = True
        current.method = parser.get_method()
        current.last = not parser.should_keep_alive()
        current.version = self._take_version()
        framing, host = headers.get(b"transfer-encoding"), headers.get(b"host")
        if current.version == b"HTTP/1.1":
            proper = host is not None  # RFC 9112, 3.2
        else:
            current.last = True
            proper = current.version == b"HTTP/1.0" and framing is None
        if (
            not proper
            or (host and not is_proper_host(host))
            or (framing is not None and framing.lower() != b"chunked")
            or b"#" in target
            or (target[:1] != b"/" and not is_proper_target(target))
            or current.method not in METHODS
            or (current.repeated and any(name in _SINGLE for name, _ in current.repeated))
        ):
            self._refuse(_bad())
            raise _Refused
        if target[:1] != b"/":
            current.target = origin_form(target)
        length = headers.get(b"content-length")
        if length is not None:
            self._left = int(length)
            if self._left > self._max_body_bytes:
                self._refuse_body()
        # A client of HTTP/1.0 would not know the answer (RFC 9110, 10.1.1).
        if b"expect" in headers and (self._left or framing) and current.version == b"HTTP/1.1":
            self.expects = headers[b"expect"].lower() == b"100-continue"

    def _take_version(self) -> bytes:
        """
        Return the version in the request line; nothing if that is not as RFC 9112 (3) has it.

        llhttp reads over more blanks, over a CR or LF before it that is no empty line,
        and takes RTSP/1.0 for HTTP/1.0.
        """
        line, self._line = self._line, b""
        while line[:2] == b"\r\n":
            line = line[2:]
        start = b"%b %b " % (self.current.method, self.current.target)
        if line.startswith(start + b"HTTP/1.1\r\n"):
            return b"HTTP/1.1"
        return b"HTTP/1.0" if line.startswith(start + b"HTTP/1.0\r\n") else b""

    def _take_headers(self) -> dict[bytes, bytes]:
        """Put the headers that came where they belong."""
        current, pairs = self.current, self._pairs
        if self._head_bytes and self._is_head_long():
            self._refuse(_too_long())
            raise _Refused
        self._pairs = []
        tidy = _tidy(pairs)
        headers = dict(tidy)
        if len(headers) != len(tidy):
            names = [name for name, _ in tidy]
            current.repeated = tuple(
                pair for place, pair in enumerate(tidy) if pair[0] in names[place + 1 :]
            )
        current.headers = headers
        return headers

    def on_chunk_header(self) -> None:
        """A chunk begins."""
        self._moved = True

    def on_body(self, data: bytes) -> None:
        """Some bytes of the body came."""
        body, size = self._body, len(data)
        body.append(data)
        self.body_bytes += size
        if size == self._left:
            self._left = 0
            return  # It was the last of it, if not the first too.
        self._moved = True
        self.expects = False
        if self._left:
            self._left -= size
        if self.body_bytes > self._max_body_bytes:
            self._refuse_body()
        if len(body) * _PIECE_BYTES > self.body_bytes + _JOINED_BYTES:
            self._body = [b"".join(body)]

    def on_message_complete(self) -> None:
        """The request is complete."""
        body = self._body
        if body:
            self.current.body = body[0] if len(body) == 1 else b"".join(body)
            self._body = []
        self.ready.append(self.current)
        # Now and not with the next byte: a refusal before it has nothing of this one.
        self.current = ReceivedRequest()
        self.begun = self.in_body = self.expects = False
        self._left = 0
        if self._pairs:  # Trailers.
            self._pairs = []

    def _refuse_body(self) -> None:
        self._body.clear()
        limit = write_size(self._max_body_bytes)
        self._refuse(RequestTooLarge(f"the request body is longer than {limit}"))
        raise _Refused


class _Refused(Exception):
    """Nothing more is read: the refusal stands."""


def _tidy(pairs: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return headers with their names in lower case, and their values without blanks around."""
    return [(name.lower(), value.strip(b" \t")) for name, value in pairs]


def _bad() -> AIProxyError:
    return InvalidRequest("the request is not proper HTTP", code="bad_request")


def _too_long() -> AIProxyError:
    return RequestHeadTooLarge("the request line or the headers are too long")

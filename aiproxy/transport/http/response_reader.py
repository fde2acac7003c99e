"""
Reads answers out of a connection's bytes: llhttp, and what it leaves to its users.

Sans-IO: fed by any split of the bytes.  llhttp refuses by itself what RFC 9112
forbids and others read in different ways (bare LF, obs-fold, whitespace before
the colon, a length beside chunks, two lengths, chunk sizes that are none).
What it would let pass and a stricter parser would not is refused here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from httptools import HttpParserError, HttpResponseParser

from aiproxy.errors import AIProxyError, AnswerTooLarge, StreamCut, UpstreamFailed

__all__ = ["ResponseReader"]

#: The largest head that we take, with the preliminary answers before it; real
#: ones stay under 8 KiB.
_MAX_HEAD_BYTES: Final = 64 * 1024
_MAX_HEADERS: Final = 200
_MAX_INTERIM: Final = 20
#: Between two pieces of a body: chunk extensions and trailers bring none.
_MAX_SILENT_BYTES: Final = 16 * 1024
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_WITHOUT_BODY: Final = frozenset({204, 304})


class ResponseReader:
    """
    Turns bytes into answers, one for each :meth:`expect`.

    :param host: what an error calls the upstream.
    :ivar heard: a byte of the answer came.
    :ivar status: the status code; 0 while the head is not complete.
    :ivar version: the HTTP version, as ``"1.1"``.
    :ivar reason: the reason phrase.
    :ivar fields: the headers as they came, names in lower case.
    :ivar encodings: of the body, as they came; mostly there are none.
    :ivar pieces: what came of the body; who feeds takes it away.
    :ivar until_close: the body has no length: the connection's end is its end.
    :ivar ended: the answer is complete.
    :ivar in_step: another answer can follow on this connection.
    """

    __slots__ = (
        "_bodiless",
        "_head_bytes",
        "_host",
        "_interim",
        "_parser",
        "_silent_bytes",
        "encodings",
        "ended",
        "fields",
        "heard",
        "in_step",
        "on_body",
        "pieces",
        "reason",
        "status",
        "until_close",
        "version",
    )

    def __init__(self, host: str) -> None:
        self.pieces: list[bytes] = []
        # No call of Python's for each piece.
        self.on_body = self.pieces.append
        self.in_step = True
        self._host = host
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self.expect(bodiless=False)

    def expect(self, *, bodiless: bool) -> None:
        """
        Begin the next answer.

        :param bodiless: its head is all of it, as after HEAD.
        """
        self.heard = False
        self.status = 0
        self.version = ""
        self.reason = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.encodings: Sequence[bytes] = ()
        self.until_close = False
        self.ended = False
        self._bodiless = bodiless
        self._head_bytes = 0
        self._silent_bytes = 0
        self._interim = 0

    def feed(self, data: bytes) -> None:
        """
        Take some bytes.  Those after an answer's end put the connection out of step.

        :raises UpstreamFailed: this is not HTTP, or not read alike by everybody.
        :raises AnswerTooLarge: the head is beyond its bounds.
        :raises StreamCut: the body is not proper HTTP; :attr:`pieces` holds what was.
        """
        if not self.heard:
            if not data:
                return
            # llhttp also reads RTSP and ICE, and passes over empty lines.
            if data[:1] != b"H":
                raise self._not_http()
            self.heard = True
        parser = self._parser
        if parser is None:
            raise self._not_http()
        try:
            parser.feed_data(data)
        except HttpParserError as error:
            self._stumble(error)
        if self.ended:
            return
        if self.status == 0:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD_BYTES:
                raise self._endless()
        elif self.pieces:
            self._silent_bytes = 0
        else:
            self._silent_bytes += len(data)
            if self._silent_bytes > _MAX_SILENT_BYTES:
                raise self._not_http()

    def close(self) -> None:
        """Let go of the parser, which holds us as we hold it."""
        self._parser = None

    # --- from llhttp ------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins, or what comes after one."""
        if self.ended:
            raise HttpParserError("more than one answer")

    def on_status(self, reason: bytes) -> None:
        """Some of the reason phrase came."""
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is complete, or a trailer, which nobody asked for."""
        if self.status == 0:
            name = name.lower()
            if name == b"transfer-encoding" and b"\t" in value:
                # Before a tab llhttp does not know "chunked", and reads chunks as they are.
                raise self._not_http()
            self.fields.append((name, value.rstrip()))
            if len(self.fields) > _MAX_HEADERS:
                raise self._endless()

    def on_headers_complete(self) -> None:
        """The head is complete: decide where the answer ends, or refuse it."""
        parser = self._parser
        assert parser is not None
        # RFC 9112, 6: what says where the body ends.
        framing, fields = [], self.fields
        for field in fields:
            if field[0] in _FRAMING:
                framing.append(field)
            elif field[0] == b"content-encoding":
                self.encodings = (*self.encodings, field[1])
        version = parser.get_http_version()
        status = parser.get_status_code()
        if status < 200:
            # RFC 9110, 15.2: no body; 101 would be another protocol.
            if framing or status < 100 or status == 101 or version != "1.1":
                raise self._not_http()
            return
        chunked = False
        if framing:
            [(name, value), *more] = framing
            chunked = name == b"transfer-encoding"
            if more or (chunked and (value.lower() != b"chunked" or version != "1.1")):
                raise self._not_http()
        if version != "1.1":
            # After a preliminary answer there can be no HTTP/1.0 (RFC 9110, 15.2).
            if version != "1.0" or self._interim:
                raise self._not_http()
            # With both wishes llhttp keeps the connection; "close" counts (RFC 9112, 9.3).
            if any(name == b"connection" and b"close" in value.lower() for name, value in fields):
                self.in_step = False
        self.status = status
        self.version = version
        if self._bodiless:
            # llhttp cannot be told: it ends here.
            self.ended = True
            self.in_step = False
            raise HttpParserError("no body follows")
        if status in _WITHOUT_BODY:
            # A body that came all the same would be taken for the next answer.
            if framing and (status == 204 or chunked) and framing[0][1] != b"0":
                self.in_step = False
        elif not framing:
            self.until_close = True

    def on_message_complete(self) -> None:
        """An answer is complete, perhaps a preliminary one."""
        if self.status:
            self.ended = True
            if self._parser is None or not self._parser.should_keep_alive():
                self.in_step = False
            return
        self._interim += 1
        if self._interim > _MAX_INTERIM:
            raise self._endless()
        self.fields.clear()
        self.encodings = ()
        self.reason = b""

    # --- refusals -----------------------------------------------------------------

    def _stumble(self, error: HttpParserError) -> None:
        if self.ended:
            self.in_step = False
            return
        # What a callback raised stands in the context of llhttp's own.
        cause = error.__context__
        if isinstance(cause, AIProxyError):
            raise cause from None
        raise self._not_http() from error

    def _not_http(self) -> AIProxyError:
        if self.status:
            return StreamCut(f"{self._host} sent a body that is not proper HTTP")
        return UpstreamFailed(f"{self._host} did not answer in proper HTTP")

    def _endless(self) -> AIProxyError:
        return AnswerTooLarge(f"{self._host} sent headers without an end")

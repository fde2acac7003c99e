"""One request of a client, and the writing of its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from attrs import field, frozen
from twisted.internet.interfaces import IConsumer

from aiproxy.errors import AIProxyError, MethodNotAllowed, UnsupportedEncoding
from aiproxy.policy.access import Principal
from aiproxy.transport.http.common import choose_request_id
from aiproxy.transport.http.error_answers import COMMON_HEADERS, TLS_HEADERS
from aiproxy.transport.http.fields import NO_CODING
from aiproxy.transport.http.request import LlhttpRequest, phrase_of, write_lines
from aiproxy.web.cors import answer_headers, preflight_headers
from aiproxy.web.edge import Edge
from aiproxy.web.envelopes import Envelope, openai_envelope
from aiproxy.wire.json import dumps

__all__ = ["ClientRequest", "encode_headers"]


@frozen
class _HeaderBlock:
    """
    Headers that many answers have.

    :param headers: as Twisted's requests take them.
    :ivar lines: as ours does.
    """

    headers: Mapping[bytes, bytes]
    lines: bytes = field(init=False)

    @lines.default
    def _write(self) -> bytes:
        return write_lines(self.headers)


_NO_HEADERS: Final[Mapping[bytes, bytes]] = MappingProxyType({})
#: A stream may not be held back by who stands between us and the client.
_UNBUFFERED: Final = {b"cache-control": b"no-cache", b"x-accel-buffering": b"no"}
#: Without TLS, and with it.
_PLAIN: Final = tuple(map(_HeaderBlock, (COMMON_HEADERS, TLS_HEADERS)))
_STREAMED: Final = tuple(_HeaderBlock({**block.headers, **_UNBUFFERED}) for block in _PLAIN)


def encode_headers(headers: Mapping[str, str]) -> dict[bytes, bytes]:
    """Return headers as they are written; what is not of Latin-1 becomes question marks."""
    return {
        name.encode("latin-1", "replace"): value.encode("latin-1", "replace")
        for name, value in headers.items()
    }


class ClientRequest:
    """
    A request, Twisted's or our own, with what our routes need and no more.

    :param raw: it.
    :param edge: what holds for every request.
    :param found: the variable parts of the path, decoded.
    :param envelope: writes an error as the client knows it.
    :param route: the path as it is declared.
    :param cross_origin: pages of allowed origins may read the answer.
    :ivar id: the caller's ``x-request-id`` if it is fit, else one of ours.
    :ivar find_header: returns the value of the header with a name in lower case,
        the last where there are several.
    :ivar called: it has become a call, which is accounted for by itself.
    :ivar gone: the client is gone, or was given up.
    :ivar principal: who asks, where the route has a guard.
    """

    __slots__ = (
        "_address",
        "_edge",
        "called",
        "cross_origin",
        "envelope",
        "find_header",
        "found",
        "gone",
        "id",
        "principal",
        "raw",
        "route",
        "status",
    )

    def __init__(
        self,
        raw: Any,
        edge: Edge,
        found: Mapping[str, str] = MappingProxyType({}),
        envelope: Envelope = openai_envelope,
        route: str | None = None,
        cross_origin: bool = True,
    ) -> None:
        self.raw: Any = raw
        self.cross_origin = cross_origin
        self._edge = edge
        self._address: str | None = None
        self.found = found
        self.envelope = envelope
        self.route = route
        self.principal: Principal | None = None
        self.called = False
        self.gone = False
        self.status: int | None = None
        self.find_header: Callable[[bytes], bytes | None]
        if isinstance(raw, LlhttpRequest):
            raw.gone = self.leave
            self.find_header = raw.headers.get
        else:
            self.raw.notifyFinish().addErrback(self.leave)
            self.find_header = raw.getHeader
        self.id = choose_request_id(self.find_header(b"x-request-id")).decode("ascii")

    def leave(self, _: object = None) -> None:
        """The client is gone."""
        self.gone = True

    @property
    def started(self) -> bool:
        """The status and the headers are out."""
        return bool(self.raw.startedWriting)

    @property
    def path(self) -> str:
        """The path as it came, for a log line."""
        return str(self.raw.path.decode("latin-1"))

    @property
    def address(self) -> str:
        """Who has sent it; ``local`` without a network."""
        if self._address is None:
            self._address = self._edge.find_address(self.raw)
        return self._address

    def header(self, name: str) -> str | None:
        """Return a header's value, the last where there are several; its name is in lower case."""
        value = self.find_header(name.encode())
        return None if value is None else str(value.decode("utf-8", "surrogateescape"))

    def read_body(self) -> bytes:
        """
        Return the whole body.

        :raises UnsupportedEncoding: it is encoded.
        """
        raw = self.raw
        if self.find_header(b"content-encoding") is not None:
            _check_encoding(raw.requestHeaders.getRawHeaders(b"content-encoding"))
        body: bytes = raw.body if isinstance(raw, LlhttpRequest) else raw.content.read()
        return body

    def write_json(self, document: object, *, status: int = 200) -> None:
        """Answer with a document."""
        self.write_body(dumps(document), "application/json", status=status)

    def write_body(
        self,
        body: bytes,
        content_type: str,
        *,
        status: int = 200,
        headers: Mapping[bytes, bytes] = _NO_HEADERS,
    ) -> None:
        """
        Answer with a whole body.

        :param headers: as they are written, names in lower case.
        """
        self._write_head(status, _PLAIN, content_type, headers, len(body))
        self.raw.write(body)

    def start_stream(self, headers: Mapping[bytes, bytes], content_type: str) -> IConsumer:
        """
        Begin a stream; return whom to write it to.

        :param headers: as in :meth:`write_body`.
        """
        self._write_head(200, _STREAMED, content_type, headers)
        consumer: IConsumer = self.raw
        return consumer

    def write_error(self, error: AIProxyError) -> None:
        """Answer with an error, in the client's own envelope."""
        headers = dict(getattr(error, "rate_limits", {}))
        if error.status == 401:
            headers["www-authenticate"] = 'Bearer realm="aiproxy"'
        if error.retry_after is not None:
            # A whole number by RFC 9110, 10.2.3: a second too late is never too early.
            headers["retry-after"] = str(int(-(-error.retry_after // 1)))
        elif error.status == 429:
            headers["retry-after"] = "1"
        if error.exhausted:
            headers["x-should-retry"] = "false"
        if isinstance(error, MethodNotAllowed):
            headers["allow"] = ", ".join(error.allowed)
        elif isinstance(error, UnsupportedEncoding):
            headers["accept-encoding"] = "identity"
        body = self.envelope(error)
        encoded = encode_headers(headers)
        self.write_body(body, "application/json", status=error.status, headers=encoded)

    def write_preflight(self, methods: Sequence[str]) -> bool:
        """
        Answer a browser that asks whether it may send a page's request.

        :param methods: those that the path takes.
        :return: whether it was one, of an origin that may.
        """
        raw = self.raw
        origins = self._edge.origins if self.cross_origin else ()
        if not (origins and raw.getHeader(b"access-control-request-method")):
            return False
        asked = raw.getHeader(b"access-control-request-headers")
        head = preflight_headers(origins, raw.getHeader(b"origin"), methods, asked)
        if head is not None:
            head[b"x-request-id"] = self.id.encode("ascii")
            self._begin(204, _PLAIN, head)
        return head is not None

    def finish(self) -> None:
        """The answer is written."""
        if not self.gone and not self.raw.finished:
            self.raw.finish()

    def abort(self) -> None:
        """Close the client's connection at once."""
        if not self.gone:
            self.gone = True
            self.raw.channel.transport.abortConnection()

    def _write_head(
        self,
        status: int,
        blocks: Sequence[_HeaderBlock],
        content_type: str,
        headers: Mapping[bytes, bytes],
        length: int | None = None,
    ) -> None:
        head = {
            b"x-request-id": self.id.encode("ascii"),
            b"content-type": content_type.encode("ascii"),
        }
        if length is not None:
            head[b"content-length"] = b"%d" % length
        if self.envelope is not openai_envelope:
            # By this name Anthropic's clients know it.
            head[b"request-id"] = head[b"x-request-id"]
        head.update(headers)
        if self.cross_origin and (origins := self._edge.origins):
            head.update(answer_headers(origins, self.raw.getHeader(b"origin"), head))
        self._begin(status, blocks, head)

    def _begin(self, status: int, blocks: Sequence[_HeaderBlock], head: dict[bytes, bytes]) -> None:
        raw = self.raw
        self.status = status
        if isinstance(raw, LlhttpRequest):
            raw.begin(status, head, blocks[raw.secure].lines)
            return
        block = blocks[raw.isSecure()]
        raw.setResponseCode(status, phrase_of(status))
        for name, value in (*block.headers.items(), *head.items()):
            raw.setHeader(name, value)


def _check_encoding(told: Sequence[bytes]) -> None:
    """
    Check the encodings of a body.

    :raises UnsupportedEncoding: it has one.
    """
    named = b", ".join(told)
    if {encoding.strip().lower() for encoding in named.split(b",")} - NO_CODING:
        shown = named[:100].decode("latin-1")
        raise UnsupportedEncoding(
            f"a request body with the content encoding {shown!r} is not read:"
            " send it as it is, without one"
        )

"""One request of a client, and the writing of its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, TypeAlias

from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IRequest

from aiproxy.errors import AIProxyError, MethodNotAllowed
from aiproxy.policy.access import Principal
from aiproxy.transport.http.common import COMMON_HEADERS, choose_request_id
from aiproxy.wire.json import dumps

__all__ = ["ClientRequest", "Envelope", "write_envelope"]

#: Writes an error's body.
Envelope: TypeAlias = Callable[[AIProxyError], bytes]


def write_envelope(error: AIProxyError) -> bytes:
    """Write an error in OpenAI's envelope."""
    return dumps(error.envelope())


class ClientRequest:
    """
    Twisted's request, with what our routes need and no more.

    :param raw: Twisted's.
    :param found: the variable parts of the path, decoded.
    :param envelope: writes an error as the client knows it.
    :ivar id: the caller's ``x-request-id`` if it is fit, else one of ours.
    :ivar gone: the client is gone, or was given up.
    :ivar principal: who asks, where the route has a guard.
    """

    principal: Principal

    def __init__(
        self,
        raw: IRequest,
        found: Mapping[str, str] = MappingProxyType({}),
        envelope: Envelope = write_envelope,
    ) -> None:
        self.raw: Any = raw
        self.found = found
        self.envelope = envelope
        self.id = choose_request_id(self.raw.getHeader(b"x-request-id")).decode()
        self.gone = False
        self.status: int | None = None

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
        """Who is at the other end of the connection; ``local`` without a network."""
        return str(getattr(self.raw.getClientAddress(), "host", "local"))

    def header(self, name: str) -> str | None:
        """Return a header's value, the last where there are several."""
        value = self.raw.getHeader(name.encode())
        return None if value is None else str(value.decode("utf-8", "surrogateescape"))

    def read_body(self) -> bytes:
        """Return the whole body."""
        return bytes(self.raw.content.read())

    def write_json(
        self, document: object, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with a document."""
        self.write_body(dumps(document), "application/json", status=status, headers=headers)

    def write_body(
        self,
        body: bytes,
        content_type: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer with a whole body."""
        self._write_head(status, content_type, headers)
        self.raw.setHeader(b"content-length", b"%d" % len(body))
        self.raw.write(body)

    def start_stream(self, headers: Mapping[str, str], content_type: str) -> IConsumer:
        """Begin a stream; return whom to write it to."""
        self._write_head(200, content_type, headers)
        self.raw.setHeader(b"cache-control", b"no-cache")
        self.raw.setHeader(b"x-accel-buffering", b"no")
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
        body = self.envelope(error)
        self.write_body(body, "application/json", status=error.status, headers=headers)

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
        self, status: int, content_type: str, headers: Mapping[str, str] | None
    ) -> None:
        raw = self.raw
        self.status = status
        raw.setResponseCode(status, _phrase(status))
        for name, value in COMMON_HEADERS.items():
            raw.setHeader(name, value)
        raw.setHeader(b"x-request-id", self.id.encode())
        raw.setHeader(b"content-type", content_type.encode())
        for text, told in (headers or {}).items():
            raw.setHeader(text.encode("latin-1", "replace"), told.encode("latin-1", "replace"))


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Upstream Status"

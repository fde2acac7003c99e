"""What both HTTP servers of ours have in common: bounds in bytes and time, and refusals."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import TypeAlias

from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers

from aiproxy.errors import AIProxyError
from aiproxy.wire.json import dumps

__all__ = [
    "COMMON_HEADERS",
    "METHODS",
    "TLS_HEADERS",
    "Describe",
    "choose_request_id",
    "describe_error",
    "is_proper_head",
    "is_proper_host",
    "origin_form",
    "write_refusal",
]

#: How long a client may take: for the next request on its connection, for a
#: request's head, and for its body: a start, and a rate that it must keep.
IDLE_SECONDS = 75.0
HEAD_SECONDS = 30.0
BODY_SECONDS = 30.0
BODY_BYTES_PER_SECOND = 4096
#: After a refusal: what the client still sends is read, or the reset of its
#: connection would take our answer with it.
LINGER_SECONDS = 5.0
#: A client that takes long to read the last answer is not idle, up to this.
FLUSH_ROUNDS = 8

#: Bounds on a request's head.
MAX_HEAD_BYTES = 64 * 1024
MAX_LINE_BYTES = 32 * 1024
MAX_HEADERS = 200

#: Any other is refused; llhttp also knows RTSP's, which RTSP/1.0 could bring in.
METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE"))

#: Headers of each answer, the errors of the HTTP layer included: those that OWASP's
#: REST Security Cheat Sheet has for an API, and no word to others of where one was.
COMMON_HEADERS: Mapping[bytes, bytes] = MappingProxyType(
    {
        b"server": b"aiproxy",
        b"cache-control": b"no-store",
        b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
        b"referrer-policy": b"no-referrer",
        b"x-content-type-options": b"nosniff",
        b"x-frame-options": b"DENY",
    }
)
#: And within TLS: for a year no browser comes without it (RFC 6797, 7.2: never outside).
TLS_HEADERS: Mapping[bytes, bytes] = MappingProxyType(
    {**COMMON_HEADERS, b"strict-transport-security": b"max-age=31536000"}
)

_ids = random.Random(int.from_bytes(os.urandom(32)))
_HOST = re.compile(rb"(?:\[[0-9A-Za-z.:~_-]+\]|[\w.~%!$&'()*+,;=-]*)(?::[0-9]*)?")
_PATH = re.compile(rb"\*|/[!\"$-~]*")
_URI = re.compile(rb"[A-Za-z]+://([^/?:][^/?]*)[!\"$-~]*")
_REQUEST_ID = re.compile(rb"[\w.-]{1,128}")


def choose_request_id(told: bytes | None) -> bytes:
    """Return the caller's ``x-request-id`` if it is fit, else one of ours."""
    if told is not None and _REQUEST_ID.fullmatch(told):
        return told
    # Unique, but no secret: a system call would cost more than all the rest.
    return b"%032x" % _ids.getrandbits(128)


def is_proper_host(value: bytes) -> bool:
    """Whether a ``Host`` has the form of one, or none (RFC 9112, 3.2; RFC 3986, 3.2.2)."""
    return _HOST.fullmatch(value) is not None


def is_proper_target(value: bytes) -> bool:
    """
    Whether a target is a path, ``*``, or an absolute URI, of a host and nobody's name.

    RFC 9112 (3.2) knows no fragment in it; that of ``CONNECT`` is not for us.
    """
    if uri := _URI.fullmatch(value):
        return is_proper_host(uri[1])
    return _PATH.fullmatch(value) is not None


def is_proper_head(method: bytes, target: bytes, version: bytes, headers: Headers) -> bool:
    """
    Whether a head that a parser has let pass has but one meaning.

    RFC 9112 demands one ``Host`` of HTTP/1.1 (3.2), and knows no transfer coding in
    HTTP/1.0 (6.1); no coding but ``chunked`` is one of ours.
    """
    hosts = headers.getRawHeaders(b"host", [])
    codings = [value.lower() for value in headers.getRawHeaders(b"transfer-encoding", [])]
    if method not in METHODS or not is_proper_target(target):
        return False
    if not all(is_proper_host(host) for host in hosts):
        return False
    if version == b"HTTP/1.1":
        return len(hosts) == 1 and codings in ([], [b"chunked"])
    return version == b"HTTP/1.0" and len(hosts) < 2 and not codings


def origin_form(target: bytes) -> bytes:
    """
    Return the origin form of an absolute target (RFC 9112, 3.2.2: servers must take both).

    What has another form stays as it is: no route is there.

    :param target: a proper one.
    """
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        return target
    authority, slash, path = rest.partition(b"/")
    authority, mark, query = authority.partition(b"?")
    if mark:
        return b"/?" + query + slash + path
    return slash + path or b"/"


#: What an answer says of an error, by the request's target and ``Origin``: headers, and the body.
Describe: TypeAlias = Callable[
    [AIProxyError, bytes, bytes | None], tuple[Mapping[bytes, bytes], bytes]
]


def describe_error(
    error: AIProxyError, target: bytes, origin: bytes | None
) -> tuple[Mapping[bytes, bytes], bytes]:
    """Describe an error as OpenAI does, wherever it was."""
    return {}, dumps(error.envelope())


def write_refusal(
    error: AIProxyError, request_id: bytes, secure: bool, told: tuple[Mapping[bytes, bytes], bytes]
) -> tuple[bytes, bytes]:
    """
    Write the last answer of a connection: its head and its body.

    :param secure: the connection has TLS.
    :param told: what is said of the error; see :data:`Describe`.
    """
    more, body = told
    head = [f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}".encode()]
    headers = {
        **(TLS_HEADERS if secure else COMMON_HEADERS),
        b"date": datetimeToString(),
        b"content-type": b"application/json",
        b"content-length": b"%d" % len(body),
        b"x-request-id": request_id,
        b"connection": b"close",
        **more,
    }
    head += [name + b": " + value for name, value in headers.items()]
    return b"\r\n".join(head) + b"\r\n\r\n", body

"""The answers to errors that the HTTP layer writes itself, and the headers of every answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import TypeAlias

from twisted.web.http import datetimeToString

from aiproxy.errors import AIProxyError
from aiproxy.wire.json import dumps

__all__ = ["COMMON_HEADERS", "TLS_HEADERS", "Describe", "describe_error", "write_refusal"]

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

#: What an answer says of an error, by the request's id, target and ``Origin``: headers, the body.
Describe: TypeAlias = Callable[
    [AIProxyError, bytes, bytes, bytes | None], tuple[Mapping[bytes, bytes], bytes]
]


def describe_error(
    error: AIProxyError, request_id: bytes, target: bytes, origin: bytes | None
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

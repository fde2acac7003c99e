"""What both HTTP servers of ours take: bounds in bytes and time, and what a proper head is."""

from __future__ import annotations

import os
import random
import re

from twisted.web.http_headers import Headers

__all__ = [
    "BODY_BYTES_PER_SECOND",
    "BODY_SECONDS",
    "FLUSH_ROUNDS",
    "HEAD_SECONDS",
    "IDLE_SECONDS",
    "LINGER_SECONDS",
    "MAX_HEADERS",
    "MAX_HEAD_BYTES",
    "MAX_LINE_BYTES",
    "METHODS",
    "choose_request_id",
    "is_proper_head",
    "is_proper_host",
    "is_proper_target",
    "origin_form",
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

"""
Pages of other origins that call from a browser: the Fetch Standard's CORS protocol.

There are no cookies here, so there is no mode with credentials: a page shows
its token in a header, which it must have for itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

__all__ = ["answer_headers", "preflight_headers"]

#: For so long a browser need not ask again; Chromium takes no more.
_MAX_AGE: Final = b"7200"

#: What a page may read of an answer, beside what it always may.
_EXPOSED: Final = (
    b"x-request-id",
    b"request-id",
    b"x-aiproxy-",
    b"x-ratelimit-",
    b"x-should-retry",
    b"retry-after",
)


def answer_headers(
    allowed: Sequence[str], origin: bytes | None, names: Iterable[bytes]
) -> dict[bytes, bytes]:
    """
    Return what an answer says about who may read it.

    :param allowed: ``server.cors``.
    :param origin: the request's ``Origin``.
    :param names: of the headers that the answer has, in lower case.
    """
    headers = _allow(allowed, origin)
    if b"access-control-allow-origin" in headers:
        exposed = [name for name in names if name.startswith(_EXPOSED)]
        headers[b"access-control-expose-headers"] = b", ".join(exposed)
    return headers


def preflight_headers(
    allowed: Sequence[str], origin: bytes | None, methods: Iterable[str], asked: bytes | None
) -> dict[bytes, bytes] | None:
    """
    Return what a browser wants to know before it sends a page's request.

    :param allowed: ``server.cors``.
    :param methods: those that the path takes.
    :param asked: the headers that the request will have.
    :return: ``None``: that origin may not send it.
    """
    headers = _allow(allowed, origin)
    if b"access-control-allow-origin" not in headers:
        return None
    headers[b"access-control-allow-methods"] = ", ".join(methods).encode("ascii")
    if asked:
        headers[b"access-control-allow-headers"] = asked
    headers[b"access-control-max-age"] = _MAX_AGE
    return headers


def _allow(allowed: Sequence[str], origin: bytes | None) -> dict[bytes, bytes]:
    if "*" in allowed:
        return {} if origin is None else {b"access-control-allow-origin": b"*"}
    # A cache must not give one origin what is for another.
    headers = {b"vary": b"origin"}
    if origin is not None and origin.decode("latin-1") in allowed:
        headers[b"access-control-allow-origin"] = origin
    return headers

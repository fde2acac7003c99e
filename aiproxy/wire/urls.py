"""
URLs of upstreams: checked when read, joined with a route, safe to print.

All functions take and return text; the syntax is RFC 3986's, as
:mod:`urllib.parse` reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import SplitResult, unquote, urlsplit

import hyperlink

__all__ = [
    "find_credentials",
    "is_key_like",
    "join_url",
    "origin",
    "read_url",
    "without_credentials",
]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\"<>\\^`{|}]")
_KEY_LIKE = re.compile(r"key|token|secret|passw|auth|credential|signature|^sig$|^pwd$", re.I)
_MASK = "***"


def read_url(text: str) -> str:
    """
    Return ``text`` as an absolute ``http`` or ``https`` URL in ASCII.

    A host or path in other letters becomes its IDNA or percent-encoded form.

    :raises ValueError: with the reason; the text is not in it, for a URL may
        hold credentials.
    """
    if _FORBIDDEN.search(text):
        raise ValueError("holds a space or another character that a URL cannot have")
    if not text.isascii():
        try:
            text = hyperlink.URL.from_text(text).to_uri().to_text()
        except (ValueError, IndexError):
            raise ValueError("is not a URL") from None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("has a host or port that is not valid") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError("must begin with http:// or https://")
    if not parts.hostname or port == 0:
        raise ValueError("has a host or port that is not valid")
    if parts.fragment:
        raise ValueError("must not have a fragment (#…)")
    return text


@lru_cache(maxsize=1024)
def join_url(base_url: str, route: str) -> str:
    """
    Append ``route`` to the path of ``base_url``; queries of both are kept.

    >>> join_url("https://example.com/v1/?api-version=1", "/chat/completions")
    'https://example.com/v1/chat/completions?api-version=1'
    """
    base = urlsplit(base_url)
    path, _, query = route.partition("?")
    joined = base._replace(
        path=f"{base.path.rstrip('/')}/{path.lstrip('/')}",
        query="&".join(part for part in (base.query, query) if part),
    )
    return joined.geturl()


def origin(url: str) -> str:
    """
    Return scheme, host and port (RFC 6454, 6.2: a default port is left out).

    >>> origin("https://user@API.example.com:443/v1?key=x")
    'https://api.example.com'
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if parts.port is None or parts.port == _DEFAULT_PORTS.get(parts.scheme):
        return f"{parts.scheme}://{host}"
    return f"{parts.scheme}://{host}:{parts.port}"


def is_key_like(name: str) -> bool:
    """Whether a header or a parameter of this name holds a secret, by its looks."""
    return _KEY_LIKE.search(name) is not None


def without_credentials(url: str) -> str:
    """
    Return ``url`` fit for a log line: user information and the values of
    key-like query parameters are masked.

    A text that is no URL is masked as a whole: this function never fails.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return _MASK
    return parts._replace(netloc=_masked_netloc(parts), query=_masked_query(parts.query)).geturl()


def find_credentials(url: str) -> Iterator[str]:
    """Yield what is secret in a URL, decoded: the password, else the user; key-like parameters."""
    parts = urlsplit(url)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    yield unquote(password or user)
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if is_key_like(name):
            yield unquote(value)


def _masked_netloc(parts: SplitResult) -> str:
    user, at, host = parts.netloc.rpartition("@")
    return f"{_MASK}@{host}" if user or at else host


def _masked_query(query: str) -> str:
    pairs = []
    for pair in query.split("&"):
        name, equals, _value = pair.partition("=")
        pairs.append(f"{name}={_MASK}" if equals and is_key_like(name) else pair)
    return "&".join(pairs)

"""
Header fields of requests to upstreams and of their answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

__all__ = ["FRAMING", "NO_CODING", "read_fields", "read_keep_alive", "write_fields"]

#: Not the caller's: they say what the body and the connection are.
FRAMING = frozenset({"connection", "content-length", "keep-alive", "te", "transfer-encoding"})
#: Compression is never asked for: a compressor would hold a stream back.
_OURS = FRAMING | {"accept-encoding"}
#: Of an answer's: what its connection is about, and an encoding that is none.
_HIDDEN = frozenset(
    name.encode("ascii")
    for name in (*FRAMING, "content-encoding", "proxy-connection", "trailers", "upgrade")
)
#: What a ``Content-Encoding`` may say of a body that has none; some name the text's by mistake.
NO_CODING = frozenset({b"", b"identity", b"utf-8", b"utf8"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def read_fields(fields: Sequence[tuple[bytes, bytes]]) -> Mapping[str, str]:
    """
    Return headers as text, the first value of each, without those about the connection.

    :param fields: names in lower case.
    """
    shown: dict[str, str] = {}
    for name, value in reversed(fields):
        coded = name == b"content-encoding" and value.lower() not in NO_CODING
        if coded or name not in _HIDDEN:
            try:
                shown[name.decode("ascii")] = value.decode("utf-8")
            except UnicodeDecodeError:
                shown[name.decode("ascii")] = value.decode("latin-1")
    return shown


def read_keep_alive(fields: Iterable[tuple[bytes, bytes]]) -> float:
    """
    Return for how long an upstream keeps its side, by its first answer, less what is on its way.

    ``Keep-Alive: timeout=N`` is RFC 2068's, 19.7.1, and Apache's, nginx's and Node's.
    """
    for name, value in fields:
        if name == b"keep-alive":
            for parameter in value.lower().split(b","):
                key, _, seconds = parameter.strip().partition(b"=")
                if key == b"timeout" and seconds.isdigit() and len(seconds) < 10:
                    return max(int(seconds) - 1.0, int(seconds) / 2)
    return float("inf")


#: What nearly all requests have, and no question is about.
_USUAL: Final = frozenset(
    ("accept", "authorization", "content-type", "x-api-key", "x-goog-api-key", "x-request-id")
)


def write_fields(headers: Mapping[str, str], host: str, user_agent: str) -> bytes:
    """
    Write a request's headers without its framing, each with its line's end.

    :param host: what the caller may replace, as it may ``user_agent``.
    :raises ValueError: a name cannot be one.
    """
    lines = [f"Host: {host}", f"User-Agent: {user_agent}", "Accept-Encoding: identity"]
    if headers.keys() <= _USUAL:
        lines += map(": ".join, headers.items())
    else:
        _add_fields(lines, headers)
    lines.append("")
    text = "\r\n".join(lines)
    # No value may begin a new line.
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1 or "\0" in text:
        text = "\r\n".join(" ".join(re.split(r"[\r\n\0]+", line)) for line in lines)
    # What a client has sent in another encoding passes as it came.
    return text.encode("utf-8", "surrogateescape")


def _add_fields(lines: list[str], headers: Mapping[str, str]) -> None:
    """Add headers to the three that come first, and may be replaced."""
    for name, value in headers.items():
        key = name.lower()
        if key in _OURS:
            continue
        if not _TOKEN.fullmatch(name):
            raise ValueError("a header's name is not one")
        if key == "host":
            lines[0] = f"Host: {value}"
        elif key == "user-agent":
            lines[1] = f"User-Agent: {value}"
        else:
            lines.append(f"{name}: {value}")

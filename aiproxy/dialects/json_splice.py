"""
Changes one string inside of a JSON text, and not a byte beside it.

What passes through keeps its spacing, the order of its keys and its numbers as
they were written; reading and writing it again would not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from aiproxy.wire.json import JSONError, dumps, loads

__all__ = ["replace_string"]

#: What tells where in a document one is; numbers and literals do not.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]:]', re.DOTALL)


def replace_string(text: bytes, value: str, *path: str) -> bytes:
    """
    Replace the string at a path of keys; every one, where a key is repeated:
    which of them counts, readers do not agree on.

    :param text: a JSON document; what is none is returned as it is.
    """
    spans = list(_find(text, [dumps(name) for name in path]))
    if not spans:
        return text
    written = dumps(value)
    pieces: list[bytes] = []
    place = 0
    for begin, end in spans:
        pieces += (text[place:begin], written)
        place = end
    return b"".join((*pieces, text[place:]))


def _find(text: bytes, path: list[bytes]) -> Iterator[tuple[int, int]]:
    """Find where the strings at a path of keys stand; all of them with their quotes."""
    #: For each open object or list the key that one is at; nothing in a list.
    keys: list[bytes] = []
    last = b""
    after_colon = -1
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word == b":":
            if keys:
                keys[-1] = _plain(last) if b"\\" in last else last
            after_colon = token.end()
            continue
        if word in b"{[":
            keys.append(b"")
        elif word in b"}]":
            if keys:
                keys.pop()
        else:
            # Between a key and its own value there is nothing but space.
            if keys == path and after_colon >= 0 and not text[after_colon : token.start()].strip():
                yield token.span()
            last = word
        after_colon = -1


def _plain(key: bytes) -> bytes:
    """Write a key as it is usually written, without needless escapes."""
    try:
        return dumps(loads(key))
    except JSONError:
        return key

"""
JSON as providers and callers really send it: orjson first, and what orjson
refuses although its senders may send it.

- A lone surrogate escape (``"\\ud83d"``) is legal to its senders: one half of
  an emoji, split over two deltas.  RFC 8259, 8.2 leaves it to the receiver.
  It is read by the standard library and written back as the escape it was.
- 255 to 1024 levels of nesting are read by orjson but not written by it:
  :func:`dumps` writes whatever :func:`loads` gave.
- Integers outside of -2**63 to 2**64 - 1 become floats, whichever parser read
  them; a number too large for a float is refused, as are NaN and Infinity.

Of two equal keys in an object the last one wins.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, Final, NoReturn

import orjson

__all__ = ["MAX_DEPTH", "JSONError", "NestedTooDeep", "dumps", "loads"]

#: Levels of nesting that a request may have; ``[]`` is one level.
MAX_DEPTH: Final = 200

#: Levels that are read at all: orjson's own limit, held by the standard library's way too.
_READ_DEPTH: Final = 1024

#: Levels that are written: what was read, wrapped in some of ours.  A bound is
#: needed, for a list that contains itself never ends.
_WRITE_DEPTH: Final = 2 * _READ_DEPTH

_CONTAINERS: Final = frozenset({dict, list})


class JSONError(ValueError):
    """
    A text that is not JSON, or a value that JSON has no words for.

    The message says what and where, and never quotes the text.
    """


class NestedTooDeep(JSONError):
    """The text, or the value, is nested deeper than allowed."""


def loads(data: bytes | bytearray | memoryview | str, *, max_depth: int = _READ_DEPTH) -> Any:
    """
    Read one JSON document, in UTF-8 where it is bytes.

    :param max_depth: levels of nesting that are allowed, 1024 at most:
        :data:`MAX_DEPTH` for what a caller sends.
    :raises JSONError: for everything that can be wrong with the text.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        refusal = f"{error.msg}: line {error.lineno} column {error.colno}"
    else:
        if max_depth < _READ_DEPTH and len(data) > 2 * max_depth and _may_nest(data, max_depth):
            _check_depth(value, max_depth)
        return value
    # Outside of the except clause: orjson's error holds the whole document,
    # which the context of ours would keep in memory and in reach of a log.
    return _loads_odd(data, refusal, max_depth)


def dumps(value: object) -> bytes:
    """
    Write a value as compact JSON in UTF-8.

    A lone surrogate is written as its escape; NaN and infinities, which
    :func:`loads` never gives, are written as ``null``.

    :raises JSONError: for keys that are not strings, types that are not
        JSON's, values that contain themselves.
    """
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return _dumps_odd(value)


# --- reading what orjson refuses ---------------------------------------------


def _loads_odd(data: bytes | bytearray | memoryview | str, refusal: str, max_depth: int) -> Any:
    """Read a document that orjson refused, if the fault can be orjson's."""
    if "depth" in refusal:
        raise NestedTooDeep(f"nested deeper than {max_depth} levels")
    problem = None
    try:
        if isinstance(data, str):
            text = data
            data.encode()
        else:
            text = bytes(data).decode()
    except UnicodeDecodeError as error:
        problem = f"not UTF-8 at byte {error.start}"
    except UnicodeEncodeError:
        pass  # A str that holds a lone surrogate itself: arguments inside of a JSON string.
    else:
        # orjson measures its memory for brackets that are closed, and says that
        # it has none left when enough of them are not: a better word is needed.
        if "\\ud" not in text and "\\uD" not in text and "memory" not in refusal:
            problem = refusal
    if problem is None:
        try:
            value = _DECODER.decode(text)
        except json.JSONDecodeError as error:
            problem = f"{error.msg}: line {error.lineno} column {error.colno}"
        except RecursionError:
            raise NestedTooDeep(f"nested deeper than {max_depth} levels") from None
        else:
            _check_depth(value, max_depth)
            return value
    raise JSONError(problem)


def _read_int(digits: str) -> int | float:
    """Give the number that orjson gives; 20 digits hold every integer of 64 bits."""
    if len(digits) <= 20:
        number = int(digits)
        if -(2**63) <= number < 2**64:
            return number
    return _read_float(digits)


def _read_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise JSONError("a number is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise JSONError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    parse_int=_read_int, parse_float=_read_float, parse_constant=_refuse_constant
)


# --- depth ---------------------------------------------------------------------


def _may_nest(data: bytes | bytearray | memoryview | str, levels: int) -> bool:
    """Say whether a document has brackets enough to be deeper than *levels*."""
    if isinstance(data, str):
        return data.count("[") + data.count("{") > levels
    if isinstance(data, memoryview):
        data = bytes(data)
    return data.count(b"[") + data.count(b"{") > levels


def _check_depth(value: Any, levels: int) -> None:
    """Raise :class:`NestedTooDeep` for a value that is deeper than *levels*."""
    # Level by level, which is twice as quick as a walk in depth; a level's
    # references need far less memory than the containers themselves.
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(levels):
        if not level:
            return
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) in _CONTAINERS
        ]
    if level:
        raise NestedTooDeep(f"nested deeper than {levels} levels")


# --- writing what orjson refuses -----------------------------------------------


def _dumps_odd(value: object) -> bytes:
    """Write a value without recursion, and strings that are not Unicode text."""
    written = bytearray()
    # One level: its members, each with what stands before it; its end.
    path: list[tuple[Iterator[tuple[bytes, object]], bytes]] = [(iter([(b"", value)]), b"")]
    while path:
        members, end = path[-1]
        for before, member in members:
            written += before
            if isinstance(member, dict):
                written += b"{"
                path.append((_pairs(member), b"}"))
            elif isinstance(member, (list, tuple)):
                written += b"["
                path.append((_items(member), b"]"))
            else:
                written += _dumps_scalar(member)
                continue
            break
        else:
            written += end
            path.pop()
            continue
        if len(path) > _WRITE_DEPTH:
            raise NestedTooDeep("the value is nested too deep, or contains itself")
    return bytes(written)


def _pairs(value: dict[object, object]) -> Iterator[tuple[bytes, object]]:
    comma = b""
    for key, member in value.items():
        if not isinstance(key, str):
            raise JSONError(f"a key of an object must be a string, not {type(key).__name__}")
        yield comma + _dumps_scalar(key) + b":", member
        comma = b","


def _items(value: Iterable[object]) -> Iterator[tuple[bytes, object]]:
    comma = b""
    for member in value:
        yield comma, member
        comma = b","


def _dumps_scalar(value: object) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        pass
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        raise JSONError(f"this {type(value).__name__} cannot be written as JSON") from None
    # Surrogates can only stand inside of strings, where backslashreplace's
    # \udXXX happens to be JSON's own escape.
    return text.encode("utf-8", "backslashreplace")

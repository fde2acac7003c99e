"""
Durations and sizes as people write them: ``500ms``, ``2m30s``, ``64KiB``.

Durations are those of Go's ``time.ParseDuration`` (the Go proxy's environment
uses them), without a sign; sizes know the binary units of IEC 80000-13 and
the decimal ones of the SI.  A duration becomes seconds, a size bytes.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

__all__ = ["read_duration", "read_size", "write_duration", "write_size"]

#: Nanoseconds in each unit, longest first.
_TIME_UNITS = {
    "h": 3_600_000_000_000,
    "m": 60_000_000_000,
    "s": 1_000_000_000,
    "ms": 1_000_000,
    "us": 1_000,
    "ns": 1,
}
#: Other spellings of microseconds: MICRO SIGN and GREEK SMALL LETTER MU.
_MICROSECONDS = {"\u00b5s": "us", "\u03bcs": "us"}

_SIZE_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
_BINARY_UNITS = ("TiB", "GiB", "MiB", "KiB")

# Digits are bounded, so that hostile input costs nothing and no float overflows.
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{0,9})?"
_TIME_PART = re.compile(rf"({_NUMBER})(ms|us|\u00b5s|\u03bcs|ns|h|m|s)")
_SIZE = re.compile(rf"({_NUMBER}) ?([A-Za-z]{{0,3}})")

#: A hundred years: longer is a slip, and would not fit a timer.
_LONGEST = 36_525 * 24 * 3_600
_LARGEST = 2**62


def read_duration(value: object, *, bare_seconds: bool = False) -> float:
    """
    Read a duration into seconds.

    :param value: text such as ``1.5s`` or ``2m30s``, or zero.
    :param bare_seconds: a plain number is taken as seconds (the Go proxy's
        ``timeout_seconds``).
    :raises ValueError: with what to write instead; the value is not in it.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _bare_duration(value, bare_seconds)
    if not isinstance(value, str):
        raise ValueError("must be a duration such as 500ms, 30s or 2m30s")
    if value == "0":
        return 0.0
    nanoseconds = Fraction(0)
    position = 0
    while match := _TIME_PART.match(value, position):
        unit = match[2]
        nanoseconds += Fraction(match[1]) * _TIME_UNITS[_MICROSECONDS.get(unit, unit)]
        position = match.end()
    if position == 0 or position != len(value):
        raise ValueError("must be a duration such as 500ms, 30s or 2m30s")
    return _bounded_seconds(float(nanoseconds / _TIME_UNITS["s"]))


def _bare_duration(value: float, bare_seconds: bool) -> float:
    if value == 0:
        return 0.0
    if not bare_seconds:
        raise ValueError("must be a duration with its unit, such as 500ms, 30s or 2m30s")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number of seconds")
    if value < 0:
        raise ValueError("must not be negative")
    if value > _LONGEST:  # before float(), which a huge integer would overflow
        raise ValueError("is longer than a hundred years")
    return float(value)


def _bounded_seconds(seconds: float) -> float:
    if seconds > _LONGEST:
        raise ValueError("is longer than a hundred years")
    return seconds


def write_duration(seconds: float) -> str:
    """
    Write ``seconds`` as :func:`read_duration` reads it, rounded to the nanosecond.

    >>> write_duration(150.0), write_duration(0.5), write_duration(0)
    ('2m30s', '500ms', '0s')
    """
    rest = round(Fraction(seconds) * _TIME_UNITS["s"])
    parts = []
    for unit, length in _TIME_UNITS.items():
        count, rest = divmod(rest, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def read_size(value: object) -> int:
    """
    Read a number of bytes: ``64KiB``, ``1.5MiB``, ``10MB`` or a plain integer.

    :raises ValueError: with what to write instead; the value is not in it.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        size = Fraction(value)
    elif isinstance(value, str):
        match = _SIZE.fullmatch(value)
        unit = _SIZE_UNITS.get(match[2].upper()) if match else None
        if match is None or unit is None:
            raise ValueError("must be a size such as 64KiB, 32MiB or a number of bytes")
        size = Fraction(match[1]) * unit
    else:
        raise ValueError("must be a size such as 64KiB, 32MiB or a number of bytes")
    if size < 0:
        raise ValueError("must not be negative")
    if size.denominator != 1:
        raise ValueError("must be a whole number of bytes")
    if size > _LARGEST:
        raise ValueError("is larger than 4 EiB")
    return int(size)


def write_size(size_bytes: int) -> str:
    """
    Write a number of bytes in the largest binary unit that divides it.

    >>> write_size(32 * 2**20), write_size(1500)
    ('32MiB', '1500')
    """
    for unit in _BINARY_UNITS:
        length = _SIZE_UNITS[unit.upper()]
        if size_bytes and size_bytes % length == 0:
            return f"{size_bytes // length}{unit}"
    return str(size_bytes)

"""When a provider may be asked again, from its headers and words."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

__all__ = ["read_date", "read_delay", "retry_delay"]

#: A year, in seconds: what is named beyond it is a slip, and would not fit a timer.
_LONGEST: Final = 366 * 24 * 3_600.0

#: Seconds from here on are a time, since the epoch (2001).
_EPOCH: Final = 1e9

_NUMBER: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{0,9})?")
_SPAN: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(ms|h|m|s)", re.IGNORECASE)
_SPAN_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}
#: Groq and OpenAI say when in words (recorded: "Please try again in 329.999999ms").
_WORDS: Final = re.compile(
    r"\b(?:try again|retry) in ((?:[0-9]{1,9}(?:\.[0-9]{1,9})? ?(?:ms|h|m|s)){1,4})", re.IGNORECASE
)
#: Milliseconds since the epoch (OpenRouter's ``x-ratelimit-reset``, recorded).
_EPOCH_MILLISECONDS: Final = re.compile(r"[0-9]{13}")


def retry_delay(
    headers: Mapping[str, str], *, told: float | None = None, words: str = ""
) -> float | None:
    """
    Seconds until a repeat makes sense, ``None`` where nothing says so.

    ``retry-after-ms`` goes before ``retry-after`` (seconds or a date, RFC 9110,
    10.2.3; a time in seconds too), which goes before what the body tells.  A date
    is read against the answer's own ``date``, for clocks differ; without one,
    against ours.

    :param headers: names in lower case.
    :param told: what a field of the body tells, in seconds.
    :param words: the provider's message.
    """
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return _bounded(milliseconds / 1_000)
    after = headers.get("retry-after", "")
    seconds = _number(after)
    if seconds is not None:
        return _bounded(seconds if seconds < _EPOCH else seconds - _now(headers))
    date = read_date(after)
    if date is not None:
        return _bounded(date - _now(headers))
    if told is not None:
        return _bounded(told)
    found = _WORDS.search(words)
    if found is not None:
        return _bounded(_span(found[1]))
    reset = headers.get("x-ratelimit-reset", "").strip()
    if _EPOCH_MILLISECONDS.fullmatch(reset):
        return _bounded(int(reset) / 1_000 - _now(headers))
    return None


def read_delay(value: object) -> float | None:
    """Read a field that holds a delay: a number of seconds, or Google's ``"48s"``."""
    if isinstance(value, str):
        found = _SPAN.fullmatch(value)
        return None if found is None else _span(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
        return float(value)
    return None


def read_date(text: str) -> float | None:
    """Read an HTTP date as seconds since the epoch; without a zone it is UTC (RFC 9110, 5.6.7)."""
    try:
        date = parsedate_to_datetime(text)
        return (date.replace(tzinfo=UTC) if date.tzinfo is None else date).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _span(text: str) -> float:
    """Read such as ``1m2.5s``."""
    parts = _SPAN.findall(text)
    return sum(float(count) * _SPAN_SECONDS[unit.lower()] for count, unit in parts)


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _now(headers: Mapping[str, str]) -> float:
    date = read_date(headers.get("date", ""))
    return time.time() if date is None else date


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _LONGEST)

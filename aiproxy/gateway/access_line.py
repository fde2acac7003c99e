"""One line for each request that is over: names, times and counts, never what was said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeAlias

import orjson

from aiproxy.gateway.usage import CallRecord

__all__ = ["AccessLine", "json_line", "text_line"]

#: Makes a line, with its end, of a record and the seconds since the epoch.
AccessLine: TypeAlias = Callable[[CallRecord, float], bytes]


def json_line(record: CallRecord, wall: float) -> bytes:
    """
    Write a record as JSON, ``null`` where something is unknown.

    ``takeovers`` names who went on with a stream, where it was taken over.
    Seconds have six digits, ``cost`` is in dollars, ``time`` is when it was over.

    :param wall: seconds since the epoch, now.
    """
    started, ended, first = record.started, record.ended, record.first_token
    duration = None if ended is None else ended - started
    tokens = record.tokens
    told = tokens.prompt or tokens.completion
    cost = record.cost if record.spent else None
    document: dict[str, object] = {
        "time": _write_time(wall),
        "id": record.id,
        "key": record.key,
        "client": record.client,
        "route": record.route,
        "model": record.model,
        "served_by": record.served_by,
        "attempts": record.attempts,
        "status": record.status,
        "error": record.error,
        "stream": record.stream,
        "ttft_s": None if first is None else _micros(first - started),
        "duration_s": None if duration is None else _micros(duration),
        "overhead_s": None if duration is None else _micros(duration - record.waited),
        "prompt_tokens": tokens.prompt if told else None,
        "completion_tokens": tokens.completion if told else None,
        "cost": None if cost is None else round(cost / 1e6, 12),
    }
    if record.takeovers and (went_on := record.went_on):
        document["takeovers"] = went_on
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def text_line(record: CallRecord, wall: float) -> bytes:
    """
    Write a record for a reader at a terminal; what is unknown is left out.

    :param wall: seconds since the epoch, now.
    """
    parts = [f"{_write_time(wall)} {record.status or '-'} {record.route or '-'}"]
    if record.model is not None:
        parts.append(record.model)
    if record.served_by not in (None, record.model):
        parts.append(f"by {record.served_by}")
    if record.takeovers and (went_on := record.went_on):
        parts.append(f"then {','.join(went_on)}")
    if record.attempts > 1:
        parts.append(f"attempts={record.attempts}")
    if record.error is not None:
        parts.append(f"error={record.error}")
    if record.ended is not None:
        duration = record.ended - record.started
        parts.append(f"{duration:.3f}s own={1000 * max(0.0, duration - record.waited):.1f}ms")
    if record.first_token is not None:
        parts.append(f"first={record.first_token - record.started:.3f}s")
    tokens = record.tokens
    if tokens.prompt or tokens.completion:
        parts.append(f"tokens={tokens.prompt}+{tokens.completion}")
    cost = record.cost if record.spent else None
    if cost is not None:
        parts.append(f"cost=${cost / 1e6:.6f}")
    parts.append(f"key={record.key or '-'} client={record.client or '-'} id={record.id}\n")
    return " ".join(parts).encode("utf-8", "replace")


def _write_time(wall: float) -> str:
    """Write RFC 3339 in UTC with milliseconds."""
    seconds = int(wall)
    return f"{_write_second(seconds)}.{int((wall - seconds) * 1000):03d}Z"


@lru_cache(maxsize=1)
def _write_second(seconds: int) -> str:
    """The last one is kept: thousands of lines share it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _micros(seconds: float) -> float:
    # A clock that is read before and after may say a hair less than nothing.
    return int(seconds * 1e6 + 0.5) / 1e6 if seconds > 0 else 0.0

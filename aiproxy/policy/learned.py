"""
What upstreams tell of their limits, and until when they should be left alone.

Two things are believed: the delay that an error names, and "nothing remains"
together with its reset.  Each has an end, a day away at most; after it a
request goes there again, and its answer tells more.  ``retry-after`` beside a
success is not believed: Anthropic and Together send it with requests to spare
(recorded).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from aiproxy.dialects.delays import read_date
from aiproxy.policy.windows import seconds_until
from aiproxy.wire.durations import read_duration

__all__ = ["LONGEST", "Learned", "read_reset"]

#: Seconds that a candidate stays out at most, whatever its provider says.
LONGEST: Final = 86_400.0

_REQUESTS: Final = "x-ratelimit-remaining-requests"

#: The header that tells what remains, and the one that tells until when.
_PAIRS: Final = (
    # Requests: Groq's of the day, OpenAI's of the minute, and who follows them.
    (_REQUESTS, "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    # Cerebras.
    ("x-ratelimit-remaining-requests-day", "x-ratelimit-reset-requests-day"),
    ("x-ratelimit-remaining-tokens-minute", "x-ratelimit-reset-tokens-minute"),
    # OpenRouter, in milliseconds since the epoch; Together, in seconds.
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    # The drafts of the IETF; Hugging Face.
    ("ratelimit-remaining", "ratelimit-reset"),
    # Mistral.
    ("ratelimitbysize-remaining", "ratelimitbysize-reset"),
    *(
        (f"anthropic-ratelimit-{what}-remaining", f"anthropic-ratelimit-{what}-reset")
        for what in ("requests", "tokens", "input-tokens", "output-tokens")
    ),
)

_REMAINING: Final = frozenset(remaining for remaining, _ in _PAIRS)

_NUMBER: Final = re.compile(r"([0-9]{1,15})(?:\.[0-9]{0,20})?")
_ZERO: Final = re.compile(r"-[0-9]{1,20}|0(?:\.0{0,20})?")
#: Numbers from here on are seconds since the epoch (2001), or milliseconds.
_EPOCH: Final = 1e9
_EPOCH_MILLISECONDS: Final = 1e12


class Learned:
    """
    What the upstream of one candidate has told.

    :ivar until: it may be asked again from then on; see :meth:`blocked_until`.
    :ivar reason: the header that keeps the candidate out, or ``retry-after``.
    """

    __slots__ = ("_before", "reason", "until")

    def __init__(self) -> None:
        self.until = -math.inf
        #: Limit, remaining and reset of requests in the last answer that left some.
        self._before: tuple[str, str, str] | None = None
        self.reason: str | None = None

    def blocked_until(self, now: float) -> float | None:
        """Return when the candidate may be asked again; ``None`` if it may."""
        if self.until <= now:
            return None
        # Only a clock that was set back could make it longer.
        self.until = min(self.until, now + LONGEST)
        return self.until

    def when(self, now: float) -> float:
        """Return the seconds until the candidate may be asked again: 0 if it may."""
        until = self.blocked_until(now)
        return 0.0 if until is None else seconds_until(until, now)

    def hold(self, seconds: float | None, now: float) -> None:
        """
        Learn from an error that says when to come back.

        :param seconds: its ``retry_after``; 0 says nothing (GitHub's ``retry-after: 0``).
        """
        self._block(seconds, now, "retry-after")

    def read_headers(self, headers: Mapping[str, str], now: float, wall: float) -> None:
        """
        Learn from any answer.

        An answer that leaves something doesn't end what another has begun: it
        was asked for before.

        :param headers: names in lower case.
        :param now: of the monotonic clock.
        :param wall: seconds since the epoch, where the answer has no ``date``.
        """
        if _REMAINING.isdisjoint(headers):
            return  # Most say nothing.
        for remaining, reset in _PAIRS:
            left = headers.get(remaining)
            if left is None:
                continue
            if left[:1] in ("0", "-") and _ZERO.fullmatch(left.strip()):
                seconds = read_reset(headers.get(reset, ""), _date(headers, wall))
                if remaining == _REQUESTS and seconds and self._refills():
                    seconds = _refill(seconds, headers)
                self._block(seconds, now, remaining)
            elif remaining == _REQUESTS:
                self._before = (
                    headers.get("x-ratelimit-limit-requests", ""),
                    left,
                    headers.get(reset, ""),
                )

    def _block(self, seconds: float | None, now: float, reason: str) -> None:
        if not seconds or not 0 < seconds < math.inf:
            return
        until = now + min(seconds, LONGEST)
        if until > self.until:
            self.until = until
            self.reason = reason

    def _refills(self) -> bool:
        """
        Whether requests come back one by one, and the reset is when all are back.

        So it is with OpenAI and Groq: recorded are 16 of 1000 requests of a day
        used and a reset of 23m2.4s, 16 thousandths of it.  Out for a day, where
        the next request is 86 s away, would be a lockout.
        """
        if self._before is None:
            return False
        limit, left, reset = map(_seconds, self._before)
        if not limit or left is None or not reset or left >= limit:
            return False
        period = reset * limit / (limit - left)
        return any(math.isclose(period, known, rel_tol=0.01) for known in (60, 3_600, 86_400))


def _refill(reset: float, headers: Mapping[str, str]) -> float:
    """Return when the first of ``limit`` requests is back, of which all are after ``reset``."""
    limit = _seconds(headers.get("x-ratelimit-limit-requests", ""))
    return reset / limit if limit else reset


def read_reset(text: str, wall: float) -> float | None:
    """
    Read a reset: seconds from now on, ``None`` for what is nonsense.

    Known are seconds (``"60"``, ``"3.54"``), spans (``"6m0s"``, ``"20ms"``),
    seconds or milliseconds since the epoch, and RFC 3339.  What is over is 0.

    :param wall: seconds since the epoch.
    """
    seconds = _seconds(text)
    if seconds is not None:
        if seconds >= _EPOCH_MILLISECONDS:
            return max(seconds / 1_000 - wall, 0.0)
        return max(seconds - wall, 0.0) if seconds >= _EPOCH else seconds
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    # Where it has no offset, UTC: the providers' own.
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(moment.timestamp() - wall, 0.0)


def _seconds(text: str) -> float | None:
    """Read a plain number, or a span such as ``1m2.5s``."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        return float(text)
    try:
        return read_duration(text)
    except ValueError:
        return None


def _date(headers: Mapping[str, str], wall: float) -> float:
    """Return the upstream's own time, for clocks differ; ours where it has not told."""
    date = read_date(headers.get("date", ""))
    return wall if date is None else date

"""
The circuit breaker: how a candidate stands, and when one that fails is tried again.

A candidate that fails too often in a row is passed by.  One live request at
most every ``breaker.probe`` tries it; one success brings it back.  A candidate
whose key was refused, or has no credit, is out for a minute before its first
probe; others with the same key are only suspect until one of them answers.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final
from weakref import WeakValueDictionary

from attrs import define

from aiproxy import errors
from aiproxy.config.sections import Breaker
from aiproxy.policy.windows import seconds_until

__all__ = ["OUT_SECONDS", "Standing", "StandingBook"]

#: Seconds until a candidate is tried again whose key was refused or has no credit.
OUT_SECONDS: Final = 60.0

#: Candidates that are remembered: a wildcard's names are made up by callers.
_MOST: Final = 10_000

#: Failures that say nothing of how a candidate is: the request's own, the
#: configuration's, or a matter of limits.
_NO_FAULT: Final = (
    errors.UpstreamRefused,
    errors.UpstreamRateLimited,
    errors.UpstreamModelNotFound,
    errors.AnswerTooLarge,
    errors.CallerError,
    errors.PolicyError,
    errors.OurError,
)
#: Failures that no repeat cures for a while.
_OUT: Final = (errors.UpstreamAuthFailed, errors.UpstreamOutOfCredit)


@define
class _Credential:
    """What all candidates of one key share: until when it is suspect."""

    suspect_until: float = -math.inf


class Standing:
    """
    One candidate's.

    Only a success closes an open breaker, or a stream that begins.  Until then
    failures, a probe's or those of calls from before it opened, do not put the
    next probe off; only a refused key and a lack of credit do.

    :param breaker: when it opens, and how often it is tried then.
    :ivar why: the class of the error that has opened it, for the error itself
        would keep its request alive; ``None`` while it is closed.
    """

    __slots__ = ("_breaker", "_credential", "_failures", "_next_probe", "why")

    def __init__(self, breaker: Breaker, credential: _Credential | None = None) -> None:
        self.why: type[errors.AIProxyError] | None = None
        self._breaker = breaker
        self._credential = credential or _Credential()
        #: When the failures in a row were, as far as they still count.
        self._failures: deque[float] = deque()
        self._next_probe = -math.inf

    def change(self, breaker: Breaker) -> None:
        """
        Go on under another configuration; what was seen lives on.

        But whose key was refused, or had no credit, is tried at the next
        request: who changes the configuration may have mended that.
        """
        self._breaker = breaker
        self._credential.suspect_until = -math.inf
        if self.why is not None and issubclass(self.why, _OUT):
            self._next_probe = -math.inf

    @property
    def open(self) -> bool:
        """Whether the candidate is passed by."""
        return self.why is not None

    def is_suspect(self, now: float) -> bool:
        """Whether another candidate has failed with its key: better ask others first."""
        return not self.open and now < self._credential.suspect_until

    def when(self, now: float) -> float:
        """Return the seconds until :meth:`admit` lets a request pass: 0 if it does so now."""
        return seconds_until(self._next_probe, now) if self.open else 0.0

    def admit(self, now: float) -> bool:
        """
        Whether a request may go there now; of an open one it is the probe.

        Ask last, when nothing else can hold the request back.  A probe need not
        be given back: if its call is cancelled, the next one is due as usual.

        :param now: of a monotonic clock.
        """
        if not self.open:
            return True
        if now < self._next_probe:
            return False
        self._next_probe = now + self._breaker.probe
        return True

    def began(self) -> None:
        """
        A stream of it has begun: it is back, and its key is good.

        But one that breaks off was none, so what has failed before still counts.
        """
        self.why = None
        self._next_probe = -math.inf
        self._credential.suspect_until = -math.inf

    def succeeded(self) -> None:
        """It has given a whole answer: all is forgotten, and its key is good."""
        self.why = None
        self._failures.clear()
        self._next_probe = -math.inf
        self._credential.suspect_until = -math.inf

    def failed(self, error: errors.AIProxyError, now: float) -> bool:
        """
        Note a failure.

        :return: whether it has opened the breaker just now.
        """
        if isinstance(error, _NO_FAULT):
            return False
        was_open = self.open
        if isinstance(error, _OUT):
            if self.why not in _OUT:
                # Once: a candidate that stays out must not hold others back for ever.
                self._credential.suspect_until = now + OUT_SECONDS
            self._open(error, now + OUT_SECONDS)
        elif not was_open:
            self._failures.append(now)
            while now - self._failures[0] > self._breaker.window:
                self._failures.popleft()
            if len(self._failures) >= self._breaker.failures:
                self._open(error, now + self._breaker.probe)
        return self.open and not was_open

    def _open(self, why: errors.AIProxyError, next_probe: float) -> None:
        self.why = type(why)
        self._next_probe = max(self._next_probe, next_probe)


class StandingBook:
    """
    Every candidate's standing; it outlives what is configured.

    Keys are :func:`~aiproxy.policy.routing.standing_key`'s: name, URL and the
    credential's fingerprint, which is empty where there is none.
    """

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self._standings: dict[tuple[str, str, str], Standing] = {}
        #: By fingerprint, as long as one of their standings is remembered.
        self._credentials: WeakValueDictionary[str, _Credential] = WeakValueDictionary()

    def change(self, breaker: Breaker) -> None:
        """Go on under another configuration."""
        self._breaker = breaker
        for standing in self._standings.values():
            standing.change(breaker)

    def find(self, key: tuple[str, str, str]) -> Standing:
        """Return a candidate's standing."""
        standing = self._standings.get(key)
        if standing is None:
            if len(self._standings) >= _MOST:
                self._forget()
            credential = self._credentials.get(key[2]) or _Credential()
            if key[2]:
                self._credentials[key[2]] = credential
            standing = self._standings[key] = Standing(self._breaker, credential)
        return standing

    def is_open(self, key: tuple[str, str, str]) -> bool:
        """Whether a candidate is passed by; nothing is kept for one that is new."""
        standing = self._standings.get(key)
        return standing is not None and standing.open

    def is_suspect(self, key: tuple[str, str, str], now: float) -> bool:
        """As :meth:`Standing.is_suspect`; nothing is kept for one that is new."""
        credential = self._credentials.get(key[2])
        return credential is not None and now < credential.suspect_until and not self.is_open(key)

    def _forget(self) -> None:
        """Forget half: those of whom there is nothing bad to remember first, then the oldest."""
        keys = sorted(self._standings, key=self.is_open)
        for key in keys[: len(keys) // 2]:
            del self._standings[key]

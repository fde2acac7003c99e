"""
Access tokens that wear out: kept fresh, asked for once, whoever waits.

A token is asked for by the first call that needs one.  Calls that come
meanwhile wait for the same request; it ends early only if nobody waits any
more.  Nothing here has a deadline: who waits has.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Generic, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from aiproxy.errors import AIProxyError

__all__ = ["AccessToken", "TokenKeeper"]

#: Seconds before its end in which a token is replaced.
_AHEAD_SECONDS = 60.0

_T = TypeVar("_T")


@frozen
class AccessToken:
    """
    What is shown in the place of credentials.

    :param expires: seconds since the epoch.
    """

    text: str = field(repr=False)
    expires: float


class _SharedResult(Generic[_T]):
    """
    One result that several wait for.

    Who waits may be cancelled alone; the last one cancels what is waited for.

    :ivar abandoned: nobody has waited to the end.
    """

    def __init__(self, source: Deferred[_T]) -> None:
        self.abandoned = False
        self._source = source
        self._waiting: list[Deferred[_T]] = []

    def wait(self) -> Deferred[_T]:
        """Wait for the result; whoever waits may cancel that."""
        waiter: Deferred[_T] = Deferred(self._leave)
        self._waiting.append(waiter)
        return waiter

    def settle(self, result: _T | Failure) -> None:
        """Tell all who wait; each has an error of its own, to which others add what they know."""
        while self._waiting:
            waiter = self._waiting.pop(0)
            if not isinstance(result, Failure):
                waiter.callback(result)
            elif isinstance(result.value, AIProxyError):
                waiter.errback(copy(result.value))
            else:
                waiter.errback(result)

    def _leave(self, waiter: Deferred[_T]) -> None:
        self._waiting.remove(waiter)
        if not self._waiting:
            self.abandoned = True
            self._source.cancel()


@define(eq=False)
class TokenKeeper:
    """
    Keeps one token.

    :param ask: asks for a new one.
    :param wall: tells the time, in seconds since the epoch.
    """

    _log = Logger()

    ask: Callable[[], Deferred[AccessToken]]
    wall: Callable[[], float]
    _token: AccessToken | None = field(init=False, default=None)
    _asked: _SharedResult[AccessToken] | None = field(init=False, default=None)

    def find(self) -> Deferred[AccessToken]:
        """
        Return a token that has not expired.

        Near its end it is replaced; as long as that fails it is good until
        its end.
        """
        if self._lasts(_AHEAD_SECONDS):
            return succeed(self._token)  # type: ignore[arg-type]
        fresh = self._join()
        fresh.addErrback(self._make_do)
        return fresh

    def replace(self, refused: str) -> Deferred[AccessToken]:
        """
        Return another token.

        :param refused: the one that is no good; another that has come since
            is taken as it is.
        """
        if self._token is not None and self._token.text == refused:
            self._token = None
        return self.find()

    def _lasts(self, seconds: float) -> bool:
        return self._token is not None and self._token.expires - self.wall() > seconds

    def _make_do(self, failure: Failure) -> AccessToken:
        if self._token is None or not self._lasts(0) or not failure.check(AIProxyError):
            failure.raiseException()
        self._log.warn(
            "a new access token was not to be had: {error_type}; the old one goes on",
            error_type=type(failure.value).__name__,
        )
        return self._token

    def _join(self) -> Deferred[AccessToken]:
        asked = self._asked
        if asked is not None and not asked.abandoned:
            return asked.wait()
        source = self.ask()
        asked = self._asked = _SharedResult(source)
        fresh = asked.wait()
        source.addBoth(self._came, asked)
        return fresh

    def _came(self, result: AccessToken | Failure, asked: _SharedResult[AccessToken]) -> None:
        if self._asked is asked:
            self._asked = None
        if isinstance(result, AccessToken):
            self._token = result
        asked.settle(result)

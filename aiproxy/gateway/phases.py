"""How long each phase of one attempt may take."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime

from aiproxy.config.schema import Timeouts
from aiproxy.errors import AIProxyError, LimitReached, UpstreamTimeout
from aiproxy.gateway.watch import Watch
from aiproxy.transport.deadline import Deadline

__all__ = ["Phases"]

T = TypeVar("T")


class Phases:
    """
    Ends a wait for an upstream when its phase has taken too long.

    They exist to go on to the next candidate, so the last one has none but the
    whole call's.

    :param watch: of the whole call.
    :param last: nobody else can be asked.
    """

    __slots__ = (
        "_clock",
        "_deadline",
        "_due",
        "_expired",
        "_first_token",
        "_headers",
        "_last",
        "_queued",
        "_seconds",
        "_sent",
        "_timeouts",
        "_waiting",
        "_watch",
        "_what",
        "_whole_due",
    )

    def __init__(
        self, clock: IReactorTime, timeouts: Timeouts, watch: Watch, *, last: bool
    ) -> None:
        self._clock = clock
        self._watch = watch
        self._timeouts = timeouts
        self._last = last
        #: Only while it is needed: the two know each other.
        self._deadline: Deadline | None = None
        self._waiting: Deferred[Any] | None = None
        self._expired: AIProxyError | None = None
        self._queued = False
        self._due = math.inf
        self._seconds = 0.0
        self._what = ""
        self._sent: float | None = None
        self._headers = self._first_token = 0.0
        self._whole_due: float | None = None

    async def wait(self, deferred: Deferred[T]) -> T:
        """
        Wait, within the bounds; whoever cancels us cancels ``deferred``.

        :raises UpstreamTimeout: the phase has taken too long.
        :raises AIProxyError: the whole call is over.
        """
        watch = self._watch
        if watch.over is not None:
            watch.refuse(deferred)
        # As in Watch.wait, for each coroutine that others wait in costs them time.
        watch.waiting.append(deferred)
        self._waiting = deferred
        try:
            return await deferred
        except CancelledError:
            over = watch.over or self._expired
            if over is not None:
                raise over from None
            raise
        finally:
            self._waiting = None
            watch.waiting.remove(deferred)

    @property
    def overdue(self) -> bool:
        """Whether the phase takes, or took, longer than it should, even if that ends nothing."""
        return not self._queued and self._clock.seconds() >= self._due

    @property
    def over(self) -> AIProxyError | None:
        """Why the whole call is over, if it is."""
        return self._watch.over

    def begin_plain(self) -> None:
        """A whole answer is asked for."""
        timeouts = self._timeouts
        now, shortest = self._clock.seconds(), min(timeouts.connect, timeouts.attempt)
        self._whole_due = now + timeouts.attempt
        if self._last:
            self._due = now + shortest
        else:
            self._bound(shortest, "the provider was not reached")

    def begin_stream(self, *, reasoning: bool) -> None:
        """A stream is asked for."""
        timeouts = self._timeouts
        self._headers = timeouts.reasoning if reasoning else timeouts.headers
        self._first_token = timeouts.reasoning if reasoning else timeouts.first_token
        self._bound(timeouts.connect, "the provider was not reached")

    def queued(self, waits: bool) -> None:
        """
        The provider is not asked yet: calls of ours have to end first, which is not its fault.

        :param waits: ``False``: they have, and it is asked now.
        """
        self._queued = waits
        if waits:
            self._bound(self._timeouts.connect, "no other call to the provider has ended")
        else:
            self._begin_anew()

    def preparing(self, goes_on: bool) -> None:
        """
        Nor is it asked yet: what the request needs is fetched elsewhere, in bounds of its own.

        :param goes_on: ``False``: it is here, and the provider is asked now.
        """
        if not goes_on:
            self._begin_anew()
            return
        self._due = math.inf
        if self._deadline is not None:
            self._deadline.rest()

    def connected(self) -> None:
        """The connection stands."""
        if self._whole_due is not None:
            if self._last:
                self._due = self._whole_due
                return
            left = self._whole_due - self._clock.seconds()
            self._bound(left, "the provider's answer did not come")
        else:
            self._bound(self._headers, "the provider did not take the request and answer")

    def sent(self) -> None:
        """The request's last byte was written."""
        if self._whole_due is None:
            self._sent = self._clock.seconds()
            if self._headers <= self._first_token:
                self._bound(self._headers, "the provider's headers did not come")
            else:
                self._bound(self._first_token, "the provider's first token did not come")

    def headers_came(self) -> None:
        """The answer begins, whether or not the provider told the phases before."""
        if self._whole_due is not None:
            if self._last:
                self._due = self._whole_due
            else:
                self.connected()
            return
        since = self._clock.seconds() if self._sent is None else self._sent
        left = since + self._first_token - self._clock.seconds()
        self._bound(left, "the provider's first token did not come")

    def heard(self, idle: float) -> None:
        """
        Something came of a stream that nobody is given yet.

        :param idle: seconds until something more has to come.
        """
        self._bound(idle, "the provider's stream did not go on")

    def stop(self) -> None:
        """The phases are over: leave no timer."""
        late = self._clock.seconds() >= self._due and not self._queued
        self._due = -math.inf if late else math.inf
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()

    def _begin_anew(self) -> None:
        if self._whole_due is not None:
            self.begin_plain()
        else:
            self._bound(self._timeouts.connect, "the provider was not reached")

    def _bound(self, seconds: float, what: str) -> None:
        self._due = self._clock.seconds() + seconds
        if self._last:
            return
        self._what, self._seconds = what, max(0.0, seconds)
        if self._deadline is None:
            self._deadline = Deadline(self._clock, self._expire)
        self._deadline.set(self._seconds)

    def _expire(self) -> None:
        kind = LimitReached if self._queued else UpstreamTimeout
        self._expired = kind(f"{self._what} within {self._seconds:g} seconds")
        if self._waiting is not None:
            self._waiting.cancel()

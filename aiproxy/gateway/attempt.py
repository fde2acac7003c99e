"""The times of one attempt's phases."""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime

from aiproxy.gateway.watch import Watch
from aiproxy.policy.routing import Candidate

__all__ = ["Attempt"]


class Attempt:
    """
    One candidate's turn, with the times of its phases.

    They exist to go on to the next candidate, so the last one has none but the
    whole call's.
    """

    def __init__(
        self, watch: Watch, clock: IReactorTime, candidate: Candidate, *, last: bool
    ) -> None:
        self.candidate = candidate
        self._watch = watch
        self._clock = clock
        self._last = last
        self._timeouts = candidate.model.timeouts
        self._sent: float | None = None
        self._headers = self._first_token = 0.0
        self._whole_due: float | None = None

    def begin_plain(self) -> None:
        """A whole answer is asked for."""
        self._whole_due = self._clock.seconds() + self._timeouts.attempt
        self._bound(
            min(self._timeouts.connect, self._timeouts.attempt), "the provider was not reached"
        )

    def begin_stream(self, *, reasoning: bool) -> None:
        """A stream is asked for."""
        timeouts = self._timeouts
        self._headers = timeouts.reasoning if reasoning else timeouts.headers
        self._first_token = timeouts.reasoning if reasoning else timeouts.first_token
        self._bound(timeouts.connect, "the provider was not reached")

    def connected(self) -> None:
        """The connection stands."""
        if self._whole_due is not None:
            self._bound(
                self._whole_due - self._clock.seconds(), "the provider's answer did not come"
            )
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
            self.connected()
            return
        since = self._clock.seconds() if self._sent is None else self._sent
        left = since + self._first_token - self._clock.seconds()
        self._bound(left, "the provider's first token did not come")

    def _bound(self, seconds: float, what: str) -> None:
        self._watch.bound(None if self._last else max(0.0, seconds), what)

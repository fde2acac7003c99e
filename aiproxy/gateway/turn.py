"""One attempt's right to its candidate, from its beginning to its end."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from aiproxy.errors import AIProxyError, UpstreamError, UpstreamRateLimited
from aiproxy.gateway.admission import Entry
from aiproxy.policy.breaker import Standing
from aiproxy.policy.traffic import Flow

__all__ = ["CandidateTurn"]


@define
class CandidateTurn:
    """
    What has to be told, and given back, when an attempt is over.

    :param entry: the lease, and whose it is.
    :param flow: what goes on at the candidate.
    :param standing: how it stands.
    :param patience: seconds that stand for a failure where speeds are compared.
    :param began: when, by the clock.
    """

    entry: Entry
    flow: Flow
    standing: Standing
    clock: IReactorTime
    wall: float
    patience: float
    _began: float
    _over: bool = field(init=False, default=False)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Note what the upstream tells of its limits."""
        self.entry.admission.learned.read_headers(headers, self.clock.seconds(), self.wall)

    def answered(self, *, streamed: bool) -> None:
        """The first token is here, or the whole answer."""
        now = self.clock.seconds()
        self.flow.answered(now - self._began, now, streamed=streamed)
        if streamed:
            self.standing.began()
        else:
            self.standing.succeeded()

    def completed(self) -> None:
        """The stream is whole."""
        self.standing.succeeded()

    def failed(self, error: AIProxyError) -> bool:
        """
        The attempt has failed, and its candidate may want to rest.

        :return: whether it is passed by from now on.
        """
        now = self.clock.seconds()
        if isinstance(error, UpstreamError):
            self.learn(error.headers or error.rate_limits)
            self.flow.failed(max(now - self._began, self.patience), now)
        if isinstance(error, UpstreamRateLimited):
            self.entry.admission.learned.hold(error.retry_after, now)
        return self.standing.failed(error, now)

    def leave(self, tokens: int | None = None) -> None:
        """
        It is over.  Harmless when repeated.

        :param tokens: that were used; ``None``: nobody knows, the estimate stands.
        """
        if self._over:
            return
        self._over = True
        self.flow.ended()
        if tokens is not None:
            self.entry.lease.settle(tokens, self.clock.seconds())
        self.entry.leave()

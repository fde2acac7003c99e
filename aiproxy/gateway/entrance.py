"""Who may be asked now: one call's way through the gate, and through its key's limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from aiproxy.config.schema import Config
from aiproxy.errors import LimitReached, ModelUnavailable
from aiproxy.gateway.admission import Entry
from aiproxy.gateway.shared import Shared
from aiproxy.gateway.watch import Watch
from aiproxy.interfaces import IProvider
from aiproxy.policy.access import Principal
from aiproxy.policy.limits import Lease
from aiproxy.policy.routing import Candidate

__all__ = ["Entrance", "Found"]

#: A candidate and its adapter.
Found: TypeAlias = tuple[Candidate, IProvider]


class Entrance:
    """
    See the module.

    :param requested: the name that was asked for.
    :param caller: among whom turns are fair.
    :param tokens: how many the call may use, roughly.
    """

    __slots__ = (
        "_caller",
        "_key",
        "_max_delay",
        "_queue_timeout",
        "_requested",
        "_shared",
        "_tokens",
        "_watch",
    )

    def __init__(
        self,
        shared: Shared,
        config: Config,
        watch: Watch,
        *,
        requested: str,
        caller: str,
        tokens: int,
    ) -> None:
        self._shared = shared
        self._queue_timeout = config.server.queue_timeout
        self._max_delay = config.retry.max_delay
        self._watch = watch
        self._requested = requested
        self._caller = caller
        self._tokens = tokens
        self._key: Lease | None = None

    async def admit_key(self, principal: Principal) -> None:
        """
        Take the call from the limits of the key that it came with.

        :raises LimitReached: there is nothing left of one.
        """
        if principal.limits is None:
            return
        now, wall = self._shared.clock.seconds(), self._shared.wall()
        key = ("key", principal.name)
        admission = self._shared.book.find(key, principal.limits, now, wall)
        found = admission.admit(now, wall, self._tokens)
        if not isinstance(found, Lease):
            raise LimitReached(
                f"the limit {found.limit} of your key is reached", retry_after=found.delay
            )
        self._key = found
        await self._cover(key, found)

    def leave(self, tokens: int | None, *, asked: bool) -> None:
        """
        The call is over: settle with the key.

        :param tokens: that were used; ``None``: nobody knows, the estimate stands.
        :param asked: whether any provider was.
        """
        if self._key is None:
            return
        if not asked:
            self._key.forget()
        elif tokens is not None:
            self._key.settle(tokens, self._shared.clock.seconds())
        self._key.release()

    async def enter(
        self, left: list[Found], *, queues: bool = False, insists: bool = False
    ) -> tuple[Found, Entry]:
        """
        Take the first that is free out of those that are left, and wait for its pace.

        :param queues: the call may wait its turn.
        :param insists: those that are busy or out are waited for, if that is not long;
            those whose running requests are too many, as long as in the queue.
        :raises LimitReached: all are busy.
        :raises ModelUnavailable: all are busy or out.
        """
        try:
            entered = self._try(left, self._queue_timeout if queues else 0.0)
        except (LimitReached, ModelUnavailable) as busy:
            if not insists:
                raise
            wait = busy.retry_after
            # When a running request ends nobody knows: that is waited for as in the queue.
            patience = self._queue_timeout if wait is None else self._max_delay
            if not patience or (wait or 0.0) > patience:
                raise
            entered = self._try(left, patience)
        entry = entered if isinstance(entered, Entry) else await self._watch.wait(entered)
        found = left.pop(entry.place)
        try:
            if entry.lease.is_saved:
                await self._cover(found[0].limit_key, entry.lease)
            if entry.lease.delay:
                await self._watch.wait(deferLater(self._shared.clock, entry.lease.delay))
        except BaseException:
            entry.lease.forget()
            entry.leave()
            raise
        return found, entry

    def soonest(self, left: Sequence[Found]) -> float | None:
        """Return the seconds until one of those that are left is free, if that is known."""
        holds = [self._shared.gate.find_hold(other, self._tokens) for other, _ in left]
        delays = [0.0 if hold is None else hold.delay for hold in holds]
        return min((delay for delay in delays if delay is not None), default=None)

    def any_free(self, left: Sequence[Found], within: float = 0.0) -> bool:
        """
        Whether there is somewhere left to go.

        :param within: by so many seconds from now; those that a breaker holds do not count.
        """
        holds = [self._shared.gate.find_hold(other, self._tokens) for other, _ in left]
        return any(
            hold is None
            or (hold.limit != "breaker" and hold.delay is not None and hold.delay <= within)
            for hold in holds
        )

    def _try(self, left: list[Found], patience: float) -> Entry | Deferred[Entry]:
        return self._shared.gate.enter(
            self._requested,
            [left[0][0]] if len(left) == 1 else [candidate for candidate, _ in left],
            caller=self._caller,
            tokens=self._tokens,
            patience=patience,
        )

    async def _cover(self, key: tuple[str, ...], lease: Lease) -> None:
        """See that what was taken is not forgotten, whatever happens to this process."""
        if lease.is_saved:
            stored = self._shared.cover(key)
            if stored is not None:
                await self._watch.wait(stored)

"""Waiting for something for a while, without giving it up."""

from __future__ import annotations

from typing import Any

from attrs import define
from twisted.internet.defer import Deferred

from aiproxy.transport.timeout_queue import TimeoutQueue

__all__ = ["Unsettled", "settled_within"]


class Unsettled(Exception):
    """The time is over, and there is no end yet."""


@define(eq=False)
class _Patience:
    """Ends a wait."""

    told: Deferred[Any]

    def expire(self) -> None:
        """The time is over."""
        self.told.errback(Unsettled())


def settled_within(waited: Deferred[Any], queue: TimeoutQueue | None) -> Deferred[Any]:
    """
    Wait for something, but no longer than others do.

    :param queue: of those that wait as long; ``None``: however long it takes.
    :return: what came, or its error; fails with :class:`Unsettled` when the time
        is over, and ``waited`` goes on and keeps its result.  Who cancels it
        cancels ``waited``.
    """
    # To cancel ``told`` only cancels ``waited``, whose failure it then fails with.
    told: Deferred[Any] = Deferred(lambda _: waited.cancel())

    def settled(result: Any) -> Any:
        if told.called:
            return result
        if queue is not None:
            queue.discard(patience)
        told.callback(result)
        return None

    patience = _Patience(told)
    if queue is not None:
        queue.add(patience)
    waited.addBoth(settled)
    return told

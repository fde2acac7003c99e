"""Waiting for something for a while, without giving it up."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

__all__ = ["Unsettled", "settled_within"]


class Unsettled(Exception):
    """The time is over, and there is no end yet."""


def settled_within(waited: Deferred[Any], seconds: float, clock: IReactorTime) -> Deferred[Any]:
    """
    Wait for something, but no longer than this.

    :param seconds: 0: however long it takes.
    :return: what came, or its error; fails with :class:`Unsettled` when the time
        is over, and ``waited`` goes on and keeps its result.  Who cancels it
        cancels ``waited``.
    """
    timing: Any = clock
    # Whoever cancels is told by what the cancelled one says.
    told: Deferred[Any] = Deferred(lambda _: waited.cancel())

    def settled(result: Any) -> Any:
        if told.called:
            return result
        if timer is not None and timer.active():
            timer.cancel()
        told.callback(result)
        return None

    timer = timing.callLater(seconds, told.errback, Unsettled()) if seconds else None
    waited.addBoth(settled)
    return told

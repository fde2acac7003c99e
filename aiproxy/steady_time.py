"""The time that our processes go by: one that does not jump."""

from __future__ import annotations

import time
from typing import Any

from twisted.internet.base import ReactorBase

__all__ = ["keep_steady"]


def keep_steady(reactor: Any) -> None:
    """
    Let a reactor go by the monotonic clock; call it before anything else uses the reactor.

    Twisted's own go by the time of day: where that is set, all timers are due
    at once, or none is for as long.  One that has timers already stays as it is.
    """
    if isinstance(reactor, ReactorBase) and not reactor.getDelayedCalls():
        vars(reactor)["seconds"] = time.monotonic

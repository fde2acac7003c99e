"""A reactor with real sockets, and with a clock that only moves when a test lets it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock, deferLater


class FastClock(Clock):
    """
    The reactor, in all but time.

    Timers fire while a test lets time pass; what is due at once fires by itself.

    :param reactor: the real one.
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> IDelayedCall:
        """See ``IReactorTime``."""
        if delay <= 0:
            self._reactor.callLater(0, self.advance, 0)
        made: IDelayedCall = super().callLater(delay, callable, *args, **kw)
        return made

    async def settle(self, turns: int = 20) -> None:
        """Let the sockets have some turns of the reactor, while no time passes."""
        for _ in range(turns):
            await deferLater(self._reactor, 0)

    async def run(self, seconds: float, step: float = 0.25) -> None:
        """Let time pass, with a turn for the sockets between any two steps."""
        end = self.seconds() + seconds
        await self.settle()
        while (left := end - self.seconds()) > 1e-9:
            self.advance(min(step, left))
            await self.settle(20)
        await self.settle()

    async def run_until(
        self, condition: Callable[[], bool], *, within: float, step: float = 0.25
    ) -> float:
        """
        Let time pass until something holds; return the seconds that it took.

        :param within: seconds of this clock, after which it is a failure.
        """
        start = self.seconds()
        await self.settle()
        while not condition():
            if self.seconds() - start > within:
                raise AssertionError(f"not within {within:g} seconds")
            self.advance(step)
            await self.settle(20)
        return self.seconds() - start

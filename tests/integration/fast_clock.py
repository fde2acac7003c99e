"""A reactor with real sockets, and with a clock that only moves when a test lets it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHostnameResolver,
    IHostResolution,
    IResolutionReceiver,
)
from twisted.internet.task import Clock, deferLater
from zope.interface import implementer

#: What the kernel and a busy machine may need between two ends of a socket.
_SETTLE_SECONDS = 0.003


@implementer(IHostnameResolver, IHostResolution)
class _Here:
    """Finds this machine under any name, in no time: a thread's would be the kernel's to tell."""

    name = "here"

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """See ``IHostnameResolver``."""
        resolutionReceiver.resolutionBegan(self)
        resolutionReceiver.addressResolved(IPv4Address("TCP", "127.0.0.1", portNumber))
        resolutionReceiver.resolutionComplete()
        return self

    def cancel(self) -> None:
        """It is over already."""


class FastClock(Clock):
    """
    The reactor, in all but time.

    Timers fire while a test lets time pass; what is due at once fires by itself.

    :param reactor: the real one.
    """

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor
        self.nameResolver = _Here()
        #: What changes while something moves, as far as the test knows it.
        self.moves: Callable[[], object] = lambda: None

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
        """Let the sockets do their work, while no time passes, until nothing moves any more."""
        seen, still = self.moves(), 0
        enough = self._reactor.seconds() + _SETTLE_SECONDS
        while still < turns or self._reactor.seconds() < enough:
            await deferLater(self._reactor, 0)
            moved = self.moves()
            still += 1
            if moved != seen:
                seen, still = moved, 0
                enough = self._reactor.seconds() + _SETTLE_SECONDS

    async def run(self, seconds: float) -> None:
        """Let time pass from one timer to the next, with turns for the sockets between them."""
        end = self.seconds() + seconds
        await self.settle()
        while (left := end - self.seconds()) > 1e-9:
            self.advance(min(self._to_next(), left))
            await self.settle()

    async def run_until(self, condition: Callable[[], bool], *, within: float) -> float:
        """
        Let time pass until something holds; return the seconds that it took.

        :param within: seconds of this clock, after which it is a failure.
        """
        start = self.seconds()
        await self.settle()
        while not condition():
            if self.seconds() - start > within:
                raise AssertionError(f"not within {within:g} seconds")
            self.advance(self._to_next())
            await self.settle()
        return self.seconds() - start

    def _to_next(self) -> float:
        """Return the seconds until the next timer; a second where there is none."""
        due = min((call.getTime() for call in self.getDelayedCalls()), default=self.seconds() + 1)
        return max(0.0, due - self.seconds())

"""One connection of a chaos upstream: HTTP/1.1, as far as it is told to keep to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import repeat
from typing import Any, Protocol

from twisted.internet.interfaces import IDelayedCall, IPullProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from aiproxy.providers.chaos.scene import GARBAGE, Act, End
from aiproxy.providers.chaos.script import Step

__all__ = ["ChaosConnection"]


class _Upstream(Protocol):
    """Who says what a request meets."""

    clock: IReactorTime

    @property
    def next(self) -> Step:
        """The step that comes next."""

    def take(self) -> Step:
        """Count the next step as met."""

    def changed(self) -> None:
        """Something happened."""

    def answer(
        self,
        connection: ChaosConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        raw: bytes,
    ) -> tuple[Iterator[Act], bool]:
        """Return what a request meets, and whether its connection may serve again."""


@implementer(IPullProducer)
class ChaosConnection(TwistedProtocol):
    """
    One connection.

    :ivar number: of the connection, from 0.
    :ivar served: requests so far.
    :ivar sent: bytes that were written; those that nobody reads are not.
    :ivar lost: why it is gone; ``None`` while it is open.
    """

    # The transport asks for the next bytes when the last ones are with the
    # kernel: a reset then loses nothing, and an endless answer takes no memory.

    transport: Any

    def __init__(self, upstream: _Upstream, number: int) -> None:
        self.number = number
        self.served = 0
        self.sent = 0
        self.lost: BaseException | None = None
        self._upstream = upstream
        self._received = bytearray()
        self._acts: Iterator[Act] | None = None
        self._keep = True
        self._waiting: IDelayedCall | None = None

    @property
    def idle(self) -> bool:
        """It plays nothing now."""
        return self._acts is None

    def connectionMade(self) -> None:
        """Events are small, and none of them should wait for the one before it."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)

    def dataReceived(self, data: bytes) -> None:
        """Take a request, or a part of one."""
        self._received += data
        self._look()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self.lost = reason.value
        self._acts = None
        self.stopProducing()
        self._upstream.changed()

    def resumeProducing(self) -> None:
        """Play on: what was written is gone."""
        if self._waiting is not None or self._acts is None:
            return
        act = next((act for act in self._acts if act != b""), End.DONE)
        if isinstance(act, bytes):
            self.sent += len(act)
            self.transport.write(act)
            self._upstream.changed()
        elif isinstance(act, End):
            self._end(act)
        else:
            self._waiting = self._upstream.clock.callLater(act, self._go_on)

    def stopProducing(self) -> None:
        """Play no more."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _go_on(self) -> None:
        self._waiting = None
        self.resumeProducing()

    def _end(self, end: End) -> None:
        if end is End.HANG:
            self._acts = repeat(End.HANG)
            return
        self._acts = None
        self.transport.unregisterProducer()
        if end is End.RESET:
            self.transport.abortConnection()
        elif end is End.CLOSE or not self._keep:
            self.transport.loseConnection()
        else:
            self._look()
        self._upstream.changed()

    def _look(self) -> None:
        """Begin with a request if one is there."""
        upstream = self._upstream
        if self._acts is not None:
            return
        if upstream.next.fault == "tls":
            upstream.take()
            self.transport.write(GARBAGE)
            self.transport.loseConnection()
            return
        request = self._cut_request()
        if request is None:
            return
        self._acts, self._keep = upstream.answer(self, *request)
        self.served += 1
        self.transport.registerProducer(self, False)
        upstream.changed()

    def _cut_request(self) -> tuple[str, str, dict[str, str], bytes] | None:
        head, end, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not end:
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return None
        self._received = bytearray(rest[length:])
        method, path, _ = first.split(" ", 2)
        return method, path, headers, rest[:length]

"""One worker, as its supervisor sees it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.internet.stdio import StandardIO
from twisted.python.failure import Failure

from aiproxy.workers.conversation import Answers, Conversation, Hears
from aiproxy.workers.events import EventReader

__all__ = ["CONTROL_READ", "CONTROL_WRITE", "Worker", "talk"]

#: The worker's descriptors for the conversation.
CONTROL_READ, CONTROL_WRITE = 3, 4
_EVENTS = 2


class Worker(ProcessProtocol):
    """
    A worker.

    :param place: its number, from 1, in what the workers share.
    :param gone: called when it has ended, with why.
    :ivar ready: it serves.
    :ivar started: when it was started, on the supervisor's clock.
    :ivar conversation: with it.
    """

    def __init__(
        self,
        place: int,
        started: float,
        hears: Callable[[Worker], Hears],
        answers: Callable[[Worker], Answers],
        gone: Callable[[Worker, str], None],
    ) -> None:
        self.place = place
        self.started = started
        self.ready = False
        self.ended: Deferred[None] = Deferred()
        self._gone = gone
        self._events = EventReader(self.name)
        self.conversation = Conversation(self._write, hears(self), answers(self))

    @property
    def name(self) -> str:
        """What the log calls it."""
        return f"worker {self.place}"

    @property
    def pid(self) -> int | None:
        """Its process's number; ``None`` when it has ended."""
        pid: int | None = self.transport.pid  # type: ignore[union-attr]
        return pid

    def stop(self, *, leave: bool = False) -> None:
        """
        Tell it to end in order.

        :param leave: others go on listening on its sockets.
        """
        self.conversation.tell("leave" if leave else "stop")

    def kill(self) -> None:
        """End it at once."""
        if self.pid is not None:
            self.transport.signalProcess("KILL")  # type: ignore[union-attr]

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It says something."""
        if childFD == CONTROL_WRITE:
            self.conversation.received(data)
        elif childFD == _EVENTS:
            self._events.received(data)

    def processEnded(self, reason: Failure) -> None:
        """It has ended, and all that it has said was heard."""
        self._events.end()
        self.conversation.end()
        self._gone(self, _why(reason.value))
        self.ended.callback(None)

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
        if CONTROL_READ in transport.pipes:  # Else it has closed it, or has ended.
            transport.writeToChild(CONTROL_READ, data)


def _why(end: Any) -> str:
    if isinstance(end, ProcessDone):
        return "it has ended"
    if end.signal is not None:
        return f"signal {end.signal}"
    return f"exit status {end.exitCode}"


def talk(protocol: Protocol, reactor: Any) -> None:
    """Connect a child's end of the conversation to its descriptors."""
    connect: Any = StandardIO
    connect(protocol, stdin=CONTROL_READ, stdout=CONTROL_WRITE, reactor=reactor)

"""
All sockets of ours, which the reactor watches as one.

A reactor sets a log context up around each event of each socket, which costs
more than to read it.  Here that is done once for all that has happened in a
turn, which also tells when the turn begins and ends.  The reactor stays what it
is: to it we are one more descriptor, and to the sockets we are their reactor,
both by Twisted's interfaces (``IReadDescriptor``, ``IReactorFDSet``).
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Sequence
from typing import Any, Final

from twisted.internet import tcp, unix
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IConnector,
    IHalfCloseableDescriptor,
    IListeningPort,
    IProtocolFactory,
    IReactorFDSet,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.internet.posixbase import PosixReactorBase
from twisted.internet.protocol import ClientFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import directlyProvides, implementer, providedBy

from aiproxy.transport.busy_polling import BusyPolling
from aiproxy.transport.stages import Stages

__all__ = ["SocketGroup", "group_sockets", "stages_of"]

_log = Logger()

#: So many events make a turn at most, for the first of them waits for the last.
_MOST_EVENTS: Final = 64
#: After this a new turn is the reactor's again, which has timers and more descriptors.
_MOST_SECONDS: Final = 0.001


def group_sockets(reactor: Any) -> Any:
    """
    Return a reactor whose TCP and UNIX sockets are watched together.

    For all else it is the one that was given, which it is altogether where
    there is no ``epoll``, or it is none of Twisted's own for POSIX.
    """
    if isinstance(reactor, PosixReactorBase) and hasattr(select, "epoll"):
        return SocketGroup(reactor)
    return reactor


def stages_of(reactor: Any) -> Stages:
    """Return the turn of a reactor's sockets; without a group, one that never begins."""
    return reactor.stages if isinstance(reactor, SocketGroup) else Stages()


@implementer(IReadDescriptor)
class SocketGroup:
    """
    See the module.

    :param reactor: watches us as long as there is a socket.
    :ivar stages: of the present turn.
    """

    def __init__(self, reactor: Any) -> None:
        self.stages = Stages()
        # What is used all the time is found as it would be there.
        self.seconds, self.callLater = reactor.seconds, reactor.callLater
        self._reactor = reactor
        self._poll: Any = None
        self._polling = BusyPolling(reactor.seconds)
        #: By descriptor number: the socket, and the events that it wants to know.
        self._sockets: dict[int, Any] = {}
        self._events: dict[int, int] = {}
        #: A socket that is closed does not know its number any more.
        self._numbers: dict[Any, int] = {}
        #: Numbers that have come in this turn: what has happened to them is another's.
        self._fresh: set[int] = set()
        directlyProvides(self, IReadDescriptor, IReactorFDSet, providedBy(reactor))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    # --- to whom has sockets: a reactor -----------------------------------------------

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """As ``IReactorTCP``."""
        listening = tcp.Port(port, factory, backlog, interface, self)
        listening.startListening()
        return listening

    def listenUNIX(
        self,
        address: bytes,
        factory: IProtocolFactory,
        backlog: int = 50,
        mode: int = 0o666,
        wantPID: bool = False,
    ) -> IListeningPort:
        """As ``IReactorUNIX``."""
        listening = unix.Port(address, factory, backlog, mode, self, wantPID)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """As ``IReactorTCP``."""
        connector = tcp.Connector(host, port, factory, timeout, bindAddress, self)
        connector.connect()
        return connector

    # --- to sockets: who watches them ---------------------------------------------------

    def addReader(self, reader: IReadDescriptor) -> None:
        """Tell this one from now on when there is something to read."""
        self._add(reader, select.EPOLLIN)

    def addWriter(self, writer: IWriteDescriptor) -> None:
        """Tell this one from now on when it can write."""
        self._add(writer, select.EPOLLOUT)

    def removeReader(self, reader: IReadDescriptor) -> None:
        """Do not any more.  Harmless when repeated."""
        self._remove(reader, select.EPOLLIN)

    def removeWriter(self, writer: IWriteDescriptor) -> None:
        """Do not any more.  Harmless when repeated."""
        self._remove(writer, select.EPOLLOUT)

    def removeAll(self) -> list[Any]:
        """Watch nobody any more, here or there; return who was watched."""
        ours = list(self._numbers)
        for descriptor in ours:
            self._remove(descriptor, select.EPOLLIN | select.EPOLLOUT)
        return [*ours, *self._reactor.removeAll()]

    def getReaders(self) -> list[Any]:
        """Return who waits to read, here or there."""
        return [*self._wanting(select.EPOLLIN), *self._reactor.getReaders()]

    def getWriters(self) -> list[Any]:
        """Return who waits to write, here or there."""
        return [*self._wanting(select.EPOLLOUT), *self._reactor.getWriters()]

    def _wanting(self, event: int) -> list[Any]:
        return [one for one, number in self._numbers.items() if self._events[number] & event]

    def _add(self, descriptor: Any, event: int) -> None:
        number = self._numbers.get(descriptor)
        if number is not None:
            events = self._events[number]
            if not events & event:
                self._events[number] = events | event
                self._poll.modify(number, events | event)
            return
        if not self._sockets:
            self._poll = select.epoll()
            self._reactor.addReader(self)
        number = descriptor.fileno()
        self._poll.register(number, event)
        self._sockets[number] = descriptor
        self._numbers[descriptor] = number
        self._events[number] = event
        self._fresh.add(number)

    def _remove(self, descriptor: Any, event: int) -> None:
        number = self._numbers.get(descriptor)
        if number is None or not self._events[number] & event:
            return
        events = self._events[number] & ~event
        if events:
            self._events[number] = events
            self._poll.modify(number, events)
            return
        del self._sockets[number], self._numbers[descriptor], self._events[number]
        with contextlib.suppress(OSError):  # It may be closed, and has left by that.
            self._poll.unregister(number)
        if not self._sockets:
            self._reactor.removeReader(self)
            self._poll.close()

    # --- to the reactor: a descriptor -----------------------------------------------------

    def fileno(self) -> int:
        """Return the number of what is ready to be read when anything has happened."""
        number: int = self._poll.fileno()
        return number

    def logPrefix(self) -> str:
        """Return what Twisted's older log lines begin with."""
        return "aiproxy"

    def doRead(self) -> None:
        """Tell the sockets what has happened to them, and what happens right after that."""
        began = self.seconds()
        self._polling.woke()
        happened = self._look()
        while happened:
            self._turn(happened)
            happened = self._polling.look(self._look) if self._may_stay(began) else ()
        self._polling.sleeps()

    def _may_stay(self, began: float) -> bool:
        """Whether somebody is watched, and the reactor need not do anything else by now."""
        if not self._sockets or not 0 <= self.seconds() - began < _MOST_SECONDS:
            return False
        # What is due may be the very thing that a peer waits for: TLS writes that way.
        due: float | None = self._reactor.timeout()
        return due is None or due > 0

    def _look(self) -> Sequence[tuple[int, int]]:
        """Return what has happened: the numbers of descriptors, and events."""
        happened: Sequence[tuple[int, int]] = self._poll.poll(0, _MOST_EVENTS)
        return happened

    def _turn(self, happened: Sequence[tuple[int, int]]) -> None:
        """Tell the sockets what has happened to them, and end the turn."""
        sockets, fresh = self._sockets, self._fresh
        fresh.clear()
        together = len(happened) > 1
        if together:
            self.stages.begin()
        for number, event in happened:
            descriptor = sockets.get(number)
            if descriptor is None or number in fresh:
                continue
            try:
                if event == select.EPOLLIN:  # It mostly is so.
                    why = descriptor.doRead()
                    if why is not None:
                        self._disconnect(descriptor, why, reading=True)
                else:
                    self._tell(descriptor, number, event)
            except BaseException as error:
                # As in any reactor: a bug ends the connection, not the server.
                _log.failure("a connection failed")
                self._disconnect(descriptor, error, reading=False)
        if together:
            self.stages.end()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor ends, and all connections with it."""
        for descriptor in list(self._numbers):
            self._remove(descriptor, select.EPOLLIN | select.EPOLLOUT)
            descriptor.connectionLost(reason)

    def _tell(self, descriptor: Any, number: int, event: int) -> None:
        """Tell a socket of more than something to read."""
        if event & select.EPOLLIN:
            why = descriptor.doRead()
            if why is not None:
                self._disconnect(descriptor, why, reading=True)
                return
        elif event & (select.EPOLLHUP | select.EPOLLERR):
            # All was read: for who reads it is the end, for others a loss.
            if self._events[number] & select.EPOLLIN:
                self._disconnect(descriptor, ConnectionDone(), reading=True)
            else:
                self._disconnect(descriptor, ConnectionLost(), reading=False)
            return
        if event & select.EPOLLOUT:
            why = descriptor.doWrite()
            if why is not None:
                self._disconnect(descriptor, why, reading=False)

    def _disconnect(self, descriptor: Any, why: BaseException, *, reading: bool) -> None:
        self.removeReader(descriptor)
        ended = reading and type(why) is ConnectionDone
        if ended and IHalfCloseableDescriptor.providedBy(descriptor):
            descriptor.readConnectionLost(Failure(why))
        else:
            self.removeWriter(descriptor)
            descriptor.connectionLost(Failure(why))

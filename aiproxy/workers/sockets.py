"""
Listening sockets that several processes have: bound once, and read by each worker.

Who closes one of them must not shut it down, nor remove its path, for it is
the others' too.  Each takes one connection at a time: whoever has time comes
back soonest, so that the load spreads by itself.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from typing import Any

from attrs import frozen
from twisted.internet import tcp, unix
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from aiproxy.listening import Place, cannot_listen, make_endpoint, where_of

__all__ = ["AdoptedEndpoint", "SharedSocket", "bind"]


@frozen
class SharedSocket:
    """
    A socket that listens, in a process that does not read it.

    :param number: its descriptor here.
    :param port: who has bound it here; ``None``: it was handed to this process.
    """

    place: Place
    number: int
    family: int
    port: Any = None

    @property
    def where(self) -> tuple[str, ...]:
        """Its URL, or its path, and where else it is."""
        name = self._name
        if self.family == socket.AF_UNIX:
            return (str(name),)
        return where_of(IPv4Address("TCP", *name[:2]), self.place.tls)

    def take_path(self) -> None:
        """
        Own the path of a socket that was handed to this process: who had it is gone.

        Else another server would find that process's lock, and take the path.
        """
        lock = self._lock
        if lock is not None:
            with suppress(OSError):
                os.symlink(str(os.getpid()), f"{lock}.new")
                os.replace(f"{lock}.new", lock)

    def leave_path(self) -> None:
        """Remove the path of a socket that was handed to this process, if it is ours."""
        lock = self._lock
        if lock is not None:
            with suppress(OSError):
                if os.readlink(lock) == str(os.getpid()):
                    os.unlink(self._name)
                    os.unlink(lock)

    @property
    def _name(self) -> Any:
        with socket.socket(fileno=os.dup(self.number)) as copy:
            return copy.getsockname()

    @property
    def _lock(self) -> str | None:
        """Return Twisted's lock of the path, which holds a process's number."""
        lock = f"{self._name}.lock"
        return lock if self.family == socket.AF_UNIX and os.path.islink(lock) else None


def bind(reactor: Any, place: Place) -> SharedSocket:
    """
    Listen at a place, and leave the reading to others.

    :raises ListenError: it cannot be done.
    """
    endpoint = make_endpoint(reactor, place)
    ports: list[Any] = []
    failures: list[Failure] = []
    endpoint.listen(_Nobody()).addCallbacks(ports.append, failures.append)
    if failures:
        raise cannot_listen(place.name, failures[0])
    [port] = ports
    port.stopReading()
    return SharedSocket(place, port.fileno(), port.addressFamily, port)


@implementer(IStreamServerEndpoint)
@frozen
class AdoptedEndpoint:
    """
    A socket that somebody else has bound.

    :param number: its descriptor; it becomes ours.
    :param family: such as ``AF_INET``.
    """

    reactor: Any
    number: int
    family: int

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Read it."""
        port = _make_port(self.family, self.number, factory, self.reactor)
        os.close(self.number)  # The port has a copy.
        port.startListening()
        return succeed(port)


class _Nobody(Factory):
    """Serves in a process that does not read the socket."""

    noisy = False

    def logPrefix(self) -> str:
        """Return what the log says that starts."""
        return "aiproxy"


class _OneAtATime:
    """See the module."""

    numberAccepts: int

    def doRead(self) -> None:
        self.numberAccepts = 1
        super().doRead()  # type: ignore[misc]


class _SharedTCPPort(_OneAtATime, tcp.Port):
    """A port of a socket that others have too."""


class _SharedUNIXPort(_OneAtATime, unix.Port):
    """A port of a socket that others have too, and its path."""

    def startListening(self) -> None:
        # Twisted's would change the path's mode.
        port: Any = self
        port.socket, port._preexistingSocket = port._preexistingSocket, None
        port._shouldShutdown = False
        port.factory.doStart()
        port.connected = True
        port.fileno = port.socket.fileno
        port.startReading()

    def connectionLost(self, reason: Failure) -> None:
        # Twisted's would remove the path.
        tcp.Port.connectionLost(self, reason)


def _make_port(family: int, number: int, factory: IProtocolFactory, reactor: Any) -> Any:
    if family == socket.AF_UNIX:
        return _SharedUNIXPort._fromListeningDescriptor(reactor, number, factory)  # type: ignore[no-untyped-call]
    return _SharedTCPPort._fromListeningDescriptor(reactor, number, family, factory)  # type: ignore[no-untyped-call]

"""Sockets that several have."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

from aiproxy.listening import ListenError, Place
from aiproxy.workers.sockets import AdoptedEndpoint, SharedSocket, bind


class Greeter(Protocol):
    """Says the name of its factory, and hangs up."""

    def connectionMade(self) -> None:
        """Say it."""
        self.transport.write(self.factory.name)  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


class Listener(Protocol):
    """Hears all that is said."""

    def __init__(self) -> None:
        self.heard = b""
        self.told: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.heard += data

    def connectionLost(self, reason: Any = None) -> None:
        self.told.callback(self.heard)


class SocketTests(TestCase):
    """One binds, others read."""

    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    def bind(self, description: str) -> SharedSocket:
        """Bind it until the test is over."""
        shared = bind(self.reactor, Place("here", description))
        self.addCleanup(shared.port.stopListening)
        return shared

    async def adopt(self, shared: SharedSocket, name: bytes) -> Any:
        """Read it as another process does, which has a copy of the descriptor."""
        factory: Any = Factory.forProtocol(Greeter)
        factory.name, factory.noisy = name, False
        number = os.dup(shared.number)
        port = await AdoptedEndpoint(self.reactor, number, shared.family).listen(factory)
        with self.assertRaises(OSError):
            os.fstat(number)
        return port

    async def hear(self, description: str) -> bytes:
        """Connect, and return what is said."""
        endpoint = clientFromString(self.reactor, description)
        listener = await endpoint.connect(Factory.forProtocol(Listener))
        told: bytes = await listener.told
        return told

    async def check(self, shared: SharedSocket, client: str) -> None:
        """Let two read it, one after the other, with a client that comes between them."""
        first = await self.adopt(shared, b"first")
        self.assertEqual(await self.hear(client), b"first")
        await first.stopListening()
        between = Deferred.fromCoroutine(self.hear(client))
        second = await self.adopt(shared, b"second")
        self.assertEqual(await between, b"second")
        self.assertEqual(await self.hear(client), b"second")
        await second.stopListening()

    async def test_tcp(self) -> None:
        """Who stops reading leaves the socket to the others."""
        shared = self.bind("tcp:0:interface=127.0.0.1")
        [url] = shared.where
        self.assertRegex(url, r"http://127\.0\.0\.1:\d+")
        port = url.rpartition(":")[2]
        await self.check(shared, f"tcp:127.0.0.1:{port}")

    async def test_unix(self) -> None:
        """So it is with a path, which keeps its mode until who has bound it ends."""
        path = Path(mkdtemp(prefix="aiproxy-")) / "s"
        shared = self.bind(f"unix:{path}:mode=600")
        self.assertEqual(shared.where, (str(path),))
        await self.check(shared, f"unix:{path}")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        await shared.port.stopListening()
        self.assertFalse(path.exists())
        path.parent.rmdir()

    async def test_handed_path(self) -> None:
        """A path that was handed here is locked by this process, which removes it at its end."""
        folder = Path(mkdtemp(prefix="aiproxy-"))
        path, lock = folder / "s", folder / "s.lock"
        bound = self.bind(f"unix:{path}")
        lock.unlink()
        lock.symlink_to("1")
        shared = SharedSocket(bound.place, bound.number, bound.family)
        shared.leave_path()
        self.assertTrue(path.exists())
        shared.take_path()
        self.assertEqual(str(lock.readlink()), str(os.getpid()))
        shared.leave_path()
        self.assertEqual(list(folder.iterdir()), [])
        path.touch()  # Who has bound it removes both, too.
        lock.symlink_to(str(os.getpid()))
        await bound.port.stopListening()
        folder.rmdir()

    async def test_no_lock(self) -> None:
        """A path without a lock may be somebody else's, and stays."""
        folder = Path(mkdtemp(prefix="aiproxy-"))
        path = folder / "s"
        bound = self.bind(f"unix:{path}:lockfile=0")
        shared = SharedSocket(bound.place, bound.number, bound.family)
        shared.take_path()
        shared.leave_path()
        self.assertEqual(list(folder.iterdir()), [path])
        await bound.port.stopListening()
        folder.rmdir()

    async def test_one_at_a_time(self) -> None:
        """Of several who have come, each look takes one: others may look in between."""
        shared = self.bind("tcp:0:interface=127.0.0.1")
        address = ("127.0.0.1", int(shared.where[0].rpartition(":")[2]))
        clients = [socket.create_connection(address) for _ in range(3)]
        port = await self.adopt(shared, b"x")
        port.stopReading()
        served: list[Any] = []
        port.factory.buildProtocol = lambda peer: served.append(peer)
        for count in (1, 2, 3, 3):
            port.doRead()
            self.assertEqual(len(served), count)
        for client in clients:
            client.close()
        await port.stopListening()

    def test_impossible(self) -> None:
        """Where nobody can listen is said, and why."""
        shared = self.bind("tcp:0:interface=127.0.0.1")
        taken = shared.where[0].rpartition(":")[2]
        for description, why in (
            (f"tcp:{taken}:interface=127.0.0.1", "in use"),
            ("unix:/no/such/folder/s", "No such file"),
            ("nonsense:1", "nonsense"),
        ):
            with self.assertRaisesRegex(ListenError, f"cannot listen on here: .*{why}"):
                bind(self.reactor, Place("here", description))

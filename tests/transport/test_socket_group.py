"""Tests of :mod:`aiproxy.transport.socket_group`."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    connectProtocol,
)
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IReactorFDSet,
    IReactorTCP,
    IReactorTime,
    IReadDescriptor,
    IWriteDescriptor,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from aiproxy.transport.socket_group import SocketGroup, group_sockets, stages_of

MANY_BYTES = 4_000_000


class Talker(Protocol):
    """
    Writes down what comes, and tells of the end.

    :ivar wanted: fires when all of a text has come.
    :ivar lost: fires with the reason.
    """

    def __init__(self) -> None:
        self.heard = b""
        self.wanted: tuple[int, Deferred[bytes]] | None = None
        self.made: Deferred[None] = Deferred()
        self.lost: Deferred[Failure] = Deferred()

    def connectionMade(self) -> None:
        self.made.callback(None)

    def dataReceived(self, data: bytes) -> None:
        self.heard += data
        if self.wanted is not None and len(self.heard) >= self.wanted[0]:
            wanted, self.wanted = self.wanted[1], None
            wanted.callback(self.heard)

    def hear(self, count: int) -> Deferred[bytes]:
        """Return what fires when so much has come."""
        wanted: Deferred[bytes] = Deferred()
        self.wanted = count, wanted
        self.dataReceived(b"")
        return wanted

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self.lost.callback(reason.value)  # type: ignore[arg-type]


@implementer(IHalfCloseableProtocol)
class HalfTalker(Talker):
    """Goes on when the peer has nothing more to say."""

    def readConnectionLost(self) -> None:
        assert self.transport is not None
        self.transport.write(b"bye")
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """It is not."""


class Broken(Talker):
    """Fails at whatever it hears."""

    def dataReceived(self, data: bytes) -> None:
        raise ZeroDivisionError


class SocketTests(TestCase):
    """Real sockets, of a reactor that has others."""

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.group: Any = group_sockets(reactor)
        self.assertIsInstance(self.group, SocketGroup)
        self.served: list[Talker] = []

    async def pair(self, serve: Callable[[], Talker] = Talker) -> tuple[Talker, Talker]:
        """Return both ends of a connection, the client's first."""
        served = serve()
        port = await TCP4ServerEndpoint(self.group, 0, interface="127.0.0.1").listen(
            Factory.forProtocol(lambda: served)
        )
        endpoint = TCP4ClientEndpoint(self.group, "127.0.0.1", port.getHost().port)
        client = await connectProtocol(endpoint, Talker())
        await served.made
        await port.stopListening()
        return client, served

    async def end(self, *talkers: Talker) -> None:
        """Close the connections; then the reactor knows nothing of us."""
        for talker in talkers:
            assert talker.transport is not None
            talker.transport.loseConnection()
        await gatherResults([talker.lost for talker in talkers])
        self.assertNotIn(self.group, self.reactor.getReaders())

    async def test_talk(self) -> None:
        """What is written comes, both ways; the reactor sees one descriptor for all."""
        client, served = await self.pair()
        assert client.transport is not None and served.transport is not None
        self.assertIn(self.group, self.reactor.getReaders())
        self.assertLessEqual({client.transport, served.transport}, set(self.group.getReaders()))
        client.transport.write(b"one")
        self.assertEqual(await served.hear(3), b"one")
        served.transport.write(b"two")
        self.assertEqual(await client.hear(3), b"two")
        await self.end(client, served)

    async def test_full(self) -> None:
        """Who is full is told when it is not any more; who is paused hears nothing."""
        client, served = await self.pair()
        transport: Any = served.transport
        transport.pauseProducing()
        assert client.transport is not None
        client.transport.write(bytes(MANY_BYTES))
        self.assertIn(client.transport, self.group.getWriters())
        transport.resumeProducing()
        self.assertEqual(len(await served.hear(MANY_BYTES)), MANY_BYTES)
        self.assertEqual(self.group.getWriters(), [])
        await self.end(client, served)

    async def test_closed(self) -> None:
        """The end of one end is told at the other one."""
        client, served = await self.pair()
        assert client.transport is not None
        client.transport.loseConnection()
        self.assertIsInstance(await served.lost, ConnectionDone)
        await self.end(client)

    async def test_half_closed(self) -> None:
        """Who can go on when the other end has said all, does."""
        client, served = await self.pair(HalfTalker)
        transport: Any = client.transport
        transport.loseWriteConnection()
        self.assertEqual(await client.hear(3), b"bye")
        await self.end(client, served)

    async def test_reset(self) -> None:
        """So is a reset, which is a loss."""
        client, served = await self.pair()
        transport: Any = client.transport
        transport.abortConnection()
        self.assertIsInstance(await served.lost, ConnectionLost)
        await client.lost
        await self.end()

    async def test_refused(self) -> None:
        """Nobody listens."""
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            endpoint = TCP4ClientEndpoint(self.group, "127.0.0.1", reserved.getsockname()[1])
            with self.assertRaises(ConnectionRefusedError):
                await connectProtocol(endpoint, Talker())

    async def test_bug(self) -> None:
        """A protocol that fails loses its connection, and nobody else does."""
        client, served = await self.pair(Broken)
        others = await self.pair()
        assert client.transport is not None and others[0].transport is not None
        client.transport.write(b"one")
        self.assertIsInstance(await served.lost, ZeroDivisionError)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        others[0].transport.write(b"two")
        self.assertEqual(await others[1].hear(3), b"two")
        await self.end(client, *others)

    async def test_unix(self) -> None:
        """UNIX sockets listen here too."""
        path = f"\0aiproxy-{id(self)}"
        served = Talker()
        port = await UNIXServerEndpoint(self.group, path).listen(
            Factory.forProtocol(lambda: served)
        )
        self.assertIn(port, self.group.getReaders())
        client = await connectProtocol(UNIXClientEndpoint(self.group, path), Talker())
        assert client.transport is not None
        client.transport.write(b"one")
        self.assertEqual(await served.hear(3), b"one")
        await port.stopListening()
        await self.end(client, served)


class Outer(Clock):
    """A reactor that only knows who reads; whoever asks for the time takes some."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: list[Any] = []

    def seconds(self) -> float:
        self.rightNow += 1e-6
        return super().seconds()

    def timeout(self) -> float | None:
        calls = self.getDelayedCalls()
        return max(0, calls[0].getTime() - self.rightNow) if calls else None

    def addReader(self, reader: Any) -> None:
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        self.readers.remove(reader)

    def removeAll(self) -> list[Any]:
        return ["its own"]


@implementer(IReadDescriptor, IWriteDescriptor)
class End:
    """
    One end of a pair of sockets, as a descriptor.

    :ivar told: what it was told, as one word each.
    :ivar answer: what it says to that: why it is over, if it is.
    """

    def __init__(self, group: SocketGroup, number: int | None = None) -> None:
        self.group = group
        self.ours, self.theirs = socket.socketpair()
        self.told: list[str] = []
        self.answer: Callable[[], BaseException | None] = lambda: None

    def fileno(self) -> int:
        return self.ours.fileno()

    def logPrefix(self) -> str:
        return "end"

    def doRead(self) -> Any:
        self.told.append("read")
        self.ours.recv(100)
        return self.answer()

    def doWrite(self) -> Any:
        self.told.append("write")
        return self.answer()

    def connectionLost(self, reason: Failure) -> None:
        self.told.append(type(reason.value).__name__)

    def close(self) -> None:
        self.group.removeReader(self)
        self.group.removeWriter(self)
        self.ours.close()
        self.theirs.close()


class DescriptorTests(SynchronousTestCase):
    """What descriptors are told, event by event."""

    def setUp(self) -> None:
        self.outer = Outer()
        self.group = SocketGroup(self.outer)

    def end(self) -> End:
        """Make one."""
        end = End(self.group)
        self.addCleanup(end.close)
        return end

    def turn(self) -> None:
        """Let a turn begin after a while, so that it stays the only one."""
        self.outer.advance(1)
        self.group.doRead()

    def test_read_and_write(self) -> None:
        """Each is told what it wants to know."""
        end = self.end()
        self.group.addReader(end)
        self.group.addWriter(end)
        self.group.addWriter(end)
        self.turn()
        end.theirs.send(b"x")
        self.turn()
        self.group.removeWriter(end)
        self.group.removeWriter(end)
        self.turn()
        self.assertEqual(end.told, ["write", "read", "write"])

    def test_only_while(self) -> None:
        """The reactor watches us as long as there is somebody."""
        first, second = self.end(), self.end()
        self.group.addReader(first)
        self.group.addReader(second)
        self.assertEqual(self.outer.readers, [self.group])
        self.assertGreater(self.group.fileno(), 0)
        self.group.removeReader(first)
        self.assertEqual(self.outer.readers, [self.group])
        second.ours.close()
        self.group.removeReader(second)
        self.group.removeReader(second)
        self.assertEqual(self.outer.readers, [])
        self.group.addReader(first)
        self.assertEqual(self.outer.readers, [self.group])

    def test_over(self) -> None:
        """Who says that it is over is watched no more, and told."""
        for add in (self.group.addReader, self.group.addWriter):
            end = self.end()
            end.answer = lambda: ConnectionLost()
            add(end)
            end.theirs.send(b"x")
            self.turn()
            self.assertEqual(end.told[1:], ["ConnectionLost"])
            self.assertEqual(self.outer.readers, [])

    def test_over_before_writing(self) -> None:
        """Who is over when it has read does not write."""
        end = self.end()
        end.answer = lambda: ConnectionDone()
        self.group.addReader(end)
        self.group.addWriter(end)
        end.theirs.send(b"x")
        self.turn()
        self.assertEqual(end.told, ["read", "ConnectionDone"])

    def test_gone(self) -> None:
        """The peer is gone: who reads has read all, who writes has lost it."""
        for add, told in (
            (self.group.addReader, ["read", "read"]),
            (self.group.addWriter, ["ConnectionLost"]),
        ):
            end = self.end()
            add(end)
            if add == self.group.addReader:
                end.theirs.send(b"x")
            end.theirs.close()
            self.turn()
            if add == self.group.addReader:
                self.turn()
            self.assertEqual(end.told, told)
            end.close()

    def test_bug(self) -> None:
        """Who fails is watched no more; the others are told all the same."""
        broken, other = self.end(), self.end()
        broken.answer = lambda: BaseException(1 // 0)
        for end in (broken, other):
            self.group.addReader(end)
            end.theirs.send(b"x")
        self.turn()
        self.assertEqual(broken.told, ["read", "ZeroDivisionError"])
        self.assertEqual(other.told, ["read"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_another_with_its_number(self) -> None:
        """Who has come in this turn, with the number of one that went, is not told of its."""
        first, second = self.end(), self.end()
        came: list[End] = []

        def replace(other: End) -> Callable[[], None]:
            def replace() -> None:
                if not came:
                    number = other.ours.fileno()
                    self.group.removeReader(other)
                    other.ours.close()
                    end = self.end()
                    came.append(end)
                    if end.ours.fileno() == number:
                        self.group.addReader(end)

            return replace

        first.answer, second.answer = replace(second), replace(first)
        for end in (first, second):
            self.group.addReader(end)
            end.theirs.send(b"x")
        self.turn()
        self.assertEqual(came[0].told, [])
        came[0].theirs.send(b"x")
        self.turn()
        self.assertEqual(came[0].told, ["read"])

    def test_turn(self) -> None:
        """All events of a turn are seen before anything of the next stage."""
        ends = [self.end(), self.end()]
        order: list[str] = []

        def read() -> None:
            order.append("read")
            self.assertTrue(self.group.stages.later(lambda: order.append("later")))

        for end in ends:
            end.answer = read
            self.group.addReader(end)
            end.theirs.send(b"x")
        self.turn()
        self.assertEqual(order, ["read", "read", "later", "later"])

    def expect_turns(self, end: End, turns: int) -> None:
        """Let one more event happen in each turn, as between quick peers; count the turns."""

        def read() -> None:
            end.theirs.send(b"x")
            self.outer.rightNow += 0.000_2  # The reactor itself does nothing meanwhile.

        end.answer = read
        end.told.clear()
        self.group.doRead()
        self.assertEqual(end.told, ["read"] * turns)

    def test_busy(self) -> None:
        """What happens right after a turn is told in the next, up to the reactor's time."""
        end = self.end()
        self.group.addReader(end)
        end.theirs.send(b"x")
        self.expect_turns(end, 1)  # What it was to wait for, nobody knows yet.
        self.outer.advance(0.000_05)
        self.expect_turns(end, 5)

    def test_due(self) -> None:
        """The reactor has something to do now: it is not kept from it, as it is later."""
        end = self.end()
        self.group.addReader(end)
        end.theirs.send(b"x")
        self.expect_turns(end, 1)
        self.outer.callLater(0, lambda: None)
        self.expect_turns(end, 1)
        self.outer.advance(0)
        self.outer.callLater(1, lambda: None)
        self.expect_turns(end, 5)

    def test_nobody_left(self) -> None:
        """The last one goes: nothing is left to be looked at."""
        end = self.end()
        self.group.addReader(end)
        for _ in range(2):
            end.theirs.send(b"x")
            self.outer.advance(0.000_05)
            self.group.doRead()
            end.answer = lambda: self.group.removeReader(end)
        self.assertEqual((end.told, self.outer.readers), (["read", "read"], []))

    def test_remove_all(self) -> None:
        """All can be taken away at once, the reactor's own among them; they are not told."""
        ends = [self.end(), self.end()]
        for end in ends:
            self.group.addReader(end)
        self.assertEqual(self.group.removeAll(), [*ends, "its own"])
        self.assertEqual(([end.told for end in ends], self.outer.readers), ([[], []], []))

    def test_reactor_ends(self) -> None:
        """When we are lost, all are."""
        ends = [self.end(), self.end()]
        for end in ends:
            self.group.addReader(end)
        self.group.connectionLost(Failure(ConnectionLost()))
        self.assertEqual([end.told for end in ends], [["ConnectionLost"]] * 2)
        self.assertEqual(self.outer.readers, [])


class GroupSocketsTests(SynchronousTestCase):
    """Which reactors have a group."""

    def test_own(self) -> None:
        """Twisted's do; the group is one of them, and has no group of its own."""
        from twisted.internet import reactor

        group = group_sockets(reactor)
        self.assertIs(group_sockets(group), group)
        self.assertIs(stages_of(group), group.stages)
        self.assertIs(group.nameResolver, reactor.nameResolver)  # type: ignore[attr-defined]
        for interface in (IReactorTCP, IReactorTime, IReactorFDSet, IReadDescriptor):
            self.assertTrue(interface.providedBy(group), interface)

    def test_others(self) -> None:
        """Any other is left as it is, and its turns never begin."""
        reactor = MemoryReactorClock()
        self.assertIs(group_sockets(reactor), reactor)
        self.assertFalse(stages_of(reactor).later(self.fail))

    def test_descriptor(self) -> None:
        """A transport of Twisted's takes us for its reactor."""
        from twisted.internet import reactor

        group = group_sockets(reactor)
        ours, theirs = socket.socketpair()
        transport = tcp.Connection(ours, Protocol(), group)
        transport.startReading()
        self.assertEqual(group.getReaders(), [transport, *reactor.getReaders()])
        transport.stopReading()
        ours.close()
        theirs.close()

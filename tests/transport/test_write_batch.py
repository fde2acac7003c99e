"""Tests of :mod:`aiproxy.transport.write_batch`."""

from __future__ import annotations

import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import tcp
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.write_batch import BatchedWriter, WriteBatch

#: More than the batch takes, and less than a socket's buffer.
LARGE = 20_000
#: More than a socket's buffer.
HUGE = 4_000_000


class Peer:
    """
    A writer to a real socket, and the socket's other end.

    Its transport is Twisted's own, but what it asks of the reactor is done by
    :meth:`take`.
    """

    def __init__(self, batch: WriteBatch, reactor: Any, kind: int = socket.SOCK_STREAM) -> None:
        ours, self._theirs = socket.socketpair(socket.AF_UNIX, kind)
        self._theirs.setblocking(False)
        self.transport = tcp.Connection(ours, Protocol(), reactor)
        self.transport.connected = 1
        self.writer = BatchedWriter(batch, self.transport)

    def receive(self) -> bytes:
        """Return what has come; of packets, the first."""
        return self._theirs.recv(2**20)

    def take(self, *, drain: bool = False) -> bytes:
        """Return what has come; to drain lets the transport write its buffer too."""
        pieces = []
        while True:
            try:
                pieces.append(self.receive())
            except BlockingIOError:
                if not (drain and self.buffered):
                    return b"".join(pieces)
                self.transport.doWrite()

    @property
    def buffered(self) -> bool:
        """Whether something waits in the transport's buffer."""
        return bool(self.transport._tempDataLen or self.transport.dataBuffer)

    def close(self) -> None:
        """Close both ends."""
        self.transport.socket.close()
        self._theirs.close()


class InTLS:
    """What stands above a transport in TLS."""

    def __init__(self, transport: tcp.Connection) -> None:
        self.transport = transport


class WriteBatchTestCase(SynchronousTestCase):
    """A batch, and those who write by it."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.batch = WriteBatch()
        self.batch.begin()

    def peers(self, count: int) -> list[Peer]:
        """Connect some."""
        peers = [Peer(self.batch, self.reactor) for _ in range(count)]
        for peer in peers:
            self.addCleanup(peer.close)
        return peers

    def end_turn(self) -> None:
        """Let a busy turn end, and another one begin."""
        self.batch.end()
        self.batch.begin()


class WorthTests(WriteBatchTestCase):
    """When writes wait for each other."""

    def test_busy(self) -> None:
        """Turns with many writes: each waits for the turn's end."""
        peers = self.peers(4)
        for turn in (b"1", b"2", b"3"):
            for peer in peers:
                peer.writer.write(turn)
            self.assertEqual([peer.take() for peer in peers], [b""] * 4)
            self.end_turn()
            self.assertEqual([peer.take() for peer in peers], [turn] * 4)

    def test_quiet(self) -> None:
        """Outside of busy turns all is written at once."""
        [peer] = self.peers(1)
        self.batch.end()
        peer.writer.write(b"y")
        self.assertEqual(peer.take(), b"y")

    def test_large(self) -> None:
        """What is large is written at once, after all that waits."""
        peers = self.peers(3)
        for peer in peers:
            peer.writer.write(b"x")
        peers[1].writer.write(bytes(LARGE))
        self.assertEqual([peer.take() for peer in peers], [b"x", b"x" + bytes(LARGE), b"x"])


class WriterTests(WriteBatchTestCase):
    """What becomes of one writer's writes."""

    def test_once(self) -> None:
        """Several writes of a turn are one."""
        peer = Peer(self.batch, self.reactor, socket.SOCK_SEQPACKET)
        self.addCleanup(peer.close)
        for data in (b"a", b"b", b"c"):
            peer.writer.write(data)
        self.end_turn()
        self.assertEqual(peer.receive(), b"abc")

    def test_waits(self) -> None:
        """It is known whether the peer has yet to take something, of a turn or of the transport."""
        [peer] = self.peers(1)
        self.assertFalse(peer.writer.waits)
        peer.writer.write(b"a")
        self.assertTrue(peer.writer.waits)
        self.end_turn()
        self.assertFalse(peer.writer.waits)
        peer.writer.write(bytes(HUGE))
        self.assertTrue(peer.writer.waits)
        self.assertTrue(BatchedWriter(self.batch, InTLS(peer.transport)).waits)
        peer.take(drain=True)
        self.assertFalse(peer.writer.waits)

    def test_on_and_on(self) -> None:
        """Who writes on and on in one turn is stopped when the kernel takes no more."""
        [peer] = self.peers(1)
        stops: list[str] = []

        class Producer:
            def pauseProducing(self) -> None:
                stops.append("pause")

        producer: Any = Producer()
        peer.transport.registerProducer(producer, True)
        written = 0
        while not stops and written < HUGE:
            peer.writer.write(b"x" * 1000)
            written += 1000
        self.assertEqual(stops, ["pause"])
        self.assertLess(written, HUGE)
        self.assertLessEqual(len(peer.writer.unsent), 16 * 1024)
        peer.transport.producer = None
        self.end_turn()
        self.assertEqual(peer.take(drain=True), b"x" * written)

    def test_within(self) -> None:
        """What somebody writes while all that waits is written does not overtake it."""
        full, other = self.peers(2)
        full.writer.write(b"a" * HUGE)
        inner = other.writer

        class Producer:
            def pauseProducing(self) -> None:
                inner.write(b"c" * LARGE)

        producer: Any = Producer()
        full.transport.registerProducer(producer, True)
        full.writer.write(b"b")
        inner.write(b"b")
        self.end_turn()
        self.assertEqual(other.take(drain=True), b"b" + b"c" * LARGE)
        full.transport.producer = None

    def test_flush(self) -> None:
        """What waits can be written before its time; nothing comes twice."""
        [peer] = self.peers(1)
        peer.writer.write(b"a")
        peer.writer.flush()
        peer.writer.flush()
        self.assertEqual(peer.take(), b"a")
        self.end_turn()
        self.assertEqual(peer.take(), b"")

    def test_drop(self) -> None:
        """What waits can be forgotten; what follows is not."""
        [peer] = self.peers(1)
        peer.writer.write(b"a")
        self.assertEqual(peer.writer.unsent, b"a")
        peer.writer.drop()
        peer.writer.write(b"b")
        self.end_turn()
        self.assertEqual(peer.take(), b"b")

    def test_full(self) -> None:
        """What the kernel does not take waits in the transport's buffer, and is not overtaken."""
        [peer] = self.peers(1)
        peer.writer.write(b"a" * HUGE)
        self.assertTrue(peer.buffered)
        peer.writer.write(b"b")
        peer.writer.write(b"c" * LARGE)
        self.end_turn()
        self.assertEqual(peer.take(drain=True), b"a" * HUGE + b"b" + b"c" * LARGE)

    def test_lost(self) -> None:
        """A transport that is gone takes nothing; one that breaks is asked to write, and tells."""
        gone, broken = self.peers(2)
        gone.writer.write(b"a")
        gone.transport.connected = 0
        broken.writer.write(b"b")
        broken.transport.socket.shutdown(socket.SHUT_WR)
        self.end_turn()
        self.assertEqual(self.reactor.getWriters(), [broken.transport])
        self.assertIsInstance(broken.transport.doWrite(), Exception)

    def test_bug(self) -> None:
        """Who fails when it is paused does not keep the others' bytes from their way."""
        full, other = self.peers(2)
        full.writer.write(b"a" * HUGE)
        producer: Any = object()  # It has nothing that could be called.
        full.transport.registerProducer(producer, True)
        full.transport.producerPaused = False
        full.writer.write(b"b")
        other.writer.write(b"c")
        self.end_turn()
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertEqual(other.take(), b"c")
        full.transport.producer = None

    def test_not_tcp(self) -> None:
        """Any other transport has a buffer of its own, and is written to at once."""
        transport = StringTransport()
        writer = BatchedWriter(self.batch, transport)
        writer.write(b"a")
        self.assertEqual(transport.value(), b"a")

    @given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from((0, 1, 9, LARGE, HUGE, -1)))))
    def test_in_order(self, steps: list[tuple[int, int]]) -> None:
        """Whatever is written, and whenever turns end: all of it comes, in order."""
        self.setUp()
        peers = [Peer(self.batch, self.reactor) for _ in range(3)]
        written, came = [b""] * 3, [b""] * 3
        for number, (which, length) in enumerate(steps):
            if length < 0:
                self.end_turn()
                came[which] += peers[which].take()
            else:
                data = bytes([number % 256]) * length
                written[which] += data
                peers[which].writer.write(data)
        self.end_turn()
        for which, peer in enumerate(peers):
            came[which] += peer.take(drain=True)
            peer.close()
        self.assertEqual(came, written)

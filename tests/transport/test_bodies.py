"""Tests of :mod:`aiproxy.transport.bodies`."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web._newclient import ResponseFailed, TransportProxyProducer
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer
from zope.interface.verify import verifyObject

from aiproxy.errors import AnswerTooLarge, InternalError, StreamCut
from aiproxy.transport.bodies import BodyDelivery, BytesBody
from tests.transport.upstreams import MemoryTransport, RecordingConsumer

SLICE = 256 * 1024


@implementer(IConsumer)
class ScriptedConsumer:
    """
    Takes a body.

    :param on_write: called with the number of writes, after each.
    """

    def __init__(self, on_write: Callable[[int], object] = lambda _: None) -> None:
        self.writes: list[bytes] = []
        self._on_write = on_write

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self._on_write(len(self.writes))

    def registerProducer(self, producer: IProducer, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...


class BytesBodyTests(SynchronousTestCase):
    """A request's body."""

    def setUp(self) -> None:
        self.told: list[str] = []

    def body(self, data: bytes) -> BytesBody:
        return BytesBody(
            data, lambda: self.told.append("connected"), lambda: self.told.append("sent")
        )

    def test_interface(self) -> None:
        """It is what Twisted's client takes."""
        self.assertTrue(verifyObject(IBodyProducer, self.body(b"abc")))
        self.assertEqual(self.body(b"abc").length, 3)

    def test_small(self) -> None:
        """A small body is written at once, as one piece, and both moments are told."""
        consumer = ScriptedConsumer(lambda _: self.told.append("write"))
        written = self.body(b"abc").startProducing(consumer)
        self.assertIsNone(self.successResultOf(written))
        self.assertEqual(consumer.writes, [b"abc"])
        self.assertEqual(self.told, ["connected", "write", "sent"])

    def test_empty(self) -> None:
        """An empty body is sent as soon as it starts."""
        consumer = ScriptedConsumer()
        self.successResultOf(self.body(b"").startProducing(consumer))
        self.assertEqual(consumer.writes, [])
        self.assertEqual(self.told, ["connected", "sent"])

    def test_slices(self) -> None:
        """A large body waits while the transport is full, and is whole in the end."""
        data = bytes(range(256)) * 4096
        body = self.body(data)
        consumer = ScriptedConsumer(lambda _: body.pauseProducing())
        written = body.startProducing(consumer)
        for writes in range(1, 4):
            self.assertEqual(len(consumer.writes), writes)
            self.assertNoResult(written)
            body.resumeProducing()
        self.successResultOf(written)
        self.assertEqual(b"".join(consumer.writes), data)
        self.assertEqual({len(piece) for piece in consumer.writes}, {SLICE})
        self.assertEqual(self.told, ["connected", "sent"])

    def test_resumed_within_a_write(self) -> None:
        """A transport that pauses and resumes on the way gets each byte once, in order."""
        data = bytes(range(256)) * 4096

        def bounce(_: int) -> None:
            body.pauseProducing()
            body.resumeProducing()

        body = self.body(data)
        consumer = ScriptedConsumer(bounce)
        self.successResultOf(body.startProducing(consumer))
        self.assertEqual(b"".join(consumer.writes), data)
        self.assertEqual(self.told, ["connected", "sent"])

    def test_stopped(self) -> None:
        """After stopProducing nothing is written, and the Deferred never fires."""
        body = self.body(bytes(2 * SLICE))
        consumer = ScriptedConsumer(lambda _: body.stopProducing())
        written = body.startProducing(consumer)
        body.resumeProducing()
        self.assertEqual(len(consumer.writes), 1)
        self.assertNoResult(written)
        self.assertEqual(self.told, ["connected"])

    def test_cancelled(self) -> None:
        """Cancelling stops the writing."""
        body = self.body(bytes(2 * SLICE))
        consumer = ScriptedConsumer(lambda _: body.pauseProducing())
        written = body.startProducing(consumer)
        written.cancel()
        self.failureResultOf(written, CancelledError)
        body.resumeProducing()
        self.assertEqual(len(consumer.writes), 1)

    def test_again(self) -> None:
        """A body that was stopped half-way is whole on the next connection."""
        data = bytes(range(256)) * 4096
        body = self.body(data)
        body.startProducing(ScriptedConsumer(lambda _: body.pauseProducing()))
        body.stopProducing()
        second = ScriptedConsumer()
        self.successResultOf(body.startProducing(second))
        self.assertEqual(b"".join(second.writes), data)
        self.assertEqual(self.told, ["connected", "connected", "sent"])


class ScriptedResponse:
    """
    A response that delivers as Twisted's does.

    :param early: pieces that had come before the body was asked for.
    """

    def __init__(self, early: tuple[bytes, ...] = ()) -> None:
        self.transport = MemoryTransport(MemoryReactorClock(), None)
        self.proxy = TransportProxyProducer(self.transport)
        self._early = early

    def deliverBody(self, protocol: BodyDelivery) -> None:
        protocol.makeConnection(self.proxy)
        for piece in self._early:
            protocol.dataReceived(piece)
        self.proxy.resumeProducing()


class BodyDeliveryTests(SynchronousTestCase):
    """An answer's body."""

    def start(
        self, consumer: RecordingConsumer, response: ScriptedResponse | None = None
    ) -> tuple[BodyDelivery, MemoryTransport]:
        response = response or ScriptedResponse()
        delivery = BodyDelivery(consumer, "api.example.com")
        delivery.start(cast(IResponse, response))
        return delivery, response.transport

    def test_interface(self) -> None:
        """It is the consumer's producer."""
        self.assertTrue(verifyObject(IPushProducer, BodyDelivery(RecordingConsumer(), "")))

    def test_whole(self) -> None:
        """Pieces come as they are, then the end."""
        consumer = RecordingConsumer()
        delivery, transport = self.start(consumer)
        delivery.dataReceived(b"one")
        delivery.dataReceived(b"two")
        delivery.connectionLost(Failure(ResponseDone()))
        self.assertEqual(consumer.pieces, [b"one", b"two"])
        self.assertEqual(consumer.ends, ["finished"])
        self.assertEqual(transport.producerState, "producing")

    def test_until_close(self) -> None:
        """A body without a length ends with its connection: a legal end."""
        consumer = RecordingConsumer()
        delivery, _ = self.start(consumer)
        delivery.connectionLost(Failure(PotentialDataLoss()))
        self.assertEqual(consumer.ends, ["finished"])

    def test_cut(self) -> None:
        """Any other end is a cut, that names the upstream."""
        for reason in (
            ResponseFailed([Failure(ConnectionLost())]),
            ResponseFailed([Failure(ConnectionDone())]),
            ConnectionLost(),
        ):
            consumer = RecordingConsumer()
            delivery, _ = self.start(consumer)
            delivery.connectionLost(Failure(reason))
            [end] = consumer.ends
            self.assertIsInstance(end, StreamCut)
            self.assertIn("api.example.com", str(end))

    def test_pause_and_resume(self) -> None:
        """Backpressure reaches the transport; what comes while paused is passed on."""
        consumer = RecordingConsumer()
        delivery, transport = self.start(consumer)
        consumer.producer.pauseProducing()
        self.assertEqual(transport.producerState, "paused")
        delivery.dataReceived(b"late")
        self.assertEqual(consumer.data, b"late")
        consumer.producer.resumeProducing()
        self.assertEqual(transport.producerState, "producing")

    def test_paused_at_once(self) -> None:
        """A pause from within begin, or the first bytes, outlives Twisted's own resuming."""
        for consumer in (
            RecordingConsumer(on_begin=lambda it: it.producer.pauseProducing()),
            RecordingConsumer(on_data=lambda it: it.producer.pauseProducing()),
        ):
            _, transport = self.start(consumer, ScriptedResponse(early=(b"x",)))
            self.assertEqual(transport.producerState, "paused")

    def test_stopped(self) -> None:
        """After stopProducing the transport is stopped, nothing comes, and again is harmless."""
        consumer = RecordingConsumer()
        delivery, transport = self.start(consumer)
        consumer.producer.stopProducing()
        self.assertEqual(transport.producerState, "stopped")
        transport.producerState = "untouched"
        consumer.producer.stopProducing()
        delivery.dataReceived(b"x")
        delivery.connectionLost(Failure(ResponseFailed([Failure(ConnectionDone())])))
        self.assertEqual(transport.producerState, "untouched")
        self.assertEqual((consumer.pieces, consumer.ends), ([], []))

    def test_stopped_after_the_end(self) -> None:
        """A stop that comes after the end does not touch the next request's connection."""
        consumer = RecordingConsumer()
        delivery, transport = self.start(consumer)
        delivery.connectionLost(Failure(ResponseDone()))
        consumer.producer.stopProducing()
        self.assertEqual(transport.producerState, "producing")

    def test_consumer_raises(self) -> None:
        """A consumer's bug closes the upstream, is logged, and told to the consumer once."""
        for consumer in (
            RecordingConsumer(on_begin=lambda _: 1 // 0),
            RecordingConsumer(on_data=lambda _: 1 // 0),
        ):
            delivery, transport = self.start(consumer)
            delivery.dataReceived(b"one")
            delivery.dataReceived(b"two")
            delivery.connectionLost(Failure(ResponseFailed([Failure(ConnectionDone())])))
            self.assertEqual(transport.producerState, "stopped")
            self.assertEqual([type(end) for end in consumer.ends], [InternalError])
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_consumer_raises_ours(self) -> None:
        """One of our errors goes to the consumer as it is, without a log line."""
        error = AnswerTooLarge("too large")

        def fail(_: RecordingConsumer) -> None:
            raise error

        consumer = RecordingConsumer(on_data=fail)
        delivery, transport = self.start(consumer)
        delivery.dataReceived(b"one")
        self.assertEqual(transport.producerState, "stopped")
        self.assertEqual(consumer.ends, [error])

    def test_consumer_stops_and_raises(self) -> None:
        """Who has stopped is told nothing more, even when it raises afterwards."""

        def stop(consumer: RecordingConsumer) -> None:
            consumer.producer.stopProducing()
            raise AnswerTooLarge("too large")

        consumer = RecordingConsumer(on_data=stop)
        delivery, _ = self.start(consumer)
        delivery.dataReceived(b"one")
        self.assertEqual(consumer.ends, [])

    def test_consumer_raises_at_its_end(self) -> None:
        """An exception from finished or failed is logged, and goes no further."""

        class Failing(RecordingConsumer):
            def finished(self) -> None:
                raise ZeroDivisionError

            def failed(self, reason: Exception) -> None:
                raise ZeroDivisionError

        for reason in (ResponseDone(), ConnectionLost()):
            delivery, _ = self.start(Failing())
            delivery.connectionLost(Failure(reason))
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

"""Tests of :mod:`aiproxy.transport.keep_alive`."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.keep_alive import KeepAlive
from aiproxy.transport.timeout_queue import TimeoutQueue

COMMENT = b": keep-alive\n\n"


class Client(StringTransport):
    """A client like Twisted's request, whose channel is gone when it is."""

    channel: Any = "a channel"


class KeepAliveTests(SynchronousTestCase):
    """A client that hears something every 15 seconds."""

    def setUp(self) -> None:
        """Begin."""
        self.clock = Clock()
        self.client = Client()
        self.news: list[bytes] = []
        self.live = KeepAlive(
            self.client,
            TimeoutQueue(self.clock, 15.0),
            lambda: self.news.pop() if self.news else b"",
        )
        self.addCleanup(self.live.stop)

    def wait(self, seconds: int) -> bytes:
        """Return what comes in so many seconds."""
        self.client.clear()
        self.clock.pump([1] * seconds)
        return bytes(self.client.value())

    def test_silence(self) -> None:
        """A comment comes after each silence, not sooner."""
        self.assertEqual(self.wait(14), b"")
        self.assertEqual(self.wait(1), COMMENT)
        self.assertEqual(self.wait(14), b"")
        self.assertEqual(self.wait(31), COMMENT * 3)

    def test_written(self) -> None:
        """Who hears something else needs no comment for a while; one timer serves for all."""
        for _ in range(10):
            self.assertEqual(self.wait(10), b"")
            self.live.write(b"data: x\n\n")
            self.assertEqual(self.client.value(), b"data: x\n\n")
            self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.assertEqual(self.wait(15), COMMENT)

    def test_tell(self) -> None:
        """A comment can come at once, and the silence begins anew."""
        self.clock.advance(10)
        self.live.tell()
        self.assertEqual(self.client.value(), COMMENT)
        self.assertEqual(self.wait(14), b"")

    def test_news(self) -> None:
        """What there is to tell takes the comment's place, once."""
        self.news.append(b": aiproxy: news\n\n")
        self.assertEqual(self.wait(30), b": aiproxy: news\n\n" + COMMENT)

    def test_no_news(self) -> None:
        """Without anybody to ask there are comments only."""
        bare = Client()
        live = KeepAlive(bare, TimeoutQueue(self.clock, 5.0))
        self.clock.advance(5)
        live.stop()
        self.assertEqual(bare.value(), COMMENT)

    def test_stop(self) -> None:
        """Afterwards nothing comes by itself, and no timer is left; twice is harmless."""
        self.live.stop()
        self.live.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.wait(60), b"")

    def test_producer(self) -> None:
        """The client pauses the producer itself."""
        producer: Any = object()
        self.live.registerProducer(producer, True)
        self.assertEqual((self.client.producer, self.client.streaming), (producer, True))
        self.live.unregisterProducer()
        self.assertIsNone(self.client.producer)

    def test_channel(self) -> None:
        """It is gone when the client is; a client without one is never gone."""
        self.assertEqual(self.live.channel, "a channel")
        self.client.channel = None
        self.assertIsNone(self.live.channel)
        bare = KeepAlive(StringTransport(), TimeoutQueue(self.clock, 15.0))
        bare.stop()
        self.assertIs(bare.channel, bare)

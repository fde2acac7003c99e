"""Tests of :mod:`aiproxy.transport.relay`."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aiproxy.errors import AIProxyError, InternalError, StreamCut, UpstreamFailed, UpstreamTimeout
from aiproxy.interfaces import IBodyConsumer
from aiproxy.testing import ScriptedReply
from aiproxy.transport.relay import ClientStalled, StreamRelay


class LineTranscoder:
    """Passes bytes on; ``.`` finishes, ``!`` ends, ``?`` is an error, ``_`` says nothing."""

    patience = 15.0

    def __init__(self) -> None:
        self.started = self.ended = self.finished = False
        self.error: AIProxyError | None = None

    def feed(self, data: bytes) -> bytes:
        self.started = self.started or data.strip(b"_?!.") != b""
        self.finished = self.finished or b"." in data
        if b"?" in data:
            self.error = UpstreamFailed("an error within the stream")
        self.ended = b"!" in data or b"?" in data
        return data

    def close(self) -> bytes:
        if self.finished:
            self.ended = True
            return b"END"
        self.error = StreamCut("cut")
        return b""


class Client(StringTransport):
    """A client that counts what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)


class FullClient(Client):
    """A client that is full with the first write."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.producer is not None:
            self.producer.pauseProducing()


class GoneClient(Client):
    """A client that turns out to be gone with the first write."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.producer is not None:
            self.producer.stopProducing()


class RelayTests(SynchronousTestCase):
    """A relay between a scripted reply and a client."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.reply = ScriptedReply()
        self.relay = StreamRelay(LineTranscoder(), self.clock)
        self.client = Client()
        self.reply.deliver(self.relay)

    def attached(self) -> Deferred[None]:
        """Let the first content come, and the client."""
        self.reply.send(b"a")
        self.successResultOf(self.relay.started)
        return self.relay.attach(self.client)

    def assert_quiet(self) -> None:
        """Nothing waits any more."""
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_interfaces(self) -> None:
        """It is the upstream's consumer and the client's producer."""
        self.assertTrue(verifyObject(IBodyConsumer, self.relay))
        self.assertTrue(verifyObject(IPushProducer, self.relay))

    def test_writes(self) -> None:
        """What came before the client is one write, then each piece is one."""
        self.reply.send(b"_", b"a")
        done = self.relay.attach(self.client)
        self.reply.send(b"b", b"c", b"!")
        self.assertEqual(self.client.writes, [b"_a", b"b", b"c", b"!"])
        self.successResultOf(done)
        self.assertIsNone(self.client.producer)
        self.reply.send(b"late")
        self.reply.finish()
        self.assertEqual(len(self.client.writes), 4)
        self.assertFalse(self.reply.stopped)
        self.assert_quiet()

    def test_all_before_the_client(self) -> None:
        """An answer that is over before the client comes is written at once."""
        self.reply.send(b"a", b"!")
        self.reply.finish()
        self.successResultOf(self.relay.attach(self.client))
        self.assertEqual(self.client.writes, [b"a!"])
        self.assert_quiet()

    def test_pause(self) -> None:
        """Pausing goes straight through; what comes nevertheless is written."""
        self.attached()
        self.relay.pauseProducing()
        self.assertTrue(self.reply.paused)
        self.reply.send(b"b")
        self.assertEqual(self.client.writes, [b"a", b"b"])
        self.relay.resumeProducing()
        self.assertFalse(self.reply.paused)
        self.relay.stop()
        self.assert_quiet()

    def test_full_from_the_start(self) -> None:
        """A client that is full at once has the time of a slow client, not of a silent upstream."""
        self.client = FullClient()
        done = self.attached()
        self.clock.advance(119)
        self.assertNoResult(done)
        self.clock.advance(1)
        self.failureResultOf(done, ClientStalled)
        self.assertTrue(self.reply.stopped)
        self.assert_quiet()

    def test_gone_from_the_start(self) -> None:
        """A client that is gone with the first write leaves no timer."""
        self.client = GoneClient()
        self.attached()
        self.assertTrue(self.reply.stopped)
        self.assert_quiet()

    def test_gone_within_a_write(self) -> None:
        """A client that is gone with a later write leaves none either, not even at the end."""
        self.attached()
        self.client.__class__ = GoneClient
        self.reply.send(b"b!")
        self.assertTrue(self.reply.stopped)
        self.assert_quiet()

    def test_client_gone_twice(self) -> None:
        """The client may be said to be gone twice; the upstream is closed."""
        self.attached()
        self.relay.stopProducing()
        self.relay.stopProducing()
        self.assertTrue(self.reply.stopped)
        self.relay.pauseProducing()
        self.relay.resumeProducing()
        self.relay.received(b"late")
        self.relay.finished()
        self.relay.failed(StreamCut("late"))
        self.assertEqual(self.client.writes, [b"a"])
        self.assert_quiet()

    def test_nothing_without_an_end(self) -> None:
        """Of a stream that says nothing no more is kept than is allowed; content is written."""
        for last, error in ((b"_", UpstreamFailed), (b"a", None)):
            reply = ScriptedReply()
            relay = StreamRelay(LineTranscoder(), self.clock, most_kept=3)
            reply.deliver(relay)
            reply.send(b"__", b"_")
            self.assertNoResult(relay.started)
            reply.send(last)
            self.assertEqual(reply.stopped, error is not None)
            if error is None:
                self.successResultOf(relay.started)
                relay.attach(self.client)
                self.assertEqual(self.client.writes, [b"___a"])
            else:
                self.failureResultOf(relay.started, error)
            relay.stop()
            self.assert_quiet()

    def test_cut_before_content(self) -> None:
        """A cut before the first content fails ``started``: another may be asked."""
        self.reply.send(b"_")
        self.reply.cut(StreamCut("lost"))
        self.assertEqual(self.failureResultOf(self.relay.started, StreamCut).value.message, "lost")
        self.assert_quiet()

    def test_cut_after_content(self) -> None:
        """A cut after it fails ``done``."""
        done = self.attached()
        self.reply.cut()
        self.failureResultOf(done, StreamCut)
        self.assert_quiet()

    def test_end_without_an_end(self) -> None:
        """A body that ends in order before its content does is a cut."""
        done = self.attached()
        self.reply.finish()
        self.failureResultOf(done, StreamCut)

    def test_cut_between(self) -> None:
        """A cut between the first content and the client is told to the client."""
        self.reply.send(b"a")
        self.reply.cut()
        done = self.relay.attach(self.client)
        self.assertEqual(self.client.writes, [b"a"])
        self.failureResultOf(done, StreamCut)

    def test_cut_after_the_finish(self) -> None:
        """A cut after all was said is none."""
        done = self.attached()
        self.reply.send(b".")
        self.reply.cut()
        self.successResultOf(done)
        self.assertEqual(self.client.writes[-1], b"END")

    def test_bug(self) -> None:
        """What is no error of an upstream's is not told in its own words."""
        for reason in (ValueError("secret"), InternalError("ours")):
            relay = StreamRelay(LineTranscoder(), self.clock)
            ScriptedReply().deliver(relay)
            relay.failed(reason)
            error = self.failureResultOf(relay.started, InternalError).value
            self.assertNotIn("secret", str(error))

    def test_error_with_content(self) -> None:
        """Content and an error in one piece, before any client: nothing was told yet."""
        self.reply.send(b"a?")
        self.failureResultOf(self.relay.started, UpstreamFailed)
        self.assertTrue(self.reply.stopped)
        self.assert_quiet()

    def test_grace(self) -> None:
        """After the finish reason the rest has two seconds."""
        done = self.attached()
        self.reply.send(b".")
        self.clock.advance(1.9)
        self.reply.send(b".")
        self.assertNoResult(done)
        self.clock.advance(0.1)
        self.successResultOf(done)
        self.assertTrue(self.reply.stopped)
        self.assert_quiet()

    def test_grace_while_full(self) -> None:
        """They begin when the client reads again: until then the rest waits in the socket."""
        for finish_first in (True, False):
            self.setUp()
            done = self.attached()
            if finish_first:
                self.reply.send(b".")
                self.clock.advance(1.9)
            self.relay.pauseProducing()
            self.reply.send(b".")
            self.clock.advance(119)
            self.assertNoResult(done)
            self.relay.resumeProducing()
            self.clock.advance(1.9)
            self.assertNoResult(done)
            self.reply.send(b"usage!")
            self.successResultOf(done)
            self.assertEqual(self.client.writes[-1], b"usage!")

    def test_stalled_after_the_finish(self) -> None:
        """A client that never reads again is given up after the finish reason too."""
        done = self.attached()
        self.reply.send(b".")
        self.relay.pauseProducing()
        self.clock.advance(120)
        self.failureResultOf(done, ClientStalled)
        self.assertTrue(self.reply.stopped)
        self.assert_quiet()

    def test_finished_at_once(self) -> None:
        """The finish reason may come with the first content."""
        self.reply.send(b"a.")
        done = self.relay.attach(self.client)
        self.clock.advance(2)
        self.successResultOf(done)

    def test_tail(self) -> None:
        """The body's end is awaited for a second, paused or not; then the connection is closed."""
        done = self.attached()
        self.relay.pauseProducing()
        self.reply.send(b"!")
        self.successResultOf(done)
        self.assertFalse(self.reply.paused)
        self.assertFalse(self.reply.stopped)
        self.clock.advance(1)
        self.assertTrue(self.reply.stopped)
        self.assert_quiet()

    def test_idle(self) -> None:
        """Silence longer than the transcoder's patience ends the stream."""
        done = self.attached()
        self.clock.advance(14)
        self.reply.send(b"b")
        self.clock.advance(14)
        self.assertNoResult(done)
        self.clock.advance(1)
        self.failureResultOf(done, UpstreamTimeout)
        self.assertTrue(self.reply.stopped)
        self.assert_quiet()

    def test_cancel_started(self) -> None:
        """Cancelling ``started`` closes the upstream."""
        self.relay.started.cancel()
        self.failureResultOf(self.relay.started, CancelledError)
        self.assertTrue(self.reply.stopped)

    def test_cancel_done(self) -> None:
        """Cancelling ``done`` closes the upstream and leaves the client."""
        done = self.attached()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertTrue(self.reply.stopped)
        self.assertIsNone(self.client.producer)
        self.assert_quiet()

    def test_cancelled_before_the_body(self) -> None:
        """A body that begins after all was cancelled is closed."""
        relay = StreamRelay(LineTranscoder(), self.clock)
        relay.stop()
        reply = ScriptedReply()
        reply.deliver(relay)
        self.assertTrue(reply.stopped)

"""Starting and stopping, in one sequence."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory

from aiproxy.config.sections import Server
from aiproxy.service import Listener
from tests.transport.http.clients import Client
from tests.web.serving import CONFIG, ServingTestCase


class Port:
    """
    A port that closes when the test says.

    :ivar stopped: whether it is asked to.
    """

    def __init__(self, closing: Deferred[None] | None) -> None:
        self.stopped = False
        self._closing = closing

    def stopListening(self) -> Deferred[None] | None:
        """Close."""
        self.stopped = True
        return self._closing


class BrokenPort(Port):
    """A port that cannot be closed."""

    def stopListening(self) -> Deferred[None] | None:
        """Fail."""
        raise OSError("it cannot be closed")


class Endpoint:
    """An endpoint that listens with this outcome."""

    def __init__(self, outcome: Any) -> None:
        self._outcome = outcome

    def listen(self, factory: Factory) -> Deferred[IListeningPort]:
        """Listen."""
        if isinstance(self._outcome, Exception):
            return fail(self._outcome)
        return succeed(self._outcome)


class ServiceTests(ServingTestCase):
    """The service in memory."""

    text = CONFIG + "\n    server: {drain_timeout: 5s, shutdown_delay: 2s}\n"

    def listen(self, *outcomes: Any) -> None:
        """Start with endpoints that have these outcomes."""
        service = self.proxy.service
        service.site = self.site
        service.listeners = [
            Listener(f"place {number}", cast(Any, Endpoint(outcome)), self.site)
            for number, outcome in enumerate(outcomes)
        ]
        service.privilegedStartService()
        service.startService()

    def stop(self) -> Deferred[None]:
        """Stop the service."""
        return self.proxy.service.stopService()

    def test_sequence(self) -> None:
        """Ready says 503, then the sockets close, and then it is over."""
        closing: Deferred[None] = Deferred()
        ports = [Port(closing), Port(None)]
        self.listen(*ports)
        self.assertEqual(self.ask("GET", "/health/ready").status, 200)
        stopped = self.stop()
        self.assertEqual(self.ask("GET", "/health/ready").status, 503)
        self.assertFalse(ports[0].stopped)
        self.clock.advance(2)
        self.assertTrue(ports[0].stopped and ports[1].stopped)
        self.assertNoResult(stopped)
        closing.callback(None)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(self.proxy.service.ports, [])

    def test_running_call_ends(self) -> None:
        """A running stream ends whole."""
        self.listen(Port(None))
        reply = self.begin_stream()
        reply.say("one")
        stopped = self.stop()
        self.clock.advance(2)
        self.clock.advance(4)
        reply.say("two")
        reply.end()
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertIn(b"[DONE]", self.client.answer().body)

    def test_drain_timeout(self) -> None:
        """A stream that is too long is ended with an error, its upstream let go."""
        self.listen(Port(None))
        reply = self.begin_stream()
        reply.say("one")
        stopped = self.stop()
        self.clock.advance(2)
        self.clock.advance(5)
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(reply.state, "stopped")
        answer = self.client.answer()
        self.assertIn(b'"error"', answer.body)
        self.assertNotIn(b"[DONE]", answer.body)

    def test_sockets_of_others(self) -> None:
        """Without endpoints it starts and stops what is its own."""
        self.proxy.service.privilegedStartService()
        self.proxy.service.startService()
        stopped = self.stop()
        self.clock.advance(2)
        self.successResultOf(stopped)

    def test_cannot_listen(self) -> None:
        """An endpoint that cannot listen ends the start, by its name and with its reason."""
        # Twistd waits for a daemon until it has seen an Exception of its.
        with self.assertRaisesRegex(SystemExit, "cannot listen on place 1: no way"):
            self.listen(Port(None), OSError("no way"))
        with self.assertRaisesRegex(Exception, "cannot listen on place 0: In use"):
            self.listen(OSError(98, "In use"))

    def test_linger(self) -> None:
        """Where others go on listening, an idle connection has its last answer first."""
        self.listen(Port(None))
        idle, other = Client(self.site, self.clock), Client(self.site, self.clock)
        self.proxy.service.linger()
        stopped = self.stop()
        other.ask("GET", "/health/ready")
        self.assertEqual(other.answer().status, 200)
        self.assertTrue(other.transport.half_closed or other.transport.disconnecting)
        self.clock.advance(4)
        self.assertFalse(idle.transport.half_closed or idle.transport.disconnecting)
        self.assertNoResult(stopped)
        self.clock.advance(1)
        self.assertTrue(idle.transport.half_closed or idle.transport.disconnecting)
        self.clock.advance(1)
        self.successResultOf(stopped)

    def test_change(self) -> None:
        """It ends as the newest configuration has it."""
        self.listen(Port(None))
        self.proxy.service.change(Server(shutdown_delay=7.0))
        stopped = self.stop()
        self.clock.advance(6)
        self.assertNoResult(stopped)
        self.clock.advance(1)
        self.clock.advance(1)
        self.successResultOf(stopped)

    def test_again(self) -> None:
        """When it has stopped it can be started again, and serves as before."""
        service = self.proxy.service
        service.startService()
        stopped = self.stop()
        self.clock.advance(2)
        self.successResultOf(stopped)
        self.assertEqual(self.ask("GET", "/health/ready").status, 503)
        service.startService()
        self.assertEqual(self.ask("GET", "/health/ready").status, 200)
        reply = self.begin_stream()
        reply.say("one")
        stopped = self.stop()
        self.clock.advance(2)
        self.assertNoResult(stopped)
        reply.end()
        self.successResultOf(stopped)
        self.assertIn(b"[DONE]", self.client.answer().body)

    def test_connections_again(self) -> None:
        """When it is started again, connections stay open from one request to the next."""
        self.listen(Port(None))
        stopped = self.stop()
        self.clock.advance(2)
        self.successResultOf(stopped)
        self.listen(Port(None))
        self.client = Client(self.site, self.clock)
        self.ask("GET", "/health/live")
        self.assertFalse(self.client.closed)

    def test_stop_twice(self) -> None:
        """A second stop is over with the first one, and begins nothing."""
        self.listen(Port(None))
        stopped = [self.stop(), self.stop()]
        self.clock.advance(2)
        self.clock.advance(1)
        for each in stopped:
            self.successResultOf(each)
        self.successResultOf(self.stop())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_fails(self) -> None:
        """A stop that fails is over too: the process does not wait for it for ever."""
        self.listen(BrokenPort(None))
        stopped = self.stop()
        self.clock.advance(2)
        self.failureResultOf(stopped, OSError)
        self.successResultOf(self.stop())

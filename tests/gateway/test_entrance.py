"""Tests of :mod:`aiproxy.gateway.entrance`."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Config, Limits, Retry, Server
from aiproxy.errors import LimitReached, ModelUnavailable, UpstreamAuthFailed, UpstreamTimeout
from aiproxy.gateway.admission import Entry
from aiproxy.gateway.entrance import Entrance, Found
from aiproxy.gateway.shared import Shared
from aiproxy.gateway.watch import Watch
from aiproxy.policy.access import Principal
from aiproxy.policy.limits import limit_key
from aiproxy.testing import ScriptedProvider
from aiproxy.transport.timeout_queue import TimeoutQueue
from tests.gateway.test_admission import candidate


class EntranceTestCase(SynchronousTestCase):
    """An entrance with a free candidate, one that is busy for a minute, and one that is out."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.shared = Shared(self.clock, lambda: 1.7e9 + self.clock.seconds())
        self.watch = Watch(TimeoutQueue(self.clock, 600))
        self.entrance = self.make()
        provider = ScriptedProvider()
        self.free: Found = (candidate("free"), provider)
        self.busy: Found = (candidate("busy", requests_per_minute=1), provider)
        self.out: Found = (candidate("out"), provider)
        self.enter(self.busy)
        self.standing = self.shared.standings.find(limit_key(self.out[0]))
        self.standing.failed(UpstreamAuthFailed("key"), 0)

    def tearDown(self) -> None:
        self.watch.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def make(self, queue_timeout: float = 0.0) -> Entrance:
        """Make one for a call."""
        config = Config(server=Server(queue_timeout=queue_timeout), retry=Retry(max_delay=90.0))
        return Entrance(
            self.shared, config, self.watch, requested="m", caller="me", tokens=1
        )  # fmt: skip

    def begin(
        self, *left: Found, queues: bool = False, insists: bool = False
    ) -> Deferred[tuple[Found, Entry]]:
        """Begin to enter."""
        entering = self.entrance.enter(list(left), queues=queues, insists=insists)
        return Deferred.fromCoroutine(entering)

    def enter(self, *left: Found) -> Entry:
        """Enter at once."""
        return self.successResultOf(self.begin(*left))[1]


class EnterTests(EntranceTestCase):
    """Who may be asked."""

    def test_taken(self) -> None:
        """The first that is free is taken out of those that are left."""
        left = [self.busy, self.out, self.free]
        found, _ = self.successResultOf(Deferred.fromCoroutine(self.entrance.enter(left)))
        self.assertEqual((found, left), (self.free, [self.busy, self.out]))

    def test_none(self) -> None:
        """If none is, it says when the first will be."""
        error = self.failureResultOf(self.begin(self.busy, self.out), ModelUnavailable).value
        self.assertEqual((error.model, error.retry_after), ("out", 60))
        self.clock.advance(10)
        self.standing.failed(UpstreamAuthFailed("key"), 10)
        error = self.failureResultOf(self.begin(self.busy, self.out), LimitReached).value
        self.assertEqual((error.model, error.limit), ("busy", "requests_per_minute"))
        self.clock.advance(error.retry_after)
        self.enter(self.busy)

    def test_insists(self) -> None:
        """Who has begun waits for who is free soon, and only for him."""
        entering = self.begin(self.busy, insists=True)
        self.clock.advance(59)
        self.assertNoResult(entering)
        self.clock.advance(2)
        self.assertEqual(self.successResultOf(entering)[0], self.busy)
        slow: Found = (candidate("slow", requests_per_hour=1), self.busy[1])
        self.enter(slow)
        self.failureResultOf(self.begin(slow, insists=True), LimitReached)

    def test_queues(self) -> None:
        """Who comes waits for ``server.queue_timeout``."""
        self.entrance = self.make(queue_timeout=5)
        entering = self.begin(self.busy, queues=True)
        self.clock.advance(4.9)
        self.assertNoResult(entering)
        self.clock.advance(0.2)
        self.failureResultOf(entering, LimitReached)

    def test_call_ends(self) -> None:
        """When the call is over, or its caller leaves, nobody waits any more."""
        entering = self.begin(self.busy, insists=True)
        entering.cancel()
        self.failureResultOf(entering, CancelledError)
        entering = self.begin(self.busy, insists=True)
        self.watch.end(UpstreamTimeout("over"))
        self.failureResultOf(entering, UpstreamTimeout)
        self.assertEqual(self.shared.gate.waiting, 0)

    def test_paced(self) -> None:
        """The pace is waited for; whoever leaves meanwhile gives the turn back."""
        paced: Found = (candidate("paced", min_interval=10), self.free[1])
        self.enter(paced)
        entering = self.begin(paced)
        self.clock.advance(9.9)
        self.assertNoResult(entering)
        entering.cancel()
        self.failureResultOf(entering, CancelledError)
        self.clock.advance(0.2)
        self.enter(paced)


class LookTests(EntranceTestCase):
    """Looks ahead, which take nothing."""

    def test_any_free(self) -> None:
        """Somebody is free now, or within a time; who is passed by is not counted upon."""
        for left, within, free in (
            ([], 1_000, False),
            ([self.free], 0, True),
            ([self.busy], 0, False),
            ([self.busy], 30, False),
            ([self.busy], 90, True),
            ([self.out], 90, False),
            ([self.out, self.busy, self.free], 0, True),
        ):
            self.assertEqual(self.entrance.any_free(left, within), free, (left, within))
        self.clock.advance(60)  # The probe is due.
        self.assertTrue(self.entrance.any_free([self.out]))
        for _ in range(3):
            self.enter(self.free)

    def test_soonest(self) -> None:
        """The first that is free, if anybody is left."""
        self.assertIsNone(self.entrance.soonest([]))
        self.assertEqual(self.entrance.soonest([self.free, self.out]), 0)
        self.clock.advance(10)
        self.assertEqual(self.entrance.soonest([self.out]), 50)


class KeyTests(EntranceTestCase):
    """The limits of the caller's key."""

    me = Principal("me", limits=Limits(requests_per_minute=1))

    def admit(self, entrance: Entrance) -> Deferred[None]:
        """Take a call from them."""
        return Deferred.fromCoroutine(entrance.admit_key(self.me))

    def test_taken(self) -> None:
        """A call takes one; the next is told which limit it is, and when to come back."""
        self.successResultOf(self.admit(self.entrance))
        error = self.failureResultOf(self.admit(self.make()), LimitReached).value
        self.assertIn("requests_per_minute of your key", error.message)
        self.clock.advance(error.retry_after - 1)
        self.failureResultOf(self.admit(self.make()), LimitReached)
        self.clock.advance(1)
        self.successResultOf(self.admit(self.make()))

    def test_given_back(self) -> None:
        """A call for which nobody was asked has taken nothing; any other has."""
        self.successResultOf(self.admit(self.entrance))
        self.entrance.leave(None, asked=False)
        second = self.make()
        self.successResultOf(self.admit(second))
        second.leave(5, asked=True)
        self.failureResultOf(self.admit(self.make()), LimitReached)

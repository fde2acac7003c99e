"""Tests of :mod:`aiproxy.gateway.admission`."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Limits, Model
from aiproxy.errors import LimitReached
from aiproxy.gateway.admission import Entry, Gate
from aiproxy.policy.limits import LimitBook
from aiproxy.policy.routing import Candidate


def candidate(name: str, *, min_interval: float = 0.0, **limits: int) -> Candidate:
    """Make a candidate."""
    model = Model(
        name, "p", "openai", "openai", name, limits=Limits(**limits), min_interval=min_interval
    )
    return Candidate(model, name)


class GateTestCase(SynchronousTestCase):
    """A gate on a clock."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.gate = Gate(LimitBook(), self.clock, lambda: 1_700_000_000 + self.clock.seconds())
        self.order: list[str] = []

    def tearDown(self) -> None:
        # Nobody waits any more, so nothing looks after them.
        self.assertEqual(self.gate.waiting, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def enter(self, *candidates: Candidate, caller: str = "me", patience: float = 0.0) -> Entry:
        """Enter at once."""
        found = self.gate.enter("m", candidates, caller=caller, tokens=1, patience=patience)
        assert isinstance(found, Entry)
        return found

    def wait(
        self, *candidates: Candidate, caller: str = "me", patience: float = 60.0
    ) -> Deferred[Entry]:
        """Begin to wait."""
        found = self.gate.enter("m", candidates, caller=caller, tokens=1, patience=patience)
        assert isinstance(found, Deferred)
        return found

    def note(self, waiting: Deferred[Entry], name: str) -> Deferred[Entry]:
        """Note in which order those who wait are let in."""

        def entered(entry: Entry) -> Entry:
            self.order.append(name)
            return entry

        return waiting.addCallback(entered)

    def refused(self, *candidates: Candidate) -> LimitReached:
        """Be refused at once."""
        error = self.assertRaises(LimitReached, self.enter, *candidates)
        assert isinstance(error, LimitReached)
        return error


class EnterTests(GateTestCase):
    """Without patience."""

    def test_first_free(self) -> None:
        """The first candidate that is free is taken."""
        narrow, wide = candidate("narrow", requests_per_minute=60), candidate("wide")
        for _ in range(60):
            self.assertEqual(self.enter(narrow, wide).place, 0)
        self.assertEqual(self.enter(narrow, wide).place, 1)

    def test_refused(self) -> None:
        """Where all are busy, the error says when the first is free, and that is true."""
        slow = candidate("slow", requests_per_hour=60)
        fast = candidate("fast", requests_per_minute=60)
        for _ in range(120):
            self.enter(slow, fast)
        error = self.refused(slow, fast)
        self.assertEqual((error.status, error.model, error.provider), (429, "fast", "p"))
        self.assertIn("requests_per_minute", error.message)
        assert error.retry_after is not None
        self.clock.advance(error.retry_after)
        self.assertEqual(self.enter(slow, fast).place, 1)

    def test_concurrent(self) -> None:
        """A place is free again when its call leaves, however often it says so."""
        one = candidate("one", max_concurrent=1)
        entry = self.enter(one)
        self.assertIsNone(self.refused(one).retry_after)
        entry.leave()
        entry.leave()
        again = self.enter(one)
        self.refused(one)
        again.leave()

    def test_find_hold(self) -> None:
        """Looking takes nothing."""
        one = candidate("one", requests_per_minute=1)
        for _ in range(3):
            self.assertIsNone(self.gate.find_hold(one, 1))
        self.enter(one)
        hold = self.gate.find_hold(one, 1)
        assert hold is not None
        self.assertEqual(hold.limit, "requests_per_minute")

    def test_pace(self) -> None:
        """A pace is no limit: the lease says how long to wait."""
        paced = candidate("paced", min_interval=2.0)
        delays = [self.enter(paced).lease.delay for _ in range(3)]
        self.assertEqual(delays, [0.0, 2.0, 4.0])


class WaitTests(GateTestCase):
    """With patience."""

    def test_time(self) -> None:
        """A limit of time lets the next in when its time has come."""
        one = candidate("one", requests_per_minute=1)
        self.enter(one)
        waiting = self.wait(one, patience=120)
        self.clock.pump([1] * 58)
        self.assertNoResult(waiting)
        self.clock.pump([1] * 5)
        self.successResultOf(waiting)

    def test_place(self) -> None:
        """A place that becomes free goes to who has waited longest, at once."""
        one = candidate("one", max_concurrent=1)
        entry = self.enter(one)
        first, second = self.note(self.wait(one), "1"), self.note(self.wait(one), "2")
        entry.leave()
        self.clock.advance(0)
        self.assertEqual(self.order, ["1"])
        self.successResultOf(first).leave()
        self.clock.advance(0)
        self.assertEqual(self.order, ["1", "2"])
        self.successResultOf(second).leave()

    def test_patience(self) -> None:
        """When the patience is over, it is the error that says when."""
        one = candidate("one", requests_per_hour=1)
        self.enter(one)
        waiting = self.wait(one, patience=5)
        self.clock.advance(5)
        error = self.failureResultOf(waiting, LimitReached).value
        self.assertGreater(error.retry_after, 3_000)

    def test_left(self) -> None:
        """Who leaves gives his place up."""
        one = candidate("one", max_concurrent=1)
        entry = self.enter(one)
        first, second = self.wait(one), self.wait(one)
        first.cancel()
        self.failureResultOf(first, CancelledError)
        entry.leave()
        self.clock.advance(0)
        self.successResultOf(second).leave()

    def test_nobody_overtakes(self) -> None:
        """Who comes later stands behind those who wait, though something is free."""
        one = candidate("one", max_concurrent=1)
        entry = self.enter(one)
        first = self.note(self.wait(one), "first")
        entry.leave()
        later = self.note(self.wait(one, caller="another"), "later")
        self.clock.advance(0)
        self.assertEqual(self.order, ["first"])
        self.successResultOf(first).leave()
        self.clock.advance(0)
        self.successResultOf(later).leave()

    def test_fair(self) -> None:
        """One caller has 1,000 requests, another five: these are served in their share."""
        one = candidate("one", max_concurrent=1)
        entry = self.enter(one)
        waiting = [self.note(self.wait(one, caller="many"), "many") for _ in range(1_000)]
        waiting += [self.note(self.wait(one, caller="few"), "few") for _ in range(5)]
        entry.leave()
        for _ in range(10):
            self.clock.advance(0)
            for each in waiting:
                if each.called:
                    self.successResultOf(each).leave()
                    waiting.remove(each)
                    break
        self.assertEqual(self.order[:10], ["many", "few"] * 5)
        for each in waiting:
            each.cancel()
            each.addErrback(lambda failure: failure.trap(CancelledError))

    def test_other_candidates(self) -> None:
        """A caller whose request must wait longer keeps no other one from going."""
        slow = candidate("slow", requests_per_hour=1)
        quick = candidate("quick", max_concurrent=1)
        self.enter(slow)
        entry = self.enter(quick)
        stuck = self.wait(slow, caller="a", patience=100)
        going = self.wait(quick, caller="b")
        entry.leave()
        self.clock.advance(0)
        self.successResultOf(going).leave()
        self.assertNoResult(stuck)
        stuck.cancel()
        self.failureResultOf(stuck, CancelledError)

"""Tests of :mod:`aiproxy.gateway.admission`."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Limits, Model
from aiproxy.config.sections import Breaker
from aiproxy.errors import LimitReached
from aiproxy.gateway.admission import Entry, Gate
from aiproxy.policy.breaker import StandingBook
from aiproxy.policy.limit_book import LimitBook
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
        self.gate = Gate(
            LimitBook(),
            StandingBook(Breaker()),
            self.clock,
            lambda: 1_700_000_000 + self.clock.seconds(),
        )
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
        self,
        *candidates: Candidate,
        name: str = "m",
        caller: str = "me",
        tokens: int = 1,
        patience: float = 60.0,
    ) -> Deferred[Entry]:
        """Begin to wait."""
        found = self.gate.enter(name, candidates, caller=caller, tokens=tokens, patience=patience)
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

    @given(
        st.lists(st.integers(0, 64 * 20), max_size=12).map(sorted),
        st.builds(lambda minute, hour: {"requests_per_minute": minute, "requests_per_hour": hour},
                  st.integers(1, 4), st.integers(2, 6)),
    )  # fmt: skip
    def test_followed(self, times: list[int], limits: dict[str, int]) -> None:
        """Whoever follows his Retry-After is admitted; whoever comes sooner is not."""
        one = candidate("one", **limits)
        for place in range(len(times)):
            self.setUp()
            told: float | None = None
            for at in times[: place + 1]:
                self.clock.advance(at / 64 - self.clock.seconds())
                try:
                    self.enter(one).leave()
                except LimitReached as error:
                    told = error.retry_after
                else:
                    told = None
            if told is not None:
                self.clock.advance(told - 1 / 64)
                self.refused(one)
                self.clock.advance(1 / 64)
                self.enter(one)

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
        delays = [self.enter(paced).lease.delay for _ in range(2)]
        self.assertEqual(delays, [0.0, 2.0])

    def test_paced_in_turn(self) -> None:
        """Further turns are given when they are near, to callers in turn."""
        paced = candidate("paced", min_interval=2.0)
        for _ in range(2):
            self.enter(paced)
        first = [self.note(self.wait(paced, caller="a", patience=0), f"a{i}") for i in range(3)]
        self.note(self.wait(paced, caller="b", patience=0), "b")
        self.clock.pump([1] * 8)
        self.assertEqual(self.order, ["a0", "b", "a1", "a2"])
        self.assertEqual(self.successResultOf(first[2]).lease.delay, 2.0)

    def test_paced_too_far(self) -> None:
        """A turn that is further away than anybody waits is refused at once."""
        paced = candidate("paced", min_interval=20.0)
        for _ in range(2):
            self.enter(paced)
        error = self.assertRaises(LimitReached, self.enter, paced)
        self.assertEqual(error.retry_after, 20.0)


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

    def test_truth_at_the_end(self) -> None:
        """Whose patience is over is told what holds it back now, wherever it stood."""
        one = candidate("one", requests_per_hour=1)
        self.enter(one)
        waiting = [self.wait(one, patience=5 + 20 * place) for place in range(3)]
        for place, each in enumerate(waiting):
            self.clock.advance(5 if not place else 20)
            error = self.failureResultOf(each, LimitReached).value
            self.assertIn("requests_per_hour", error.message)
            # The first request's minute is 20 seconds old when it comes.
            self.assertEqual(error.retry_after, 3_640 - self.clock.seconds())

    def test_behind_who_leaves(self) -> None:
        """Who stood behind one that leaves, and would have had room all the time, goes."""
        one = candidate("one", tokens_per_minute=100)
        self.gate.enter("m", [one], caller="me", tokens=50)
        large = self.wait(one, caller="large", tokens=90)
        small = self.wait(one, caller="small", tokens=10)
        self.clock.advance(0)
        self.assertNoResult(small)
        large.cancel()
        self.failureResultOf(large, CancelledError)
        self.clock.advance(0)
        self.successResultOf(small).leave()

    def test_large_request(self) -> None:
        """One that needs much room is not passed by for ever by those that need little."""
        one = candidate("one", tokens_per_minute=100)
        for _ in range(5):
            self.gate.enter("m", [one], caller="me", tokens=20)
            self.clock.advance(12)
        large = self.wait(one, caller="large", tokens=90, patience=60)
        small = [self.wait(one, caller="small", tokens=20, patience=300) for _ in range(20)]
        self.clock.pump([1.0] * 50)
        self.successResultOf(large)
        self.clock.pump([1.0] * 250)
        for each in small:
            self.successResultOf(each)


class NamesTests(GateTestCase):
    """Names that stand for the same candidates."""

    def test_fair_across_names(self) -> None:
        """Turns are fair between callers, whatever names they ask for."""
        one = candidate("one", max_concurrent=1)
        running = self.enter(one)
        waiting = [self.note(self.wait(one, caller="many"), "many") for _ in range(20)]
        few = [self.note(self.wait(one, name="group", caller="few"), "few") for _ in range(3)]
        waiting += few
        while waiting:
            running.leave()
            self.clock.advance(0)
            [entered] = [each for each in waiting if each.called]
            waiting.remove(entered)
            running = self.successResultOf(entered)
        running.leave()
        self.assertEqual(self.order[:7], ["many", "few"] * 3 + ["many"])

    def test_many_names(self) -> None:
        """Many may wait, each for another model, and all be let go at once."""
        models = [candidate(f"m{number}", max_concurrent=1) for number in range(100)]
        running = [self.enter(model) for model in models]
        waiting = [self.wait(model, name=model.name) for model in models]
        for entry in running:
            entry.leave()
        self.clock.advance(0)
        for each in waiting:
            self.successResultOf(each).leave()

    def test_own_names(self) -> None:
        """So it is with the names of one caller."""
        one = candidate("one", max_concurrent=1)
        running = self.enter(one)
        for name in "aaaab":
            self.note(self.wait(one, name=name), name).addCallback(Entry.leave)
        running.leave()
        self.clock.pump([0.0] * 5)
        self.assertEqual("".join(self.order), "abaaa")

    def test_newcomer(self) -> None:
        """A newcomer takes what nobody waits for at once, and nothing else."""
        one, other = candidate("one", max_concurrent=1), candidate("other", max_concurrent=1)
        running = self.enter(one)
        first = self.wait(one, patience=600)
        found = self.gate.enter("group", [one, other], caller="new", tokens=1, patience=600)
        assert isinstance(found, Entry)
        self.assertEqual(found.place, 1)
        running.leave()
        second = self.wait(one, other, name="group", caller="new")
        self.clock.advance(0)
        entry = self.successResultOf(first)
        self.assertNoResult(second)
        entry.leave()
        self.clock.advance(0)
        self.successResultOf(second).leave()
        found.leave()


class GateMachine(RuleBasedStateMachine):
    """Calls come, wait, leave and lose patience; nothing is lost, and nobody waits in vain."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.gate = Gate(
            LimitBook(),
            StandingBook(Breaker()),
            self.clock,
            lambda: 1_700_000_000 + self.clock.seconds(),
        )
        self.a = candidate("a", max_concurrent=2)
        self.b = candidate("b", max_concurrent=1)
        self.plans = {"a": [self.a], "b": [self.b], "ab": [self.a, self.b], "ba": [self.b, self.a]}
        self.running: list[tuple[str, Entry]] = []
        self.waiting: dict[int, tuple[str, Deferred[Entry]]] = {}
        self.calls = 0

    @rule(
        name=st.sampled_from(["a", "b", "ab", "ba"]),
        caller=st.sampled_from("xyz"),
        patience=st.sampled_from([0.0, 7.0, 40.0]),
    )
    def come(self, name: str, caller: str, patience: float) -> None:
        """A call comes: it goes, it waits, or it is refused because all is busy."""
        plan = self.plans[name]
        try:
            found = self.gate.enter(name, plan, caller=caller, tokens=1, patience=patience)
        except LimitReached:
            assert not patience
            assert not any(self.is_free(one) for one in plan)
            return
        if isinstance(found, Entry):
            self.running.append((plan[found.place].name, found))
            return
        assert patience
        self.calls += 1
        number = self.calls

        def entered(entry: Entry) -> None:
            del self.waiting[number]
            self.running.append((plan[entry.place].name, entry))

        def over(_: object) -> None:
            del self.waiting[number]

        self.waiting[number] = name, found
        found.addCallbacks(entered, over)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), times=st.integers(1, 3))
    def leave(self, data: st.DataObject, times: int) -> None:
        """An attempt is over; it may say so more than once."""
        place = data.draw(st.integers(0, len(self.running) - 1))
        _, entry = self.running.pop(place)
        for _ in range(times):
            entry.leave()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """A client leaves."""
        self.waiting[data.draw(st.sampled_from(sorted(self.waiting)))][1].cancel()

    @rule(seconds=st.sampled_from([0.0, 0.0, 1.0, 10.0]))
    def go_on(self, seconds: float) -> None:
        """Time goes by: now nobody waits for what is free."""
        self.clock.advance(seconds)
        for name, _ in self.waiting.values():
            assert not any(self.is_free(one) for one in self.plans[name])

    def is_free(self, one: Candidate) -> bool:
        """Whether there is room, by our own count."""
        runs = sum(1 for name, _ in self.running if name == one.name)
        most = one.model.limits.max_concurrent
        assert most is not None
        assert runs <= most
        assert (self.gate.find_hold(one, 1) is None) == (runs < most)
        return runs < most

    def teardown(self) -> None:
        """When all have left, all is free and no timer is left."""
        self.clock.advance(0)
        while self.running:
            self.running.pop()[1].leave()
            self.clock.advance(0)
        assert not self.waiting
        assert not self.gate.waiting
        assert self.clock.getDelayedCalls() == []
        assert self.is_free(self.a)
        assert self.is_free(self.b)


class ModelTests(SynchronousTestCase):
    """Any order of events."""

    def test_model(self) -> None:
        """No place is lost or given twice, and who may go goes."""
        run_state_machine_as_test(
            GateMachine,
            settings=settings(deadline=None, max_examples=150, stateful_step_count=40),
        )

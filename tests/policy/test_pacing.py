"""Tests of :mod:`aiproxy.policy.pacing`."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.policy.pacing import Pace, Turn


class PaceMachine(RuleBasedStateMachine):
    """Turns against a list of all that are given."""

    @initialize(interval=st.floats(0.01, 50), max_wait=st.floats(0, 60))
    def start(self, interval: float, max_wait: float) -> None:
        """Begin with none."""
        self.pace = Pace(interval, max_wait)
        self.now = 1_000.0
        #: When the request is sent, and its turn.
        self.turns: list[tuple[float, Turn]] = []

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    @rule()
    def reserve(self) -> None:
        """Turns keep their distance and are no further than they may; a refusal is true."""
        delay = self.pace.when(self.now)
        turn = self.pace.reserve(self.now)
        assert (turn is None) == (delay > 0)
        if turn is None:
            self.now += delay
            turn = self.pace.reserve(self.now)
        assert turn is not None
        assert 0 <= turn.delay <= self.pace.max_wait + 1e-9
        at = self.now + turn.delay
        interval = self.pace.interval
        assert all(abs(at - other) >= interval - 1e-9 for other, _ in self.turns)
        latest = max((other for other, _ in self.turns), default=self.now)
        assert at <= max(latest, self.now) + interval + 1e-9
        self.turns.append((at, turn))

    @precondition(lambda self: self.turns)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """Who has not been sent leaves, and says so twice."""
        waiting = [place for place, (at, _) in enumerate(self.turns) if at >= self.now]
        if waiting:
            _, turn = self.turns.pop(data.draw(st.sampled_from(waiting)))
            turn.give_up()
            turn.give_up()

    def teardown(self) -> None:
        """After the last turn and its interval, nothing is left of them."""
        if hasattr(self, "pace"):
            end = max([self.now, *(at for at, _ in self.turns)]) + self.pace.interval + 1e-6
            assert self.pace.is_idle(end)
            turn = self.pace.reserve(end)
            assert turn is not None
            assert turn.delay == 0


class PaceTests(SynchronousTestCase):
    """The turns of one candidate."""

    def test_model(self) -> None:
        """However turns are taken and given up: apart, near enough, and never stuck."""
        run_state_machine_as_test(PaceMachine, settings=settings(deadline=None, max_examples=150))

    def delays(self, pace: Pace, count: int, now: float = 0.0) -> list[float | None]:
        """Reserve so many turns."""
        turns = [pace.reserve(now) for _ in range(count)]
        return [None if turn is None else turn.delay for turn in turns]

    def test_spread(self) -> None:
        """The first goes at once, each other an interval later; beyond the bound there is none."""
        pace = Pace(10.0)
        self.assertEqual(self.delays(pace, 5), [0, 10, 20, 30, None])
        self.assertEqual(pace.when(0.0), 10)
        self.assertEqual(self.delays(pace, 2, 9.0), [None, None])
        self.assertEqual(self.delays(pace, 2, 10.0), [30, None])

    def test_longer_wait(self) -> None:
        """The bound may be longer."""
        self.assertEqual(self.delays(Pace(20.0, max_wait=60), 5), [0, 20, 40, 60, None])

    def test_no_interval(self) -> None:
        """Without an interval nothing waits."""
        pace = Pace()
        self.assertEqual(self.delays(pace, 3), [0, 0, 0])
        self.assertEqual(pace.when(0.0), 0)
        self.assertTrue(pace.is_idle(0.0))
        turn = pace.reserve(0.0)
        assert turn is not None
        turn.give_up()
        self.assertEqual(self.delays(pace, 1), [0])

    def test_idle_is_no_credit(self) -> None:
        """Who comes late doesn't make others come sooner."""
        pace = Pace(10.0)
        self.delays(pace, 1)
        self.assertEqual(self.delays(pace, 2, 500.0), [0, 10])

    def test_given_up(self) -> None:
        """Those that leave give their turns to the next ones, earliest first."""
        pace = Pace(10.0)
        turns = [pace.reserve(0.0) for _ in range(4)]
        for turn in (turns[2], turns[1]):
            assert turn is not None
            turn.give_up()
        self.assertEqual(self.delays(pace, 3, 5.0), [5, 15, None])

    def test_given_up_and_over(self) -> None:
        """A turn that was given up and has gone by is nobody's: it is too near to the next."""
        pace = Pace(10.0)
        turns = [pace.reserve(0.0) for _ in range(3)]
        assert turns[1] is not None
        turns[1].give_up()
        self.assertEqual(self.delays(pace, 1, 10.5), [19.5])

    def test_all_given_up(self) -> None:
        """If all leave, nobody waits for them."""
        pace = Pace(10.0)
        for turn in [pace.reserve(0.0) for _ in range(4)]:
            assert turn is not None
            turn.give_up()
        self.assertTrue(pace.is_idle(0.0))
        self.assertEqual(self.delays(pace, 2), [0, 10])

    def test_all_given_up_backwards(self) -> None:
        """So it is whoever leaves first, and with intervals that floats can't hold."""
        for interval in (0.1, 5.2298886809889, 1 / 3):
            pace = Pace(interval)
            for turn in reversed([pace.reserve(1_000.7) for _ in range(6)]):
                assert turn is not None
                turn.give_up()
            self.assertTrue(pace.is_idle(1_000.7 + 1e-6), interval)

    def test_other_interval(self) -> None:
        """A new interval holds from the last turn; a turn of the old one is not given again."""
        pace = Pace(10.0)
        old = [pace.reserve(0.0) for _ in range(2)]
        pace.change(25.0, 60.0)
        for turn in old:
            assert turn is not None
            turn.give_up()
        self.assertEqual(self.delays(pace, 2), [35, 60])

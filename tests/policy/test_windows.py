"""Tests of :mod:`aiproxy.policy.windows`."""

from __future__ import annotations

import math
import mmap

from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.policy.windows import WINDOW_BYTES, SlidingWindow, seconds_until

#: Any clock's start; sums with multiples of 1/64 are exact.
EPOCH = 1_700_000_000.0

#: Spans around a sub-window, around a window, and what is far.
spans = st.one_of(
    st.integers(0, 64 * 3),
    st.integers(64 * 55, 64 * 65),
    st.integers(0, 64 * 10_000_000),
).map(lambda ticks: ticks / 64)


def take(window: SlidingWindow, now: float, amount: int) -> bool:
    """Take an amount if there is room for it, else nothing."""
    if amount > window.room(now):
        return False
    window.add(now, amount)
    return True


class WindowMachine(RuleBasedStateMachine):
    """A window against all of its takes; the clock may be set back, time itself is not."""

    @initialize(limit=st.integers(1, 12), seconds=st.sampled_from((60, 120, 3_600)))
    def start(self, limit: int, seconds: int) -> None:
        """Begin empty."""
        self.limit, self.seconds = limit, seconds
        self.buffer = bytearray(WINDOW_BYTES)
        self.window = SlidingWindow(limit, seconds, self.buffer)
        self.time = EPOCH
        self.behind = 0.0
        self.healed_at = -math.inf
        #: Real time, slot and amount of each take.
        self.taken: list[tuple[float, int, int]] = []

    @property
    def now(self) -> float:
        """What the clock shows."""
        return self.time - self.behind

    def copy(self) -> SlidingWindow:
        """Return another window in the same state."""
        return SlidingWindow(self.limit, self.seconds, bytearray(self.buffer))

    def within(self, seconds: float) -> int:
        """Return what was taken in the last ``seconds``, both ends included."""
        return sum(amount for at, _, amount in self.taken if at >= self.time - seconds)

    @rule(seconds=spans)
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.time += seconds

    @rule(seconds=spans)
    def set_back(self, seconds: float) -> None:
        """The clock is set back."""
        self.behind += seconds
        # If nobody looks meanwhile, it heals when the clock has caught up.
        self.healed_at = self.time + self.behind + self.seconds * 62 / 60

    @rule(amount=st.integers(1, 12))
    def take(self, amount: int) -> None:
        """Never over; held back for nothing older than a window and its sixtieth."""
        if amount <= self.window.room(self.now):
            self.taken.append((self.time, self.window.add(self.now, amount), amount))
            assert self.within(self.seconds) <= self.limit
            return
        longest = self.seconds * 61 / 60
        if self.time - longest > self.healed_at:
            assert self.within(longest) + amount > self.limit

    @precondition(lambda self: self.taken)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        """What is given back is there again, once."""
        place = data.draw(st.integers(0, len(self.taken) - 1))
        at, slot, amount = self.taken[place]
        part = data.draw(st.integers(0, amount))
        room = self.window.room(self.now)
        self.window.give_back(slot, part)
        assert room <= self.window.room(self.now) <= min(room + part, self.limit)
        self.taken[place] = (at, slot, amount - part)

    @rule(amount=st.integers(1, 12))
    def ask_when(self, amount: int) -> None:
        """The delay is true, and none is longer than a window, its sixtieth and a set-back."""
        delay = self.window.when(self.now, amount)
        if amount > self.limit:
            assert delay == math.inf
            return
        assert delay <= self.seconds * 62 / 60
        assert (delay == 0) == take(self.copy(), self.now, amount)
        if delay:
            assert not take(self.copy(), self.now + delay - 1 / 64, amount)
            assert take(self.copy(), self.now + delay, amount)

    @rule(limit=st.integers(1, 12))
    def change(self, limit: int) -> None:
        """A limit that was raised holds at once; a lowered one leaves what is there."""
        if limit >= self.limit:
            self.limit = self.window.limit = limit
        else:
            lowered = self.copy()
            lowered.limit = limit
            assert lowered.room(self.now) == self.window.room(self.now) - self.limit + limit

    def teardown(self) -> None:
        """It heals, whatever has happened."""
        if hasattr(self, "window"):
            self.window.room(self.now)
            assert self.window.room(self.now + self.seconds * 63 / 60) == self.limit


class SlidingWindowTests(SynchronousTestCase):
    """One limit."""

    def test_model(self) -> None:
        """Whatever is taken and given back: never over, never stuck, and ``when`` is true."""
        run_state_machine_as_test(
            WindowMachine,
            settings=settings(deadline=None, max_examples=150, stateful_step_count=40),
        )

    @given(
        st.lists(st.floats(0, 70), max_size=40),
        st.integers(1, 5),
        st.sampled_from((0.0, 0.1, EPOCH + 0.3)),
    )
    def test_when_any_float(self, steps: list[float], limit: int, now: float) -> None:
        """The delay is true for times that don't add up exactly."""
        window = SlidingWindow(limit, 60)
        for step in steps:
            now += step
            delay = window.when(now, 1)
            now += delay
            self.assertTrue(take(window, now, 1))

    def test_burst(self) -> None:
        """A burst at the end of a minute leaves nothing for the start of the next."""
        window = SlidingWindow(37, 60)
        self.assertEqual(sum(take(window, 59.9, 1) for _ in range(100)), 37)
        self.assertFalse(take(window, 60.1, 1))
        self.assertFalse(take(window, 119.9, 1))
        self.assertEqual(sum(take(window, 120.0, 1) for _ in range(100)), 37)

    def test_overshoot(self) -> None:
        """What is added beyond the limit is a debt until enough of it has left the window."""
        window = SlidingWindow(10, 60)
        window.add(0.0, 4)
        window.add(20.0, 25)
        self.assertEqual(window.room(20.0), -19)
        self.assertEqual(window.when(20.0, 1), 61.0)
        self.assertEqual(window.room(61.0), -15)
        self.assertEqual(window.room(81.0), 10)

    def test_given_back_late(self) -> None:
        """What has left the window can't be given back, nor more than there was."""
        window = SlidingWindow(10, 60)
        old = window.add(0.0, 4)
        new = window.add(61.0, 3)
        window.give_back(old, 4)
        self.assertEqual(window.room(61.0), 7)
        window.give_back(new, 50)
        self.assertEqual(window.room(61.0), 10)

    def test_clock_set_back(self) -> None:
        """A clock that was years ahead holds back for one window, not for years."""
        window = SlidingWindow(1, 86_400)
        self.assertTrue(take(window, EPOCH + 1e9, 1))
        self.assertFalse(take(window, EPOCH, 1))
        delay = window.when(EPOCH, 1)
        self.assertLessEqual(delay, 86_400 * 61 / 60)
        self.assertTrue(take(window, EPOCH + delay, 1))

    def test_two_readers(self) -> None:
        """Clocks read on both sides of a boundary don't drag the counts along."""
        window = SlidingWindow(1, 60)
        take(window, 9.99, 1)
        for _ in range(30):
            self.assertEqual(window.room(10.0), 0)
            self.assertEqual(window.room(9.99), 0)
        self.assertEqual(window.when(10.0, 1), 60.0)

    def test_clock_set_forward(self) -> None:
        """A clock that jumps ahead takes as long as one that runs."""
        window = SlidingWindow(1, 60)
        take(window, 0.0, 1)
        self.assertTrue(take(window, 1e12, 1))
        self.assertFalse(take(window, 1e12, 1))

    def test_shared_memory(self) -> None:
        """The whole state lies in the buffer: two windows over one are one."""
        with mmap.mmap(-1, 3 * WINDOW_BYTES) as memory:
            view = memoryview(memory)
            part = view[WINDOW_BYTES:]
            one, other = SlidingWindow(2, 60, part), SlidingWindow(2, 60, part)
            self.assertTrue(take(one, 5.0, 1))
            self.assertTrue(take(other, 5.0, 1))
            self.assertFalse(take(one, 5.0, 1))
            self.assertEqual(view[:WINDOW_BYTES], bytes(WINDOW_BYTES))
            self.assertEqual(view[2 * WINDOW_BYTES :], bytes(WINDOW_BYTES))
            one._words.release()
            other._words.release()
            part.release()
            view.release()

    def test_wrong_sum(self) -> None:
        """A sum that a crash has left wrong is right after one sub-window."""
        buffer = bytearray(WINDOW_BYTES)
        window = SlidingWindow(5, 60, buffer)
        take(window, 0.5, 2)
        memoryview(buffer).cast("q")[1] = 5
        self.assertEqual(window.room(0.5), 0)
        self.assertEqual(window.room(1.5), 3)

    def test_saved(self) -> None:
        """Counts outlive their buffer, in the sub-windows they were in."""
        window = SlidingWindow(10, 3_600)
        window.add(EPOCH, 3)
        window.add(EPOCH + 600, 2)
        counts = window.counts()
        self.assertEqual([amount for _, amount in counts], [3, 2])
        self.assertTrue(EPOCH - 60 < counts[0][0] <= EPOCH)
        again = SlidingWindow(10, 3_600)
        again.restore(EPOCH + 700, counts)
        self.assertEqual(again.counts(), counts)
        for now in (EPOCH + 700, EPOCH + 3_660, EPOCH + 4_300):
            self.assertEqual(again.room(now), window.room(now))
        self.assertEqual(again.room(EPOCH + 4_300), 10)

    def test_saved_elsewhen(self) -> None:
        """Counts that are over are dropped; those of the future count from now."""
        window = SlidingWindow(10, 3_600)
        future = [(int(EPOCH) + 60, 2), (int(EPOCH) + 10**9, 1)]
        window.restore(EPOCH, [(int(EPOCH) - 7_200, 4), *future])
        self.assertEqual(window.room(EPOCH), 7)
        self.assertEqual(window.room(EPOCH + 3_600), 7)
        self.assertEqual(window.room(EPOCH + 3_660), 10)

    def test_length(self) -> None:
        """A window that has no whole sub-windows is refused."""
        for seconds in (0, -60, 59, 90):
            self.assertRaises(ValueError, SlidingWindow, 1, seconds)


class SecondsUntilTests(SynchronousTestCase):
    """Delays that are true."""

    @given(st.floats(0, 1e10), st.floats(0, 1e10))
    @example(end=1.5 + 2**-52, now=2**-53)  # their difference is rounded down, and so is the sum
    def test_true(self, end: float, now: float) -> None:
        """After the delay the time has come; it is 0 where it had."""
        delay = seconds_until(end, now)
        self.assertGreaterEqual(now + delay, end)
        self.assertLessEqual(delay, max(end - now, 0) + 1e-5)
        if now >= end:
            self.assertEqual(delay, 0)

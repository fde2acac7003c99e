"""Tests of :mod:`aiproxy.policy.breaker`."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.config.sections import Breaker
from aiproxy.policy import breaker as breakers
from aiproxy.policy.breaker import OUT_SECONDS, Standing, StandingBook

FAULTS = (
    errors.UpstreamFailed("x"),
    errors.UpstreamTimeout("x"),
    errors.ConnectFailed("x"),
    errors.StreamCut("x"),
)
OUT = (errors.UpstreamAuthFailed("x"), errors.UpstreamOutOfCredit("x"))
NO_FAULTS = (
    errors.UpstreamRefused("x"),
    errors.ContextTooLong("x"),
    errors.ContentRefused("x"),
    errors.UpstreamRateLimited("x"),
    errors.UpstreamModelNotFound("x"),
    errors.AnswerTooLarge("x"),
    errors.InvalidRequest("x"),
    errors.LimitReached("x"),
    errors.InternalError("x"),
)
FAULT, REFUSED_KEY = FAULTS[0], OUT[0]

#: Any clock's start; sums with multiples of 1/16 are exact.
START = 70_000.0

#: Spans around a probe, a window and the time that a refused key is out.
spans = st.one_of(st.integers(0, 16 * 8), st.integers(16 * 25, 16 * 35), st.integers(0, 16 * 130))


class StandingMachine(RuleBasedStateMachine):
    """A standing against its whole history."""

    @initialize(
        failures=st.integers(1, 4),
        window=st.sampled_from((0.5, 5.0, 30.0)),
        probe=st.sampled_from((0.5, 3.0, 90.0)),
    )
    def start(self, failures: int, window: float, probe: float) -> None:
        """Begin with a new candidate."""
        self.breaker = Breaker(failures, window, probe)
        self.standing = Standing(self.breaker)
        self.now = START
        self.forget()

    def forget(self) -> None:
        """Begin the history anew."""
        self.faults: list[float] = []
        self.outs: list[float] = []
        self.probes: list[float] = []

    def enough(self) -> list[float]:
        """Look through all faults for enough of them in one window."""
        count, window = self.breaker.failures, self.breaker.window
        return [
            fault
            for fault in self.faults
            if sum(fault - window <= other <= fault for other in self.faults) >= count
        ]

    def opened_at(self) -> float | None:
        """Return when there were enough faults, or an end at once."""
        return min([*self.enough(), *self.outs], default=None)

    def probe_due(self, opened_at: float) -> float:
        """Return when a probe may go there, by all that has happened."""
        return max(
            *(time + self.breaker.probe for time in self.probes),
            *(time + OUT_SECONDS for time in self.outs),
            opened_at + self.breaker.probe if opened_at in self.enough() else -math.inf,
            -math.inf,
        )

    @rule(ticks=spans)
    def wait(self, ticks: int) -> None:
        """Time goes by."""
        self.now += ticks / 16

    @rule(error=st.sampled_from(FAULTS))
    def fail(self, error: errors.AIProxyError) -> None:
        """A call fails: a probe, or one from before; the opening is told once."""
        before = self.opened_at()
        if before is None:
            self.faults.append(self.now)
        opened = self.standing.failed(error, self.now)
        assert opened is (before is None and self.opened_at() is not None)
        if opened:
            assert self.standing.why is type(error)

    @rule(error=st.sampled_from(OUT))
    def refuse_key(self, error: errors.AIProxyError) -> None:
        """The candidate is out at once."""
        before = self.opened_at()
        self.outs.append(self.now)
        assert self.standing.failed(error, self.now) is (before is None)
        assert self.standing.why is type(error)

    @rule(error=st.sampled_from(NO_FAULTS))
    def fail_innocently(self, error: errors.AIProxyError) -> None:
        """The failure is not the candidate's: nothing changes."""
        why = self.standing.why
        assert not self.standing.failed(error, self.now)
        assert self.standing.why is why

    @rule()
    def succeed(self) -> None:
        """One success always heals."""
        self.standing.succeeded()
        self.forget()
        assert self.standing.admit(self.now)

    @rule()
    def ask(self) -> None:
        """A closed one admits all; of an open one a probe, if one is due."""
        opened_at = self.opened_at()
        admitted = self.standing.admit(self.now)
        if opened_at is None:
            assert admitted
            return
        assert admitted is (self.now >= self.probe_due(opened_at))
        if admitted:
            self.probes.append(self.now)

    @precondition(lambda self: self.standing.when(self.now))
    @rule()
    def wait_as_told(self) -> None:
        """The time that is told is true, and nothing passes before."""
        wait = self.standing.when(self.now)
        self.now += wait - 1 / 16
        assert not self.standing.admit(self.now)
        self.now += 1 / 16
        self.ask()
        assert self.probes[-1] == self.now

    @invariant()
    def open_as_expected(self) -> None:
        """It is open if its history says so, and probes are apart."""
        assert self.standing.open is (self.opened_at() is not None)
        pairs = zip(self.probes, self.probes[1:], strict=False)
        assert all(after - before >= self.breaker.probe for before, after in pairs)


def fail(standing: Standing, times: int, now: float) -> None:
    """Let so many calls fail."""
    for _ in range(times):
        standing.failed(FAULT, now)


class StandingTests(SynchronousTestCase):
    """One candidate."""

    def test_history(self) -> None:
        """Whatever happens: open when it should be, probes apart, healed by one success."""
        run_state_machine_as_test(
            StandingMachine,
            settings=settings(deadline=None, max_examples=200, stateful_step_count=40),
        )

    def test_life(self) -> None:
        """Five failures open it; probes pass every three seconds; one success closes it."""
        standing = Standing(Breaker())
        fail(standing, 4, 0.0)
        self.assertTrue(standing.admit(30.0))
        self.assertTrue(standing.failed(FAULT, 30.0))
        self.assertEqual(standing.when(31.0), 2.0)
        passed = [now for now in range(30, 43) if standing.admit(float(now))]
        self.assertEqual(passed, [33, 36, 39, 42])
        standing.succeeded()
        self.assertFalse(standing.open)
        self.assertTrue(all(standing.admit(42.0) for _ in range(9)))
        self.assertFalse(standing.failed(FAULT, 42.0))

    def test_window(self) -> None:
        """Failures that are too far apart, or with a success between them, don't open it."""
        standing = Standing(Breaker())
        for place in range(20):
            self.assertFalse(standing.failed(FAULT, place * 7.6))
        standing = Standing(Breaker())
        for _ in range(20):
            fail(standing, 4, 0.0)
            standing.succeeded()
        self.assertFalse(standing.open)

    def test_streams(self) -> None:
        """A stream that begins closes it; those that break off later open it all the same."""
        standing = Standing(Breaker())
        for number in range(1, 6):
            standing.began()
            self.assertIs(standing.failed(FAULT, 0.0), number == 5)
        self.assertTrue(standing.admit(3.0))
        standing.began()
        self.assertTrue(standing.admit(3.0))
        self.assertTrue(standing.failed(FAULT, 3.0))
        standing.began()
        standing.succeeded()
        fail(standing, 4, 3.0)
        self.assertFalse(standing.open)

    def test_cancelled_probe(self) -> None:
        """A probe of which nothing is heard again blocks nobody: the next one is due as usual."""
        standing = Standing(Breaker())
        fail(standing, 5, 0.0)
        self.assertTrue(standing.admit(3.0))
        self.assertFalse(standing.admit(5.9))
        self.assertTrue(standing.admit(6.0))

    def test_slow_failures(self) -> None:
        """Calls from before the opening that fail late don't put the next probe off."""
        standing = Standing(Breaker())
        fail(standing, 5, 0.0)
        for tenth in range(30):
            standing.failed(FAULT, tenth / 10)
        self.assertTrue(standing.admit(3.0))

    def test_refused_key(self) -> None:
        """A refused key, or no credit, puts it out at once, for a minute after each refusal."""
        for error in OUT:
            standing = Standing(Breaker())
            self.assertTrue(standing.failed(error, 0.0))
            self.assertIs(standing.why, type(error))
            self.assertFalse(standing.admit(59.9))
            self.assertTrue(standing.admit(60.0))
            self.assertFalse(standing.failed(error, 60.5))
            self.assertFalse(standing.admit(120.4))
            self.assertTrue(standing.admit(120.5))
            standing.succeeded()
            self.assertTrue(standing.admit(120.6))

    def test_mended(self) -> None:
        """Another configuration may have mended a key, or the lack of credit, and nothing else."""
        for error, at_once in (
            (errors.UpstreamAuthFailed("x"), True),
            (errors.UpstreamOutOfCredit("x"), True),
            (errors.UpstreamFailed("x"), False),
        ):
            standing = Standing(Breaker(failures=1, probe=90.0))
            standing.failed(error, START)
            self.assertFalse(standing.admit(START + 1))
            standing.change(Breaker(failures=1, probe=90.0))
            self.assertIs(standing.admit(START + 1), at_once)

    def test_change(self) -> None:
        """Another configuration holds from then on; what was seen lives on."""
        standing = Standing(Breaker(failures=5))
        fail(standing, 3, 0.0)
        standing.change(Breaker(failures=3, probe=1.0))
        self.assertFalse(standing.open)
        self.assertTrue(standing.failed(FAULT, 1.0))
        self.assertTrue(standing.admit(2.0))


class StandingBookTests(SynchronousTestCase):
    """All candidates."""

    def setUp(self) -> None:
        """Begin with a book, and four candidates of two keys."""
        self.book = StandingBook(Breaker(failures=1))
        self.first, self.second = ("a", "u", "key"), ("b", "u", "key")
        self.stranger, self.keyless = ("c", "u", "other"), ("d", "u", "")

    def suspects(self, now: float) -> list[str]:
        """Return the names of the suspects; the standings say the same."""
        keys = (self.first, self.second, self.stranger, self.keyless)
        found = [key[0] for key in keys if self.book.is_suspect(key, now)]
        self.assertEqual(found, [key[0] for key in keys if self.book.find(key).is_suspect(now)])
        return found

    def test_apart(self) -> None:
        """Name, URL and credential make a candidate; each has its own standing."""
        self.book.find(self.first).failed(FAULT, 0.0)
        self.assertTrue(self.book.is_open(self.first))
        for other in (("b", "u", "key"), ("a", "v", "key"), ("a", "u", "other")):
            self.assertFalse(self.book.is_open(other))
            self.assertTrue(self.book.find(other).admit(0.0))

    def test_suspect(self) -> None:
        """Who shares a refused key is suspect for a minute, not out; nobody else is."""
        for error in OUT:
            book = self.book = StandingBook(Breaker())
            book.find(self.first).failed(error, 0.0)
            self.assertEqual(self.suspects(59.9), ["b"])
            self.assertTrue(book.find(self.second).admit(0.0))
            self.assertEqual(self.suspects(60.0), [])

    def test_suspect_answers(self) -> None:
        """When one of them answers, the key is good: it was the model."""
        self.book.find(self.first).failed(REFUSED_KEY, 0.0)
        self.book.find(self.second).succeeded()
        self.assertEqual(self.suspects(1.0), [])
        self.assertTrue(self.book.is_open(self.first))

    def test_suspect_once(self) -> None:
        """One that stays out does not keep the others suspect."""
        standing = self.book.find(self.first)
        standing.failed(REFUSED_KEY, 0.0)
        standing.failed(REFUSED_KEY, 60.0)
        self.assertEqual(self.suspects(61.0), [])
        standing.succeeded()
        standing.failed(REFUSED_KEY, 70.0)
        self.assertEqual(self.suspects(71.0), ["b"])

    def test_suspect_after_failures(self) -> None:
        """A key that is refused while the breaker is open makes others suspect as well."""
        standing = self.book.find(self.first)
        standing.failed(FAULT, 0.0)
        self.assertEqual(self.suspects(1.0), [])
        standing.failed(REFUSED_KEY, 3.0)
        self.assertEqual(self.suspects(4.0), ["b"])

    def test_keyless(self) -> None:
        """Candidates without a key share none."""
        self.book.find(self.keyless).failed(REFUSED_KEY, 0.0)
        self.assertFalse(self.book.is_suspect(("e", "u", ""), 1.0))
        self.assertFalse(self.book.find(("e", "u", "")).is_suspect(1.0))

    def test_looking_keeps_nothing(self) -> None:
        """Who only looks leaves nothing behind."""
        self.patch(breakers, "_MOST", 2)
        self.book.find(self.first).failed(FAULT, 0.0)
        for place in range(5):
            self.book.is_open((str(place), "u", "key"))
            self.book.is_suspect((str(place), "u", "key"), 0.0)
        self.book.find(self.second)
        self.assertTrue(self.book.is_open(self.first))

    def test_change(self) -> None:
        """A reload reaches those that are known, and those to come; what is open stays open."""
        self.book.find(self.first).failed(FAULT, 0.0)
        known = self.book.find(self.second)
        self.book.change(Breaker(failures=2))
        self.assertTrue(self.book.is_open(self.first))
        for standing in (known, self.book.find(self.stranger)):
            self.assertFalse(standing.failed(FAULT, 0.0))
            self.assertTrue(standing.failed(FAULT, 0.0))

    def test_bounded(self) -> None:
        """Of very many the closed ones are forgotten first, then the oldest."""
        self.patch(breakers, "_MOST", 4)
        keys = [(name, "u", "key") for name in "abcdefg"]
        for key in keys[:4]:
            self.book.find(key).failed(FAULT, 0.0)
        self.book.find(keys[2]).succeeded()
        self.book.find(keys[4]).failed(FAULT, 0.0)
        self.assertEqual([key[0] for key in keys if self.book.is_open(key)], ["b", "d", "e"])

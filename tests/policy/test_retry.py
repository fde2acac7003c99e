"""Tests of :mod:`aiproxy.policy.retry`."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.config.schema import Model
from aiproxy.config.sections import Retry
from aiproxy.policy.retry import Again, Next, Stop, backoff, decide, final_error, may_try

STEADY = Retry(jitter=0.0)

SILENT = errors.UpstreamTimeout("x")
REFUSED_CONNECTION = errors.ConnectFailed("x")
UNTOLD_LIMIT = errors.UpstreamRateLimited("x")
CUT = errors.StreamCut("x")
MALFORMED = errors.UpstreamFailed("x")
ELSEWHERE = (
    errors.UpstreamOutOfCredit("x"),
    errors.UpstreamAuthFailed("x"),
    errors.UpstreamModelNotFound("x"),
    errors.ContextTooLong("x"),
    errors.LimitReached("x"),
    errors.ModelUnavailable("x"),
)
FINAL = (
    errors.UpstreamRefused("x"),
    errors.AnswerTooLarge("x"),
    errors.InvalidRequest("x"),
    errors.InternalError("x"),
    errors.ShuttingDown("x"),
)


def model(name: str, room: int | None = None) -> Model:
    """Make a model with so much room."""
    return Model(name, "p", "openai", "openai", name, context_window=room)


def status(number: int, retry_after: float | None = None) -> errors.UpstreamFailed:
    """Make the error of an HTTP status."""
    error = errors.UpstreamFailed("x", retry_after=retry_after)
    error.upstream_status = number
    return error


def decided(
    error: errors.AIProxyError,
    repeats: int = 0,
    *,
    free: bool = False,
    soonest: float | None = None,
    settings: Retry = STEADY,
) -> Again | Next | Stop:
    """Decide without chance."""
    return decide(
        error,
        repeats=repeats,
        settings=settings,
        others_free=free,
        soonest_other=soonest,
        chance=random.Random(1),
    )


def delays(error: errors.AIProxyError, *, free: bool, settings: Retry = STEADY) -> list[float]:
    """Return the waits before the repeats of a candidate that always fails alike."""
    found: list[float] = []
    while isinstance(step := decided(error, len(found), free=free, settings=settings), Again):
        found.append(step.delay)
    assert step == Next()
    return found


class DecideTests(SynchronousTestCase):
    """What comes after a failed attempt."""

    def test_table(self) -> None:
        """How often each failure is repeated where others are free, and where nobody is."""
        rows: tuple[tuple[errors.AIProxyError, list[float], list[float]], ...] = (
            (SILENT, [], []),
            (REFUSED_CONNECTION, [1.0], [1.0]),
            *((status(number), [1.0], [1.0]) for number in (500, 408, 409, 425)),
            *((status(number), [], [1.0, 2.0, 4.0]) for number in (502, 503, 504, 529)),
            (UNTOLD_LIMIT, [], [1.0, 2.0, 4.0]),
            (MALFORMED, [], [1.0]),
            (status(200), [], [1.0]),
            (CUT, [], [1.0]),
            *((error, [], []) for error in ELSEWHERE),
        )
        for error, beside_others, alone in rows:
            self.assertEqual(delays(error, free=True), beside_others, repr(error))
            self.assertEqual(delays(error, free=False), alone, repr(error))

    def test_final(self) -> None:
        """The caller's mistakes, and ours, go nowhere else."""
        for error in FINAL:
            self.assertEqual(decided(error, free=True), Stop(), repr(error))

    def test_refusal(self) -> None:
        """What a content policy refuses stops here, if the configuration does not reroute it."""
        refused = errors.ContentRefused("x")
        self.assertEqual(decided(refused, free=True), Stop())
        rerouting = Retry(reroute_refusals=True)
        self.assertEqual(decided(refused, free=True, settings=rerouting), Next())
        for error in FINAL:
            self.assertEqual(decided(error, settings=rerouting), Stop(), repr(error))

    def test_told_delay(self) -> None:
        """A delay that was told is waited out if it is short and nobody else can be sooner."""
        for free, soonest, told, expected in (
            (False, None, 7.0, Again(7.0)),
            (False, None, 30.0, Again(30.0)),
            (False, None, 30.5, Next()),
            (False, 7.0, 7.0, Again(7.0)),
            (False, 6.9, 7.0, Next()),
            (False, 9.0, 7.0, Again(7.0)),
            (True, None, 7.0, Next()),
            (False, None, 0.25, Again(0.25)),
        ):
            limit = errors.UpstreamRateLimited("x", retry_after=told)
            self.assertEqual(decided(limit, free=free, soonest=soonest), expected)
            self.assertEqual(decided(limit, 3, free=free, soonest=soonest), Next())

    def test_told_delay_has_no_jitter(self) -> None:
        """Never is there a second attempt before the time that was named."""
        limit = errors.UpstreamRateLimited("x", retry_after=7.0)
        self.assertEqual(decided(limit, settings=Retry(jitter=1.0)), Again(7.0))

    def test_told_delay_of_a_failure(self) -> None:
        """A time that comes with another failure is kept as well; nobody waits beside others."""
        self.assertEqual(decided(status(503, 5.0)), Again(5.0))
        self.assertEqual(decided(status(503, 31.0)), Next())
        self.assertEqual(decided(status(500, 5.0)), Again(5.0))
        self.assertEqual(decided(status(500, 5.0), free=True), Next())

    def test_told_nothing(self) -> None:
        """A delay of 0 says nothing: backoff."""
        limit = errors.UpstreamRateLimited("x", retry_after=0.0)
        self.assertEqual(decided(limit, 1), Again(2.0))
        self.assertEqual(decided(limit, 1, free=True), Next())

    def test_should_retry(self) -> None:
        """What the provider itself says of a repeat counts; others are asked all the same."""
        told = errors.UpstreamRateLimited("x", retry_after=1.0)
        error: errors.UpstreamError
        for error in (status(500), status(503), errors.UpstreamRateLimited("x"), told):
            error.should_retry = False
            self.assertEqual(decided(error), Next(), repr(error))
        for error, repeated in (
            (errors.UpstreamRefused("x"), Stop()),
            (status(500), Next()),
        ):
            error.should_retry = True
            for free in (False, True):
                self.assertEqual(decided(error, free=free), Again(1.0))
                self.assertEqual(decided(error, 1, free=free), repeated)
        for error in (errors.ContextTooLong("x"), errors.UpstreamAuthFailed("x")):
            error.should_retry = True
            self.assertEqual(decided(error), Next(), repr(error))
        refused = errors.ContentRefused("x")
        refused.should_retry = True
        self.assertEqual(decided(refused), Stop())

    def test_no_retries(self) -> None:
        """``max_retries: 0`` forbids each repeat."""
        never = Retry(max_retries=0)
        told = errors.UpstreamRateLimited("x", retry_after=1.0)
        for error in (REFUSED_CONNECTION, UNTOLD_LIMIT, MALFORMED, CUT, told, status(500)):
            self.assertEqual(decided(error, settings=never), Next(), repr(error))

    def test_repeats_are_shared(self) -> None:
        """Repeats count whatever they were for: a hiccup after an overload has none left."""
        self.assertEqual(decided(status(500), 1), Next())
        self.assertEqual(decided(status(503), 1), Again(2.0))


class BackoffTests(SynchronousTestCase):
    """How long a repeat waits."""

    def test_doubles(self) -> None:
        """It doubles up to the longest."""
        found = [backoff(repeats, STEADY, random.Random(1)) for repeats in range(7)]
        self.assertEqual(found, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0])

    def test_very_many(self) -> None:
        """However many there were, it is a number."""
        for base, longest in ((1.0, 30.0), (1e15, 30.0), (0.0, 0.0)):
            settings = Retry(base_delay=base, jitter=0.0)
            self.assertEqual(backoff(10**15, settings, random.Random(1)), longest)

    @given(
        st.integers(0, 100),
        st.floats(0.001, 100),
        st.floats(0, 100),
        st.floats(0, 1),
        st.randoms(use_true_random=False),
    )
    def test_bounds(
        self, repeats: int, base: float, longest: float, jitter: float, chance: random.Random
    ) -> None:
        """Each wait is the doubled one, varied by no more than the jitter."""
        settings = Retry(base_delay=base, max_delay=longest, jitter=jitter)
        found = backoff(repeats, settings, chance)
        middle = min(longest, base * 2**repeats)
        # Beside the rounding of floats.
        self.assertLessEqual(middle * (1 - jitter) * (1 - 1e-9), found)
        self.assertLessEqual(found, middle * (1 + jitter) * (1 + 1e-9))

    def test_varies(self) -> None:
        """Jitter fills its span: callers that fail together come back apart."""
        settings, chance = Retry(jitter=0.5), random.Random(1)
        found = [backoff(0, settings, chance) for _ in range(1_000)]
        self.assertLess(min(found), 0.51)
        self.assertGreater(max(found), 1.49)


class MayTryTests(SynchronousTestCase):
    """Who may be asked after a failure."""

    def test_table(self) -> None:
        """What is not the caller's doing may be better elsewhere."""
        for error, elsewhere in (
            (errors.UpstreamRateLimited("x"), True),
            (errors.UpstreamOutOfCredit("x"), True),
            (errors.UpstreamAuthFailed("x"), True),
            (errors.UpstreamModelNotFound("x"), True),
            (errors.UpstreamFailed("x"), True),
            (errors.UpstreamTimeout("x"), True),
            (errors.ConnectFailed("x"), True),
            (errors.StreamCut("x"), True),
            (errors.UpstreamRefused("x"), False),
            (errors.ContentRefused("x"), False),
            (errors.AnswerTooLarge("x"), False),
            (errors.InvalidRequest("x"), False),
            (errors.InternalError("x"), False),
            (errors.ShuttingDown("x"), False),
        ):
            self.assertIs(may_try(model("b"), error, model("a")), elsewhere, error)

    def test_room(self) -> None:
        """A conversation that is too long needs more room; what is not known counts as more."""
        error = errors.ContextTooLong("x")
        for room, before, may in (
            (10, 5, True),
            (5, 5, False),
            (4, 5, False),
            (None, 5, True),
            (5, None, True),
        ):
            self.assertIs(may_try(model("b", room), error, model("a", before)), may)
        self.assertFalse(may_try(model("a", 5), error, model("a", 5)))

    def test_refusals(self) -> None:
        """The configuration may allow that refusals by a content policy go elsewhere."""
        for error, may in (
            (errors.ContentRefused("x"), True),
            (errors.UpstreamRefused("x"), False),
        ):
            self.assertIs(may_try(model("b"), error, model("a"), reroute_refusals=True), may)

    @given(
        st.sampled_from((*ELSEWHERE, *FINAL, SILENT, CUT, errors.ContentRefused("x"))),
        st.booleans(),
    )
    def test_agrees_with_the_decision(self, error: errors.AIProxyError, reroutes: bool) -> None:
        """Whatever stops, nobody may try; whatever does not, somebody with room may."""
        step = decided(error, settings=Retry(reroute_refusals=reroutes))
        may = may_try(model("b"), error, model("a"), reroute_refusals=reroutes)
        self.assertIs(may, step != Stop())


class FinalErrorTests(SynchronousTestCase):
    """What the caller is told in the end."""

    def test_last(self) -> None:
        """The last failure, where they differ."""
        last = errors.UpstreamRateLimited("b", retry_after=9)
        self.assertIs(final_error([errors.UpstreamFailed("a"), last], soonest=1), last)
        self.assertEqual(last.retry_after, 9)

    def test_all_hold_back(self) -> None:
        """The time of the one that is free first, where one tells it."""
        first = errors.UpstreamRateLimited("a", retry_after=2)
        last = errors.UpstreamRateLimited("b")
        self.assertEqual(final_error([first, last]).retry_after, 2)
        self.assertIsNone(final_error([errors.UpstreamRateLimited("c")]).retry_after)

    def test_soonest(self) -> None:
        """What is known now is truer than what was told before; 0 is no time to tell."""
        for soonest, told in ((0.5, 0.5), (40.0, 40.0), (0.0, None), (None, 2)):
            failures = [
                errors.UpstreamRateLimited("a", retry_after=2),
                errors.LimitReached("b", retry_after=9),
            ]
            found = final_error(failures, soonest=soonest)
            self.assertIs(found, failures[1])
            self.assertEqual(found.retry_after, told)

    def test_out(self) -> None:
        """That a candidate is out says less than the failure of one that was asked."""
        out = errors.ModelUnavailable("b", retry_after=2)
        failed, busy = errors.UpstreamFailed("a"), errors.UpstreamRateLimited("a", retry_after=9)
        for asked, told in ((failed, None), (busy, 2)):
            self.assertIs(final_error([asked, out]), asked)
            self.assertIs(final_error([out, asked]), asked)
            self.assertEqual(asked.retry_after, told)

    def test_all_out(self) -> None:
        """Where all are out, that, with the time of the next probe."""
        failures = [
            errors.ModelUnavailable("a", retry_after=2),
            errors.ModelUnavailable("b", retry_after=50),
        ]
        found = final_error(failures)
        self.assertIs(found, failures[1])
        self.assertEqual((found.status, found.retry_after), (503, 2))

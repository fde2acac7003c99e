"""Tests of :mod:`aiproxy.policy.limits`."""

from __future__ import annotations

import json
import sys

from attrs import define, evolve
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

from aiproxy.config.schema import Limits, Model
from aiproxy.config.secret import Secret
from aiproxy.policy.limit_book import LimitBook, SavedCount
from aiproxy.policy.limits import (
    ADMISSION_BYTES,
    Admission,
    Held,
    Lease,
    limit_key,
)
from aiproxy.policy.routing import Candidate

EPOCH = 1_700_000_000.0

SECONDS = {"requests_per_minute": 60, "requests_per_hour": 3_600, "requests_per_day": 86_400}

#: Spans around a sub-window and a window of each length; sums with them are exact.
spans = st.one_of(*(st.integers(0, 64 * longest) for longest in (2, 62, 3_700, 90_000))).map(
    lambda ticks: ticks / 64
)
counts = st.none() | st.integers(0, 6)


@define
class Request:
    """One admitted request, as the oracle remembers it."""

    at: float
    lease: Lease
    reserved: int
    #: When tokens counted, and how many.
    tokens: list[tuple[float, int]]
    counted: bool = True
    settled: bool = False
    released: bool = False


class AdmissionMachine(RuleBasedStateMachine):
    """An admission point against a list of all requests and all their tokens."""

    @initialize(
        limits=st.builds(Limits, counts, counts, counts, st.none() | st.integers(0, 100), counts),
        interval=st.sampled_from((0.0, 0.0, 1.5, 20.0)),
    )
    def start(self, limits: Limits, interval: float) -> None:
        """Begin with nothing."""
        self.limits = limits
        self.admission = Admission()
        self.admission.change(limits, interval)
        self.interval = interval
        self.now = 64.0
        self.blocked_until = 0.0
        self.requests: list[Request] = []
        self.sent: list[float] = []

    @property
    def wall(self) -> float:
        """The other clock."""
        return EPOCH + self.now

    def counted(self, seconds: float) -> int:
        """Return the requests of the last ``seconds``."""
        return sum(1 for r in self.requests if r.counted and r.at >= self.now - seconds)

    def used(self, seconds: float) -> int:
        """Return the tokens of the last ``seconds``."""
        return sum(n for r in self.requests for at, n in r.tokens if at >= self.now - seconds)

    @property
    def running(self) -> int:
        """The requests that are not over."""
        return sum(1 for r in self.requests if not r.released)

    @rule(seconds=spans)
    def wait(self, seconds: float) -> None:
        """Time goes by."""
        self.now += seconds

    @rule(ticks=st.integers(1, 64 * 300))
    def refused_upstream(self, ticks: int) -> None:
        """The upstream names a delay."""
        self.admission.learned.hold(ticks / 64, self.now)
        self.blocked_until = max(self.blocked_until, self.now + ticks / 64)

    @rule(tokens=st.integers(0, 150))
    def admit(self, tokens: int) -> None:
        """Nothing over any limit is admitted, and nothing is held without cause."""
        before = self.admission.remaining(self.now, self.wall)
        expected = self.admission.find_hold(self.now, self.wall, tokens)
        answer = self.admission.admit(self.now, self.wall, tokens)
        if isinstance(answer, Lease):
            assert expected is None
            self.admitted(answer, tokens)
            return
        assert answer == expected
        assert self.admission.remaining(self.now, self.wall) == before
        self.check_cause(answer, tokens)
        if answer.delay is not None:
            assert answer.delay > 0
            self.now += answer.delay
        if answer.delay is None or self.running == self.limits.max_concurrent:
            for request in self.requests:
                self.finish(request)
        answer = self.admission.admit(self.now, self.wall, tokens)
        assert isinstance(answer, Lease), answer
        self.admitted(answer, tokens)

    def admitted(self, lease: Lease, tokens: int) -> None:
        """Remember a request, and judge whether it was right."""
        limit = self.limits.tokens_per_minute or 0
        reserved = min(max(tokens, 1), limit)
        self.requests.append(Request(self.now, lease, reserved, [(self.now, reserved)]))
        for name, seconds in SECONDS.items():
            assert self.counted(seconds) <= (getattr(self.limits, name) or sys.maxsize), name
        assert self.used(60) <= limit or not limit
        assert self.running <= (self.limits.max_concurrent or sys.maxsize)
        assert self.now >= self.blocked_until
        assert 0 <= lease.delay <= 30
        at = self.now + lease.delay
        assert all(abs(at - other) >= self.interval for other in self.sent)
        self.sent.append(at)
        assert self.admission.in_flight == self.running

    def check_cause(self, held: Held, tokens: int) -> None:
        """See that what holds is true, or was less than a sixtieth ago."""
        if held.limit == "max_concurrent":
            assert held.delay is None
            assert self.running == self.limits.max_concurrent
        elif held.limit == "upstream":
            assert held.delay == self.blocked_until - self.now
        elif held.limit == "min_interval":
            assert self.interval and max(self.sent) + self.interval - self.now > 30
        elif held.limit == "tokens_per_minute":
            limit = self.limits.tokens_per_minute or 0
            assert self.used(61) + min(max(tokens, 1), limit) > limit
        else:
            seconds = SECONDS[held.limit]
            assert self.counted(seconds * 61 / 60) >= getattr(self.limits, held.limit)

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), used=st.integers(-5, 200))
    def settle(self, data: st.DataObject, used: int) -> None:
        """The first settlement counts: less from where it was reserved, more from now on."""
        request = data.draw(st.sampled_from(self.requests))
        request.lease.settle(used, self.now)
        if not request.settled and self.limits.tokens_per_minute:
            used = max(used, 0)
            request.tokens = [(request.at, min(used, request.reserved))]
            request.tokens.append((self.now, max(used - request.reserved, 0)))
        request.settled = True

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """However often."""
        self.finish(data.draw(st.sampled_from(self.requests)))

    def finish(self, request: Request) -> None:
        """Release a request twice."""
        request.lease.release()
        request.lease.release()
        request.released = True
        assert self.admission.in_flight == self.running

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        """A request that has never left is as if it hadn't been; one that is over is not."""
        request = data.draw(st.sampled_from(self.requests))
        request.lease.forget()
        if not request.released:
            request.counted, request.released = False, True
            if not request.settled:
                request.settled = True
                request.tokens = []
            # Its turn may be given again.
            self.sent.remove(request.at + request.lease.delay)
        request.lease.forget()
        assert self.admission.in_flight == self.running

    def teardown(self) -> None:
        """It heals: a day later nothing is left, whatever has happened."""
        if hasattr(self, "admission"):
            for request in self.requests:
                self.finish(request)
            self.now += 87_840 + 60
            assert self.admission.is_idle(self.now, self.wall)
            assert self.admission.find_hold(self.now, self.wall, 10**9) is None


def drain(admission: Admission, now: float, tokens: int = 0, most: int = 1_000) -> list[Lease]:
    """Admit until held."""
    leases = []
    for _ in range(most):
        answer = admission.admit(now, EPOCH + now, tokens)
        if isinstance(answer, Held):
            break
        leases.append(answer)
    return leases


def hold(admission: Admission, now: float, tokens: int = 0) -> tuple[str, float | None]:
    """Return what holds a request back."""
    answer = admission.find_hold(now, EPOCH + now, tokens)
    assert answer is not None
    return answer.limit, answer.delay


class AdmissionTests(SynchronousTestCase):
    """The admission point."""

    def test_model(self) -> None:
        """Whatever comes: never over, never stuck, delays are true, and it heals."""
        run_state_machine_as_test(
            AdmissionMachine,
            settings=settings(deadline=None, max_examples=200, stateful_step_count=30),
        )

    def test_all_or_nothing(self) -> None:
        """What one limit refuses is taken from no other."""
        for name, refusing in (
            ("requests_per_hour", Limits(5, 1, 5, 50, 5)),
            ("requests_per_day", Limits(5, 5, 1, 50, 5)),
            ("tokens_per_minute", Limits(5, 5, 5, 1, 5)),
            ("max_concurrent", Limits(5, 5, 5, 50, 1)),
        ):
            admission = Admission(refusing)
            self.assertEqual(len(drain(admission, 0.0)), 1)
            left = admission.remaining(0.0, EPOCH)
            for _ in range(10):
                answer = admission.admit(0.0, EPOCH)
                assert isinstance(answer, Held)
                self.assertEqual(answer.limit, name)
            self.assertEqual(admission.remaining(0.0, EPOCH), left)
            self.assertEqual(admission.in_flight, 1)

    def test_longest(self) -> None:
        """Of several that hold, the one that takes longest is named."""
        admission = Admission(Limits(1, 1, None, 1, 1))
        drain(admission, 0.0)
        name, delay = hold(admission, 0.0)
        self.assertEqual(name, "requests_per_hour")
        assert delay is not None
        self.assertTrue(3_600 <= delay <= 3_660)
        admission.learned.hold(7_200.0, 0.0)
        self.assertEqual(hold(admission, 0.0), ("upstream", 7_200.0))

    def test_tokens(self) -> None:
        """Reserved by the estimate; what was less is there again, what was more is a debt."""
        admission = Admission(Limits(tokens_per_minute=100))
        first, second = drain(admission, 0.0, 40)
        self.assertEqual(hold(admission, 0.0, 21), ("tokens_per_minute", 61.0))
        first.settle(10, 5.0)
        self.assertEqual(admission.remaining(5.0, EPOCH), {"tokens_per_minute": 50})
        second.settle(290, 5.0)
        self.assertEqual(admission.remaining(5.0, EPOCH), {"tokens_per_minute": 0})
        self.assertEqual(hold(admission, 5.0, 1), ("tokens_per_minute", 61.0))
        self.assertEqual(admission.remaining(66.0, EPOCH), {"tokens_per_minute": 100})

    def test_more_tokens_than_there_are(self) -> None:
        """An estimate beyond the limit waits for all of it, instead of for ever."""
        admission = Admission(Limits(tokens_per_minute=100))
        self.assertEqual(len(drain(admission, 0.0, 10**30)), 1)
        self.assertEqual(hold(admission, 0.5, 10**30), ("tokens_per_minute", 60.5))

    def test_nonsense_usage(self) -> None:
        """What an upstream calls usage neither breaks the count nor outlasts the minute."""
        admission = Admission(Limits(tokens_per_minute=100))
        for used in (10**30, -(10**30)):
            for lease in drain(admission, 0.0, 50):
                lease.settle(used, 0.0)
                lease.release()
        self.assertEqual(len(drain(admission, 61.0, 50)), 2)

    def test_kept(self) -> None:
        """A request that was cancelled counts; one that never left does not."""
        admission = Admission(Limits(3, 3, 3, 3))
        gone, forgotten, _ = drain(admission, 0.0)
        gone.release()
        gone.forget()
        self.assertEqual(len(drain(admission, 0.0)), 0)
        forgotten.forget()
        self.assertEqual(len(drain(admission, 0.0)), 1)

    def test_paced(self) -> None:
        """``min_interval`` delays, and holds only beyond its bound; a turn can be given up."""
        admission = Admission()
        admission.change(Limits(), 12.0)
        leases = drain(admission, 0.0)
        self.assertEqual([lease.delay for lease in leases], [0, 12, 24])
        self.assertEqual(hold(admission, 0.0), ("min_interval", 6.0))
        leases[1].forget()
        self.assertEqual([lease.delay for lease in drain(admission, 1.0)], [11])

    def test_turn_over_meanwhile(self) -> None:
        """A turn that is free now, but over when another limit lets go, shortens no delay."""
        admission = Admission()
        admission.change(Limits(), 20.0)
        first, *_ = drain(admission, 0.0)
        first.forget()
        admission.learned.hold(1.0, 0.0)
        self.assertEqual(hold(admission, 0.0), ("min_interval", 10.0))
        (lease,) = drain(admission, 10.0)
        self.assertEqual(lease.delay, 30)

    def test_change(self) -> None:
        """Other limits go on from the same counts; leases return to them."""
        admission = Admission(Limits(10, max_concurrent=8))
        leases = drain(admission, 0.0)
        self.assertEqual(len(leases), 8)
        admission.change(Limits(9, max_concurrent=100))
        self.assertEqual(len(drain(admission, 0.0)), 1)
        admission.change(Limits(5))
        self.assertEqual(hold(admission, 0.0), ("requests_per_minute", 61.0))
        leases[0].forget()
        admission.change(Limits(9))
        self.assertEqual(len(drain(admission, 0.0)), 1)

    def test_settle_without_limit(self) -> None:
        """Tokens that no limit counts are not counted, whatever is reloaded between."""
        admission = Admission(Limits(tokens_per_minute=10))
        (lease,) = drain(admission, 0.0, 10)
        admission.change(Limits())
        lease.settle(50, 0.0)
        (late,) = drain(admission, 0.0, most=1)
        admission.change(Limits(tokens_per_minute=100))
        late.settle(20, 0.0)
        self.assertEqual(admission.remaining(0.0, EPOCH), {"tokens_per_minute": 70})

    def test_exact_while_running(self) -> None:
        """1,000 requests at once against 37 a minute: 37 go, and 37 again when told."""
        admission = Admission(Limits(37))
        self.assertEqual(len(drain(admission, 100.25)), 37)
        _, delay = hold(admission, 100.25)
        assert delay is not None
        self.assertEqual(len(drain(admission, 100.25 + delay)), 37)

    def test_shared_buffer(self) -> None:
        """The windows lie in one buffer that somebody else may own."""
        buffer = bytearray(ADMISSION_BYTES)
        one, other = Admission(Limits(3, 3, 3, 3), buffer), Admission(Limits(3, 3, 3, 3), buffer)
        drain(one, 0.0, most=1)
        self.assertEqual(len(drain(other, 0.0)), 2)
        self.assertEqual(hold(one, 0.0)[0], "requests_per_day")

    def test_huge_limit(self) -> None:
        """A limit that no request reaches is one like any other."""
        admission = Admission(Limits(10**30, tokens_per_minute=10**30))
        self.assertEqual(len(drain(admission, 0.0, 10**30)), 1)


class LimitBookTests(SynchronousTestCase):
    """The owner of all."""

    def find(self, book: LimitBook, name: str, limits: Limits, now: float = 0.0) -> Admission:
        """Find one by a name."""
        return book.find((name,), limits, now, EPOCH + now)

    def test_lives_on(self) -> None:
        """After a reload the same key has its counts, under the new limits."""
        book = LimitBook()
        leases = drain(self.find(book, "a", Limits(5)), 0.0)
        self.assertEqual(len(leases), 5)
        self.assertEqual(len(drain(self.find(book, "a", Limits(7)), 0.0)), 2)
        self.assertEqual(len(drain(self.find(book, "b", Limits(7)), 0.0)), 7)

    def test_pace(self) -> None:
        """Pacing is a parameter like the limits."""
        book = LimitBook()
        limits = Limits()
        admission = book.find(("a",), limits, 0.0, EPOCH, min_interval=5.0, max_wait=60.0)
        self.assertEqual(len(drain(admission, 0.0)), 13)
        again = book.find(("a",), limits, 0.0, EPOCH, min_interval=5.0, max_wait=70.0)
        self.assertIs(again, admission)
        self.assertEqual(len(drain(again, 0.0)), 2)

    def test_sweep(self) -> None:
        """What counts nothing goes; what counts anything, runs, or is out, stays."""
        book = LimitBook()
        limits = Limits(requests_per_minute=5)
        self.find(book, "idle", limits)
        (running,) = drain(self.find(book, "running", Limits()), 0.0, most=1)
        for lease in drain(self.find(book, "counting", limits), 0.0):
            lease.release()
        self.find(book, "out", limits).learned.hold(100.0, 0.0)
        paced = book.find(("paced",), Limits(), 0.0, EPOCH, min_interval=30.0)
        for lease in drain(paced, 0.0):
            lease.release()
        for now, left in ((0.0, 4), (59.0, 4), (61.5, 2), (100.0, 1)):
            book.sweep(now, EPOCH + now)
            self.assertEqual(len(book), left, now)
        running.release()
        book.sweep(100.0, EPOCH + 100)
        self.assertEqual(len(book), 0)

    def test_bounded(self) -> None:
        """However many names are made up, the book is bounded, and nobody gets more than N."""
        book = LimitBook(capacity=10)
        limits = Limits(requests_per_minute=3)
        passed: dict[str, int] = {}
        for _ in range(2):
            for number in range(1_000):
                name = f"made-up-{number}"
                passed[name] = passed.get(name, 0) + len(drain(self.find(book, name, limits), 0.0))
        self.assertEqual(len(book), 11)
        self.assertEqual(max(passed.values()), 3)
        self.assertEqual(sum(passed.values()), 33)

    def test_shared_counts(self) -> None:
        """Who has gone through the shared one gets no second share of his own."""
        book = LimitBook(capacity=2)
        limits = Limits(requests_per_minute=3)
        for name in ("first", "second"):
            for lease in drain(self.find(book, name, limits), 0.0):
                lease.release()
        for lease in drain(self.find(book, "late", limits, 50.0), 50.0):
            lease.release()
        book.sweep(62.0, EPOCH + 62)
        self.assertEqual(len(drain(self.find(book, "late", limits, 62.0), 62.0)), 0)
        self.assertEqual(len(drain(self.find(book, "late", limits, 123.0), 123.0)), 3)

    def test_room_again(self) -> None:
        """A full book is swept when somebody new comes, once a minute at most."""
        book = LimitBook(capacity=2)
        limits = Limits(requests_per_minute=3)
        for name in "abcd":
            self.find(book, name, limits)
        self.assertEqual(len(book), 2)
        for name in "efgh":
            self.find(book, name, limits, 10.0)
        self.assertEqual(len(book), 3)
        alone = self.find(book, "x", limits, 60.0)
        self.assertIsNot(alone, self.find(book, "y", limits, 60.0))

    def test_restart(self) -> None:
        """Hours and days survive as plain data; the monotonic clock's minutes don't."""
        book = LimitBook()
        limits = Limits(50, 5, 7, 1_000)
        self.assertEqual(len(drain(self.find(book, "a", limits), 0.0, 10)), 5)
        self.find(book, "idle", limits)
        stored = json.loads(json.dumps(book.snapshot()))
        self.assertEqual(len(stored), 2)

        again = LimitBook()
        again.restore([SavedCount(tuple(key), *rest) for key, *rest in stored], EPOCH + 9)
        self.assertEqual(len(again), 1)
        admission = self.find(again, "a", limits, 9.0)
        self.assertEqual(
            admission.remaining(9.0, EPOCH + 9),
            {
                "requests_per_minute": 50,
                "requests_per_hour": 0,
                "requests_per_day": 2,
                "tokens_per_minute": 1_000,
            },
        )
        self.assertEqual(len(drain(admission, 3_660.0)), 2)
        self.assertEqual(sorted(again.snapshot())[0][:2], (("a",), "requests_per_day"))

    def test_restored_nonsense(self) -> None:
        """What no snapshot holds is passed over; a day later all is free again."""
        book = LimitBook(capacity=1)
        book.restore(
            [
                SavedCount(("a",), "requests_per_day", int(EPOCH) + 10**9, 10**30),
                SavedCount(("a",), "requests_per_hour", int(EPOCH), -5),
                SavedCount(("a",), "requests_per_minute", int(EPOCH), 5),
                SavedCount(("a",), "requests_per_hour", 0, 5),
                SavedCount(("b",), "requests_per_hour", int(EPOCH), 5),
            ],
            EPOCH,
        )
        self.assertEqual(len(book), 1)
        admission = self.find(book, "a", Limits(5, 5, 5))
        self.assertEqual(
            admission.remaining(0.0, EPOCH),
            {"requests_per_minute": 5, "requests_per_hour": 5, "requests_per_day": 0},
        )
        self.assertEqual(len(drain(admission, 87_840.0)), 5)

    def test_changed(self) -> None:
        """Only what has changed since is told, once."""
        book = LimitBook()
        limits = Limits(requests_per_hour=5)
        admission = self.find(book, "a", limits)
        drain(self.find(book, "minutes", Limits(5)), 0.0)
        self.assertEqual(book.snapshot(changed=True), [])
        (lease, *_) = drain(admission, 0.0)
        ((_, _, _, requests),) = book.snapshot(changed=True)
        self.assertEqual(requests, 5)
        self.assertEqual(book.snapshot(changed=True), [])
        lease.forget()
        ((_, _, _, requests),) = book.snapshot(changed=True)
        self.assertEqual(requests, 4)
        self.assertEqual(len(book.snapshot()), 1)


class LimitKeyTests(SynchronousTestCase):
    """What tells candidates apart."""

    def test_parts(self) -> None:
        """The concrete name, the URL and the credential do; the key shows none of it."""
        model = Model("p/*", "p", "openai", "openai", "*", base_url="https://u:pass-1@host/v1")
        first = Candidate(model, "p/a", Secret("token-1"))

        def at(url: str) -> Model:
            return evolve(model, base_url=url)

        keys = [
            limit_key(candidate)
            for candidate in (
                first,
                evolve(first, name="p/b"),
                evolve(first, token=Secret("token-2")),
                evolve(first, token=None),
                evolve(first, model=at("https://u:pass-2@host/v1")),
                evolve(first, model=at("https://host/v1")),
                evolve(first, model=at("https://host/v2")),
                evolve(first, model=evolve(model, url="https://host/v3")),
            )
        ]
        self.assertEqual(len(set(keys)), len(keys))
        self.assertEqual(keys[0], limit_key(Candidate(model, "p/a", Secret("token-1"))))
        for same in ("p/A", "p/models/a", "p/models/A"):
            self.assertEqual(limit_key(evolve(first, name=same)), keys[0])
        exact = Candidate(evolve(model, name="p/A"), "p/A", Secret("token-1"))
        self.assertNotEqual(limit_key(exact), keys[0])
        self.assertNotIn("pass-", str(keys))
        self.assertNotIn("token-", str(keys))


class Row3Tests(SynchronousTestCase):
    """The Go proxy locked a model out for good once it had reached its limit."""

    def test_at_its_limit(self) -> None:
        """A model at its limits is free again when told, though nobody has been served since."""
        for limits in (Limits(2), Limits(None, 2), Limits(None, None, 2), Limits(2, 2, 2, 2)):
            admission = Admission(limits)
            for lease in drain(admission, 0.0):
                lease.release()
            name, delay = hold(admission, 0.0)
            assert delay is not None, name
            self.assertEqual(len(drain(admission, delay - 0.5)), 0)
            self.assertEqual(len(drain(admission, delay)), 2)

    def test_refused_once(self) -> None:
        """One 429 holds back until the time that it named."""
        admission = Admission(Limits(10))
        (lease,) = drain(admission, 0.0, most=1)
        admission.learned.hold(20.0, 1.0)
        lease.release()
        self.assertEqual(hold(admission, 1.0), ("upstream", 20.0))
        self.assertEqual(len(drain(admission, 21.0)), 9)

    def test_callers_mistake(self) -> None:
        """An answer to a bad request (400) holds nobody else back."""
        admission = Admission(Limits(10))
        (lease,) = drain(admission, 0.0, most=1)
        admission.learned.hold(None, 1.0)
        admission.learned.read_headers({"x-ratelimit-remaining-requests": "984"}, 1.0, EPOCH)
        lease.release()
        self.assertEqual(len(drain(admission, 1.0)), 9)


class Row4Tests(SynchronousTestCase):
    """In the Go proxy a model without limits was never chosen."""

    def test_no_limit(self) -> None:
        """Absent and 0 are no limit, each for itself."""
        for nothing in (None, 0):
            free = Limits(nothing, nothing, nothing, nothing, nothing)
            self.assertEqual(len(drain(Admission(free), 0.0, 10**9)), 1_000)
            self.assertEqual(Admission(free).remaining(0.0, EPOCH), {})
            for name in (*SECONDS, "max_concurrent"):
                admission = Admission(evolve(free, **{name: 3}))
                self.assertEqual(len(drain(admission, 0.0, 10**9)), 3, name)

"""What several processes count together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Limits
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.limits import Held, Lease
from aiproxy.policy.shared_counts import OtherLayout, SharedCounts

NOW, WALL = 1_000.0, 1_700_000_000.0
KEY = ("model", "https://up.example", "1234")

#: What a process does: it takes from a limit as often as it can, and tells how often.
_TAKE = """
import json, sys
from aiproxy.config.schema import Limits
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.limits import Lease
from aiproxy.policy.shared_counts import SharedCounts

fd, place, tries = map(int, sys.argv[1:4])
limits = Limits(**json.loads(sys.argv[4]))
book = LimitBook(SharedCounts.attach(fd, place))
admission = book.find(("model", "https://up.example", "1234"), limits, 1000.0, 1.7e9)
leases = [admission.admit(1000.0, 1.7e9) for _ in range(tries)]
print(sum(isinstance(lease, Lease) for lease in leases), flush=True)
sys.stdin.readline()
"""
#: It dies with the lock in its hand.
_DIE = """
import os, signal, sys
from aiproxy.policy.shared_counts import SharedCounts

counts = SharedCounts.attach(int(sys.argv[1]), 1)
with counts.lock(counts.claim(("model", "https://up.example", "1234"))):
    os.kill(os.getpid(), signal.SIGKILL)
"""


class CountsTestCase(SynchronousTestCase):
    """Has a memory, and books that count in it."""

    def setUp(self) -> None:
        self.counts = self.create()

    def create(self, capacity: int = 100) -> SharedCounts:
        """Make a memory until the test is over."""
        counts = SharedCounts.create(capacity)
        self.addCleanup(os.close, counts.fd)
        return counts

    def book(self, place: int = 1) -> LimitBook:
        """Return a process's book."""
        return LimitBook(SharedCounts.attach(self.counts.fd, place))

    def admit(self, book: LimitBook, limits: Limits, key: tuple[str, ...] = KEY) -> Lease | Held:
        """Ask for a lease."""
        return book.find(key, limits, NOW, WALL).admit(NOW, WALL)

    def start(self, code: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Start a process that has the memory."""
        command = [sys.executable, "-c", code, *map(str, arguments)]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[self.counts.fd]
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def takers(self, limits: dict[str, int], count: int = 4) -> list[subprocess.Popen[bytes]]:
        """Start processes that take what they can."""
        told = json.dumps(limits)
        return [self.start(_TAKE, self.counts.fd, place + 1, 50, told) for place in range(count)]

    def taken(self, process: subprocess.Popen[bytes]) -> int:
        """Return what one of them has got."""
        assert process.stdout
        return int(process.stdout.readline())


class ProcessTests(CountsTestCase):
    """Real processes."""

    def test_exact(self) -> None:
        """Of what four processes ask for together exactly the limit is admitted."""
        takers = self.takers({"requests_per_minute": 37})
        self.assertEqual(sum(map(self.taken, takers)), 37)

    def test_concurrent(self) -> None:
        """So it is at the same time; who is killed has nothing any more when his place is freed."""
        limits = {"max_concurrent": 7}
        first, second = self.takers(limits, 2)
        got = [self.taken(first), self.taken(second)]
        self.assertEqual(sum(got), 7)
        for process in (first, second):
            process.kill()
            process.wait()
        book = self.book(3)
        self.assertIsInstance(self.admit(book, Limits(**limits)), Held)
        self.counts.free_place(1)
        leases = [self.admit(book, Limits(**limits)) for _ in range(8)]
        self.assertEqual(sum(isinstance(lease, Lease) for lease in leases), got[0])

    def test_killed_within(self) -> None:
        """Who dies with the lock in his hand keeps nobody out."""
        process = self.start(_DIE, self.counts.fd)
        self.assertEqual(process.wait(), -signal.SIGKILL)
        self.assertIsInstance(self.admit(self.book(), Limits(requests_per_minute=1)), Lease)


class SharedTests(CountsTestCase):
    """Several books in one process, which see what the others do."""

    def test_together(self) -> None:
        """What one has taken, settled, released or forgotten is so for the other."""
        limits = Limits(requests_per_minute=2, tokens_per_minute=100, max_concurrent=2)
        one, other = self.book(1), self.book(2)
        first = one.find(KEY, limits, NOW, WALL).admit(NOW, WALL, 60)
        assert isinstance(first, Lease)
        self.assertIsInstance(other.find(KEY, limits, NOW, WALL).admit(NOW, WALL, 60), Held)
        first.settle(10, NOW)
        second = other.find(KEY, limits, NOW, WALL).admit(NOW, WALL, 60)
        assert isinstance(second, Lease)
        left = one.find(KEY, limits, NOW, WALL).remaining(NOW, WALL)
        self.assertEqual(
            left, {"requests_per_minute": 0, "tokens_per_minute": 30, "max_concurrent": 0}
        )
        second.forget()
        first.release()
        left = other.find(KEY, limits, NOW, WALL).remaining(NOW, WALL)
        self.assertEqual(
            left, {"requests_per_minute": 1, "tokens_per_minute": 90, "max_concurrent": 2}
        )

    def test_pace(self) -> None:
        """Two requests are an interval apart, whoever sends them; a turn can be given up."""

        def next_turn(place: int) -> Lease:
            admission = self.book(place).find(KEY, Limits(), NOW, WALL, min_interval=5.0)
            lease = admission.admit(NOW, WALL)
            assert isinstance(lease, Lease)
            return lease

        leases = [next_turn(place) for place in (1, 2, 1)]
        self.assertEqual([lease.delay for lease in leases], [0.0, 5.0, 10.0])
        leases[-1].forget()
        self.assertEqual(next_turn(2).delay, 10.0)

    def test_saved(self) -> None:
        """Who stores the counts sees all keys, and what has changed since the last time."""
        keeper = LimitBook(self.counts)
        limits = Limits(requests_per_day=5)
        self.admit(self.book(1), limits)
        self.admit(self.book(2), limits, ("other",))
        self.assertEqual({one.key for one in keeper.snapshot(changed=True)}, {KEY, ("other",)})
        self.assertEqual(keeper.snapshot(changed=True), [])
        self.admit(self.book(1), limits)
        [saved] = keeper.snapshot(changed=True)
        self.assertEqual((saved.key, saved.requests), (KEY, 2))

    def test_saved_elsewhere(self) -> None:
        """A key whose slot was given to another is stored by what it has counted itself."""
        self.counts = self.create(1)
        keeper, limits = LimitBook(self.counts), Limits(requests_per_day=50)
        old = LimitBook(SharedCounts.attach(self.counts.fd, 1))
        old.find(("a",), limits, NOW, WALL).admit(NOW, WALL)
        self.assertEqual([one.key for one in keeper.snapshot(changed=True)], [("a",)])
        self.counts.free_place(1)
        later, wall = NOW + 200_000, WALL + 200_000
        new = LimitBook(SharedCounts.attach(self.counts.fd, 2))
        for _ in range(3):
            new.find(("b",), limits, later, wall).admit(later, wall)
        [saved] = keeper.snapshot(changed=True)
        self.assertEqual((saved.key, saved.requests), (("b",), 3))
        self.assertEqual([one.key for one in keeper.snapshot()], [("b",)])

    def test_restored(self) -> None:
        """What was stored counts for all."""
        limits = Limits(requests_per_day=3)
        plain = LimitBook()
        for _ in range(2):
            self.admit(plain, limits)
        LimitBook(self.counts).restore(plain.snapshot(), WALL)
        book = self.book()
        self.assertIsInstance(self.admit(book, limits), Lease)
        self.assertIsInstance(self.admit(book, limits), Held)

    def test_full(self) -> None:
        """Beyond its room keys of the same limits share; what is idle gives its room back."""
        self.counts = self.create(2)
        limits = Limits(requests_per_minute=2)
        one = self.book(1)
        for name in ("a", "b", "c"):
            self.assertIsInstance(self.admit(one, limits, (name,)), Lease)
        self.assertIsInstance(self.admit(self.book(2), limits, ("d",)), Lease)
        self.assertIsInstance(self.admit(self.book(3), limits, ("e",)), Held)
        later, wall = NOW + 200, WALL + 200
        self.counts.free_place(1)
        self.counts.free_place(2)
        late = self.book(4)
        for _ in range(2):
            late.find(("f",), limits, later, wall).admit(later, wall)
        self.assertIn(("f",), self.counts.known_keys())
        # Whose slot was given away begins anew, in another one.
        held = one.find(("a",), limits, later, wall).admit(later, wall)
        self.assertIsInstance(held, Lease)
        self.assertIsInstance(late.find(("f",), limits, later, wall).admit(later, wall), Held)

    def test_long_key(self) -> None:
        """A key that is too long to be listed counts all the same."""
        key = ("x" * 2_000,)
        limits = Limits(requests_per_minute=1)
        self.assertIsInstance(self.admit(self.book(1), limits, key), Lease)
        self.assertIsInstance(self.admit(self.book(2), limits, key), Held)
        self.assertEqual(self.counts.known_keys(), [])

    def test_layout(self) -> None:
        """A memory of another version is refused."""
        os.pwrite(self.counts.fd, b"aiproxy counts 0", 0)
        with self.assertRaises(OtherLayout):
            SharedCounts.attach(self.counts.fd, 1)


#: What is done, by which of two; and after how many seconds.
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["admit", "settle", "release", "forget"]),
        st.integers(1, 2),
        st.integers(0, 90),
        st.integers(0, 20),
    ),
    max_size=30,
)


class SameTests(SynchronousTestCase):
    """Two who share decide as one alone."""

    @settings(deadline=None)
    @given(_STEPS)
    def test_same(self, steps: list[tuple[str, int, int, int]]) -> None:
        """Whatever is done in which order."""
        counts = SharedCounts.create(10)
        try:
            books = {place: LimitBook(SharedCounts.attach(counts.fd, place)) for place in (1, 2)}
            self.compare(steps, books, LimitBook())
        finally:
            os.close(counts.fd)

    def compare(self, steps: Any, books: dict[int, LimitBook], plain: LimitBook) -> None:
        """Do it with both, and compare what they say."""
        limits = Limits(4, 6, 9, 60, 3)
        now, wall = NOW, WALL
        leases: list[tuple[Lease, Lease]] = []
        for what, place, seconds, tokens in steps:
            now, wall = now + seconds / 4, wall + seconds * 40
            if what == "admit":
                both = [
                    book.find(KEY, limits, now, wall, min_interval=0.5).admit(now, wall, tokens)
                    for book in (books[place], plain)
                ]
                shared, alone = both
                if isinstance(shared, Lease) and isinstance(alone, Lease):
                    self.assertEqual(shared.delay, alone.delay)
                    leases.append((shared, alone))
                else:
                    self.assertEqual(shared, alone)
            elif leases:
                for lease in leases[-1]:
                    if what == "settle":
                        lease.settle(tokens, now)
                    elif what == "release":
                        lease.release()
                    else:
                        lease.forget()
                if what != "settle":
                    leases.pop()
            remaining = [
                book.find(KEY, limits, now, wall, min_interval=0.5).remaining(now, wall)
                for book in (*books.values(), plain)
            ]
            self.assertEqual(remaining[0], remaining[2])
            self.assertEqual(remaining[1], remaining[2])

"""Tests of :mod:`aiproxy.policy.throttle`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.policy.access import token_digest
from aiproxy.policy.throttle import (
    BLOCK_SECONDS,
    MOST_FAILURES,
    WINDOW_SECONDS,
    AuthThrottle,
)

A, B = "203.0.113.7", "203.0.113.8"
GOOD = token_digest("sk-good")
START = 1000.0


class AuthThrottleTests(SynchronousTestCase):
    """Who is held back, and for how long."""

    def setUp(self) -> None:
        self.throttle = AuthThrottle()

    def come(self, count: int, now: float = START, address: str = A) -> list[bool]:
        """Come with wrong tokens."""
        return [self.throttle.fail(address, now) for _ in range(count)]

    def test_blocked(self) -> None:
        """So many failures within a minute block an address, and no other, for a minute."""
        self.assertEqual(self.throttle.wait(A, START), 0.0)
        self.assertEqual(self.come(MOST_FAILURES), [False] * (MOST_FAILURES - 1) + [True])
        self.assertEqual(self.throttle.wait(A, START), BLOCK_SECONDS)
        self.assertEqual(self.throttle.wait(A, START + BLOCK_SECONDS - 1), 1.0)
        self.assertEqual(self.throttle.wait(A, START + BLOCK_SECONDS), 0.0)
        self.assertEqual(self.throttle.wait(B, START), 0.0)

    def test_anew(self) -> None:
        """What fails while it is blocked makes it no longer; then it counts from nothing."""
        self.come(MOST_FAILURES)
        self.assertEqual(self.come(100, START + 30), [False] * 100)
        self.assertEqual(self.throttle.wait(A, START + 30), BLOCK_SECONDS - 30)
        later = START + BLOCK_SECONDS
        self.assertNotIn(True, self.come(MOST_FAILURES - 1, later))
        self.assertEqual(self.throttle.wait(A, later), 0.0)
        self.assertEqual(self.come(1, later), [True])

    def test_slow(self) -> None:
        """Failures that are older than a minute don't count."""
        for number in range(200):
            self.assertEqual(self.come(1, START + number * 3.5), [False])
        # In the last minute there are 18 by now.
        self.assertEqual(self.come(2, START + 199 * 3.5), [False, True])

    @given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), min_size=1, max_size=30))
    def test_exact(self, steps: list[tuple[int, int]]) -> None:
        """No minute without a block has so many failures, and no block begins with fewer."""
        throttle, now, counted = AuthThrottle(), START, list[float]()
        for seconds, count in steps:
            now += seconds
            if throttle.wait(A, now):
                continue
            for _ in range(count):
                counted.append(now)
                recent = [time for time in counted if time > now - WINDOW_SECONDS]
                blocked = throttle.fail(A, now)
                self.assertEqual(blocked, len(recent) == MOST_FAILURES)
                if blocked:
                    counted.clear()
                    break

    def test_network(self) -> None:
        """An IPv6 client cannot change its address within its network."""
        for number in range(MOST_FAILURES):
            self.throttle.fail(f"2001:db8::{number:x}", START)
        self.assertGreater(self.throttle.wait("2001:db8::ffff:1", START), 0)
        self.assertEqual(self.throttle.wait("2001:db8:0:1::1", START), 0.0)
        self.throttle.remember("2001:db8::1", GOOD)
        self.assertTrue(self.throttle.knows("2001:db8::2", GOOD))

    def test_known(self) -> None:
        """A token is known where it was good, and nowhere else."""
        self.throttle.remember(A, GOOD)
        self.assertTrue(self.throttle.knows(A, GOOD))
        self.assertFalse(self.throttle.knows(B, GOOD))
        self.assertFalse(self.throttle.knows(A, token_digest("sk-other")))


class BoundsTests(SynchronousTestCase):
    """What is remembered has a bound."""

    def setUp(self) -> None:
        self.throttle = AuthThrottle()

    def test_failures(self) -> None:
        """Of many addresses the one that has not failed for longest is forgotten first."""
        self.throttle.fail(B, START)
        for _ in range(MOST_FAILURES):
            self.throttle.fail(A, START)
        for _ in range(MOST_FAILURES - 1):
            self.throttle.fail(B, START)
        for number in range(9_999):
            self.throttle.fail(f"10.0.{number >> 8}.{number & 255}", START)
        self.assertEqual(self.throttle.wait(A, START), 0.0)
        self.assertEqual(self.throttle.wait(B, START), BLOCK_SECONDS)

    def test_tokens(self) -> None:
        """So is the token that was known first."""
        for number in range(10_001):
            self.throttle.remember(A, b"%d" % number)
        self.assertFalse(self.throttle.knows(A, b"0"))
        self.assertTrue(self.throttle.knows(A, b"1"))

    def test_forgotten(self) -> None:
        """What no longer matters is let go, and what does is kept."""
        for _ in range(MOST_FAILURES):
            self.throttle.fail(A, START)
        for number in range(1000):
            self.throttle.fail(f"10.0.{number >> 8}.{number & 255}", START)
        kept = len(self.throttle._failures)
        self.throttle.fail(B, START + 59)
        self.assertEqual(len(self.throttle._failures), kept + 1)
        self.throttle.fail(B, START + 60)
        self.assertEqual(len(self.throttle._failures), 1)

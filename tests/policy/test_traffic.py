"""Tests of :mod:`aiproxy.policy.traffic`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.policy import traffic
from aiproxy.policy.traffic import Traffic


class TrafficTests(SynchronousTestCase):
    """What is remembered of candidates."""

    def test_running(self) -> None:
        """Calls are counted while they go on; the newest beginning is kept."""
        book = Traffic()
        flow = book.find("a")
        flow.began(5.0)
        flow.began(7.0)
        flow.ended()
        self.assertEqual((book.look("a").running, book.look("a").last_used), (1, 7.0))

    def test_looking_keeps_nothing(self) -> None:
        """Who only looks finds an empty flow, and leaves none."""
        book = Traffic()
        self.assertEqual(book.look("x").running, 0)
        book.find("x").began(1.0)
        self.assertEqual(book.look("y").running, 0)
        self.assertIsNone(book.look("y").first_token)

    def test_first_token(self) -> None:
        """An average in which what is older counts less: half after five minutes."""
        flow = Traffic().find("a")
        flow.answered(1.0, 0.0)
        self.assertEqual(flow.first_token, 1.0)
        flow.answered(4.0, 300.0)
        # The first counts half as much as the second.
        self.assertAlmostEqual(flow.first_token or 0, (0.5 * 1 + 4) / 1.5)
        flow.answered(0.0, 300.0 + 40 * 300.0)
        self.assertAlmostEqual(flow.first_token or 0, 0.0, places=6)

    def test_turns(self) -> None:
        """Each name has turns of its own, from 0 on."""
        book = Traffic()
        self.assertEqual([book.turn(name) for name in "aaba"], [0, 1, 0, 2])

    def test_bounded(self) -> None:
        """Of very many candidates those that rest longest are forgotten, never a running one."""
        self.patch(traffic, "_MOST", 4)
        book = Traffic()
        for place, name in enumerate("abcd"):
            book.find(name).began(float(place))
        for name in "bcd":
            book.find(name).ended()
        book.find("e").began(9.0)
        known = [name for name in "abcde" if book.look(name).last_used >= 0]
        self.assertEqual(known, ["a", "d", "e"])
        for name in "vwxyz":
            book.turn(name)
        self.assertEqual(book.turn("z"), 1)

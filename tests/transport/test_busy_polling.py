"""Tests of :mod:`aiproxy.transport.busy_polling`."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.busy_polling import BusyPolling

#: Seconds that a wait, or a look, takes.
SHORT, LONG, LOOK = 40e-6, 0.3, 1e-6


class BusyPollingTests(SynchronousTestCase):
    """How often is looked, after which waits."""

    def setUp(self) -> None:
        self.now = 1000.0
        self.polling = BusyPolling(lambda: self.now)
        self.looks = 0

    def sleep(self, seconds: float, times: int = 1) -> None:
        """Sleep, and wake again."""
        for _ in range(times):
            self.polling.sleeps()
            self.now += seconds
            self.polling.woke()

    def look(self, found_after: int | None = None) -> Sequence[str]:
        """Look, and find something at a look's number, or never."""
        self.looks = 0

        def poll() -> list[str]:
            self.now += LOOK
            self.looks += 1
            return ["it"] if self.looks == found_after else []

        return self.polling.look(poll)

    def test_first(self) -> None:
        """Who has not slept yet knows nothing."""
        self.polling.woke()
        self.assertEqual((self.look(1), self.looks), ((), 0))

    def test_after_short(self) -> None:
        """After a short wait the next one is awake, until something happens."""
        self.sleep(SHORT)
        for _ in range(3):
            self.assertEqual((self.look(20), self.looks), (["it"], 20))

    def test_after_long(self) -> None:
        """After a long one it is not."""
        self.sleep(SHORT)
        self.sleep(LONG)
        self.assertEqual((self.look(1), self.looks), ((), 0))

    def test_no_longer(self) -> None:
        """Nothing happens: it takes no longer than a sleep would have cost."""
        self.sleep(SHORT)
        began = self.now
        self.assertEqual(self.look(), ())
        self.assertAlmostEqual(self.now - began, 0.0001, places=5)

    def test_in_vain(self) -> None:
        """Each time in vain asks for twice as many short waits before the next, up to a bound."""
        self.sleep(SHORT)
        self.look()
        asked = []
        for _ in range(10):
            waits = self.looks = 0
            while not self.looks:
                self.sleep(SHORT)
                waits += 1
                self.look()
            asked.append(waits)
        self.assertEqual(asked, [2, 4, 8, 16, 32, 64, 128, 256, 256, 256])

    def test_in_a_row(self) -> None:
        """They have to be in a row: a long one among them, and it begins anew."""
        self.sleep(SHORT)
        self.look()
        for _ in range(5):
            self.sleep(SHORT)
            self.sleep(LONG)
            self.assertEqual((self.look(1), self.looks), ((), 0))
        self.sleep(SHORT, 2)
        self.assertEqual(self.look(1), ["it"])

    def test_found_again(self) -> None:
        """Once something came, one short wait is enough again."""
        self.sleep(SHORT)
        for waits in (2, 4, 8):
            self.look()
            self.sleep(SHORT, waits)
        self.assertEqual(self.look(1), ["it"])
        self.sleep(LONG)
        self.sleep(SHORT)
        self.assertEqual(self.look(1), ["it"])

    def test_clock_set_back(self) -> None:
        """A clock that is set back neither makes a wait short nor a look long."""
        self.sleep(-3600)
        self.assertEqual((self.look(1), self.looks), ((), 0))
        self.sleep(SHORT)

        def set_back() -> list[str]:
            self.now -= 3600
            return []

        self.assertEqual(self.polling.look(set_back), ())

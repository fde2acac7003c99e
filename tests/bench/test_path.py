"""The way of one plain call, and how long it may be."""

from __future__ import annotations

import gc
import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from bench.path import CallsInMemory, count_calls, measure
from bench.targets import ROOT

#: Functions of ours that a call may run through, everything on; each costs some 0.3 µs.
MOST_FUNCTIONS = 255
OURS = (f"{ROOT / 'aiproxy'}{os.sep}", "<attrs generated methods aiproxy.")


class PathTests(SynchronousTestCase):
    """One plain call in memory."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.clock = TurningClock()
        self.call = CallsInMemory(self.folder, self.clock)
        self.addCleanup(self.call.close)

    def test_length(self) -> None:
        """It stays as short as it is, which is the same on every machine."""
        measure(self.call.run, 3)
        gc.collect()  # No finalizer of others comes in between.
        # The shortest: the first call in a second of the day writes its time anew.
        calls = [count_calls(self.call.run) for _ in range(3)]
        seen = min(calls, key=lambda call: len(call.python))
        names = [name for _, file, name in seen.python if file.startswith(OURS)]
        self.assertLess(len(names), MOST_FUNCTIONS)
        self.assertEqual(len([depth for depth, _, _ in seen.python if not depth]), 1)
        for name in ("Guard.admit", "Admission.admit", "read_tokens", "Metrics.observe"):
            self.assertIn(name, names)

    def test_whole(self) -> None:
        """It does all that a call does: the limit is counted, the line is written."""
        for _ in range(3):
            self.call.run()
        self.clock.advance(1)
        lines = (self.folder / "access-llhttp.log").read_text().splitlines()
        self.assertEqual(len(lines), 3)
        self.assertIn("tokens=19+400 key=AUTH_TOKEN", lines[0])


class TogetherTests(SynchronousTestCase):
    """Several calls in one turn."""

    def test_each(self) -> None:
        """Each is answered as it was asked, and logged."""
        folder, clock = Path(self.mktemp()), TurningClock()
        folder.mkdir()
        calls = CallsInMemory(folder, clock, together=4)
        for _ in range(3):
            calls.run()
        calls.close()
        lines = (folder / "access-llhttp.log").read_text().splitlines()
        self.assertEqual(len(lines), 12)
        self.assertEqual(len({line.split("id=")[1] for line in lines}), 12)


class TurningClock(Clock):
    """A clock that is asked for a reactor's turn."""

    def runUntilCurrent(self) -> None:
        """Nothing is due without an advance."""

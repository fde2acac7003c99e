"""Tests of :mod:`bench.targets`."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.targets import Place, find_aiproxy_of, find_targets


class TargetsTests(SynchronousTestCase):
    """Who is measured."""

    def test_other_environment(self) -> None:
        """Another environment's aiproxy is told by its version, and started as ours is."""
        other = find_aiproxy_of(sys.executable)
        self.assertEqual(other.title, f"aiproxy, Python {platform.python_version()}")
        self.assertTrue(other.is_ours)
        [ours] = [target for target in find_targets() if target.name == "aiproxy"]
        folder = Path(self.mktemp())
        folder.mkdir()
        place = Place(folder, 1, 2)
        assert ours.command is not None and other.command is not None
        self.assertEqual(other.command(place), ours.command(place))
        self.assertEqual(other.environment, ours.environment)

    def test_no_interpreter(self) -> None:
        """A path that leads to none is told at once."""
        self.assertRaises(FileNotFoundError, find_aiproxy_of, "/nowhere/python")

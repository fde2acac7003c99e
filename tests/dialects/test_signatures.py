"""Tests of :mod:`aiproxy.dialects.signatures`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.signatures import SignatureMemory


class SignatureMemoryTests(SynchronousTestCase):
    """What is remembered, and for how long."""

    def test_found_by_id_and_name(self) -> None:
        """A signature belongs to one call; the latest one counts."""
        memory = SignatureMemory()
        memory.note("c", "f", "old")
        memory.note("c", "f", "new")
        self.assertEqual(memory.find("c", "f"), "new")
        self.assertIsNone(memory.find("c", "g"))
        self.assertIsNone(memory.find("d", "f"))

    def test_bounded_by_number(self) -> None:
        """The one that nobody has asked for longest is forgotten first."""
        memory = SignatureMemory(most=2)
        memory.note("a", "f", "1")
        memory.note("b", "f", "2")
        memory.find("a", "f")
        memory.note("c", "f", "3")
        self.assertEqual([memory.find(one, "f") for one in "abc"], ["1", None, "3"])

    def test_bounded_by_size(self) -> None:
        """All have a bound together, with ids and names; what was replaced does not count."""
        memory = SignatureMemory(most_characters=14)
        memory.note("a", "f", "x" * 9)
        memory.note("a", "f", "x" * 4)
        memory.note("b", "f", "y" * 6)
        self.assertEqual(memory.find("a", "f"), "x" * 4)
        memory.note("c", "f", "z")
        self.assertEqual([memory.find(one, "f") for one in "abc"], ["x" * 4, None, "z"])
        memory.note("e" * 8, "f", "v")
        self.assertEqual([memory.find(one, "f") for one in ("a", "c", "e" * 8)], [None, "z", "v"])
        memory.note("d", "f", "w" * 13)
        self.assertIsNone(memory.find("d", "f"))

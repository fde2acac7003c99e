"""Tests of ``docs/reliability.md``: what it says is shown by tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

DOCS = Path(__file__).parent.parent / "docs"
_LINK = re.compile(r"\[(test_\w+)\]\((\.\./tests/[\w/]+\.py)\)")


class ReliabilityPageTests(SynchronousTestCase):
    """The page."""

    def setUp(self) -> None:
        """Read it."""
        super().setUp()
        self.page = (DOCS / "reliability.md").read_text("utf-8")

    def test_links(self) -> None:
        """Every test that it names is where it says."""
        links = _LINK.findall(self.page)
        self.assertGreater(len(links), 30)
        for name, path in links:
            file = DOCS / path
            known = file.is_file() and (
                f"def {name}(" in file.read_text("utf-8") or file.stem == name
            )
            self.assertTrue(known, f"{name} of {path}")

    def test_rows(self) -> None:
        """Every row of its tables names one."""
        rows = [line for line in self.page.splitlines() if line.startswith("| ")]
        told = [row for row in rows if not row.startswith("| what the upstream does")]
        self.assertGreater(len(told), 25)
        for row in told:
            self.assertTrue(_LINK.search(row), row)

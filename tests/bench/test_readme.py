"""Tests of :mod:`bench.readme`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.readme import write
from bench.targets import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


class PeersTests(SynchronousTestCase):
    """The README's table."""

    def test_up_to_date(self) -> None:
        """It has the figures of the page; ``python -m bench.readme`` writes them."""
        self.assertEqual(README.count("<!-- peers -->"), 1)
        self.assertEqual(write(README, PAGE), README)

    def test_broken_streams(self) -> None:
        """Whose answers are not whole has no figure."""
        page = PAGE.replace("### Streams passed through", "### Other", 1)
        table = (
            "### Streams passed through, 1 connection\n\n"
            "| | events/s | errors |\n|---|--:|--:|\n| **aiproxy** | 12 | 0 |\n"
            "| LiteLLM | 99 | 3 |\n"
        )
        written = write("<!-- peers -->\n\n| old |\n\nend", f"{table}\n{page}")
        self.assertIn("Streams passed through, events a second | 12 | fails |", written)
        self.assertNotIn("old", written)
        self.assertTrue(written.endswith("|\n\nend"))

    def test_no_table(self) -> None:
        """A page without the tables is refused."""
        self.assertRaises(LookupError, write, README, "# Performance\n")

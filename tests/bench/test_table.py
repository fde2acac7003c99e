"""Tables, numbers, and their place in a page."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bench.table import BEGIN, END, format_number, format_table, replace_tables

PAGE = Path(__file__).parent.parent.parent / "docs" / "performance.md"


class TableTests(SynchronousTestCase):
    """Markdown that is readable as it is."""

    def test_aligned(self) -> None:
        """Names stand to the left, numbers to the right, in columns of one width."""
        table = format_table(["", "rate"], [["nginx", "1,000"], ["we", "9"]])
        expected = [
            "|       |  rate |",
            "| ----- | ----: |",
            "| nginx | 1,000 |",
            "| we    |     9 |",
        ]
        self.assertEqual(table.splitlines(), expected)

    def test_uneven(self) -> None:
        """A row with another number of cells is a mistake."""
        self.assertRaises(ValueError, format_table, ["", "rate"], [["nginx"]])

    def test_numbers(self) -> None:
        """Three digits that mean something, thousands set apart, nothing for the unknown."""
        numbers = (0, 0.01234, 1.5, 99.96, 12345.6, float("nan"))
        shown = ["0", "0.0123", "1.50", "100.0", "12,346", ""]
        self.assertEqual([format_number(number) for number in numbers], shown)

    @given(st.floats(1e-6, 1e9))
    def test_close(self, number: float) -> None:
        """What is written is within half a percent of what is meant."""
        written = float(format_number(number).replace(",", ""))
        self.assertLessEqual(abs(written - number), 0.005 * number)


class ReplaceTablesTests(SynchronousTestCase):
    """The page around the tables stays."""

    @given(st.text(), st.text(), st.text())
    def test_around(self, before: str, between: str, after: str) -> None:
        """Only what stands between the marks changes, and a second time nothing does."""
        page = f"{before}{BEGIN}{between}{END}{after}"
        replaced = replace_tables(page, "tables")
        self.assertEqual(replaced, f"{before}{BEGIN}\n\ntables\n\n{END}{after}")
        self.assertEqual(replace_tables(replaced, "tables"), replaced)

    def test_marks(self) -> None:
        """A page that lacks a mark, or has them the wrong way round, is left alone."""
        for page in ("", BEGIN, END, END + BEGIN):
            self.assertRaises(ValueError, replace_tables, page, "tables")

    def test_page(self) -> None:
        """The page of the documentation has its place for them."""
        self.assertIn("tables", replace_tables(PAGE.read_text(encoding="utf-8"), "tables"))

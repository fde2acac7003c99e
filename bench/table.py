"""Tables in Markdown that are readable as they are, and their place in a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

BEGIN = "<!-- tables: written by make bench -->"
END = "<!-- end of tables -->"


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table, the first column to the left and all others to the right."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(3, *map(len, column)) for column in columns]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for row in (head, rule, *rows):
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def format_number(value: float) -> str:
    """Write three significant digits, and nothing for what is not known."""
    if math.isnan(value):
        return ""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def replace_tables(page: str, tables: str) -> str:
    """
    Put tables between the two marks of a page.

    :raises ValueError: the page does not have both marks, in order.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} … {END}")
    return f"{before}{BEGIN}\n\n{tables.strip()}\n\n{END}{after}"

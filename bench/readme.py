"""
Puts the figures that a newcomer asks for first from ``docs/performance.md`` into the README.

``python -m bench.readme`` rewrites the table behind ``<!-- peers -->``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from bench.targets import ROOT

#: What is shown: its words, the heading of its table, and the column there.
_SHOWN: Final = (
    ("Short requests a second, one core", "Short plain requests, 32 connections", "requests/s"),
    ("Added to a request at the median, µs", "Short plain requests, 1 connection", "added p50, µs"),
    ("Prompts of 1 MiB a second", "Prompts of 1 MiB with an image", "requests/s"),
    ("Streams passed through, events a second", "Streams passed through", "events/s"),
    ("Streams translated from Gemini, events a second", "Streams translated from G", "events/s"),
    ("Streams translated from Anthropic", "Streams translated from A", "events/s"),
    ("Memory when idle, MB", "Memory", "idle, MB"),
    ("From start to first answer, s", "Start-up", "first answer, s"),
)
_TARGETS: Final = ("**aiproxy**", "LiteLLM", "Portkey", "bare Klein and treq", "nginx as the proxy")
_TABLE: Final = re.compile(r"(?m)^<!-- peers -->\n\n(?:\|.*\n)*")


def write(readme: str, page: str) -> str:
    """
    Return the README with its table.

    :param page: ``docs/performance.md``.
    :raises LookupError: the page has no such table or column.
    """
    rows = [["", *(name.strip("*") for name in _TARGETS)]]
    for words, heading, column in _SHOWN:
        figures = _read(page, heading, column)
        rows.append([words, *(figures.get(name) or "" for name in _TARGETS)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "|---" + "|--:" * len(_TARGETS) + "|")
    return _TABLE.sub(lambda _: "<!-- peers -->\n\n" + "\n".join(lines) + "\n", readme)


def _read(page: str, heading: str, column: str) -> Mapping[str, str]:
    """Return a column of the table under a heading that begins so, by the rows' names."""
    found = re.search(rf"(?m)^### {re.escape(heading)}.*\n\n((?:\|.*\n)+)", page)
    if found is None:
        raise LookupError(f"no table {heading!r}")
    head, _, *rows = ([cell.strip() for cell in row.split("|")] for row in found[1].splitlines())
    at = head.index(column)
    # Whose streams break has no rate that counts.
    errors = head.index("errors") if "errors" in head else None
    return {
        row[1]: row[at] if errors is None or row[errors] in ("", "0") else "fails" for row in rows
    }


if __name__ == "__main__":
    readme, page = ROOT / "README.md", ROOT / "docs" / "performance.md"
    text = write(readme.read_text(encoding="utf-8"), page.read_text(encoding="utf-8"))
    readme.write_text(text, encoding="utf-8")

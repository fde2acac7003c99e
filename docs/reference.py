"""
Writes the tables of ``docs/configuration.md`` from the schema.

``python docs/reference.py`` rewrites the page.  A comment ``<!-- keys: models -->``
stands before the table of that section's keys, ``<!-- types -->`` before that
of the providers' types.  All else on the page is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from aiproxy.config.entries import File
from aiproxy.config.kinds import walk_keys
from aiproxy.config.known_providers import KNOWN_PROVIDERS

PAGE: Final = Path(__file__).parent / "configuration.md"
_TABLE: Final = re.compile(r"(?m)^<!-- (keys: (?P<section>\w+)|types) -->\n\n(?:\|.*\n)*")


def write(page: str) -> str:
    """Return the page with its tables as they are to be."""
    return _TABLE.sub(_write_table, page)


def _write_table(found: re.Match[str]) -> str:
    section = found["section"]
    rows = _write_types() if section is None else _write_keys(section)
    return f"<!-- {found[1]} -->\n\n" + "\n".join(rows) + "\n"


def _write_keys(section: str) -> list[str]:
    top = section == "file"
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for documented in walk_keys(File):
        path = documented.path
        if not re.search(r"[.\[]", path) if top else re.match(rf"{section}[.\[]", path):
            rows.append(f"| `{path}` | {documented.default} | {documented.key.doc} |")
    return rows


def _write_types() -> list[str]:
    rows = [
        "| type and aliases | base_url | environment variables for the token |",
        "|---|---|---|",
    ]
    for known in KNOWN_PROVIDERS.values():
        names = ", ".join(f"`{name}`" for name in (known.name, *known.aliases))
        url = f"`{known.base_url}`" if known.base_url else "none"
        variables = ", ".join(f"`{name}`" for name in known.token_variables) or "none needed"
        rows.append(f"| {names} | {url} | {variables} |")
    return rows


if __name__ == "__main__":
    PAGE.write_text(write(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

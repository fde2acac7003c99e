"""
The code blocks of the documentation, each of which a test runs.

Pages are ``README.md``, ``SECURITY.md``, ``deploy/README.md`` and all of ``docs``.  The language
of a block says what becomes of it:

- ``text``, ``console``, ``output``: output, or something to look at.  It is not run.
- ``yaml``: our configuration must load without a problem or a warning.  A fragment is completed
  first: with the models that it names and does not define, with a value for each ``${VAR}``, with
  the files behind ``file:``.  Files for Prometheus, Compose and Kubernetes are held against their
  own schemas, and one of LiteLLM's is converted.
- ``json``, ``jsonl`` (each line) and ``toml`` must parse.
- ``ini``: with sections a part of a systemd unit, which systemd must take; without any a
  ``.env`` file, which must load and sets only what ``.env.example`` has.
- ``python``: it is executed, with ``await`` where that is written.  What speaks to
  ``127.0.0.1:8080`` runs in a process of its own, against a server; a function that a block only
  defines is called.  The names that a fragment presupposes are in a table of the test.
- ``sh``: it is run by bash, which stops at the first failure, against a server, in a folder like
  a checkout.  Servers are not started, but their options are read; ``make`` only says what it
  would do; programs of other people do nothing, but the files that they are given must exist.

Any other language, and none, is a mistake.  Blocks may be indented in a list or a quotation.
MyST's directives are looked through: ``{code-block}`` is a block, and what ``{literalinclude}``
and the like bring in is tested where it stands.

A test reports all blocks that fail, with page and line; what it leaves out is in a table with
the reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from attrs import frozen

from tests.packages import ROOT

__all__ = [
    "LANGUAGES",
    "OUTPUT",
    "Block",
    "all_blocks",
    "blocks_of",
    "find_blocks",
    "find_pages",
    "without_blocks",
]

#: Languages of what is not run.
OUTPUT: Final = frozenset({"text", "console", "output"})
#: Languages of what is.
LANGUAGES: Final = frozenset({"yaml", "json", "jsonl", "toml", "ini", "python", "sh"})

#: Indentation, marks of quotations and of list items; then the fence, and what it says.
_FENCE: Final = re.compile(
    r"(?P<before>(?:[ >]|[-*+] |\d{1,9}[.)] )*)(?P<fence>`{3,}|~{3,})(?P<info>[^`]*)"
)
_DIRECTIVE: Final = re.compile(r"\{(?P<name>[\w:-]+)\}\s*(?P<argument>\S*)")
_OPTION: Final = re.compile(r":[\w-]+:")
_CODE: Final = frozenset({"code-block", "code", "sourcecode"})


@frozen
class Block:
    """
    One block of code.

    :param page: relative to the checkout.
    :param line: of the opening fence, from 1.
    :param language: empty if the block names none.
    :param text: without the indentation of the fence; ends with a newline unless it is empty.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """What a report calls it."""
        return f"{self.page}:{self.line}"


def find_pages(root: Path = ROOT) -> list[Path]:
    """Return all pages, without what Sphinx has built."""
    docs = root / "docs"
    built = docs / "_build"
    pages = (page for page in sorted(docs.rglob("*.md")) if built not in page.parents)
    return [root / "README.md", root / "SECURITY.md", root / "deploy" / "README.md", *pages]


def all_blocks(root: Path = ROOT) -> list[Block]:
    """Return the blocks of all pages, in their order."""
    return [
        block
        for page in find_pages(root)
        for block in find_blocks(page.relative_to(root).as_posix(), page.read_text("utf-8"))
    ]


def blocks_of(*languages: str) -> list[Block]:
    """Return the blocks of all pages in some languages, in their order."""
    return [block for block in all_blocks() if block.language in languages]


def find_blocks(page: str, text: str) -> list[Block]:
    """
    Return the blocks of one page.

    :raises ValueError: a block has no end.
    """
    return list(_find(page, text.splitlines(), 1))


def without_blocks(text: str) -> list[str]:
    """Return the lines of a page; those of blocks are empty."""
    lines = text.splitlines()
    for block in find_blocks("", text):
        length = len(block.text.splitlines())
        lines[block.line - 1 : block.line + length + 1] = [""] * (length + 2)
    return lines


def _find(page: str, lines: Sequence[str], first: int) -> Iterator[Block]:
    """Find the blocks in some lines, the first of which has this number on the page."""
    numbered = enumerate(lines, first)
    for number, line in numbered:
        opening = _FENCE.fullmatch(line)
        if opening is None:
            continue
        content = list(_content(numbered, opening, f"{page}:{number}"))
        directive = _DIRECTIVE.match(opening["info"].strip())
        if directive is None:
            language = opening["info"].split(maxsplit=1)[:1]
            yield Block(page, number, "".join(language), _join(content))
        elif directive["name"] in _CODE:
            options = next((at for at, text in enumerate(content) if not _OPTION.match(text)), 0)
            yield Block(page, number, directive["argument"], _join(content[options:]).lstrip("\n"))
        else:
            yield from _find(page, content, number + 1)


def _content(numbered: Iterator[tuple[int, str]], opening: re.Match[str], where: str) -> list[str]:
    """Take the lines up to the fence that closes a block."""
    fence, width = opening["fence"], len(opening["before"])
    closing = re.compile(rf"[ >]*{fence[0]}{{{len(fence)},}}\s*")
    indentation = re.compile(rf"[ >]{{0,{width}}}")
    content: list[str] = []
    for _, line in numbered:
        if closing.fullmatch(line):
            return content
        content.append(indentation.sub("", line, count=1))
    raise ValueError(f"{where}: the block has no end")


def _join(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)

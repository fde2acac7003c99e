"""The links of the pages: each leads somewhere."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from tests.documentation.blocks import find_pages, without_blocks
from tests.packages import ROOT

_CODE: Final = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
_LINKS: Final = (
    re.compile(r"\]\(\s*<?([^\s)>]+)"),
    re.compile(r"(?m)^ {0,3}\[[^\]]+\]:\s*<?([^\s>]+)"),
    re.compile(r"<(https?://[^\s>]+)>"),
    re.compile(r"""\b(?:href|src)=["']([^"']+)"""),
)
_HEADING: Final = re.compile(r"(?m)^#{1,6} +(.+?)(?: +#+)?$")
_ANCHOR: Final = re.compile(r"""\b(?:id|name)=["']([^"']+)""")
_LINK_IN_HEADING: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
#: Hosts that need no TLS: this machine, and those that exist in examples only (RFC 2606).
_PLAIN: Final = re.compile(
    r"localhost|127\.0\.0\.1|::1|(?:.+\.)?(?:example|test|invalid|localhost)"
    r"|(?:.+\.)?example\.(?:com|org|net)"
)


def find_links(text: str) -> Iterator[tuple[int, str]]:
    """Find the links and pictures of a page, with the lines where they stand."""
    for number, line in enumerate(without_blocks(text), 1):
        prose = _CODE.sub("", line)
        for pattern in _LINKS:
            for match in pattern.finditer(prose):
                yield number, match[1]


def find_anchors(text: str) -> set[str]:
    """
    Return the anchors of a page's headings, as GitHub makes them, and of HTML.

    Lower case, without what is no letter, digit, ``_``, hyphen or space; spaces
    are hyphens.  The second heading of a name ends in ``-1``.
    """
    prose = "\n".join(without_blocks(text))
    anchors = set(_ANCHOR.findall(prose))
    seen: Counter[str] = Counter()
    for match in _HEADING.finditer(prose):
        words = _LINK_IN_HEADING.sub(r"\1", match[1]).lower()
        slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        anchors.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return anchors


@cache
def _anchors_of(page: Path) -> set[str]:
    return find_anchors(page.read_text(encoding="utf-8"))


def complain(page: Path, link: str) -> str | None:
    """Return what is wrong with a link of a page."""
    url = urlsplit(link)
    if url.scheme == "http":
        return None if _PLAIN.fullmatch(url.hostname or "") else "over plain http"
    if url.scheme or url.netloc:
        return None
    target = page if not url.path else page.parent / unquote(url.path)
    if not target.exists():
        return "there is no such file"
    if ROOT not in target.resolve().parents:
        return "leads out of the repository"
    if url.fragment and target.suffix == ".md" and url.fragment not in _anchors_of(target):
        return "there is no such heading"
    return None


class LinkTests(SynchronousTestCase):
    """All links."""

    def test_pages(self) -> None:
        """Each leads to a file or heading that is there; others are over TLS."""
        found = [
            f"{page.relative_to(ROOT)}:{line}: {link}: {wrong}"
            for page in find_pages()
            for line, link in find_links(page.read_text(encoding="utf-8"))
            if (wrong := complain(page, link))
        ]
        self.assertEqual(found, [], "\n".join(found))

    def test_find(self) -> None:
        """Links, pictures and addresses are found, but not those in code."""
        text = (
            "[a](b.md#c) ![d](e.svg 'f') `[g](h.md)` [`i`](j.md)\n"
            "```sh\n[k](l.md)\n```\n<http://m.org>\n"
            "[n]: o.md\n[![p](q.svg)](r.md)\n<img src='s.png'>\n"
        )
        links = [(1, "b.md#c"), (1, "e.svg"), (1, "j.md"), (5, "http://m.org"), (6, "o.md")]
        links += [(7, "q.svg"), (7, "r.md"), (8, "s.png")]
        self.assertEqual(list(find_links(text)), links)

    def test_anchors(self) -> None:
        """Headings are named by GitHub's rules; a comment in code is no heading."""
        text = "# A, `b` c!\n## `x_y` / [z](w.md)\n```sh\n# no\n```\n## Twice\n## Twice\n"
        anchors = {"a-b-c", "x_y--z", "twice", "twice-1"}
        self.assertEqual(find_anchors(text), anchors)

    def test_complain(self) -> None:
        """What leads nowhere is told."""
        page = ROOT / "docs" / "index.md"
        for link, wrong in (
            ("nothing.md", "there is no such file"),
            ("../pictures/", "there is no such file"),
            ("http.md#nothing", "there is no such heading"),
            ("#nothing", "there is no such heading"),
            ("../../", "leads out of the repository"),
            ("http://other.org/", "over plain http"),
            ("http.md#errors", None),
            ("http://127.0.0.1:3000", None),
            ("http://gpu.example:8000/v1", None),
            ("https://other.org/", None),
            ("mailto:a@b.example", None),
        ):
            self.assertEqual(complain(page, link), wrong, link)

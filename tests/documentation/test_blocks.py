"""Which blocks there are, and in which languages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.documentation.blocks import LANGUAGES, OUTPUT, all_blocks, find_blocks, find_pages
from tests.packages import ROOT


class PageTests(SynchronousTestCase):
    """All pages."""

    def test_pages(self) -> None:
        """All pages are looked at, and none that Sphinx has made."""
        pages = [page.relative_to(ROOT).as_posix() for page in find_pages()]
        self.assertLess({"README.md", "SECURITY.md", "deploy/README.md", "docs/index.md"}, {*pages})
        self.assertEqual([page for page in pages if "_build" in page], [])

    def test_languages(self) -> None:
        """Every block says in which language it is, and it is one that a test runs."""
        wrong = [
            f"{block.where}: {block.language or 'no language'}"
            for block in all_blocks()
            if block.language not in LANGUAGES | OUTPUT
        ]
        self.assertEqual(wrong, [])


class FindTests(SynchronousTestCase):
    """Finding the blocks of a page."""

    def found(self, text: str) -> list[tuple[int, str, str]]:
        """Return line, language and text of the blocks."""
        return [(block.line, block.language, block.text) for block in find_blocks("p.md", text)]

    def test_fences(self) -> None:
        """A block ends with a fence of its own kind, at least as long."""
        text = "a\n```sh\nb\n~~~\n```\n~~~~ python x\n```\n~~~\n~~~~~\n```\n```"
        blocks = [(2, "sh", "b\n~~~\n"), (6, "python", "```\n~~~\n"), (10, "", "")]
        self.assertEqual(self.found(text), blocks)

    def test_in_lists(self) -> None:
        """In a list and in a quotation it is without their indentation, but with its own."""
        text = (
            "- ```sh\n  a\n    b\n  ```\n"
            "> ```yaml\n> a:\n>   b: 1\n> ```\n"
            "1. x\n\n   ```json\n   {}\n   ```"
        )
        blocks = [(1, "sh", "a\n  b\n"), (5, "yaml", "a:\n  b: 1\n"), (11, "json", "{}\n")]
        self.assertEqual(self.found(text), blocks)

    def test_directives(self) -> None:
        """A directive is no block, but there are blocks in it."""
        text = (
            "```{literalinclude} a.py\n:language: python\n```\n"
            "````{admonition} Title\n```sh\na\n```\n````\n"
            "```{code-block} yaml\n:linenos:\n\na: 1\n```\n"
        )
        self.assertEqual(self.found(text), [(5, "sh", "a\n"), (9, "yaml", "a: 1\n")])

    def test_no_end(self) -> None:
        """A block without an end is a mistake, not the rest of the page."""
        with self.assertRaisesRegex(ValueError, "p.md:2: the block has no end"):
            find_blocks("p.md", "a\n```sh\nb\n")

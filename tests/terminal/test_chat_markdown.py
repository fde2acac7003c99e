"""An answer that grows on a terminal."""

from __future__ import annotations

from io import StringIO
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.terminal.chat_markdown import THEME, AnswerView

#: Every kind of block, and what one may be taken for while it is not whole.
BLOCKS = [
    "# Title\n",
    "## Other\n",
    "text of **two**\nlines\n\n",
    "- one\n- two\n",
    "  more\n\n",
    "1. one\n2. two\n",
    "---\n",
    "> quoted\n",
    "```python\nprint(1)\n\nprint(2)\n```\n",
    "```\nopen\n",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\n",
    "    indented\n\n",
    "<b>html</b>\n",
    "\n",
    "a\u2028b",
]


def make_console(*, terminal: bool = False, height: int = 10) -> Console:
    """Make a console that writes to memory."""
    console = Console(
        file=StringIO(), force_terminal=terminal, width=60, height=height, color_system=None
    )
    console.push_theme(THEME)
    return console


def written(console: Console) -> str:
    """Return what it wrote, without spaces at ends of lines."""
    assert isinstance(console.file, StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def show(*pieces: str) -> str:
    """Return what stays of an answer that comes in these pieces."""
    console = make_console()
    with AnswerView(console, "one") as view:
        for piece in pieces:
            view.answer(piece)
    return written(console)


class AnswerTests(SynchronousTestCase):
    """Markdown."""

    def test_blocks(self) -> None:
        """Blocks stand apart by one line, whatever their kind; code has no fences."""
        text = "# A\ntext `x`\n- a\n- b\n```python\nprint(1)\n```\n|a|b|\n|-|-|\n|1|2|\n\nend"
        lines = [line.strip() or "-" for line in show(text).split("\n")]
        shown = "A|-|text x|-|• a|• b|-|print(1)|-|a  b|────|1  2|-|end"
        self.assertEqual("|".join(lines), shown)

    @given(st.lists(st.sampled_from(BLOCKS), max_size=6), st.lists(st.integers(0, 200), max_size=8))
    def test_pieces(self, blocks: list[str], cuts: list[int]) -> None:
        """However it is cut into pieces, the same stays."""
        text = "".join(blocks)
        bounds = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
        pieces = [text[start:end] for start, end in pairwise(bounds)]
        self.assertEqual(show(*pieces), show(text))

    def test_settled(self) -> None:
        """A block is printed for good when the next one begins, and not before."""
        console = make_console()
        with AnswerView(console, "one") as view:
            view.answer("first\n")
            self.assertEqual(written(console), "")
            view.answer("\nsecond")
            self.assertEqual(written(console), "")
            view.answer("\n")
            self.assertEqual(written(console), "first")
        self.assertEqual(written(console), "first\n\nsecond")

    def test_thoughts(self) -> None:
        """Thoughts are plain text, line by line, and stand apart from the answer."""
        console = make_console()
        with AnswerView(console, "one") as view:
            for piece in ("\n*a*", " b\n", "\n", "c\nd"):
                view.think(piece)
            self.assertEqual(written(console), "*a* b\n\nc")
            view.answer("\n\n*e*")
            self.assertEqual(written(console), "*a* b\n\nc\nd")
            view.think("f")
        self.assertEqual(written(console), "*a* b\n\nc\nd\n\ne\n\nf")

    def test_controls(self) -> None:
        """Nothing that an answer holds moves the cursor."""
        self.assertEqual(show("a\x1b[2Jb\x07"), "a[2Jb")

    def test_error(self) -> None:
        """What came stays when an error ends the block."""
        console = make_console()

        def fail() -> None:
            with AnswerView(console, "one") as view:
                view.answer("half")
                raise ValueError

        self.assertRaises(ValueError, fail)
        self.assertEqual(written(console), "half")


class TerminalTests(SynchronousTestCase):
    """What is drawn again and again."""

    def test_waiting(self) -> None:
        """Until something comes, it is told who is asked."""
        console = make_console(terminal=True)
        with AnswerView(console, "demo/echo"):
            self.assertIn("demo/echo", written(console))

    def test_long_block(self) -> None:
        """Of a block that is longer than the screen its end is drawn; at last the whole stays."""
        console = make_console(terminal=True)
        with AnswerView(console, "one") as view:
            view.answer("```\n" + "".join(f"line {number}\n" for number in range(40)))
            view._live.refresh()
            drawn = written(console)
            self.assertIn("line 39", drawn)
            self.assertIn("line 31", drawn)
            self.assertNotIn("line 30", drawn)
        self.assertIn("line 0\n", written(console).removeprefix(drawn))

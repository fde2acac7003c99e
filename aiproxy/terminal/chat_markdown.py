"""
An answer as it grows on a terminal.

What cannot change any more is printed for good; only the last block of the
Markdown is drawn again and again, and of that no more than the screen holds.
So nothing flickers, and an answer may be longer than the screen.  Needs rich.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import ClassVar, Final, Protocol, Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import CodeBlock, Heading, Markdown
from rich.segment import Segment
from rich.spinner import Spinner
from rich.syntax import Syntax
from rich.text import Text
from rich.theme import Theme

from aiproxy.terminal.chat_stream import printable

__all__ = ["THEME", "AnswerView"]

_REFRESH_PER_SECOND: Final = 12

#: Colors that are a terminal's own, so that they fit to light and dark ones.
THEME: Final = Theme(
    {
        "markdown.h1": "bold magenta",
        "markdown.h2": "bold magenta",
        "markdown.h3": "bold",
        "markdown.code": "cyan",
        "markdown.block_quote": "dim",
        "markdown.list": "none",
        "markdown.item.bullet": "bold yellow",
        "markdown.item.number": "bold yellow",
    }
)


class _LeftHeading(Heading):
    LEVEL_ALIGN: ClassVar = {}


class _PlainCode(CodeBlock):
    """Code on the terminal's own background, so that an indent is enough of a frame."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = str(self.text).rstrip()
        yield Syntax(code, self.lexer_name, theme="ansi_dark", word_wrap=True, padding=(0, 2))


class _Markdown(Markdown):
    elements: ClassVar = {
        **Markdown.elements,
        "heading_open": _LeftHeading,
        "fence": _PlainCode,
        "code_block": _PlainCode,
    }


class _Kind(Protocol):
    """What a text is: how it is drawn, and how much of it is settled."""

    #: An empty line stands between two pieces.
    spaced: bool

    def draw(self, text: str) -> RenderableType: ...

    def split(self, text: str) -> tuple[str, str]:
        """Return what cannot change any more, and the rest."""


class _Answer:
    """Markdown, whose blocks are settled but for the last."""

    spaced = True

    def draw(self, text: str) -> RenderableType:
        return _Blocks(text)

    def split(self, text: str) -> tuple[str, str]:
        # A line that is not whole may become anything, such as a fence.
        done = "".join(_split_blocks(text[: text.rfind("\n") + 1])[:-1])
        return done, text[len(done) :]


class _Thoughts:
    """Plain text, whose lines are settled but for the last."""

    spaced = False

    def draw(self, text: str) -> RenderableType:
        return Text(text.removesuffix("\n"), style="dim italic")

    def split(self, text: str) -> tuple[str, str]:
        end = text.rfind("\n") + 1
        return text[:end], text[end:]


_ANSWER: Final = _Answer()
_THOUGHTS: Final = _Thoughts()


class AnswerView:
    """
    Shows one answer, within a ``with`` block; what came stays, however it ends.

    :param waiting: shown with a spinner until something comes.
    """

    def __init__(self, console: Console, waiting: str) -> None:
        self._console = console
        self._kind: _Kind = _ANSWER
        self._rest = ""
        self._begun = False  # this kind of text
        self._printed = False
        self._gap = False  # an empty line is due
        self._live = Live(
            Spinner("dots", Text(printable(waiting), style="dim")),
            console=console,
            refresh_per_second=_REFRESH_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, *reason: object) -> None:
        self._live.update(Text(""))
        self._live.stop()
        self._settle(self._rest)

    def answer(self, text: str) -> None:
        """Add a piece of the answer."""
        self._add(_ANSWER, text)

    def think(self, text: str) -> None:
        """Add a piece of what the model thinks."""
        self._add(_THOUGHTS, text)

    def _add(self, kind: _Kind, text: str) -> None:
        if kind is not self._kind:
            self._settle(self._rest)
            self._kind, self._rest, self._begun = kind, "", False
            self._gap = self._printed
        self._rest += printable(text)
        if not self._begun:
            self._rest = self._rest.lstrip("\n")
        if not self._rest.strip():
            return
        self._begun = True
        if "\n" in text:
            settled, self._rest = kind.split(self._rest)
            self._settle(settled)
        self._live.update(_Tail(self._draw(self._rest)))

    def _settle(self, text: str) -> None:
        if text.strip():
            self._live.console.print(self._draw(text))
            self._printed, self._gap = True, self._kind.spaced

    def _draw(self, text: str) -> RenderableType:
        drawn = self._kind.draw(text)
        return Group("", drawn) if self._gap else drawn


class _Blocks:
    """Markdown with one empty line between blocks, whatever their kind."""

    def __init__(self, text: str) -> None:
        self._blocks = _split_blocks(text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for place, block in enumerate(self._blocks):
            lines = console.render_lines(_Markdown(block), options, pad=False)
            while lines and _is_blank(lines[-1]):
                lines.pop()
            while lines and _is_blank(lines[0]):
                lines.pop(0)
            if place:
                yield Segment.line()
            for line in lines:
                yield from line
                yield Segment.line()


def _split_blocks(text: str) -> list[str]:
    """Split Markdown before each of its blocks but the first; what is joined is the text."""
    tokens = Markdown(text).parsed
    starts = [token.map[0] for token in tokens if token.map and not token.level]
    lines = re.split(r"(?<=\n)", text)
    bounds = [0, *starts[1:], len(lines)]
    return ["".join(lines[start:end]) for start, end in pairwise(bounds)]


def _is_blank(line: list[Segment]) -> bool:
    return not any(segment.text.strip() for segment in line)


class _Tail:
    """The last lines of something, as many as the screen holds."""

    def __init__(self, whole: RenderableType) -> None:
        self._whole = whole

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = console.render_lines(self._whole, options, pad=False)
        for line in lines[-max(1, console.height - 1) :]:
            yield from line
            yield Segment.line()

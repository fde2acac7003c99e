"""
Draws what a terminal showed: ``tmux capture-pane -e -p | python docs/pictures/draw.py TITLE``.

The picture goes to standard output, as SVG with the reader's own fonts.
"""

from __future__ import annotations

import re
import sys
from io import StringIO
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

_COLUMNS: Final = 92
#: The font that rich would load from elsewhere.
_FONTS: Final = re.compile(r"@font-face\s*{{[^}]*}}\s*")


def draw(captured: str, title: str) -> str:
    """
    Return a picture.

    :param captured: lines with their colors, as ANSI's sequences.
    """
    lines = captured.rstrip().splitlines()
    columns = max([_COLUMNS, *(Text.from_ansi(line).cell_len for line in lines)])
    console = Console(width=columns, record=True, file=StringIO(), color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(line), soft_wrap=True)
    fonts = _FONTS.sub("", CONSOLE_SVG_FORMAT)
    return console.export_svg(title=title, code_format=fonts, unique_id="terminal")


if __name__ == "__main__":
    sys.stdout.write(draw(sys.stdin.read(), sys.argv[1]))

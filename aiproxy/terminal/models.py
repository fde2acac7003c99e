"""``aiproxy models``: the names that a client of a running server can ask for."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import asdict

from aiproxy.terminal.api import ApiError, ModelRow, add_server_arguments, connect
from aiproxy.terminal.chat_stream import printable

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["add_arguments", "make_table", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options, and what runs."""
    add_server_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON array")
    parser.set_defaults(run=run)


def run(parsed: Namespace) -> int:
    """Print the models: a table at a terminal, else one name a line; return the exit status."""
    try:
        models = connect(parsed).models()
    except ApiError as error:
        print(f"aiproxy models: {error}", file=sys.stderr)
        return 1
    if parsed.json:
        print(json.dumps([asdict(model) | {"kind": model.kind} for model in models], indent=2))
    elif not (sys.stdout.isatty() and _print_table(models)):
        for model in models:
            print(printable(model.name) if sys.stdout.isatty() else model.name)
    return 0


def make_table(models: Sequence[ModelRow]) -> Table:
    """Lay models out; needs rich."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1))
    table.add_column("Model", overflow="fold")
    table.add_column("Provider", style="cyan")
    table.add_column("Kind", style="dim")
    table.add_column("Context", justify="right", style="green")
    for model in models:
        is_group = model.kind == "group"
        window = "" if model.context_window is None else f"{model.context_window:,}"
        table.add_row(
            Text(printable(model.name), style="bold magenta" if is_group else "bold"),
            "" if is_group else Text(printable(model.owner)),
            model.kind,
            window,
        )
    return table


def _print_table(models: Sequence[ModelRow]) -> bool:
    """Print a table, if rich is installed."""
    try:
        from rich.console import Console
    except ImportError:
        return False
    Console().print(make_table(models))
    return True

"""
The terminal of a chat: what is typed, and what is shown.

Needs rich and prompt_toolkit; nothing else of the chat does.
"""

from __future__ import annotations

import os
import termios
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import AnyFormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.styles import Style
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aiproxy.terminal.api import ModelRow
from aiproxy.terminal.chat_markdown import THEME, AnswerView
from aiproxy.terminal.chat_stream import printable
from aiproxy.terminal.conversation import COMMANDS, find_names
from aiproxy.terminal.models import make_table

__all__ = ["Screen", "open_history"]

#: Places in what termios gives.
_INPUT_MODES, _LOCAL_MODES = 0, 3

_STYLE: Final = Style.from_dict(
    {
        "mark": "ansigreen bold",
        "placeholder": "ansibrightblack",
        "rprompt": "ansibrightblack",
        "completion-menu": "noinherit",
        "completion-menu.completion": "bg:default fg:default",
        "completion-menu.completion.current": "ansigreen bold noreverse",
        "completion-menu.meta.completion": "bg:default fg:ansibrightblack",
        "completion-menu.meta.completion.current": "bg:default fg:ansigreen",
    }
)
_MARK: Final[AnyFormattedText] = [("class:mark", "> ")]


class Screen:
    """
    Asks a person and shows answers, line by line.

    :param models: what there is to choose from.
    """

    def __init__(
        self,
        models: Sequence[ModelRow] = (),
        *,
        history: History | None = None,
        console: Console | None = None,
    ) -> None:
        self._models = models
        self._names = [model.name for model in models]
        self._console = console or Console(highlight=False)
        self._console.push_theme(THEME)
        session: PromptSession[str] = PromptSession(
            _MARK,
            style=_STYLE,
            history=history or InMemoryHistory(),
            completer=_CommandCompleter(self._names),
            complete_while_typing=Condition(lambda: session.default_buffer.text.startswith("/")),
            multiline=True,
            prompt_continuation="  ",
            key_bindings=_bind_keys(),
            placeholder=[("class:placeholder", "ask something, or /help")],
        )
        self._session = session

    def ask(self, model: str) -> str:
        """
        Return what a person typed.

        :param model: shown at the right.
        :raises EOFError: at Ctrl-D.
        """
        return self._session.prompt(rprompt=model)

    def pick_model(self, current: str = "") -> str | None:
        """Let a person choose by arrow keys or by a part of the name; ``None`` where he did not."""
        session: PromptSession[str] = PromptSession(
            [("class:mark", "model > ")],
            style=_STYLE,
            completer=_NameCompleter(self._names),
            complete_while_typing=True,
            placeholder=[("class:placeholder", current or "arrow keys, or a part of the name")],
            reserve_space_for_menu=min(len(self._names), 12) + 1,
        )
        try:
            typed = session.prompt(pre_run=lambda: session.default_buffer.start_completion())
        except (EOFError, KeyboardInterrupt):
            return None
        found = find_names(self._names, typed) if typed.strip() else [current]
        # A name that is not listed may exist: a provider's list may be long, or late.
        return (found[0] if found else typed.strip()) or None

    @contextmanager
    def answer(self, model: str) -> Iterator[AnswerView]:
        """Show the answer that *model* is about to give; what is typed meanwhile waits."""
        with _without_echo(self._session.input.fileno()), AnswerView(self._console, model) as view:
            yield view

    def show_models(self) -> None:
        """Show the table of models."""
        self._console.print(make_table(self._models))

    def show_help(self) -> None:
        """Show the commands and the keys."""
        table = Table.grid(padding=(0, 2))
        for name, (argument, what) in COMMANDS.items():
            table.add_row(Text(f"/{name} {argument}", style="green"), what)
        keys = {
            "Alt-Enter": "a new line; Enter sends",
            "Ctrl-C": "stops an answer; clears what is typed",
            "Ctrl-D": "leaves",
        }
        for key, what in keys.items():
            table.add_row(Text(key, style="yellow"), what)
        self._console.print(table)

    def note(self, text: str) -> None:
        """Show a remark."""
        self._console.print(Text(printable(text), style="dim"))

    def complain(self, text: str) -> None:
        """Show what went wrong."""
        self._console.print(Text(printable(text), style="red"))

    def skip_line(self) -> None:
        """Leave a line empty."""
        self._console.print()


def open_history(file: Path) -> History:
    """Return the history in a file that only its owner reads; in memory where there can be none."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(file)


@contextmanager
def _without_echo(terminal: int) -> Iterator[None]:
    """Let what is typed wait, unseen and with Enter as Enter, where *terminal* is one."""
    try:
        before = termios.tcgetattr(terminal)
    except termios.error:
        yield
        return
    changed = before.copy()
    changed[_INPUT_MODES] &= ~termios.ICRNL
    changed[_LOCAL_MODES] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, changed)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


class _NameCompleter(Completer):
    """Completes names by any part of them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        typed = document.text_before_cursor
        for name in find_names(self._names, typed):
            yield Completion(name, -len(typed))


class _CommandCompleter(Completer):
    """Completes commands, and the name after ``/model``."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = _NameCompleter(names)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterable[Completion]:
        typed = document.text_before_cursor
        command, space, argument = typed.partition(" ")
        if space and command == "/model":
            yield from self._names.get_completions(Document(argument), event)
        elif not space and command.startswith("/"):
            for name, (_, what) in COMMANDS.items():
                if name.startswith(command[1:]):
                    yield Completion(f"/{name}", -len(typed), display_meta=what)


def _bind_keys() -> KeyBindings:
    """Let Enter send, Alt-Enter or Ctrl-J begin a new line, and Ctrl-C clear all of it."""
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    @keys.add("<sigint>")
    def _clear(event: KeyPressEvent) -> None:
        event.current_buffer.reset()

    return keys

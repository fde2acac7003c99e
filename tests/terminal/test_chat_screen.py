"""The terminal of a chat."""

from __future__ import annotations

import os
import select
import stat
import termios
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import TypeVar

from prompt_toolkit.application import create_app_session, get_app
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.output import DummyOutput
from rich.console import Console
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.terminal.api import ModelRow
from aiproxy.terminal.chat_screen import Screen, open_history

T = TypeVar("T")

MODELS = [ModelRow("a/one", "a", 8000), ModelRow("a/two", "a"), ModelRow("three", "aiproxy")]
ENTER, ALT_ENTER, CTRL_C, CTRL_D, CTRL_J = "\r", "\x1b\r", "\x03", "\x04", "\n"
UP, DOWN = "\x1b[A", "\x1b[B"


class ScreenTestCase(SynchronousTestCase):
    """Types at a screen."""

    def setUp(self) -> None:
        self.console = Console(file=StringIO(), width=80)

    def typing(self, keys: str, do: Callable[[Screen], T]) -> T:
        """Do something with a screen while these keys are typed."""
        with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
            pipe.send_text(keys)
            return do(Screen(MODELS, console=self.console))

    @property
    def shown(self) -> str:
        """What was shown."""
        assert isinstance(self.console.file, StringIO)
        return self.console.file.getvalue()


class AskTests(ScreenTestCase):
    """The prompt."""

    def ask(self, keys: str) -> str:
        """Return what these keys come to."""
        return self.typing(keys, lambda screen: screen.ask("a/one"))

    def test_enter(self) -> None:
        """Enter sends."""
        self.assertEqual(self.ask(f"hello{ENTER}"), "hello")

    def test_lines(self) -> None:
        """Alt-Enter and Ctrl-J begin a new line; what is pasted may have several."""
        self.assertEqual(self.ask(f"a{ALT_ENTER}b{CTRL_J}c{ENTER}"), "a\nb\nc")
        self.assertEqual(self.ask(f"\x1b[200~a\nb\x1b[201~{ENTER}"), "a\nb")

    def test_clear(self) -> None:
        """Ctrl-C clears all lines of it."""
        self.assertEqual(self.ask(f"no{ALT_ENTER}no{CTRL_C}yes{ENTER}"), "yes")

    def test_leave(self) -> None:
        """Ctrl-D leaves."""
        self.assertRaises(EOFError, self.ask, CTRL_D)

    def test_history(self) -> None:
        """What was typed is remembered."""
        history = InMemoryHistory()
        with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
            pipe.send_text(f"first{ENTER}")
            Screen(history=history, console=self.console).ask("a/one")
        self.assertEqual(history.get_strings(), ["first"])

    def test_completion(self) -> None:
        """Commands are completed, models after /model, and nothing within a question."""

        def complete(text: str) -> list[str]:
            def find(screen: Screen) -> list[str]:
                completer = screen._session.completer
                assert completer is not None
                found = completer.get_completions(Document(text), CompleteEvent())
                return [text[: len(text) + one.start_position] + one.text for one in found]

            return self.typing("", find)

        self.assertEqual(complete("/mo"), ["/model", "/models"])
        self.assertEqual(complete("/model TW"), ["/model a/two"])
        self.assertEqual(complete("/model a/"), ["/model a/one", "/model a/two"])
        self.assertEqual(complete("/system a"), [])
        self.assertEqual(complete("mo"), [])


class ListOutput(DummyOutput):
    """Calls back once a list of completions is drawn."""

    def __init__(self, listed: Callable[[], None]) -> None:
        self._listed: Callable[[], None] | None = listed

    def flush(self) -> None:
        if self._listed is not None and get_app().current_buffer.complete_state is not None:
            listed, self._listed = self._listed, None
            listed()


class PickTests(ScreenTestCase):
    """The choice of a model."""

    def pick(self, keys: str, current: str = "") -> str | None:
        """Return what these keys choose."""
        return self.typing(keys, lambda screen: screen.pick_model(current))

    def test_part_of_name(self) -> None:
        """A part of a name is enough; a name that nobody lists is taken as it is."""
        self.assertEqual(self.pick(f"tw{ENTER}"), "a/two")
        self.assertEqual(self.pick(f"b/four{ENTER}"), "b/four")

    def test_arrows(self) -> None:
        """Arrow keys go through the list, which is there from the start."""
        with create_pipe_input() as pipe:
            output = ListOutput(lambda: pipe.send_text(f"{DOWN}{DOWN}{DOWN}{UP}{ENTER}"))
            with create_app_session(input=pipe, output=output):
                screen = Screen(MODELS, console=self.console)
                self.assertEqual(screen.pick_model(), "a/two")

    def test_nothing(self) -> None:
        """Enter alone leaves the model as it is, and so does who goes away."""
        self.assertEqual(self.pick(ENTER, "three"), "three")
        self.assertIsNone(self.pick(ENTER))
        self.assertIsNone(self.pick(CTRL_C, "three"))
        self.assertIsNone(self.pick(CTRL_D, "three"))


class ShowTests(ScreenTestCase):
    """What is shown beside answers."""

    def test_texts(self) -> None:
        """Help tells of each command; models, remarks and errors are shown as they are."""

        def show(screen: Screen) -> None:
            screen.show_help()
            screen.show_models()
            screen.note("[b]a remark")
            screen.complain("[red]an error")
            screen.note("by \x1b[2J")
            screen.complain("no \x1b[2J")

        self.typing("", show)
        self.assertNotIn("\x1b[2J", self.shown)
        for text in ("/save FILE", "Alt-Enter", "a/one", "8,000", "[b]a remark", "[red]an error"):
            self.assertIn(text, self.shown)

    def test_answer(self) -> None:
        """An answer is shown as Markdown."""

        def show(screen: Screen) -> None:
            with screen.answer("a/one") as view:
                view.answer("*text*")

        self.typing("", show)
        self.assertEqual(self.shown.strip(), "text")

    def test_echo(self) -> None:
        """What is typed during an answer is not seen, waits, and ends with the Enter it had."""
        keyboard, terminal = os.openpty()
        self.addCleanup(os.close, keyboard)
        with os.fdopen(terminal) as file:
            before = termios.tcgetattr(terminal)
            with create_app_session(input=Vt100Input(file), output=DummyOutput()):
                screen = Screen(MODELS, console=self.console)
                with screen.answer("a/one"):
                    os.write(keyboard, b"typed\nahead\r")
                    # The kernel takes it in its own time; a line can be read when it has.
                    self.assertEqual(select.select([terminal], [], [], 30)[0], [terminal])
                self.assertEqual(termios.tcgetattr(terminal), before)
                self.assertEqual(screen.ask("a/one"), "typed\nahead")
            self.assertNotIn(b"typed", self.drain(keyboard))

    def drain(self, keyboard: int) -> bytes:
        """Return what the terminal has echoed."""
        os.set_blocking(keyboard, False)
        try:
            return os.read(keyboard, 1000)
        except BlockingIOError:
            return b""


class HistoryTests(SynchronousTestCase):
    """Where the history is."""

    def test_private(self) -> None:
        """It is a file that only its owner reads, in a folder that is made."""
        file = Path(self.mktemp()) / "aiproxy" / "chat_history"
        history = open_history(file)
        self.assertIsInstance(history, FileHistory)
        history.append_string("hello")
        self.assertIn("+hello", file.read_text())
        self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(file.parent.stat().st_mode), 0o700)

    def test_no_folder(self) -> None:
        """Where no file can be, there is a history for as long as the chat."""
        file = Path(self.mktemp())
        file.write_text("")
        self.assertIsInstance(open_history(file / "chat_history"), InMemoryHistory)

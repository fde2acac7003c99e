"""The loop of a conversation: a line is read, its answer shown, or its command done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import define

from aiproxy.terminal.api import Api, ApiError, Stream, Usage
from aiproxy.terminal.chat_screen import Screen
from aiproxy.terminal.conversation import Command, Conversation, Turn, read_line

__all__ = ["Chat", "Timing"]


@define
class Timing:
    """
    When things happened, in seconds of one clock, and what was counted.

    :param first: when the first piece of the answer, or of a thought, came.
    """

    start: float
    first: float | None = None
    end: float | None = None
    usage: Usage | None = None

    def describe(self, stream: Stream) -> str:
        """Return one line about an answer."""
        parts = [f"{stream.model} by {stream.provider}" if stream.provider else stream.model]
        if self.first is not None:
            parts.append(f"first token {_seconds(self.first - self.start)}")
        if self.usage is not None:
            parts.append(f"{self.usage.prompt:,} + {self.usage.completion:,} tokens")
            if self.first is not None and self.end is not None and self.end > self.first:
                rate = self.usage.completion / (self.end - self.first)
                parts.append(f"{rate:,.0f} tokens/s")
        if stream.attempts > 1:
            parts.append(f"{stream.attempts} attempts")
        if stream.finish_reason not in (None, "stop"):
            parts.append(f"ended by {stream.finish_reason}")
        return " · ".join(parts)


@define
class Chat:
    """
    One conversation at one terminal.

    :param clock: seconds, for what is said about an answer.
    """

    api: Api
    screen: Screen
    conversation: Conversation
    clock: Callable[[], float]

    def run(self) -> None:
        """Talk until the person leaves."""
        self.screen.note(f"{self.api.origin} · Alt-Enter for a new line · /help · Ctrl-D leaves")
        while True:
            try:
                command = read_line(self.screen.ask(self.conversation.model))
                if command is not None and command.name == "quit":
                    return
                if command is not None:
                    self._do(command)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return

    def _do(self, command: Command) -> None:
        argument = command.argument
        match command.name:
            case "ask":
                self._answer(self.conversation.ask(argument))
            case "retry":
                turn = self.conversation.retry()
                if turn is None:
                    self.screen.note("nothing was asked yet")
                else:
                    self._answer(turn)
            case "model":
                self._change_model(argument)
            case "models":
                self.screen.show_models()
            case "system":
                self._change_system(argument)
            case "clear":
                self.conversation.messages = []
                self.screen.note("a new conversation")
            case "save":
                self._save(argument)
            case "help":
                self.screen.show_help()
            case _:
                self.screen.complain(argument)

    def _answer(self, turn: Turn) -> None:
        """Show an answer; keep what came of one that is stopped, and nothing of one that fails."""
        timing = Timing(self.clock())
        stream = None
        text = ""
        self.screen.skip_line()
        try:
            with (
                self.screen.answer(self.conversation.model) as view,
                self.api.stream(self.conversation.model, self.conversation.write(turn)) as stream,
            ):
                for piece in stream:
                    if isinstance(piece, Usage):
                        timing.usage = piece
                        continue
                    if timing.first is None:
                        timing.first = self.clock()
                    timing.end = self.clock()
                    if piece.reasoning:
                        view.think(piece.reasoning)
                    if piece.text:
                        text += piece.text
                        view.answer(piece.text)
        except ApiError as error:
            self.screen.complain(str(error))
        except KeyboardInterrupt:
            self.conversation.keep(turn, text)
            self.screen.note("stopped")
        else:
            self.conversation.keep(turn, text)
            self.screen.note(timing.describe(stream))
        self.screen.skip_line()

    def _change_model(self, name: str) -> None:
        chosen = name or self.screen.pick_model(self.conversation.model)
        if chosen:
            self.conversation.model = chosen
            self.screen.note(f"{chosen} answers from now on")

    def _change_system(self, text: str) -> None:
        if text:
            self.conversation.system = "" if text == "-" else text
        system = self.conversation.system
        self.screen.note(f"system: {system}" if system else "there is no system message")

    def _save(self, name: str) -> None:
        if not name:
            self.screen.complain("/save needs the name of a file")
            return
        file = Path(name).expanduser()
        try:
            file.write_text(self.conversation.dump(), encoding="utf-8")
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            self.screen.complain(f"{file}: {getattr(error, 'strerror', None) or error}")
        else:
            self.screen.note(f"{len(self.conversation.messages)} messages are in {file}")


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"

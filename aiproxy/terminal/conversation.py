"""A conversation: its messages, and what the lines that a person types mean.  No terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from attrs import Factory, define, frozen

__all__ = ["COMMANDS", "Command", "Conversation", "Message", "Turn", "find_names", "read_line"]

#: One message as OpenAI's API has it.
Message = Mapping[str, str]

#: What can be typed, each with its argument and what it does.
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "model": ("[NAME]", "choose the model that answers"),
    "models": ("", "list all models"),
    "system": ("[TEXT]", "show or set the system message; `-` takes it away"),
    "clear": ("", "begin a new conversation"),
    "retry": ("", "ask the last question again"),
    "save": ("FILE", "write the messages to a file, as JSON"),
    "help": ("", "show this"),
    "quit": ("", "leave, as Ctrl-D does"),
}

#: Not every text with a slash at its start: ``/etc/passwd`` is none.
_COMMAND: Final = re.compile(r"/([a-z]*)(?:\s+(.*))?", re.DOTALL)


@frozen
class Command:
    """
    What a line asks for.

    :param name: one of :data:`COMMANDS`; ``ask`` for a question, ``unknown``
        for a command that is none.
    :param argument: the rest; of an unknown command what to say about it.
    """

    name: str
    argument: str = ""


def read_line(line: str) -> Command | None:
    """Read what was typed; ``None`` where it was nothing."""
    text = line.strip()
    found = _COMMAND.fullmatch(text)
    if not text:
        return None
    if found is None:
        return Command("ask", text)
    name, argument = found[1], (found[2] or "").strip()
    if name not in COMMANDS:
        near = get_close_matches(name, COMMANDS, 1) or ["help"]
        return Command("unknown", f"there is no /{name}; did you mean /{near[0]}?")
    return Command(name, argument)


def find_names(names: Sequence[str], text: str) -> list[str]:
    """Return the names that hold the text, in their order; an equal one comes first."""
    wanted = text.strip().lower()
    found = [name for name in names if wanted in name.lower()]
    return sorted(found, key=lambda name: name.lower() != wanted)


@frozen
class Turn:
    """A question, and the messages before it; nothing has changed yet."""

    before: tuple[Message, ...]
    question: str


@define
class Conversation:
    """
    What was said so far.

    A question becomes part of it together with its answer, so that one that
    fails leaves no trace.

    :param system: the system message; empty for none.
    """

    model: str = ""
    system: str = ""
    messages: list[Message] = Factory(list)

    def ask(self, question: str) -> Turn:
        """Begin a turn."""
        return Turn(tuple(self.messages), question)

    def retry(self) -> Turn | None:
        """Begin the last turn anew; its answer stays until there is another one."""
        if not self.messages:
            return None
        *before, question, _ = self.messages
        return Turn(tuple(before), question["content"])

    def write(self, turn: Turn) -> list[Message]:
        """Return the messages to send."""
        return [*self._system(), *turn.before, {"role": "user", "content": turn.question}]

    def keep(self, turn: Turn, answer: str) -> None:
        """End a turn; without an answer it has not happened."""
        if answer:
            question = {"role": "user", "content": turn.question}
            self.messages = [*turn.before, question, {"role": "assistant", "content": answer}]

    def dump(self) -> str:
        """Write the messages as JSON, ready for a request of one's own."""
        return json.dumps([*self._system(), *self.messages], indent=2, ensure_ascii=False) + "\n"

    def _system(self) -> list[Message]:
        return [{"role": "system", "content": self.system}] if self.system else []

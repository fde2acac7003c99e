"""
Values of a LiteLLM configuration, and what the conversion has to say of them.

A :class:`Value` knows its file, its line and its path; no message shows what
it holds, for that could be a secret in the wrong place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from datetime import date
from enum import Enum
from typing import Any

from attrs import define, field, frozen

from aiproxy.config.tree import ListNode, MapNode, Node, Scalar, read_tree, shorten
from aiproxy.errors import Problem
from aiproxy.wire.durations import read_duration, write_duration

__all__ = ["Findings", "Kind", "Note", "Value", "read_value"]

_REFERENCE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
#: Within what our own configuration takes.
_LARGEST_COUNT = 10**12


class Kind(Enum):
    """What a note is about."""

    NOT_TAKEN_OVER = "not taken over"
    CHECK = "to check"
    SECRET = "secret"


@frozen
class Note:
    """
    What the reader of the new file should know.

    :param path: as in ``model_list[].litellm_params.rpm``; the lines tell entries apart.
    :param lines: where it applies, at least once.
    """

    kind: Kind
    file: str
    lines: tuple[int, ...]
    path: str
    message: str

    @property
    def place(self) -> str:
        """The file and the first line."""
        return f"{self.file}:{self.lines[0]}"

    @property
    def text(self) -> str:
        """The path and the message, and the further lines."""
        text = f"{self.path}: {self.message}"
        if len(self.lines) > 1:
            text += f" (also line {', '.join(map(str, self.lines[1:]))})"
        return text


@frozen
class Value:
    """One value: where it stands, and what it is."""

    node: Node
    file: str
    line: int
    path: str = ""

    @property
    def is_nothing(self) -> bool:
        """``key:`` and ``null`` are as good as no key at all."""
        return isinstance(self.node, Scalar) and self.node.value is None

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.node, MapNode)

    @property
    def is_list(self) -> bool:
        return isinstance(self.node, ListNode)

    def entries(self) -> dict[str, Value]:
        """Return what a mapping holds, without the keys that have no value; else nothing."""
        return {name: value for name, value in self._entries() if not value.is_nothing}

    def _entries(self) -> Iterator[tuple[str, Value]]:
        for written, entry in self.node.entries.items() if isinstance(self.node, MapNode) else ():
            name = written.replace("$$", "$")
            path = f"{self.path}.{shorten(name)}".lstrip(".")
            yield name, Value(entry.node, self.file, entry.line, path)

    def items(self) -> Iterator[Value]:
        """Yield what a list holds, a single value as a list of one."""
        if isinstance(self.node, ListNode):
            for item in self.node.items:
                yield Value(item, self.file, item.line, f"{self.path}[]")
        elif not self.is_nothing:
            yield self

    @property
    def text(self) -> str:
        """The text of a single value; nothing for a list or a mapping."""
        return self.node.text.strip() if isinstance(self.node, Scalar) else ""

    @property
    def variable(self) -> str | None:
        """The environment variable that ``os.environ/NAME`` names."""
        match = _REFERENCE.fullmatch(self.text)
        return match[1] if match else None

    @property
    def is_true(self) -> bool:
        return isinstance(self.node, Scalar) and self.node.value is True

    def written(self) -> str:
        """Return the text as our file has it: ``${NAME}`` for a variable, ``$$`` for a dollar."""
        return f"${{{self.variable}}}" if self.variable else self.text.replace("$", "$$")

    def plain(self) -> Any:
        """
        Return what JSON has for it, texts as our file has them.

        :raises ValueError: it holds what JSON, or our file, cannot say.
        """
        if isinstance(self.node, ListNode):
            return [item.plain() for item in self.items()]
        if isinstance(self.node, MapNode):
            return {name: value.plain() for name, value in self._entries()}
        value = self.node.value
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("is a number that JSON does not have")
        if isinstance(value, str):
            # Not :attr:`text`: the space at the ends of a parameter counts.
            return self.written() if self.variable else value.replace("$", "$$")
        return self.node.text if isinstance(value, date) else value

    def count(self) -> int | str:
        """
        Return a whole number above 0, or the reference to one.

        :raises ValueError: it is none.
        """
        if self.variable:
            return self.written()
        try:
            number = float(self.text)
        except ValueError:
            number = 0.0
        if not (1 <= number <= _LARGEST_COUNT and number.is_integer()):
            raise ValueError("is no whole number above 0")
        return int(number)

    def number(self) -> float:
        """Return a number, 0 for anything else."""
        try:
            number = float(self.text)
        except ValueError:
            return 0.0
        return number if 0 <= number <= _LARGEST_COUNT else 0.0

    def seconds(self) -> str:
        """
        Return a number of seconds as a duration of ours, or the reference to one.

        :raises ValueError: it is none.
        """
        if self.variable:
            return f"{self.written()}s"
        try:
            duration = write_duration(read_duration(float(self.text), bare_seconds=True))
        except ValueError:
            raise ValueError("is no number of seconds") from None
        if read_duration(duration) == 0:
            raise ValueError("is no time at all")
        return duration


@define
class Findings:
    """Notes, and the mistakes that make the input unusable."""

    problems: list[Problem] = field(factory=list)
    _notes: dict[tuple[Kind, str, str, str], list[int]] = field(factory=dict)

    def note(self, kind: Kind, value: Value, message: str) -> None:
        """Note something; what is said of several lines is said once."""
        lines = self._notes.setdefault((kind, value.file, value.path, message), [])
        if value.line not in lines:
            lines.append(value.line)

    def leave_out(self, value: Value, message: str) -> None:
        """Note that a value is not taken over, and why or what there is instead."""
        self.note(Kind.NOT_TAKEN_OVER, value, message)

    def check(self, value: Value, message: str) -> None:
        """Note that a value was taken over, but not all that it meant."""
        self.note(Kind.CHECK, value, message)

    def secret(self, value: Value) -> None:
        """Note a secret that stands in the file itself."""
        if not value.variable:
            self.note(
                Kind.SECRET,
                value,
                "stands here in the open; put it into the environment and write ${NAME}",
            )

    def put(
        self, keys: dict[str, Any], name: str, value: Value, read: Callable[[Value], object]
    ) -> None:
        """Set ``keys[name]`` to what is read from a value, or note why it is not taken over."""
        try:
            keys[name] = read(value)
        except ValueError as error:
            self.leave_out(value, str(error))

    def mistake(self, value: Value, message: str) -> None:
        """Note what no LiteLLM would take either."""
        where = f"{value.path}: " if value.path else ""
        self.problems.append(Problem(f"{where}{message}", value.file, value.line))

    @property
    def notes(self) -> tuple[Note, ...]:
        """All notes, by file and line."""
        notes = [
            Note(kind, file, tuple(sorted(lines)), path, message)
            for (kind, file, path, message), lines in self._notes.items()
        ]
        return tuple(sorted(notes, key=lambda note: (note.file, note.lines[0])))


def read_value(data: bytes, file: str, findings: Findings) -> Value | None:
    """Read a YAML file; ``None``, with the problems noted, where it is not one."""
    # ``${…}`` means nothing to LiteLLM, so it must not mean anything to our reader either.
    tree, problems = read_tree(data.replace(b"$", b"$$"), file, {})
    findings.problems.extend(problems)
    if tree is None:
        if not problems:
            findings.problems.append(Problem("the file is empty", file, 1))
        return None
    return Value(tree, file, tree.line)

"""Reads a Dockerfile: as much of its language as ours uses."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from string import Template

from attrs import field, frozen

__all__ = ["Instruction", "Stage", "read_dockerfile"]


@frozen
class Instruction:
    """
    One instruction.

    :param flags: what stands before its arguments as ``--name=value``.
    :param text: the rest, on one line.
    """

    name: str
    flags: tuple[str, ...]
    text: str

    @property
    def words(self) -> list[str]:
        """The arguments, of a list in JSON its items."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)


@frozen
class Stage:
    """What stands from one ``FROM`` to the next."""

    base: str
    instructions: list[Instruction] = field(factory=list)

    def only(self, name: str) -> Instruction:
        """Return the instruction of this name, of which there is one."""
        [found] = (one for one in self.instructions if one.name == name)
        return found

    def pairs(self, name: str, known: dict[str, str]) -> dict[str, str]:
        """Return what ``ENV``, ``ARG`` or ``LABEL`` set; ``known`` is what they may refer to."""
        found: dict[str, str] = {}
        for instruction in self.instructions:
            if instruction.name == name:
                for word in instruction.words:
                    key, _, value = word.partition("=")
                    found[key] = Template(value).substitute(known | found)
        return found


def read_dockerfile(text: str) -> list[Stage]:
    """Return the stages; what stands before the first one is left out."""
    stages: list[Stage] = []
    for name, flags, rest in _read_lines(text):
        if name == "FROM":
            stages.append(Stage(rest))
        elif stages:
            stages[-1].instructions.append(Instruction(name, flags, rest))
    return stages


def _read_lines(text: str) -> Iterator[tuple[str, tuple[str, ...], str]]:
    without_comments = re.sub(r"(?m)^\s*#.*\n", "", text)
    for line in re.sub(r"\\\n\s*", "", without_comments).splitlines():
        if line.strip():
            name, rest = line.split(maxsplit=1)
            flags = re.match(r"(--\S+\s+)*", rest)
            assert flags
            yield name, tuple(flags[0].split()), rest[flags.end() :]

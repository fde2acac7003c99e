"""What reading a configuration file brings to light: mistakes and warnings."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from attrs import define, field, frozen

from aiproxy.config.secret_files import SecretFiles
from aiproxy.config.tree import shorten
from aiproxy.errors import Problem

__all__ = ["Place", "Reading", "missing_variables", "nearest"]


@frozen
class Place:
    """
    Where a value stands.

    :param path: as in ``models[2].priority``.
    :param key: the same without index and name: ``models[].priority``.
    :param line: ``None`` for what no file holds.
    :param file: likewise.
    """

    path: str = ""
    key: str = ""
    line: int | None = None
    file: str | None = None

    def below(self, name: str, line: int | None) -> Place:
        """Return the place of a key of this mapping."""
        dot = "." if self.path else ""
        return Place(f"{self.path}{dot}{name}", f"{self.key}{dot}{name}", line, self.file)

    def named(self, name: str, line: int) -> Place:
        """Return the place of an entry whose name the user has chosen."""
        return Place(f"{self.path}.{shorten(name)}", f"{self.key}.NAME", line, self.file)

    def item(self, index: int, line: int) -> Place:
        """Return the place of an item of this list."""
        return Place(f"{self.path}[{index}]", f"{self.key}[]", line, self.file)


@define
class Reading:
    """What reading one file has brought to light so far."""

    file: str | None
    #: Where secrets are read that the file only names.
    secrets: SecretFiles | None = None
    #: The sections that have a key, by its name.
    homes: Mapping[str, tuple[str, ...]] = field(factory=dict)
    problems: list[Problem] = field(factory=list)
    #: What turns a part of the configuration off, without being a mistake in it.
    warnings: list[Problem] = field(factory=list)
    #: Keys, with index and name and without, of which a value could not be read.
    broken: set[str] = field(factory=set)
    #: The names of entries that could not be read, by key; an empty one is not known either.
    lost: dict[str, set[str]] = field(factory=dict)
    #: The line of every value, by path.
    lines: dict[str, int | None] = field(factory=dict)

    def problem(self, place: Place, message: str) -> None:
        """Note a mistake in the value at ``place``."""
        self.include(self._note(place, message))

    def include(self, problem: Problem) -> None:
        """Take in a mistake found elsewhere."""
        if problem not in self.problems:
            self.problems.append(problem)

    def warn(self, place: Place, message: str) -> None:
        """Note that something is off because of the value at ``place``."""
        self.warnings.append(self._note(place, message))

    def _note(self, place: Place, message: str) -> Problem:
        where = f"{place.path}: " if place.path else ""
        return Problem(f"{where}{message}", self.file, place.line)

    def lose(self, place: Place, name: str) -> None:
        """Note that the entry at ``place``, which has this name, could not be read."""
        self.lost.setdefault(place.key, set()).add(name)

    def is_broken(self, *keys: str) -> bool:
        """Whether something at or below one of ``keys`` could not be read."""
        return any(
            broken == key or broken.startswith((f"{key}.", f"{key}["))
            for broken in self.broken
            for key in keys
        )

    def find(self, place: Place, tail: str) -> Place:
        """Return the place of what ``tail`` names below ``place``, written or not."""
        path = f"{place.path}.{tail}"
        return Place(path, path, self.lines.get(path, place.line), place.file)


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``; did you mean `x`?`` for the most similar choice in any case, or nothing."""
    by_lower = {choice.lower(): choice for choice in choices}
    matches = difflib.get_close_matches(name[:60].lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean `{by_lower[matches[0]]}`?" if matches else ""


def missing_variables(names: Iterable[str]) -> str:
    """Say which environment variables are not set."""
    names = tuple(names)
    if len(names) == 1:
        return f"the environment variable {names[0]} is not set"
    return f"the environment variables {', '.join(names)} are not set"

"""The values of a script: fields that say what is wrong, in the configuration's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Attribute, field

__all__ = ["choice", "count", "flag", "mapping", "number", "text", "type_name"]


def type_name(value: object) -> str:
    """Say what a value is, without showing it."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, Mapping):
        return "a mapping"
    if value is None:
        return "nothing"
    return "text" if isinstance(value, str) else "a list"


def number(default: float | None = None) -> Any:
    """A number, not negative."""
    return _field(default, "a number", int, float)


def count(default: int | None = None) -> Any:
    """A whole number, not negative."""
    return _field(default, "a whole number", int)


def text(default: str | None = None) -> Any:
    """Any text."""
    return _field(default, "text", str)


def flag() -> Any:
    """``true``, or ``false`` where it is not written."""
    return _field(False, "true or false", bool)


def mapping(**default: object) -> Any:
    """A mapping of anything."""
    return _field(default, "a mapping", Mapping)


def choice(*choices: str, default: str | None = None) -> Any:
    """One of a few words."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if value not in choices and not (value is None and default is None):
            listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
            raise ValueError(f"{attribute.name}: must be {listed}")

    return field(default=default, validator=check)


def _field(default: object, expected: str, *types: type) -> Any:
    """Return a field for values of these types; of nothing, too, where that is the default."""

    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if value is None and default is None:
            return
        # To Python true and false are numbers.
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise ValueError(f"{attribute.name}: must be {expected}, not {type_name(value)}")
        if isinstance(value, int | float) and value < 0:
            raise ValueError(f"{attribute.name}: must not be negative")

    return field(default=default, validator=check)

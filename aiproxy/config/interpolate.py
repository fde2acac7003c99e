"""
``${VAR}``, ``${VAR:-default}`` and ``$$`` in the values of the configuration.

A dollar that begins neither is itself.  What a variable holds is not expanded
again, and a default holds no further ``${…}``.  A variable that holds nothing,
or blanks, counts as one that is not set, as it does for our own settings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from attrs import frozen

__all__ = ["Expansion", "expand"]

_REFERENCE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^{}]*))?\})"
)
_OPENING = re.compile(r"\$\{")


@frozen
class Expansion:
    """
    A text with its references replaced.

    ``missing`` names the variables that are neither set nor have a default,
    each once; ``expanded`` says whether a variable or default took part.
    """

    text: str
    expanded: bool = False
    missing: tuple[str, ...] = ()


def expand(text: str, variables: Mapping[str, str]) -> Expansion:
    """
    Replace the references in ``text``.

    :raises ValueError: for a ``${`` that is not a well-formed reference.
    """
    if "$" not in text:
        return Expansion(text)
    parts: list[str] = []
    missing: dict[str, None] = {}
    expanded = False
    position = 0
    for match in _REFERENCE.finditer(text):
        parts.append(_literal(text[position : match.start()]))
        position = match.end()
        if match["dollar"]:
            parts.append("$")
            continue
        expanded = True
        value = variables.get(match["name"], "")
        if value.strip():
            parts.append(value)
        elif match["default"] is not None:
            parts.append(match["default"])
        else:
            missing[match["name"]] = None
    parts.append(_literal(text[position:]))
    return Expansion("".join(parts), expanded, tuple(missing))


def _literal(text: str) -> str:
    if _OPENING.search(text):
        raise ValueError(
            "a reference to a variable is written ${NAME} or ${NAME:-default}; "
            "for a literal dollar write $$"
        )
    return text

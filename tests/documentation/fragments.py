"""Completes a fragment of our configuration, so that it can be loaded."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from tests.documentation.shell import keys

__all__ = ["complete", "variables_of", "write_secrets"]

_FILE: Final = re.compile(r"file:(?P<name>[^\s\"']+)")
_VARIABLE: Final = re.compile(r"\$\{(\w+)\}")
_IN_LITELLM: Final = re.compile(r"os\.environ/(\w+)")
_MODELS: Final = re.compile(r"(?m)^models:\n(?P<indentation> *)(?=- )")


def variables_of(text: str) -> dict[str, str]:
    """Return an environment that has each variable of a block, and every provider's key."""
    named = [*_VARIABLE.findall(text), *_IN_LITELLM.findall(text)]
    return {**keys(), **dict.fromkeys(named, "sk-value")}


def write_secrets(text: str, folder: Path) -> str:
    """
    Write the files that ``file:`` names.

    :return: the text, in which they are all in the folder.
    """

    def write(match: re.Match[str]) -> str:
        name = _VARIABLE.sub(r"\1", match["name"]).lstrip("/")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("sk-in-a-file\n", encoding="utf-8")
        return f"file:{name}"

    return _FILE.sub(write, text)


def complete(text: str, data: Mapping[str, Any]) -> str:
    """
    Add the models that a fragment names, or one if it has none at all.

    :param data: what the fragment says.
    """
    models = data.get("models") or []
    names = [model["name"] for model in models] + [*(data.get("groups") or {})]
    known = {name.replace("/*", "/?*") for name in names}
    missing = {
        name: None
        for name in _named(data)
        if not any(fnmatchcase(name, pattern) for pattern in known)
    }
    if not models and not missing:
        missing = {"demo/echo": None}
    lines = [f"- {{name: {name}, provider: demo}}\n" for name in missing]
    if not models:
        return text + "models:\n" + "".join(lines)
    return _MODELS.sub(
        lambda match: (
            "models:\n"
            + "".join(match["indentation"] + line for line in lines)
            + match["indentation"]
        ),
        text,
    )


def _named(data: Mapping[str, Any]) -> Iterator[str]:
    """Find the models that groups and fallbacks name."""
    for group in (data.get("groups") or {}).values():
        yield from group.get("models", ())
    for model in data.get("models") or ():
        yield from model.get("fallbacks", ())

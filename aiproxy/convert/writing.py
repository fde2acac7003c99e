"""Our configuration as YAML, with what there is to say of it as comments."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from aiproxy.convert.litellm_values import Note

__all__ = ["write_file"]

_WIDTH = 100
_HEAD = "Check it with `aiproxy check`."


class _Dumper(yaml.SafeDumper):
    """Mappings in blocks, lists of single values in one line, no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def represent_names(self, data: list[Any]) -> yaml.Node:
        single = not any(isinstance(item, (dict, list)) for item in data)
        return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=single)


_Dumper.add_representer(list, _Dumper.represent_names)


def write_file(sections: Mapping[str, Any], notes: Iterable[Note], source: str) -> str:
    """
    Write the file.

    :param sections: by their names, in order.
    :param notes: stand at its head.
    :param source: what it was made of.
    """
    head = [_comment(f"Made of {source} by `aiproxy convert`.  {_HEAD}")]
    listed = [_comment(f"{note.kind.value}: {note.place}: {note.text}") for note in notes]
    if listed:
        head += ["#", *listed]
    parts = [
        yaml.dump(
            {name: section},
            Dumper=_Dumper,
            allow_unicode=True,
            default_flow_style=False,
            sort_keys=False,
            width=10**6,
        )
        for name, section in sections.items()
    ]
    return "\n\n".join(["\n".join(head), *(part.rstrip("\n") for part in parts)]) + "\n"


def _comment(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
    return textwrap.fill(
        printable,
        width=_WIDTH,
        initial_indent="# ",
        subsequent_indent="#     ",
        break_long_words=False,
        break_on_hyphens=False,
    )

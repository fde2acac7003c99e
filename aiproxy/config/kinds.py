"""
The kinds of values a configuration key takes, and how each is read from the tree.

A small structurer of our own rather than cattrs: every value must be read even
after the first mistake, each mistake must name the key's path and line, the
nearest valid key must be found, and no message may show a secret.  Those need
the tree's nodes at every step, where cattrs sees plain values.

A class whose attributes carry :func:`key` metadata is a *section*; its
attributes are the keys that may be written, with the documentation of each.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import date
from typing import Any, Generic, Protocol, TypeVar

import attrs
from attrs import frozen

from aiproxy.config.reading import Place, Reading, missing_variables
from aiproxy.config.scalars import ScalarKind, is_nothing, text_of, type_name, write_value
from aiproxy.config.tree import ListNode, MapNode, Node, Scalar, shorten
from aiproxy.config.unknown_keys import say_unknown

__all__ = [
    "Documented",
    "HeadersKind",
    "JsonKind",
    "Key",
    "Kind",
    "ListKind",
    "NamedSectionsKind",
    "OneOrMoreKind",
    "PartialKind",
    "SectionKind",
    "headers",
    "json_object",
    "key",
    "section_keys",
    "walk_keys",
]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Kind(Protocol[T_co]):
    """A kind of value."""

    @property
    def name(self) -> str:
        """What the value is, for documentation."""

    def read(self, node: Node, place: Place, reading: Reading) -> T_co | None:
        """Return the value, or ``None`` after noting why there is none."""


@frozen
class Key:
    """The documentation of a key, and the kind of its value."""

    kind: Kind[Any]
    doc: str
    required: bool = False
    default: str | None = None


_METADATA = "aiproxy.config"


def key(
    kind: Kind[Any], doc: str, *, required: bool = False, default: str | None = None
) -> dict[str, Key]:
    """
    Return the metadata of an attribute that is a configuration key.

    :param default: what documentation says, where the attribute's default does
        not say it.
    """
    return {_METADATA: Key(kind, doc, required, default)}


def section_keys(section: type[Any]) -> dict[str, tuple[attrs.Attribute[Any], Key]]:
    """Return the keys of a section, in order."""
    return {
        attribute.name: (attribute, attribute.metadata[_METADATA])
        for attribute in attrs.fields(section)
        if _METADATA in attribute.metadata
    }


# --- lists and free mappings ---------------------------------------------------------


@frozen
class ListKind(Generic[T]):
    """A list of values of one kind, as a tuple."""

    item: Kind[T]

    @property
    def name(self) -> str:
        return f"a list ({self.item.name})"

    def read(self, node: Node, place: Place, reading: Reading) -> tuple[T, ...] | None:
        if not isinstance(node, ListNode):
            hint = "; begin each entry with `- `" if isinstance(node, MapNode) else ""
            reading.problem(place, f"must be a list, not {type_name(node)}{hint}")
            return None
        values = []
        for index, item in enumerate(node.items):
            item_place = place.item(index, item.line)
            reading.lines[item_place.path] = item.line
            value = self.item.read(item, item_place, reading)
            if value is None:
                reading.lose(item_place, _name_in(item))
            else:
                values.append(value)
        return tuple(values)


def _name_in(node: Node) -> str:
    """Return the name that is written in an entry, or nothing."""
    name = node.entries.get("name") if isinstance(node, MapNode) else None
    if name is None or not isinstance(name.node, Scalar) or name.node.missing:
        return ""
    return name.node.text


@frozen
class OneOrMoreKind(Generic[T]):
    """A value of one kind, or a list of them; as a tuple."""

    item: Kind[T]

    @property
    def name(self) -> str:
        return f"{self.item.name}, or a list of them"

    def read(self, node: Node, place: Place, reading: Reading) -> tuple[T, ...] | None:
        if isinstance(node, ListNode):
            return ListKind(self.item).read(node, place, reading)
        value = self.item.read(node, place, reading)
        return None if value is None else (value,)


#: Set by the HTTP client for each request; a configured one would break the framing.
_FRAMING_HEADERS = frozenset(("connection", "content-length", "host", "te", "transfer-encoding"))
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t -~]*")


@frozen
class HeadersKind:
    """Header fields (RFC 9110, 5): names in lower case, values never shown."""

    name: str = "a mapping of header names to texts"

    def read(self, node: Node, place: Place, reading: Reading) -> dict[str, str] | None:
        if not isinstance(node, MapNode):
            reading.problem(place, f"must be a mapping, not {type_name(node)}")
            return None
        headers: dict[str, str] = {}
        for written, entry in node.entries.items():
            name, below = written.lower(), place.named(written, entry.line)
            if not _HEADER_NAME.fullmatch(name):
                reading.problem(below, "is not the name of a header")
            elif name in _FRAMING_HEADERS:
                reading.problem(below, "is set by aiproxy itself")
            elif name in headers:
                reading.problem(below, "stands here twice")
            else:
                headers[name] = _header_value.read(entry.node, below, reading) or ""
        return headers


def _convert_header_value(node: Scalar) -> str:
    value = text_of(node)
    if not _HEADER_VALUE.fullmatch(value):
        raise ValueError("must be one line of ASCII text")
    return value


_header_value = ScalarKind("text", _convert_header_value)


@frozen
class JsonKind:
    """A mapping of anything that JSON can say."""

    name: str = "a mapping"

    def read(self, node: Node, place: Place, reading: Reading) -> dict[str, Any] | None:
        if not isinstance(node, MapNode):
            reading.problem(place, f"must be a mapping, not {type_name(node)}")
            return None
        return {
            name: self._value(entry.node, place.named(name, entry.line), reading)
            for name, entry in node.entries.items()
        }

    def _value(self, node: Node, place: Place, reading: Reading) -> Any:
        if isinstance(node, MapNode):
            return self.read(node, place, reading)
        if isinstance(node, ListNode):
            return [
                self._value(item, place.item(index, item.line), reading)
                for index, item in enumerate(node.items)
            ]
        if node.missing:
            reading.problem(place, missing_variables(node.missing))
        elif isinstance(node.value, float) and not math.isfinite(node.value):
            reading.problem(place, "is a number that JSON does not have")
        return node.text if isinstance(node.value, date) else node.value


headers = HeadersKind()
json_object = JsonKind()


# --- sections --------------------------------------------------------------------------


@frozen
class SectionKind(Generic[T]):
    """A mapping with the keys of an attrs class; nothing written means all defaults."""

    section: type[T]
    name: str = "a section"

    def read(self, node: Node, place: Place, reading: Reading) -> T | None:
        values = read_keys(self.section, node, place, reading)
        if values is None:
            reading.broken |= {place.key, place.path}
            return None
        if _knows_its_place(self.section):
            values["place"] = place
        return self.section(**values)


@frozen
class PartialKind:
    """The keys of a section that are written, by name: to be laid over another."""

    section: type[Any]
    name: str = "a section"

    def read(self, node: Node, place: Place, reading: Reading) -> dict[str, Any] | None:
        return read_keys(self.section, node, place, reading)


@frozen
class NamedSectionsKind(Generic[T]):
    """A mapping of names to sections."""

    item: SectionKind[T]
    name: str = "a mapping of names to sections"

    def read(self, node: Node, place: Place, reading: Reading) -> dict[str, T] | None:
        if not isinstance(node, MapNode):
            reading.problem(place, f"must be a mapping, not {type_name(node)}")
            return None
        values = {}
        for name, entry in node.entries.items():
            below = place.named(name, entry.line)
            value = self.item.read(entry.node, below, reading)
            if value is None:
                reading.lose(below, name)
            else:
                values[name] = value
        return values


def _knows_its_place(section: type[Any]) -> bool:
    return any(attribute.name == "place" for attribute in attrs.fields(section))


def read_keys(
    section: type[Any], node: Node, place: Place, reading: Reading
) -> dict[str, Any] | None:
    """
    Read the keys of ``section`` that are written in ``node``.

    :return: the values by key; ``None`` where there is no mapping, or a required
        key is missing.
    """
    if isinstance(node, Scalar) and is_nothing(node) and place.path:
        node = MapNode({}, node.line)
    if not isinstance(node, MapNode):
        glued = isinstance(node, Scalar) and ":" in node.written
        hint = "; a colon after a key needs a space behind it" if glued else ""
        reading.problem(place, f"must be a mapping, not {type_name(node)}{hint}")
        return None
    keys = section_keys(section)
    values: dict[str, Any] = {}
    written = set()
    for name, entry in node.entries.items():
        below = place.below(shorten(name), entry.line)
        if name not in keys:
            reading.problem(below, say_unknown(name, place, keys, reading.homes))
            continue
        reading.lines[below.path] = entry.line
        if is_nothing(entry.node):
            continue
        written.add(name)
        value = keys[name][1].kind.read(entry.node, below, reading)
        if value is None:
            reading.broken |= {below.key, below.path}
            continue
        values[name] = value
    required = {name for name, (_attribute, spec) in keys.items() if spec.required}
    for name in keys:
        if name in required - written:
            reading.problem(reading.find(place, name), "is required")
    return values if required <= values.keys() else None


@frozen
class Documented:
    """A key as a reference page shows it: its path, its default as text, and what it is for."""

    path: str
    default: str
    key: Key


def walk_keys(section: type[Any], prefix: str = "") -> Iterator[Documented]:
    """
    Yield every key below a section, in order.

    ``[]`` stands for a list's index, ``NAME`` for a name of the user's choice.
    The keys of a section that is laid over another are those of the other.
    """
    for name, (attribute, spec) in section_keys(section).items():
        path, kind = f"{prefix}{name}", spec.kind
        yield Documented(path, _default(attribute.default, spec), spec)
        if isinstance(kind, ListKind):
            path, kind = f"{path}[]", kind.item
        elif isinstance(kind, NamedSectionsKind):
            path, kind = f"{path}.NAME", kind.item
        if isinstance(kind, SectionKind):
            yield from walk_keys(kind.section, f"{path}.")


def _default(value: object, spec: Key) -> str:
    if spec.required:
        return "required"
    if spec.default is not None:
        return spec.default
    if value is None or not isinstance(value, (bool, int, float, str)):
        return "none"
    return f"`{write_value(spec.kind, value)}`"

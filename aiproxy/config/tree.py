"""
YAML as a tree that knows the line of everything in it.

PyYAML composes (safe nodes only, nothing is constructed); this module expands
aliases and merge keys, refuses duplicate keys, expands references to the
environment in values and then types plain scalars by YAML 1.1's rules.  The
size, the depth and the number of expanded nodes are bounded, so that no file
can take the memory or the stack.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import TypeAlias

import yaml
from attrs import define, field, frozen
from yaml.constructor import ConstructorError, SafeConstructor
from yaml.resolver import Resolver

from aiproxy.config.interpolate import expand
from aiproxy.errors import Problem

__all__ = ["Entry", "ListNode", "MapNode", "Node", "Scalar", "read_tree", "shorten"]

MAX_FILE_BYTES = 1024 * 1024
MAX_DEPTH = 40
MAX_NODES = 100_000

ScalarValue: TypeAlias = "bool | int | float | str | date | datetime | None"


@frozen
class Scalar:
    """
    A single value.

    ``text`` is the text after expansion, ``written`` what stands in the file
    (the only one of the two that a message may show), ``missing`` the
    variables that the text needs and the environment lacks.
    """

    value: ScalarValue
    text: str
    written: str
    line: int
    expanded: bool = False
    missing: tuple[str, ...] = ()


@frozen
class ListNode:
    """A sequence."""

    items: tuple[Node, ...]
    line: int


@frozen
class Entry:
    """One key of a mapping: where the key stands, and its value."""

    line: int
    node: Node


@frozen
class MapNode:
    """A mapping; merged keys come after its own."""

    entries: Mapping[str, Entry]
    line: int


Node: TypeAlias = "Scalar | ListNode | MapNode"

_TAG = "tag:yaml.org,2002:"
_SCALAR_TAGS = frozenset(_TAG + name for name in ("null", "bool", "int", "float", "timestamp"))
_CONTAINER_TAGS = frozenset((_TAG + "map", _TAG + "seq"))
_MERGE = _TAG + "merge"
_STRING = _TAG + "str"
_RESOLVER = Resolver()

# PyYAML quotes single letters, its own <tokens>, and names; a key in the wrong place
# could be a name.
_QUOTED = re.compile(r"'(?!<|\\?.')[^']*'")
#: What is mostly meant by a part of PyYAML's words; ``{line}`` is where it began.
_HINTS = (
    ("'\\t'", "indent with spaces, not tabs"),
    ("cannot start any token", "quote a text that begins so"),
    ("alias", "quote a text that begins with `*`"),
    ("a quoted scalar", "the quote that opens on line {line} is not closed"),
    (
        "a flow ",
        "what opens on line {line} is not closed, or a text in it must be quoted,"
        ' such as "${{NAME}}"',
    ),
    ("expected <block end>", "is it indented as the lines above it are?"),
    (
        "mapping values are not allowed",
        "is it indented as the lines above it are? A text with `: ` in it must be quoted",
    ),
)
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Unreadable(Exception):
    """The file cannot become a tree at all."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.message = message
        self.line = line


class _Loader(yaml.SafeLoader):
    """Composes with a bound on the depth, for PyYAML composes recursively."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: object) -> yaml.Node | None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            line = self.line + 1
            raise _Unreadable(f"is nested deeper than {MAX_DEPTH} levels", line)
        try:
            return super().compose_node(parent, index)  # type: ignore[arg-type]
        finally:
            self.depth -= 1


def read_tree(
    data: bytes, file: str, variables: Mapping[str, str]
) -> tuple[Node | None, list[Problem]]:
    """
    Read the one document in ``data``.

    :param file: what messages call it.
    :param variables: what ``${…}`` refers to.
    :return: the tree, or ``None`` for an empty document or one that cannot be read;
        and all problems found.
    """
    try:
        root = _compose(data)
    except _Unreadable as error:
        return None, [Problem(f"the file {error.message}", file, error.line)]
    if root is None:
        return None, []
    builder = _Builder(file, variables)
    try:
        tree = builder.build(root, 0)
    except _Unreadable as error:
        return None, [Problem(f"the file {error.message}", file, error.line)]
    empty = isinstance(tree, Scalar) and tree.value is None and not tree.missing
    return None if empty else tree, builder.problems


def _compose(data: bytes) -> yaml.Node | None:
    if len(data) > MAX_FILE_BYTES:
        raise _Unreadable(f"is larger than {MAX_FILE_BYTES} bytes", 1)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unreadable("is not UTF-8 text", data.count(b"\n", 0, error.start) + 1) from None
    try:
        loader = _Loader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _Unreadable("holds a control character, which YAML does not allow", line) from None
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _Unreadable(_syntax_message(error), mark.line + 1 if mark else 1) from None
    except (ValueError, OverflowError):  # an escape such as "\UFFFFFFFF" names no character
        line = loader.line + 1
        raise _Unreadable("holds an escape that names no character", line) from None
    finally:
        loader.dispose()


def _syntax_message(error: yaml.MarkedYAMLError) -> str:
    said = ", ".join(part for part in (error.context, error.problem) if part)
    problem = re.sub(r"'[^']*'", lambda match: _QUOTED.sub("'…'", match[0]), said)
    hint = next((hint for part, hint in _HINTS if part in problem), "")
    if hint:
        opened = error.context_mark.line + 1 if error.context_mark else 1
        hint = f"; {hint.format(line=opened)}"
    return f"is not YAML: {problem}{hint}"


@define
class _Builder:
    """Turns PyYAML's nodes into ours, collecting problems."""

    file: str
    variables: Mapping[str, str]
    problems: list[Problem] = field(factory=list)
    _count: int = 0

    def build(self, node: yaml.Node, depth: int) -> Node:
        line = node.start_mark.line + 1
        self._count += 1
        if depth > MAX_DEPTH:
            raise _Unreadable(f"is nested deeper than {MAX_DEPTH} levels", line)
        if self._count > MAX_NODES:
            raise _Unreadable(f"expands to more than {MAX_NODES} values", line)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, line)
        if node.tag not in _CONTAINER_TAGS:
            self._problem("a YAML tag of this kind is not supported", line)
        if isinstance(node, yaml.SequenceNode):
            return ListNode(tuple(self.build(item, depth + 1) for item in node.value), line)
        return MapNode(self._entries(node, depth), line)

    def _problem(self, message: str, line: int) -> None:
        problem = Problem(message, self.file, line)
        if problem not in self.problems:  # an alias is built at each of its uses
            self.problems.append(problem)

    def _entries(self, node: yaml.Node, depth: int) -> dict[str, Entry]:
        entries: dict[str, Entry] = {}
        merged: yaml.Node | None = None
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE and merged is None:
                merged = value
            elif key.tag == _MERGE:
                self._problem("duplicate key `<<`; give it a list of mappings", line)
            elif not isinstance(key, yaml.ScalarNode) or not key.value:
                self._problem("a key must be a text", line)
            elif key.value in entries:
                first = entries[key.value].line
                self._problem(f"duplicate key `{shorten(key.value)}`, first on line {first}", line)
            else:
                entries[key.value] = Entry(line, self.build(value, depth + 1))
        for source in self._merge_sources(merged, depth) if merged else ():
            for name, entry in source.entries.items():
                entries.setdefault(name, entry)
        return entries

    def _merge_sources(self, value: yaml.Node, depth: int) -> list[MapNode]:
        built = self.build(value, depth + 1)
        parts = built.items if isinstance(built, ListNode) else (built,)
        sources = [part for part in parts if isinstance(part, MapNode)]
        if len(sources) != len(parts):
            self._problem("`<<` merges a mapping, or a list of mappings", built.line)
        return sources

    def _scalar(self, node: yaml.ScalarNode, line: int) -> Scalar:
        written = node.value
        if _SURROGATE.search(written):
            self._problem("holds an escape that names no character", line)
            return Scalar(None, "", "", line)
        plain = node.style is None
        # PyYAML has resolved the tag already: what the bare text would not get was written.
        explicit = node.tag != _resolve(written, plain)
        if explicit and node.tag not in _SCALAR_TAGS | {_STRING}:
            self._problem("a YAML tag of this kind is not supported", line)
            return Scalar(None, "", written, line)
        try:
            expansion = expand(written, self.variables)
        except ValueError as error:
            self._problem(str(error), line)
            return Scalar(None, "", written, line)
        tag = node.tag
        if expansion.expanded and plain and not explicit:
            tag = _resolve(expansion.text, True)
        value: ScalarValue = expansion.text
        if tag in _SCALAR_TAGS and not expansion.missing:
            value = self._typed(node, tag, expansion.text, line)
        return Scalar(value, expansion.text, written, line, expansion.expanded, expansion.missing)

    def _typed(self, node: yaml.ScalarNode, tag: str, text: str, line: int) -> ScalarValue:
        typed = yaml.ScalarNode(tag, text, node.start_mark, node.end_mark)
        constructor = SafeConstructor()
        try:
            value: ScalarValue = SafeConstructor.yaml_constructors[tag](constructor, typed)
        except (ConstructorError, ValueError, KeyError, OverflowError, IndexError, AttributeError):
            self._problem(f"is not a valid {tag.removeprefix(_TAG)}", line)
            return None
        return value


def _resolve(text: str, plain: bool) -> str:
    """Return the tag that YAML's rules give to an untagged scalar."""
    tag: str = _RESOLVER.resolve(yaml.ScalarNode, text, (plain, not plain))  # type: ignore[no-untyped-call]
    return tag


def shorten(name: str) -> str:
    """Return a name fit for a message: one line, at most 60 characters."""
    printable = "".join(letter if letter.isprintable() else "\ufffd" for letter in name)
    return printable if len(printable) <= 60 else f"{printable[:59]}…"

"""Tests of :mod:`aiproxy.config.tree`."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config import tree
from aiproxy.config.tree import ListNode, MapNode, Node, Scalar, read_tree, shorten


def plain(node: Node | None) -> object:
    """Return the values of a tree without their lines."""
    if isinstance(node, MapNode):
        return {name: plain(entry.node) for name, entry in node.entries.items()}
    if isinstance(node, ListNode):
        return [plain(item) for item in node.items]
    return node and node.value


class ReadTreeTests(SynchronousTestCase):
    """YAML with its lines."""

    def read(self, text: str, **variables: str) -> object:
        """Read a text that is to be good, and return its values."""
        node, problems = read_tree(text.encode(), "f", variables)
        self.assertEqual(problems, [])
        return plain(node)

    def refused(self, text: str | bytes, variables: Mapping[str, str] | None = None) -> list[str]:
        """Read a text that is to be bad, and return what is said."""
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        _node, problems = read_tree(data, "f", variables or {})
        self.assertNotEqual(problems, [])
        return [str(problem) for problem in problems]

    def test_types(self) -> None:
        """Plain scalars are typed by YAML's rules, quoted ones are text."""
        self.assertEqual(
            self.read("[1, 1.5, true, no, ~, 0x1F, 1s, '1', \"no\", 2030-01-31, !!str 1]"),
            [1, 1.5, True, False, None, 31, "1s", "1", "no", datetime.date(2030, 1, 31), "1"],
        )
        self.assertEqual(self.read("|\n  1\n"), "1\n")

    def test_lines(self) -> None:
        """Keys and values know their lines."""
        node, _ = read_tree(b"# c\na:\n  - 1\n  -\n    b: c\n", "f", {})
        assert isinstance(node, MapNode)
        entry = node.entries["a"]
        assert isinstance(entry.node, ListNode)
        inner = entry.node.items[1]
        assert isinstance(inner, MapNode)
        self.assertEqual((node.line, entry.line, entry.node.line), (2, 2, 3))
        self.assertEqual((entry.node.items[0].line, inner.entries["b"].line), (3, 5))

    def test_expanded(self) -> None:
        """References are expanded first and typed then; quoted scalars stay text."""
        self.assertEqual(
            self.read(
                "- $${A}\n- ${A}\n- '${A}'\n- x${A}\n- ${B:-on}\n- '${B:-on}'\n- ${B:-}\n- 1$$",
                A="80",
            ),
            ["${A}", 80, "80", "x80", True, "on", None, "1$"],
        )

    def test_not_expanded(self) -> None:
        """Keys and comments are left alone."""
        self.assertEqual(self.read("${A}: 1 # ${B}", A="x"), {"${A}": 1})

    def test_missing(self) -> None:
        """A missing variable leaves the value open, for the reader of the key to judge."""
        node, problems = read_tree(b"${A} ${B}", "f", {"B": "1"})
        assert isinstance(node, Scalar)
        self.assertEqual((node.missing, problems), (("A",), []))

    def test_written(self) -> None:
        """What stands in the file is kept beside what it became."""
        node, _ = read_tree(b"a${A}", "f", {"A": "1"})
        self.assertEqual(node, Scalar("a1", "a1", "a${A}", 1, expanded=True))

    def test_anchors(self) -> None:
        """Aliases and merge keys work; own keys win, then earlier mappings."""
        self.assertEqual(
            self.read("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a]"),
            {"a": {"x": 1, "y": 2}, "b": {"y": 3, "x": 1}, "c": [{"x": 1, "y": 2}]},
        )
        self.assertEqual(
            self.read("- &a {x: 1}\n- &b {x: 2, y: 2}\n- {<<: [*a, *b], z: 3}"),
            [{"x": 1}, {"x": 2, "y": 2}, {"z": 3, "x": 1, "y": 2}],
        )

    def test_merge_of_nothing(self) -> None:
        """Only mappings can be merged."""
        for text in ("<<: 1", "<<: [1]", "<<: [[]]"):
            self.assertEqual(
                self.refused(text), ["f:1: `<<` merges a mapping, or a list of mappings"]
            )

    def test_duplicates(self) -> None:
        """A key that stands twice in a mapping is refused, with both lines."""
        self.assertEqual(
            self.refused("a: 1\nb: 2\na: 3\n"), ["f:3: duplicate key `a`, first on line 1"]
        )
        self.assertEqual(
            self.refused("a: &a {x: 1,\n x: 2}\nb: *a\n"),
            ["f:2: duplicate key `x`, first on line 1"],
        )

    def test_two_merges(self) -> None:
        """A mapping merges once; several sources are a list."""
        self.assertEqual(
            self.refused("a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n"),
            ["f:4: duplicate key `<<`; give it a list of mappings"],
        )

    def test_keys(self) -> None:
        """A key is a text; a number counts as one."""
        self.assertEqual(self.read("1: a"), {"1": "a"})
        for text in ("[a]: 1", "? {}\n: 1", "'': 1"):
            self.assertEqual(self.refused(text), ["f:1: a key must be a text"])

    def test_tags(self) -> None:
        """Tags of Python or of anyone's are refused and not shown."""
        for text in (
            "!!python/object/apply:os.system [ls]",
            "!sk-secret x",
            "!!binary aGk=",
            "!!set {a}",
            "!sk-secret [a]",
        ):
            self.assertEqual(self.refused(text), ["f:1: a YAML tag of this kind is not supported"])

    def test_bad_values(self) -> None:
        """What looks like a value of a type but is none is refused."""
        for text, name in [
            ("2030-13-41", "timestamp"),
            ("!!int x", "int"),
            ("!!float x", "float"),
            ("!!bool x", "bool"),
            ("!!timestamp x", "timestamp"),
            ("0b_", "int"),
            ("9" * 5000, "int"),
        ]:
            self.assertEqual(self.refused(f"a:\n  {text}"), [f"f:2: is not a valid {name}"])

    def test_bad_reference(self) -> None:
        """A malformed reference is refused where it stands."""
        [problem] = self.refused("a: 1\nb: ${x")
        self.assertRegex(problem, r"^f:2: a reference to a variable is written")

    def test_empty(self) -> None:
        """An empty document, or one of comments, is nothing."""
        for text in ("", "# nothing\n", "---\n...\n", "null"):
            self.assertEqual(read_tree(text.encode(), "f", {}), (None, []))

    def test_syntax(self) -> None:
        """What is no YAML is one problem with its line."""
        for text, message in [
            ("a: 1\n\tb: 2", "f:2: the file is not YAML: .*indent with spaces, not tabs"),
            ("a: [1\nb: 2", "f:2: the file is not YAML: while parsing a flow sequence, expected"),
            ("a: 'x", "f:1: the file is not YAML: .*unexpected end of stream"),
            ("a: b: c", "f:1: the file is not YAML: mapping values are not allowed here"),
            ("a: 1\n---\nb: 1", "f:2: the file is not YAML: expected a single document"),
            ("a:\n  *b", "f:2: the file is not YAML: found undefined alias"),
            ('a: "\\UFFFFFFFF"', "f:1: the file holds an escape that names no character"),
            ('a: 1\nb: "\\ud800"', "f:2: holds an escape that names no character"),
            ("a: 1\nb: \x07", "f:2: the file holds a control character"),
        ]:
            [problem] = self.refused(text)
            self.assertRegex(problem, "^" + message)

    def test_hints(self) -> None:
        """Beside PyYAML's words stands what is mostly meant."""
        for text, hint in [
            ("a:\n  - b: 1\n   c: 2", "f:3: .*; is it indented as the lines above it are\\?$"),
            ("a:\n  - b: 1\n  c: 2", "f:3: .*; is it indented as the lines above it are\\?$"),
            ("a: b\n  c: d", "f:2: .*; is it indented .* A text with `: ` in it must be quoted$"),
            ("a: {b: ${C}}", 'f:1: .*; what opens on line 1 .* quoted, such as "\\${NAME}"$'),
            ("a: [1\n\nb: 2", "f:3: .*; what opens on line 1 is not closed, or "),
            ("a:\n  b: 'x\nc: 1\n", "f:4: .*; the quote that opens on line 2 is not closed$"),
            ("a: *", "f:1: .*; quote a text that begins with `\\*`$"),
            ("a: @cf/x", "f:1: .*; quote a text that begins so$"),
        ]:
            [problem] = self.refused(text)
            self.assertRegex(problem, f"^{hint}")

    def test_syntax_without_secrets(self) -> None:
        """What PyYAML quotes could be a token in the wrong place, and is left out."""
        for text in (
            "token: *sk-secret",
            "a: &sk-secret 1\nb: &sk-secret 2",
            "token: !sk-secret!x 1",
        ):
            for problem in self.refused(text):
                self.assertNotIn("sk-secret", problem)

    def test_not_utf8(self) -> None:
        """Bytes that are not UTF-8 are refused with their line; a mark at the start is not."""
        self.assertEqual(self.refused(b"a: 1\nb: \xff\n"), ["f:2: the file is not UTF-8 text"])
        self.assertEqual(plain(read_tree(b"\xef\xbb\xbfa: 1", "f", {})[0]), {"a": 1})

    def test_too_large(self) -> None:
        """The file is bounded."""
        data = b"#" * (tree.MAX_FILE_BYTES + 1)
        self.assertEqual(
            self.refused(data), [f"f:1: the file is larger than {tree.MAX_FILE_BYTES} bytes"]
        )

    def test_too_deep(self) -> None:
        """Nesting is bounded, before it can take the stack."""
        for text in (
            "[" * 10_000,
            "[" * 10_000 + "]" * 10_000,
            "- " * 5_000,
            "{a: " * 50 + "}" * 50,
        ):
            [problem] = self.refused(text)
            self.assertRegex(problem, "nested deeper than 40 levels|is not YAML")

    def test_recursive_alias(self) -> None:
        """A node that holds itself is refused."""
        for text in ("&a [*a]", "&a {<<: *a}", "&a {b: [*a, *a]}"):
            self.assertEqual(self.refused(text), ["f:1: the file is nested deeper than 40 levels"])

    def test_alias_bomb(self) -> None:
        """Aliases of aliases are bounded by what they expand to."""
        lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x]"]
        lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 20)]
        [problem] = self.refused("\n".join(lines))
        self.assertRegex(problem, "expands to more than 100000 values")

    @given(
        st.one_of(
            st.binary(max_size=200),
            st.text("[]{}&*!|>'\"%@`?:-, \n\t#<ab1$~.\\u\r\u2028", max_size=60).map(str.encode),
        )
    )
    def test_hostile(self, data: bytes) -> None:
        """Any bytes give a tree or problems with a line, nothing else."""
        node, problems = read_tree(data, "f", {"a": "1"})
        for problem in problems:
            self.assertEqual(problem.file, "f")
            self.assertGreaterEqual(problem.line or 0, 1)
        self.assertTrue(node is None or isinstance(node, (Scalar, ListNode, MapNode)))


class ShortenTests(SynchronousTestCase):
    """Names fit for a message."""

    def test_shorten(self) -> None:
        """Long names are cut, unprintable letters replaced."""
        self.assertEqual(shorten("a/b"), "a/b")
        self.assertEqual(shorten("a\nb"), "a\ufffdb")
        self.assertEqual(shorten("a" * 61), "a" * 59 + "\N{HORIZONTAL ELLIPSIS}")

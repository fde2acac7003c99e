"""Values of a LiteLLM configuration."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.interpolate import expand
from aiproxy.convert.litellm_values import Findings, Kind, Value, read_value


class ValueTests(SynchronousTestCase):
    """Reading single values."""

    def value(self, text: str) -> Value:
        """Read the value of the only key."""
        value = read_value(f"k: {text}\n".encode(), "l.yaml", Findings())
        assert value is not None
        return value.entries()["k"]

    def test_variables(self) -> None:
        """``os.environ/NAME`` is a reference where NAME is a name, and nothing else is."""
        for text, variable, written in (
            ("os.environ/A_1", "A_1", "${A_1}"),
            ("os.environ/A-1", None, "os.environ/A-1"),
            ("os.environ/", None, "os.environ/"),
            ("x os.environ/A", None, "x os.environ/A"),
            ("${A}", None, "$${A}"),
            ("[os.environ/A]", None, ""),
        ):
            value = self.value(text)
            self.assertEqual((value.variable, value.written()), (variable, written))

    @given(st.text(alphabet="$ {}aA_:-/"))
    def test_written(self, text: str) -> None:
        """What is written means the same text again, whatever our environment has."""
        node = read_value(f"k: '{text}'".encode(), "l.yaml", Findings())
        assert node is not None
        below = node.entries()["k"]
        self.assertEqual(expand(below.written(), {"a": "1", "A": "2"}).text, text.strip())
        self.assertEqual(expand(below.plain(), {"a": "1"}).text, text)

    def test_keys(self) -> None:
        """Dollars in keys stay single."""
        value = read_value(b"a$b: {$$c: 1}", "l.yaml", Findings())
        assert value is not None
        [(name, below)] = value.entries().items()
        self.assertEqual((name, list(below.entries())), ("a$b", ["$$c"]))
        self.assertEqual(below.entries()["$$c"].path, "a$b.$$c")

    def test_items(self) -> None:
        """A single value is a list of one, nothing one of none."""
        self.assertEqual([item.text for item in self.value("[a, b]").items()], ["a", "b"])
        self.assertEqual([item.text for item in self.value("a").items()], ["a"])
        value = read_value(b"k:", "l.yaml", Findings())
        assert value is not None
        self.assertEqual(value.entries(), {})

    def test_number(self) -> None:
        """Anything that is no number in reach is 0."""
        for text, number in (
            ("2.5", 2.5),
            ("'3'", 3),
            ("-1", 0),
            ("1e300", 0),
            ("x", 0),
            (".nan", 0),
        ):
            self.assertEqual(self.value(text).number(), number)


class FindingsTests(SynchronousTestCase):
    """Collecting notes."""

    def test_order(self) -> None:
        """Notes are sorted by line; the same note is one, with the lines of all."""
        findings = Findings()
        value = read_value(b"a: 1\nb: 1\n", "l.yaml", findings)
        assert value is not None
        first, second = value.entries().values()
        findings.check(second, "x")
        findings.leave_out(first, "y")
        findings.leave_out(first, "y")
        self.assertEqual(
            [(note.kind, note.place, note.text) for note in findings.notes],
            [
                (Kind.NOT_TAKEN_OVER, "l.yaml:1", "a: y"),
                (Kind.CHECK, "l.yaml:2", "b: x"),
            ],
        )

    def test_variable_is_no_secret(self) -> None:
        """A key that stands in the environment is not in the open."""
        findings = Findings()
        value = read_value(b"a: os.environ/A\nb: k\n", "l.yaml", findings)
        assert value is not None
        for below in value.entries().values():
            findings.secret(below)
        self.assertEqual([note.lines for note in findings.notes], [(2,)])

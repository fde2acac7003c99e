"""Tests of :mod:`aiproxy.config.interpolate`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.interpolate import Expansion, expand

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
WITHOUT_DOLLAR = st.text(st.characters(exclude_characters="$"))


class ExpandTests(SynchronousTestCase):
    """References to the environment."""

    def test_forms(self) -> None:
        """Each form, in the middle of a text too."""
        variables = {"A": "x", "EMPTY": "", "BLANK": " \r", "DOLLARS": "$$ ${A}"}
        for text, expected in [
            ("plain", Expansion("plain")),
            ("${A}", Expansion("x", expanded=True)),
            ("<${A}${A}>", Expansion("<xx>", expanded=True)),
            ("${A:-y}", Expansion("x", expanded=True)),
            ("${B:-y}", Expansion("y", expanded=True)),
            ("${B:-}", Expansion("", expanded=True)),
            ("${B:-a:-b $c}", Expansion("a:-b $c", expanded=True)),
            ("${EMPTY:-y}", Expansion("y", expanded=True)),
            ("${BLANK:-y}", Expansion("y", expanded=True)),
            ("${EMPTY:-}", Expansion("", expanded=True)),
            ("${DOLLARS}", Expansion("$$ ${A}", expanded=True)),
            ("$$", Expansion("$")),
            ("$${A}", Expansion("${A}")),
            ("$$${A}", Expansion("$x", expanded=True)),
            ("$A $", Expansion("$A $")),
            ("${B}${C}${B}", Expansion("", expanded=True, missing=("B", "C"))),
            ("<${EMPTY}>", Expansion("<>", expanded=True, missing=("EMPTY",))),
            ("${A}${BLANK}", Expansion("x", expanded=True, missing=("BLANK",))),
        ]:
            self.assertEqual(expand(text, variables), expected, text)

    def test_malformed(self) -> None:
        """A reference that is not closed or has no proper name is refused."""
        for text in ["${", "${}", "${A", "${1A}", "${A-b}", "${A:b}", "${A:-${B}}", "x ${A b} y"]:
            with self.assertRaisesRegex(ValueError, r"\$\{NAME\} or \$\{NAME:-default\}"):
                expand(text, {"A": "x", "B": "y"})

    @given(WITHOUT_DOLLAR)
    def test_no_dollar(self, text: str) -> None:
        """A text without a dollar is itself."""
        self.assertEqual(expand(text, {}), Expansion(text))

    @given(st.text())
    def test_quoted(self, text: str) -> None:
        """Any text survives with its dollars doubled."""
        self.assertEqual(expand(text.replace("$", "$$"), {}).text, text)

    @given(NAMES, st.text().filter(str.strip), WITHOUT_DOLLAR, WITHOUT_DOLLAR)
    def test_value(self, name: str, value: str, before: str, after: str) -> None:
        """A value is put in as it is, never expanded again."""
        self.assertEqual(
            expand(f"{before}${{{name}}}{after}", {name: value}),
            Expansion(before + value + after, expanded=True),
        )

    @given(st.text("${}:-AB$", max_size=30), st.dictionaries(st.sampled_from("AB"), st.text()))
    def test_hostile(self, text: str, variables: dict[str, str]) -> None:
        """Any text gives an expansion or ValueError; only what holds nothing is missing."""
        try:
            expansion = expand(text, variables)
        except ValueError:
            return
        self.assertFalse(any(variables.get(name, "").strip() for name in expansion.missing))

"""``docs/configuration.md`` says what is true."""

from __future__ import annotations

import re
from pathlib import Path

from aiproxy.config.entries import File
from aiproxy.config.kinds import walk_keys
from aiproxy.config.known_providers import KNOWN_PROVIDERS
from tests.config.loading import LoadingTestCase

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


class ConfigurationPageTests(LoadingTestCase):
    """The reference page."""

    def setUp(self) -> None:
        super().setUp()
        self.text = PAGE.read_text(encoding="utf-8")
        self.rows = [line for line in self.text.splitlines() if line.startswith("| `")]

    def test_keys(self) -> None:
        """Every key has exactly one row, with its default and meaning; there are no others."""
        rows = [
            f"| `{documented.path}` | {documented.default} | {documented.key.doc} |"
            for documented in walk_keys(File)
        ]
        self.assertEqual([row for row in rows if self.rows.count(row) != 1], [])
        sections = tuple(
            f"| `{path}" for path in ("server", "keys", "providers", "models", "groups")
        )
        self.assertEqual([r for r in self.rows if r.startswith(sections) and r not in rows], [])

    def test_providers(self) -> None:
        """Every known type has its row."""
        for known in KNOWN_PROVIDERS.values():
            names = ", ".join(f"`{name}`" for name in (known.name, *known.aliases))
            url = f"`{known.base_url}`" if known.base_url else "none"
            variables = ", ".join(f"`{name}`" for name in known.token_variables) or "none needed"
            self.assertIn(f"| {names} | {url} | {variables} |", self.rows)

    def test_examples(self) -> None:
        """The examples load without a warning, whatever the environment."""
        examples = re.findall(r"```yaml\n(.*?)```", self.text, re.DOTALL)
        self.assertEqual(len(examples), 2)
        for example in examples:
            config = self.config(example, {"OPENAI_KEY_1": "sk-1"})
            self.assertTrue(all(model.disabled is None for model in config.models))

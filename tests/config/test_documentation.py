"""``docs/configuration.md`` says what is true."""

from __future__ import annotations

import re
from pathlib import Path
from runpy import run_path

from aiproxy.config.entries import File
from aiproxy.config.kinds import walk_keys
from aiproxy.config.known_providers import KNOWN_PROVIDERS
from tests.config.loading import LoadingTestCase

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "configuration.md"
REFERENCE = run_path(str(DOCS / "reference.py"))


class ConfigurationPageTests(LoadingTestCase):
    """The reference page."""

    def setUp(self) -> None:
        super().setUp()
        self.text = PAGE.read_text(encoding="utf-8")
        self.rows = [line for line in self.text.splitlines() if line.startswith("| `")]

    def test_tables(self) -> None:
        """The tables are as the schema has them; ``python docs/reference.py`` writes them."""
        self.assertEqual(REFERENCE["write"](self.text), self.text)

    def test_every_key(self) -> None:
        """Every key, and every known type, stands in exactly one table."""
        keys = [f"| `{documented.path}` |" for documented in walk_keys(File)]
        types = [f"| `{known.name}`" for known in KNOWN_PROVIDERS.values()]
        for first in keys + types:
            self.assertEqual(len([row for row in self.rows if row.startswith(first)]), 1, first)

    def test_examples(self) -> None:
        """The examples load without a warning, whatever the environment."""
        examples = re.findall(r"```yaml\n(.*?)```", self.text, re.DOTALL)
        self.assertEqual(len(examples), 2)
        for example in examples:
            config = self.config(example, {"OPENAI_KEY_1": "sk-1"})
            self.assertTrue(all(model.disabled is None for model in config.models))

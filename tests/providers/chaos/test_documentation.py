"""``docs/chaos.md`` says what is true."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import fields
from twisted.internet.task import Clock

from aiproxy.providers.chaos.errors import ERRORS
from aiproxy.providers.chaos.provider import ChaosProvider
from aiproxy.providers.chaos.script import FAULTS, Script, Step
from tests.config.loading import LoadingTestCase

PAGE = Path(__file__).parents[3] / "docs" / "chaos.md"


class ChaosPageTests(LoadingTestCase):
    """The page on drills."""

    def test_example(self) -> None:
        """The example loads as it stands, and each model has its own script."""
        [example] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        models = self.config(example).models
        self.assertEqual([model.disabled for model in models], [None, None])
        faults = [ChaosProvider(Clock(), model).upstream.next.fault for model in models]
        self.assertEqual(faults, ["error", "none"])

    def test_names(self) -> None:
        """Every fault, error and option is there."""
        text = PAGE.read_text(encoding="utf-8")
        words = set(re.findall(r"`(\w+)`", text))
        options = {each.name for kind in (Script, Step) for each in fields(kind)}
        self.assertEqual((FAULTS | set(ERRORS) | options) - words, {"error"} - words)

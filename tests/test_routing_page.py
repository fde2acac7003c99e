"""The examples of ``docs/routing.md``, executed."""

from __future__ import annotations

import random
import re
from pathlib import Path

from aiproxy.policy.routing import Situation, find_candidates
from aiproxy.policy.traffic import Traffic
from tests.config.loading import LoadingTestCase

PAGE = Path(__file__).parent.parent / "docs" / "routing.md"
_EXAMPLE = re.compile(r"```yaml\n(.*?)```\n\n```text\n(.*?)```\n", re.DOTALL)
_LINE = re.compile(r"(\S+)(?:, (\d+) bytes)?(?:, turn (\d+))? +→ (.+)")


class RoutingPageTests(LoadingTestCase):
    """What the page says is so."""

    def test_examples(self) -> None:
        """Every line of every example is the plan that it says."""
        examples = _EXAMPLE.findall(PAGE.read_text("utf-8"))
        self.assertEqual(len(examples), 2)
        for text, lines in examples:
            config = self.config(text)
            for line in lines.splitlines():
                found = _LINE.fullmatch(line)
                assert found is not None, line
                name, length, turn, expected = found.groups()
                situation = Situation(int(turn or 0), int(length or 0), Traffic(), random.Random(1))
                plan = find_candidates(config, name, situation)
                self.assertEqual([candidate.name for candidate in plan], expected.split(", "), line)

"""The tables of ``docs/operations.md``: they name what there is, and all of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.gateway.access_line import json_line
from aiproxy.gateway.metric_families import FAMILIES
from aiproxy.gateway.usage import CallRecord

PAGE = Path(__file__).parent.parent / "docs" / "operations.md"
_METRIC_ROW = re.compile(r"(?m)^\| `(aiproxy_\w+)` \| (\w+) \| ([^|]*)\|")
_EXAMPLE = re.compile(r"```json\n(.*?)```", re.DOTALL)


class OperationsPageTests(SynchronousTestCase):
    """What the page says is so."""

    def setUp(self) -> None:
        self.text = PAGE.read_text(encoding="utf-8")

    def test_metrics(self) -> None:
        """Every metric has a row with its kind and its labels."""
        rows = {
            name.removesuffix("_total"): (kind, tuple(re.findall(r"`(\w+)`", labels)))
            for name, kind, labels in _METRIC_ROW.findall(self.text)
        }
        self.assertEqual(rows, {one.name: (one.kind, one.labels) for one in FAMILIES})

    def test_line(self) -> None:
        """The example is a line as it is written, and each field that needs it has a row."""
        record = CallRecord("r1", "team", 10.0, "chat", True, "up/m", "up", 2)
        record.client, record.route = "10.0.0.1", "/v1/chat/completions"
        record.first_token = 10.25
        record.account("up/m", "up", "answered", {"cost": 0.0000004})
        record.tokens.prompt, record.tokens.completion = 3, 4
        record.asked(10.0004)
        record.end(12.0)
        written = json_line(record, 1893456000.25)
        [example] = _EXAMPLE.findall(self.text)
        self.assertEqual(json.loads(example), json.loads(written))
        rows = self.text.partition("| field |")[2].partition("\n\n")[0]
        named = re.findall(
            r"`(\w+)`", "".join(line.split("|")[1] for line in rows.splitlines()[2:])
        )
        self.assertEqual(set(json.loads(written)) - set(named), {"stream"})

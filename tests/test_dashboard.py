"""The Grafana dashboard: each query names metrics and labels that there are."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any, Final
from unittest import SkipTest

from prometheus_client import CollectorRegistry, ProcessCollector
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.gateway.metric_families import FAMILIES

DASHBOARD = Path(__file__).parent.parent / "deploy" / "grafana-dashboard.json"

#: Prometheus adds these to whatever it scrapes.
_SCRAPED: Final = {"job", "instance"}
_METRIC: Final = re.compile(r"\b(?:aiproxy|process)_\w+\b")
_SELECTOR: Final = re.compile(r"(\w+)\{([^}]*)\}")
_MATCHER: Final = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"")
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_LEGEND: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def known() -> dict[str, set[str]]:
    """Map the name of each sample to its labels."""
    labels = {
        sample: {*family.labels, *_SCRAPED, *(["le"] if sample.endswith("_bucket") else [])}
        for family in FAMILIES
        for sample in family.samples
    }
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    for family in registry.collect():
        for sample in family.samples:
            labels[sample.name] = {*sample.labels, *_SCRAPED}
    return labels


def find_problems(query: str, legend: str = "") -> Iterator[str]:
    """Say which metrics and labels of a query there are not."""
    labels = known()
    metrics = set(_METRIC.findall(query))
    if not metrics:
        yield "no metric"
    yield from (f"metric {name}" for name in metrics - labels.keys())
    named = [(name, _MATCHER.findall(inside)) for name, inside in _SELECTOR.findall(query)]
    grouped = [label.strip() for inside in _GROUPING.findall(query) for label in inside.split(",")]
    for name in metrics & labels.keys():
        used = [one for metric, inside in named if metric == name for one in inside]
        used += [*grouped, *_LEGEND.findall(legend)]
        yield from (f"label {label} of {name}" for label in set(used) - labels[name])


class DashboardTests(SynchronousTestCase):
    """``deploy/grafana-dashboard.json``."""

    def setUp(self) -> None:
        self.dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))

    def targets(self) -> list[dict[str, Any]]:
        """Return the queries of all panels."""
        return [target for panel in self.dashboard["panels"] for target in panel.get("targets", ())]

    def test_queries(self) -> None:
        """Every query names metrics and labels that there are."""
        for target in self.targets():
            query = target["expr"]
            self.assertEqual(list(find_problems(query, target["legendFormat"])), [], query)

    def test_variables(self) -> None:
        """So do the queries that fill the menus."""
        for variable in self.dashboard["templating"]["list"]:
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"])
                assert found
                self.assertIn(found[2], known()[found[1]])

    def test_families(self) -> None:
        """No family of ours is missing."""
        shown = {name for target in self.targets() for name in _METRIC.findall(target["expr"])}
        for family in FAMILIES:
            self.assertTrue(shown & set(family.samples), family.name)

    def test_layout(self) -> None:
        """Each panel has an id of its own, and no two overlap."""
        panels = self.dashboard["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        cells = [
            (place["x"] + dx, place["y"] + dy)
            for place in (panel["gridPos"] for panel in panels)
            for dx in range(place["w"])
            for dy in range(place["h"])
        ]
        self.assertEqual(len(set(cells)), len(cells))
        self.assertLess(max(x for x, _ in cells), 24)

    def test_problems(self) -> None:
        """A metric, a label or a legend that there is not is found."""
        for query, legend, problem in (
            ("sum(rate(aiproxy_requests[5m]))", "", "metric aiproxy_requests"),
            ("aiproxy_nonsense", "", "metric aiproxy_nonsense"),
            ("vector(1)", "", "no metric"),
            ('aiproxy_open_streams{model="x"}', "", "label model of aiproxy_open_streams"),
            (
                "sum by (le, type) (aiproxy_overhead_seconds_bucket)",
                "",
                "label type of aiproxy_overhead_seconds_bucket",
            ),
            ("aiproxy_breaker_open", "{{limit}}", "label limit of aiproxy_breaker_open"),
        ):
            self.assertEqual(list(find_problems(query, legend)), [problem], query)

    def test_promtool(self) -> None:
        """Prometheus can read every query."""
        tool = which("promtool")
        if tool is None:
            raise SkipTest("promtool (Debian's package prometheus) is not installed")
        rules = [
            {"record": f"query{number}", "expr": target["expr"].replace("$__rate_interval", "5m")}
            for number, target in enumerate(self.targets())
        ]
        path = Path(self.mktemp())
        path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
        run = subprocess.run([tool, "check", "rules", str(path)], capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

"""Tests of :mod:`aiproxy.web.metrics`."""

from __future__ import annotations

import subprocess
from shutil import which
from typing import cast
from unittest import SkipTest

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import UpstreamTimeout
from aiproxy.gateway.metric_families import FAMILIES
from aiproxy.gateway.metrics import Dump, Metrics, merge
from aiproxy.gateway.usage import CallRecord
from aiproxy.web.metrics import MetricsRoute
from aiproxy.web.request import ClientRequest

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
NASTY = 'a"b\\c/*'


def dump() -> Dump:
    """Return numbers with a sample of every family."""
    metrics = Metrics()
    record = CallRecord("r1", "team", 10.0, NASTY, True, "up/m", "up", 2)
    record.first_token, record.takeovers = 10.25, 1
    record.account(NASTY, "up", "answered", {"prompt_tokens": 3, "completion_tokens": 4})
    for seconds in (0.2, 0.3, 7.0):
        record.end(10.0 + seconds, UpstreamTimeout("late", provider="up"))
        metrics.observe(record)
    gauges: Dump = {
        "aiproxy_queue_length": [([], 2)],
        "aiproxy_limit_remaining": [([NASTY, "requests_per_day"], 9)],
        "aiproxy_breaker_open": [([NASTY], 1)],
        "aiproxy_pool_connections": [(["https://up.example:443", "idle"], 3)],
    }
    return merge([metrics.dump(), gauges])


class Asked:
    """A request that keeps its answer."""

    def __init__(self, accept: str | None) -> None:
        self.accept = accept
        self.body = b""
        self.content_type = ""

    def header(self, name: str) -> str | None:
        """Return a header that was sent."""
        return self.accept if name == "accept" else None

    def write_body(self, body: bytes, content_type: str) -> None:
        """Keep the answer."""
        self.body, self.content_type = body, content_type


class MetricsRouteTests(SynchronousTestCase):
    """``GET /metrics``."""

    def ask(self, accept: str | None = None, numbers: Dump | None = None) -> Asked:
        """Ask; return the answer."""
        asked = Asked(accept)

        async def gather() -> Dump:
            return dump() if numbers is None else numbers

        route = MetricsRoute(gather)
        coroutine = route.show(cast(ClientRequest, asked))
        self.assertRaises(StopIteration, coroutine.send, None)
        return asked

    def test_text(self) -> None:
        """Prometheus' own format, with every family, its labels and its values."""
        asked = self.ask()
        self.assertTrue(asked.content_type.startswith("text/plain; version=0.0.4"))
        found = {family.name: family for family in read_text(asked.body.decode())}
        for family in FAMILIES:
            read = found[family.name]
            self.assertEqual((read.type, read.documentation), (family.kind, family.help))
            samples = [sample for sample in read.samples if not sample.name.endswith("_created")]
            self.assertEqual({sample.name for sample in samples}, set(family.samples))
            for sample in samples:
                self.assertEqual(set(sample.labels) - {"le"}, set(family.labels))
        [sample] = found["aiproxy_requests"].samples
        self.assertEqual(sample.labels, {"model": NASTY, "provider": "up", "status": "200"})
        self.assertEqual(sample.value, 3)

    def test_histogram(self) -> None:
        """A bucket holds what is in those below it, and the last one everything."""
        found = {family.name: family for family in read_text(self.ask().body.decode())}
        samples = found["aiproxy_request_seconds"].samples
        buckets = {one.labels["le"]: one.value for one in samples if "le" in one.labels}
        self.assertEqual(
            [buckets[bound] for bound in ("0.1", "0.25", "0.5", "5.0", "10.0", "+Inf")],
            [0, 1, 2, 2, 3, 3],
        )
        values = {one.name.rpartition("_")[2]: one.value for one in samples}
        self.assertEqual((values["count"], round(values["sum"], 6)), (3, 7.5))

    def test_openmetrics(self) -> None:
        """OpenMetrics for who asks for it."""
        asked = self.ask(OPENMETRICS)
        self.assertTrue(asked.content_type.startswith("application/openmetrics-text"))
        found = {family.name for family in read_openmetrics(asked.body.decode())}
        self.assertLessEqual({family.name for family in FAMILIES}, found)

    def test_process(self) -> None:
        """Memory, descriptors and processor time are this process's."""
        found = {
            sample.name: sample.value
            for family in read_text(self.ask().body.decode())
            for sample in family.samples
        }
        for name in (
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_cpu_seconds_total",
        ):
            self.assertGreater(found[name], 0, name)

    def test_nothing_yet(self) -> None:
        """Before the first request there are the families, without samples."""
        found = {family.name for family in read_text(self.ask(numbers={}).body.decode())}
        self.assertLessEqual({family.name for family in FAMILIES}, found)

    def test_promtool(self) -> None:
        """Prometheus' own check is content."""
        tool = which("promtool")
        if tool is None:
            raise SkipTest("promtool (Debian's package prometheus) is not installed")
        for numbers in (dump(), {}):
            run = subprocess.run(
                [tool, "check", "metrics"],
                input=self.ask(numbers=numbers).body,
                capture_output=True,
            )
            self.assertEqual((run.returncode, run.stdout, run.stderr), (0, b"", b""))

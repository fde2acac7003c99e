"""Whether there is a tracer at all."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.telemetry.collector import connect, make_resource
from aiproxy.telemetry.setup import find_signals, make_tracer

#: Nobody is there.
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
BOTH = {"TRACES", "METRICS"}


class EnvironmentTestCase(SynchronousTestCase):
    """Changes the process's environment, for OpenTelemetry reads no other."""

    def setUp(self) -> None:
        self.addCleanup(self.restore, os.environ.copy())
        self.restore({name: os.environ[name] for name in os.environ if "OTEL" not in name})

    def restore(self, environment: Mapping[str, str]) -> None:
        """Let it be this one."""
        os.environ.clear()
        os.environ.update(environment)


class SignalsTests(SynchronousTestCase):
    """What the environment asks for."""

    def test_wanted(self) -> None:
        """What has an endpoint, its own or that of all, is wanted."""
        for environment, wanted in (
            ({}, set()),
            (ENDPOINT, BOTH),
            ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a/v1/traces"}, {"TRACES"}),
            ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a/v1/metrics"}, {"METRICS"}),
            ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, set()),
        ):
            self.assertEqual(find_signals(environment), wanted, environment)

    def test_unwanted(self) -> None:
        """All of it can be switched off, and each signal."""
        for environment, wanted in (
            ({"OTEL_SDK_DISABLED": "True"}, set()),
            ({"OTEL_SDK_DISABLED": "false"}, BOTH),
            ({"OTEL_METRICS_EXPORTER": "none"}, {"TRACES"}),
            ({"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "otlp"}, {"METRICS"}),
        ):
            self.assertEqual(find_signals({**ENDPOINT, **environment}), wanted, environment)


class MakeTracerTests(EnvironmentTestCase):
    """What comes of it."""

    def test_off(self) -> None:
        """Without an endpoint nothing is loaded, by the server either."""
        code = (
            "import sys; import aiproxy.server; from aiproxy.telemetry.setup import make_tracer;"
            "print(make_tracer({}, '1'), [n for n in sys.modules if n.startswith('opentel')])"
        )
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        self.assertEqual((run.stdout, run.stderr), ("None []\n", ""))

    def test_missing(self) -> None:
        """Where OpenTelemetry is not installed, one line says how to change that."""
        for name in [name for name in sys.modules if name == "aiproxy.telemetry.collector"]:
            module = sys.modules.pop(name)
            self.addCleanup(sys.modules.__setitem__, name, module)
        name = "opentelemetry.exporter.otlp.proto.http.metric_exporter"
        self.addCleanup(sys.modules.__setitem__, name, sys.modules[name])
        sys.modules[name] = None  # type: ignore[assignment]
        with capturedLogs() as events:
            self.assertIsNone(make_tracer(ENDPOINT, "1"))
        [line] = [str(formatEvent(event)) for event in events]
        self.assertIn("pip install opentelemetry-sdk", line)

    def test_wrong(self) -> None:
        """A setting that is none is said, and the server goes on."""
        os.environ.update(ENDPOINT, OTEL_METRIC_EXPORT_INTERVAL="0")
        with capturedLogs() as events:
            self.assertIsNone(make_tracer(os.environ, "1"))
        [line] = [str(formatEvent(event)) for event in events]
        self.assertIn("OpenTelemetry stays off", line)
        self.assertIn("interval", line)


class ConnectTests(EnvironmentTestCase):
    """Exporters and their threads."""

    def test_signals(self) -> None:
        """Only what is wanted is sent."""
        traces, metrics = "OtelBatchSpanRecordProcessor", "OtelPeriodicExportingMetricReader"
        os.environ.update(ENDPOINT)
        for signal, expected in (("TRACES", {traces}), ("METRICS", {metrics})):
            before = set(threading.enumerate())
            tracer = connect(os.environ, {signal}, "1")
            names = {thread.name for thread in threading.enumerate() if thread not in before}
            tracer.close()
            self.assertEqual(names & {traces, metrics}, expected)

    def test_resource(self) -> None:
        """It is named by default, each process by itself, and the environment wins."""
        first, second = make_resource("1"), make_resource("1")
        self.assertEqual(first.attributes["service.name"], "aiproxy")
        self.assertEqual(first.attributes["service.version"], "1")
        self.assertNotEqual(
            first.attributes["service.instance.id"], second.attributes["service.instance.id"]
        )
        os.environ["OTEL_RESOURCE_ATTRIBUTES"] = "service.name=one,service.version=2,team=x"
        named = make_resource("1").attributes
        self.assertEqual(
            [named[f"service.{name}"] for name in ("name", "version")] + [named["team"]],
            ["one", "2", "x"],
        )
        os.environ["OTEL_SERVICE_NAME"] = "two"
        self.assertEqual(make_resource("1").attributes["service.name"], "two")

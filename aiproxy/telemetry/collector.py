"""What goes to a collector, by OTLP over HTTP: from threads of its own, in batches."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from aiproxy.telemetry.complaints import listen
from aiproxy.telemetry.spans import CallTracer

__all__ = ["connect", "make_resource"]


def connect(environment: Mapping[str, str], signals: Collection[str], version: str) -> CallTracer:
    """
    Make a tracer whose spans and metrics are sent.

    :param environment: the process's.
    :param signals: of :func:`aiproxy.telemetry.setup.find_signals`.
    :raises ValueError: the environment has a setting that is none.
    """
    silence = listen(environment)
    try:
        resource = make_resource(version)
        traces = TracerProvider(resource=resource, shutdown_on_exit=False)
        if "TRACES" in signals:
            traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        readers: list[MetricReader] = []
        if "METRICS" in signals:
            readers.append(PeriodicExportingMetricReader(OTLPMetricExporter()))
        meters = MeterProvider(readers, resource, shutdown_on_exit=False)
    except ValueError:
        silence()
        raise
    return CallTracer(traces, meters, version, closed=silence)


def make_resource(version: str) -> Resource:
    """Say who sends; what the environment names wins, in ``OTEL_RESOURCE_ATTRIBUTES`` too."""
    ours = {
        "service.name": "aiproxy",
        "service.version": version,
        # Each process has its own: what workers count is not the same counter.
        "service.instance.id": str(uuid.uuid4()),
    }
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})

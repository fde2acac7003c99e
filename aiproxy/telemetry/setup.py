"""
OpenTelemetry, where it is installed and told where to send.

All settings are OpenTelemetry's own environment variables, such as
``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``, ``OTEL_TRACES_SAMPLER``.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from aiproxy.telemetry.spans import CallTracer

__all__ = ["make_tracer"]

_ENDPOINTS: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
)

_log = Logger()


def make_tracer(environment: Mapping[str, str], version: str) -> CallTracer | None:
    """
    Make the tracer that the environment asks for; its threads start at once.

    :return: ``None``: no endpoint is named, or what it needs is not installed,
        which is logged.
    """
    if not any(environment.get(name) for name in _ENDPOINTS):
        return None
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        _log.warn(
            "an OpenTelemetry endpoint is set, but OpenTelemetry is not installed:"
            " pip install 'aiproxy[otel]'"
        )
        return None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from aiproxy.telemetry.spans import CallTracer

    # What the environment names wins over ours.
    named = {"service.name": environment.get("OTEL_SERVICE_NAME") or "aiproxy"}
    resource = Resource.create(
        {**named, "service.version": version, "service.instance.id": str(uuid.uuid4())}
    )
    traces = TracerProvider(resource=resource, shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    meters = MeterProvider(
        [PeriodicExportingMetricReader(OTLPMetricExporter())], resource, shutdown_on_exit=False
    )
    return CallTracer(traces, meters, version)

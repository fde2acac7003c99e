"""
OpenTelemetry, where it is installed and told where to send.

All settings are OpenTelemetry's own environment variables, such as
``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_SERVICE_NAME``, ``OTEL_TRACES_SAMPLER``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from twisted.logger import Logger

if TYPE_CHECKING:
    from aiproxy.telemetry.spans import CallTracer

__all__ = ["find_signals", "make_tracer"]

_SIGNALS: Final = ("TRACES", "METRICS")

_log = Logger()


def find_signals(environment: Mapping[str, str]) -> frozenset[str]:
    """Return what is wanted of ``TRACES`` and ``METRICS``: what has an endpoint."""

    def read(name: str) -> str:
        return environment.get(name, "").strip()

    if read("OTEL_SDK_DISABLED").lower() == "true":
        return frozenset()
    return frozenset(
        signal
        for signal in _SIGNALS
        if read("OTEL_EXPORTER_OTLP_ENDPOINT") or read(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        if read(f"OTEL_{signal}_EXPORTER").lower() != "none"
    )


def make_tracer(environment: Mapping[str, str], version: str) -> CallTracer | None:
    """
    Make the tracer that the environment asks for; its threads start at once.

    :param environment: the process's, for OpenTelemetry itself reads no other.
    :return: ``None``: nothing is wanted, or it cannot be had, which is logged.
    """
    signals = find_signals(environment)
    if not signals:
        return None
    try:
        from aiproxy.telemetry.collector import connect
    except ImportError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        _log.warn(
            "an OpenTelemetry endpoint is set, but OpenTelemetry is not installed:"
            " pip install opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
        )
        return None
    try:
        return connect(environment, signals, version)
    except ValueError as error:
        _log.error("OpenTelemetry stays off: {reason}", reason=str(error))
        return None

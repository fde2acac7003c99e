"""Traces and metrics for OpenTelemetry, of ``aiproxy[otel]``."""

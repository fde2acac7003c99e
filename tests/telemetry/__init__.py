"""Tests of :mod:`aiproxy.telemetry`."""

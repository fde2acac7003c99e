"""
The seam for traces: who watches calls as they go on, if anybody does.

Nothing here knows of OpenTelemetry; ``aiproxy.telemetry`` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from aiproxy.gateway.usage import CallRecord, Trace

__all__ = ["Tracer"]


class Tracer(Protocol):
    """Watches calls."""

    def begin(self, record: CallRecord, operation: str, headers: Mapping[str, str]) -> Trace:
        """
        A call begins.

        :param operation: of :mod:`aiproxy.dialects.operations`.
        :param headers: what the caller says that it belongs to: ``traceparent``
            and ``tracestate``, where they are there.
        """

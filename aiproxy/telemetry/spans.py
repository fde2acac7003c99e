"""
Calls as spans, and what they used as metrics, by the conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/ has the names.  Spans hold
names, counts and times; never a prompt, an answer or a key.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aiproxy.gateway.usage import CallRecord, Spent, Trace
from aiproxy.policy.routing import Candidate

__all__ = ["CallTracer"]

#: What the conventions call a type of provider; others are called as here.
_PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
#: The conventions' buckets: seconds, and tokens.
_SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
_TOKENS: Final = tuple(4**power for power in range(14))

#: Seconds that the last batch has, when the process ends: its collector may be down.
_CLOSE_SECONDS: Final = 5.0

_context = TraceContextTextMapPropagator()


class CallTracer:
    """
    Makes a trace of each call.

    :param traces: where spans go.
    :param meters: where metrics go.
    """

    def __init__(self, traces: TracerProvider, meters: MeterProvider, version: str) -> None:
        self._traces = traces
        self._meters = meters
        self.tracer = traces.get_tracer("aiproxy", version)
        meter = meters.get_meter("aiproxy", version)
        self.duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "Time of a request to a provider.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.usage = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens that a provider has counted.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self.first_token = meter.create_histogram(
            "gen_ai.server.time_to_first_token",
            "s",
            "Time of a caller's stream to its first content.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    def begin(self, record: CallRecord, operation: str, headers: Mapping[str, str]) -> Trace:
        """See :class:`aiproxy.gateway.tracing.Tracer`."""
        parent = _context.extract(headers)
        attributes = {
            "gen_ai.operation.name": operation,
            "http.request.method": "POST",
            "http.route": record.route or "",
            "aiproxy.request.id": record.id,
            "aiproxy.key": record.key or "",
        }
        span = self.tracer.start_span(operation, parent, SpanKind.SERVER, attributes)
        return _CallTrace(self, span, operation)

    def close(self) -> None:
        """Send what there is, for a few seconds at most, and end."""
        closing = [
            Thread(target=_shut_down, args=[provider], daemon=True)
            for provider in (self._traces, self._meters)
        ]
        for thread in closing:
            thread.start()
        end = time.monotonic() + _CLOSE_SECONDS
        for thread in closing:
            thread.join(max(0.0, end - time.monotonic()))


def _shut_down(provider: TracerProvider | MeterProvider) -> None:
    with suppress(Exception):  # It has been logged; nothing else can be done.
        provider.shutdown()


class _Asking:
    """An attempt that goes on."""

    def __init__(self, candidate: Candidate, span: Span, attributes: dict[str, Any]) -> None:
        self.name = candidate.name
        self.span = span
        self.attributes = attributes
        self.began = time.monotonic()


class _CallTrace:
    """See :class:`aiproxy.gateway.usage.Trace`."""

    def __init__(self, tracer: CallTracer, span: Span, operation: str) -> None:
        self._tracer = tracer
        self._span = span
        self._operation = operation
        self._context = trace.set_span_in_context(span)
        self._asking: list[_Asking] = []

    def ask(self, candidate: Candidate) -> Mapping[str, str]:
        model = candidate.model
        kind = model.provider_type
        # In metrics a wildcard stands for the models that callers think up.
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": self._operation,
            "gen_ai.provider.name": _PROVIDERS.get(kind, kind),
            "gen_ai.request.model": model.upstream_model,
        }
        where = urlsplit(model.url or model.base_url or "")
        if where.hostname:
            attributes["server.address"] = where.hostname
        upstream_model = candidate.upstream_model
        span = self._tracer.tracer.start_span(
            f"{self._operation} {upstream_model}",
            self._context,
            SpanKind.CLIENT,
            {
                **attributes,
                "gen_ai.request.model": upstream_model,
                "aiproxy.model": candidate.name,
                "aiproxy.provider": model.provider,
            },
        )
        self._asking.append(_Asking(candidate, span, attributes))
        headers: dict[str, str] = {}
        _context.inject(headers, trace.set_span_in_context(span))
        return headers

    def over(self, spent: Spent) -> None:
        asking = next((one for one in self._asking if one.name == spent.model), None)
        if asking is None:
            return
        self._asking.remove(asking)
        self._end(asking, spent.outcome, spent)

    def end(self, record: CallRecord) -> None:
        for asking in self._asking:
            self._end(asking, "left", None)
        self._asking.clear()
        span = self._span
        if record.model is not None:
            span.update_name(f"{self._operation} {record.model}")
            span.set_attribute("gen_ai.request.model", record.model)
        if record.served_by is not None:
            span.set_attribute("gen_ai.response.model", record.served_by)
        if record.status is not None:
            span.set_attribute("http.response.status_code", record.status)
        span.set_attribute("gen_ai.usage.input_tokens", record.tokens.prompt)
        span.set_attribute("gen_ai.usage.output_tokens", record.tokens.completion)
        span.set_attribute("aiproxy.attempts", record.attempts)
        if record.takeovers:
            span.set_attribute("aiproxy.takeovers", record.takeovers)
        if record.error_type is not None:
            span.set_attribute("error.type", record.error_type)
            # What is the caller's own doing is no error of the server's.
            if record.error_type != "client_left" and not 400 <= (record.status or 500) < 500:
                span.set_status(Status(StatusCode.ERROR))
        if record.first_token is not None:
            attributes = {"gen_ai.request.model": record.model or ""}
            self._tracer.first_token.record(record.first_token - record.started, attributes)
        span.end()

    def _end(self, asking: _Asking, outcome: str, spent: Spent | None) -> None:
        span, attributes = asking.span, asking.attributes
        span.set_attribute("aiproxy.outcome", outcome)
        if outcome in ("failed", "cut"):
            attributes = {**attributes, "error.type": outcome}
            span.set_attribute("error.type", outcome)
            span.set_status(Status(StatusCode.ERROR))
        if spent is not None:
            for kind, count in (
                ("input", spent.tokens.prompt),
                ("output", spent.tokens.completion),
            ):
                if count:
                    span.set_attribute(f"gen_ai.usage.{kind}_tokens", count)
                    self._tracer.usage.record(count, {**attributes, "gen_ai.token.type": kind})
        self._tracer.duration.record(time.monotonic() - asking.began, attributes)
        span.end()

"""
Calls as spans, and what they used as metrics, by the conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/ has the names.  Spans hold
names, counts and times; never a prompt, an answer or a key.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Thread
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from aiproxy.errors import AIProxyError
from aiproxy.gateway.tracing import AttemptTrace, CallTrace
from aiproxy.gateway.usage import CallRecord, Spent
from aiproxy.policy.routing import Candidate
from aiproxy.telemetry.conventions import SECONDS, TOKENS, describe, name_operation

__all__ = ["CallTracer"]

#: Seconds that the last batch has, when the process ends: its collector may be down.
_CLOSE_SECONDS: Final = 5.0
#: An upstream's own words are no longer than this.
_MOST_CHARACTERS: Final = 128
#: What follows an attempt with this outcome.
_FOLLOWS: Final = {"failed": "aiproxy.failover", "cut": "aiproxy.takeover"}

_context = TraceContextTextMapPropagator()


class CallTracer:
    """
    Makes a trace of each call; see :class:`aiproxy.gateway.tracing.Tracer`.

    :param traces: where spans go.
    :param meters: where metrics go.
    :param seconds: the time, for metrics.
    :param closed: called when it has ended.
    """

    def __init__(
        self,
        traces: TracerProvider,
        meters: MeterProvider,
        version: str,
        *,
        seconds: Callable[[], float] = time.monotonic,
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self._traces = traces
        self._meters = meters
        self._closed = closed
        self.seconds = seconds
        self.tracer = traces.get_tracer("aiproxy", version)
        meter = meters.get_meter("aiproxy", version)

        def histogram(name: str, unit: str, what: str, bounds: tuple[float, ...]) -> Any:
            return meter.create_histogram(
                name, unit, what, explicit_bucket_boundaries_advisory=bounds
            )

        self.duration = histogram(
            "gen_ai.client.operation.duration", "s", "Time of a request to a provider.", SECONDS
        )
        self.usage = histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens that a provider has counted.", TOKENS
        )
        self.first_token = histogram(
            "gen_ai.server.time_to_first_token",
            "s",
            "Time of a caller's stream to its first content.",
            SECONDS,
        )

    def begin(self, record: CallRecord, operation: str, headers: Mapping[str, str]) -> CallTrace:
        """See :class:`aiproxy.gateway.tracing.Tracer`."""
        operation = name_operation(operation)
        attributes = {
            "gen_ai.operation.name": operation,
            "http.request.method": "POST",
            "aiproxy.request.id": record.id,
        }
        if record.route is not None:
            attributes["http.route"] = record.route
        if record.key is not None:
            attributes["aiproxy.key"] = record.key
        parent = _context.extract(headers)
        span = self.tracer.start_span(operation, parent, SpanKind.SERVER, attributes)
        return _CallSpan(self, span, operation)

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
        self._closed()


def _shut_down(provider: TracerProvider | MeterProvider) -> None:
    with suppress(Exception):  # It has been logged; nothing else can be done.
        provider.shutdown()


class _CallSpan:
    """See :class:`aiproxy.gateway.tracing.CallTrace`."""

    def __init__(self, tracer: CallTracer, span: Span, operation: str) -> None:
        self.tracer = tracer
        self.span = span
        self.operation = operation
        #: The last attempt that brought nothing, or not all, and what follows it.
        self.lost: tuple[str, str] | None = None
        #: What metrics say of the models that were asked, by their configured names.
        self._asked: dict[str | None, Mapping[str, Any]] = {}

    def ask(self, candidate: Candidate) -> AttemptTrace:
        if self.lost is not None:
            lost, event = self.lost
            self.span.add_event(event, {"aiproxy.from": lost, "aiproxy.to": candidate.name})
            self.lost = None
        attributes = describe(candidate, self.operation)
        self._asked[candidate.model.name] = attributes
        return _AttemptSpan(self, candidate, attributes)

    def end(self, record: CallRecord) -> None:
        span, told = self.span, record.tokens
        named = {
            "gen_ai.request.model": record.model,
            "gen_ai.response.model": record.served_by,
            "gen_ai.usage.input_tokens": told.prompt or None,
            "gen_ai.usage.output_tokens": told.completion or None,
            "http.response.status_code": record.status,
            "error.type": record.error_type,
            "aiproxy.attempts": record.attempts,
            "aiproxy.takeovers": record.takeovers or None,
        }
        span.set_attributes({name: value for name, value in named.items() if value is not None})
        if record.model is not None:
            span.update_name(f"{self.operation} {record.model}")
        # What is the caller's own doing is no error of the server's.
        ours = record.error_type != "client_left" and not 400 <= (record.status or 500) < 500
        if record.error_type is not None and ours:
            span.set_status(Status(StatusCode.ERROR))
        if record.first_token is not None:
            attributes = self._asked.get(record.served_by, {})
            self.tracer.first_token.record(record.first_token - record.started, attributes)
        span.end()


class _AttemptSpan:
    """See :class:`aiproxy.gateway.tracing.AttemptTrace`."""

    def __init__(
        self, call: _CallSpan, candidate: Candidate, attributes: Mapping[str, Any]
    ) -> None:
        self._call = call
        self._name = candidate.name
        self._attributes = attributes
        self._began = call.tracer.seconds()
        self._model: str | None = None
        self._reasons: dict[int, str] = {}
        self._span = call.tracer.tracer.start_span(
            f"{call.operation} {candidate.upstream_model}",
            trace.set_span_in_context(call.span),
            SpanKind.CLIENT,
            {
                **attributes,
                "gen_ai.request.model": candidate.upstream_model,
                "aiproxy.model": candidate.name,
                "aiproxy.provider": candidate.model.provider,
            },
        )
        headers: dict[str, str] = {}
        _context.inject(headers, trace.set_span_in_context(self._span))
        self.headers: Mapping[str, str] = headers

    def read(self, said: Mapping[str, Any]) -> None:
        model = said.get("model")
        if self._model is None and isinstance(model, str) and model:
            self._model = model[:_MOST_CHARACTERS]
        for place, choice in enumerate(said.get("choices") or ()):
            reason = choice.get("finish_reason")
            if isinstance(reason, str):
                self._reasons[choice.get("index", place)] = reason[:_MOST_CHARACTERS]

    def end(self, spent: Spent, error: AIProxyError | None) -> None:
        span, tracer = self._span, self._call.tracer
        attributes = dict(self._attributes)
        span.set_attribute("aiproxy.outcome", spent.outcome)
        if self._model is not None:
            span.set_attribute("gen_ai.response.model", self._model)
        if self._reasons:
            reasons = [self._reasons[index] for index in sorted(self._reasons)]
            span.set_attribute("gen_ai.response.finish_reasons", reasons)
        if error is not None:
            attributes["error.type"] = type(error).__name__
            span.set_attribute("error.type", attributes["error.type"])
            span.set_status(Status(StatusCode.ERROR))
            status = getattr(error, "upstream_status", None)
            if status is not None:
                span.set_attribute("http.response.status_code", status)
            self._call.lost = (self._name, _FOLLOWS.get(spent.outcome, _FOLLOWS["failed"]))
        tokens = spent.tokens
        for kind, count in (("input", tokens.prompt), ("output", tokens.completion)):
            if count:
                span.set_attribute(f"gen_ai.usage.{kind}_tokens", count)
                tracer.usage.record(count, {**self._attributes, "gen_ai.token.type": kind})
        tracer.duration.record(tracer.seconds() - self._began, attributes)
        span.end()

"""Calls as spans and metrics."""

from __future__ import annotations

import json
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from twisted.internet.defer import fail, succeed

from aiproxy.errors import UpstreamFailed
from aiproxy.interfaces import IBodyConsumer
from aiproxy.telemetry.spans import CallTracer
from tests.web.serving import TOKEN, ScriptedReply, ServingTestCase

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BODY = b'{"model": "scripted/one", "messages": [{"role": "user", "content": "sesame"}]}'


class UsedReply(ScriptedReply):
    """A whole answer with its usage."""

    def deliver(self, consumer: IBodyConsumer) -> None:
        super().deliver(consumer)
        usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        choice = {"index": 0, "message": {"role": "assistant", "content": "hello"}}
        consumer.received(json.dumps({"choices": [choice], "usage": usage}).encode())
        consumer.finished()


class SpanTests(ServingTestCase):
    """A proxy in memory that is watched."""

    def setUp(self) -> None:
        super().setUp()
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        traces = TracerProvider(shutdown_on_exit=False)
        traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = CallTracer(traces, meters, "1")
        self.addCleanup(self.tracer.close)
        self.proxy.trace_by(self.tracer)

    def post(self, *headers: str, body: bytes = BODY) -> int:
        """Ask the scripted model; return the status."""
        self.client.ask(
            "POST", "/v1/chat/completions", f"Authorization: Bearer {TOKEN}", *headers, body=body
        )
        return self.client.answer().status

    def spans(self) -> list[Any]:
        """Return what was exported, in the order of their ends."""
        return list(self.exporter.get_finished_spans())

    def metrics(self) -> dict[str, list[Any]]:
        """Return the points of each metric."""
        data: Any = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def test_call(self) -> None:
        """A call is a span, and its attempt one below it, which the upstream is told of."""
        self.assertEqual(self.post(f"traceparent: {PARENT}", "tracestate: a=b"), 200)
        attempt, call = self.spans()
        self.assertEqual((call.name, call.kind), ("chat scripted/one", SpanKind.SERVER))
        self.assertEqual((attempt.name, attempt.kind), ("chat one", SpanKind.CLIENT))
        self.assertEqual(call.attributes["http.route"], "/v1/chat/completions")
        self.assertEqual(call.attributes["http.response.status_code"], 200)
        self.assertEqual(attempt.attributes["server.address"], "upstream.example")
        self.assertEqual(attempt.attributes["aiproxy.outcome"], "answered")
        self.assertEqual(f"{call.parent.trace_id:032x}", PARENT[3:35])
        self.assertEqual(f"{call.parent.span_id:016x}", PARENT[36:52])
        self.assertEqual(attempt.parent.span_id, call.context.span_id)
        [asked] = self.provider.calls
        told = f"00-{PARENT[3:35]}-{attempt.context.span_id:016x}-01"
        self.assertEqual(asked.headers, {"traceparent": told, "tracestate": "a=b"})

    def test_no_parent(self) -> None:
        """What is no proper parent is none."""
        for header in ("traceparent: nonsense", "x-other: 1"):
            self.post(header)
            self.assertIsNone(self.spans()[-1].parent)

    def test_failure(self) -> None:
        """An upstream's failure is an error of both; a caller's is none."""
        self.provider.start_with = lambda call: fail(UpstreamFailed("no"))
        self.assertEqual(self.post(), 502)
        attempt, call = self.spans()
        self.assertEqual(attempt.attributes["error.type"], "failed")
        self.assertEqual(call.attributes["error.type"], "provider_error")
        for span in (attempt, call):
            self.assertIs(span.status.status_code, StatusCode.ERROR)
        self.exporter.clear()
        self.assertEqual(self.post(body=BODY.replace(b"scripted/one", b"nobody")), 404)
        [refused] = self.spans()
        self.assertIs(refused.status.status_code, StatusCode.UNSET)
        self.assertNotIn("nobody", str(refused.to_json()))

    def test_metrics(self) -> None:
        """Times and tokens are counted by configured names."""
        self.provider.start_with = lambda call: succeed(UsedReply(streamed=False))
        self.post(body=BODY.replace(b"scripted/one", b"any/made-up"))
        metrics = self.metrics()
        [duration] = metrics["gen_ai.client.operation.duration"]
        self.assertEqual(duration.count, 1)
        tokens = {
            point.attributes["gen_ai.token.type"]: point.sum
            for point in metrics["gen_ai.client.token.usage"]
        }
        self.assertEqual(tokens, {"input": 7, "output": 3})
        for point in (duration, *metrics["gen_ai.client.token.usage"]):
            self.assertNotIn("made-up", str(point.attributes))

    def test_private(self) -> None:
        """No prompt, no answer and no key is in any of it."""
        self.post()
        told = "".join(span.to_json() for span in self.spans())
        for secret in ("sesame", "hello", TOKEN, "sk-upstream"):
            self.assertNotIn(secret, told)

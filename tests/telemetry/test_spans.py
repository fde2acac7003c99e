"""Calls as spans and metrics."""

from __future__ import annotations

import json
import threading
from typing import Any

from attrs import evolve
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport

from aiproxy.config.schema import Model, Server
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.errors import ModelNotFound, UpstreamFailed
from aiproxy.gateway.dispatch import ClientCall
from aiproxy.gateway.usage import CallRecord, Spent, Tokens
from aiproxy.policy.routing import Candidate
from aiproxy.telemetry import spans
from aiproxy.telemetry.spans import CallTracer
from aiproxy.testing import ScriptedProvider, ScriptedReply, chat_answer, chat_stream
from tests.gateway.test_dispatch import ME, model
from tests.gateway.test_recovery import RETRY, RecoveryTestCase, failed

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"
USED = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
#: What has a URL, and what stands for all that callers think up.
NEAR = evolve(model("a"), provider_type="mistral", base_url="https://near.example/v1")
WILD = model("any/*", upstream_model="*", base_url="http://far.example:8000/v1")


def signed(data: bytes) -> bytes:
    """Let an answer, or an event of a stream, name its model."""
    return data.replace(b'"choices"', b'"model":"a-2025","choices"')


class TracedTestCase(RecoveryTestCase):
    """A dispatcher that is watched."""

    def setUp(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        traces = TracerProvider(shutdown_on_exit=False)
        traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        meters = MeterProvider([self.reader], shutdown_on_exit=False)
        self.tracer = CallTracer(traces, meters, "1", seconds=lambda: self.clock.seconds())
        self.addCleanup(self.tracer.close)
        super().setUp()
        self.client = StringTransport()

    def use(self, provider: ScriptedProvider, *models: Model, server: Server | None = None) -> None:
        super().use(provider, *models, server=server)
        self.dispatcher.tracer = self.tracer

    def spans(self) -> list[Any]:
        """Return what was exported, in the order of their ends."""
        return list(self.exporter.get_finished_spans())

    def points(self, name: str) -> list[Any]:
        """Return a metric's points."""
        data: Any = self.reader.get_metrics_data()
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


class CallTests(TracedTestCase):
    """A call that goes well."""

    def test_plain(self) -> None:
        """A call is a span, and its attempt one below it that tells what was asked and said."""
        answer = signed(chat_answer("Ho", USED))
        self.use(ScriptedProvider(ScriptedReply.whole(answer)), NEAR)
        self.plain(self.chat("a"))
        attempt, call = self.spans()
        self.assertEqual((call.name, call.kind), ("chat a", SpanKind.SERVER))
        self.assertEqual((attempt.name, attempt.kind), ("chat a", SpanKind.CLIENT))
        self.assertEqual(attempt.parent.span_id, call.context.span_id)
        self.assertIsNone(call.parent)
        self.assertEqual(
            dict(call.attributes),
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "a",
                "gen_ai.response.model": "a",
                "gen_ai.usage.input_tokens": 7,
                "gen_ai.usage.output_tokens": 3,
                "http.request.method": "POST",
                "http.response.status_code": 200,
                "aiproxy.request.id": "r1",
                "aiproxy.key": "me",
                "aiproxy.attempts": 1,
            },
        )
        self.assertEqual(
            dict(attempt.attributes),
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": "mistral_ai",
                "gen_ai.request.model": "a",
                "gen_ai.response.model": "a-2025",
                "gen_ai.response.finish_reasons": ("stop",),
                "gen_ai.usage.input_tokens": 7,
                "gen_ai.usage.output_tokens": 3,
                "server.address": "near.example",
                "server.port": 443,
                "aiproxy.model": "a",
                "aiproxy.provider": "scripted",
                "aiproxy.outcome": "answered",
            },
        )
        for span in (call, attempt):
            self.assertIs(span.status.status_code, StatusCode.UNSET)
            self.assertEqual(span.events, ())

    def test_stream(self) -> None:
        """So does a stream, which has a time to its first content."""
        asked = self.chat("a", stream=True)
        self.clock.advance(2)
        reply = self.provider.calls[-1].answer()
        reply.send(*map(signed, chat_stream("One ", "two ", "three", usage=USED)))
        reply.finish()
        self.successResultOf(self.deliver(asked, self.client))
        attempt, call = self.spans()
        self.assertEqual(attempt.attributes["gen_ai.response.finish_reasons"], ("stop",))
        self.assertEqual(attempt.attributes["gen_ai.response.model"], "a-2025")
        self.assertEqual(attempt.attributes["gen_ai.usage.output_tokens"], 3)
        self.assertEqual(call.attributes["http.response.status_code"], 200)
        [point] = self.points("gen_ai.server.time_to_first_token")
        self.assertEqual((point.count, point.sum), (1, 2.0))
        self.assertEqual(point.attributes["gen_ai.provider.name"], "openai")

    def test_bytes(self) -> None:
        """What the caller gets is the same, watched or not."""

        def stream(tracer: CallTracer | None) -> bytes:
            self.use(ScriptedProvider())
            self.dispatcher.tracer = tracer
            asked = self.chat("a", stream=True)
            reply = self.provider.calls[-1].answer()
            client = StringTransport()
            first, *others = map(signed, chat_stream(*"abcdefghi", usage=USED))
            reply.send(first)
            delivery = self.deliver(asked, client)
            for piece in others:
                reply.send(piece)
            reply.finish()
            self.successResultOf(delivery)
            written: bytes = client.value()
            return written

        watched = stream(self.tracer)
        self.assertEqual(watched, stream(None))
        self.assertIn(b"[DONE]", watched)

    def test_context(self) -> None:
        """The caller's span is the parent, and the upstream is told of its own."""
        self.use(ScriptedProvider(ScriptedReply.whole(chat_answer("Ho"))), NEAR)
        call = self.call({"traceparent": PARENT, "tracestate": "a=b"})
        self.assertEqual(
            (f"{call.parent.trace_id:032x}", f"{call.parent.span_id:016x}"), (TRACE, SPAN)
        )
        attempt = self.spans()[0]
        told = f"00-{TRACE}-{attempt.context.span_id:016x}-01"
        headers = self.provider.calls[-1].call.headers
        self.assertEqual(headers, {"traceparent": told, "tracestate": "a=b"})

    def test_not_sampled(self) -> None:
        """What the caller does not sample is not sent, and the upstream is told so."""
        self.use(ScriptedProvider(ScriptedReply.whole(chat_answer("Ho", USED))), NEAR)
        self.assertIsNone(self.call({"traceparent": PARENT[:-2] + "00"}))
        told = self.provider.calls[-1].call.headers["traceparent"]
        self.assertEqual((told[:36], told[-2:]), (PARENT[:36], "00"))
        self.assertEqual(self.points("gen_ai.client.operation.duration")[0].count, 1)

    def call(self, headers: dict[str, str]) -> Any:
        """Ask with a trace context; return the call's span, if there is one."""
        messages = [{"role": "user", "content": "Hi"}]
        body = json.dumps({"model": "a", "messages": messages}).encode()
        call = ClientCall("r1", OpenAIFace(), ME, body, belongs_to=headers)
        self.plain(Deferred.fromCoroutine(self.dispatcher.answer(call)))
        return (self.spans() or [None])[-1]

    def test_metrics(self) -> None:
        """Times and tokens are counted by configured names."""
        self.use(ScriptedProvider(), WILD)
        asked = self.chat("any/made-up")
        self.clock.advance(3)
        self.provider.calls[-1].answer(ScriptedReply.whole(chat_answer("Ho", USED)))
        self.plain(asked)
        named = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "*",
            "server.address": "far.example",
            "server.port": 8000,
        }
        [duration] = self.points("gen_ai.client.operation.duration")
        self.assertEqual((duration.count, duration.sum), (1, 3.0))
        self.assertEqual(dict(duration.attributes), named)
        self.assertEqual(duration.explicit_bounds[:3], (0.01, 0.02, 0.04))
        tokens = self.points("gen_ai.client.token.usage")
        self.assertEqual(
            {point.attributes["gen_ai.token.type"]: point.sum for point in tokens},
            {"input": 7, "output": 3},
        )
        for point in tokens:
            self.assertEqual({**point.attributes, **named}, dict(point.attributes))
        self.assertEqual(self.spans()[0].attributes["gen_ai.request.model"], "made-up")

    def test_private(self) -> None:
        """No prompt and no answer is in any of it."""
        self.use(ScriptedProvider(ScriptedReply.whole(chat_answer("xyzzy", USED))))
        self.plain(self.chat("a", messages=[{"role": "user", "content": "sesame"}]))
        metrics: Any = self.reader.get_metrics_data()
        told = "".join(span.to_json() for span in self.spans()) + str(metrics.to_json())
        self.assertIn("chat a", told)
        for secret in ("sesame", "xyzzy"):
            self.assertNotIn(secret, told)


class FailureTests(TracedTestCase):
    """A call that does not."""

    def test_failover(self) -> None:
        """An attempt that fails says why, and its call says what followed."""
        self.use(ScriptedProvider(failed(503), ScriptedReply.whole(chat_answer("Ho"))))
        self.change(retry=evolve(RETRY, max_retries=0))
        self.plain(self.chat())
        first, second, call = self.spans()
        self.assertEqual(first.attributes["error.type"], "UpstreamFailed")
        self.assertEqual(first.attributes["http.response.status_code"], 503)
        self.assertEqual(first.attributes["aiproxy.outcome"], "failed")
        self.assertIs(first.status.status_code, StatusCode.ERROR)
        self.assertNotIn("error.type", second.attributes)
        [event] = call.events
        self.assertEqual(event.name, "aiproxy.failover")
        self.assertEqual(dict(event.attributes), {"aiproxy.from": "a", "aiproxy.to": "b"})
        self.assertEqual(call.attributes["aiproxy.attempts"], 2)
        self.assertNotIn("error.type", call.attributes)
        kinds = [p.attributes.get("error.type") for p in self.points(self.tracer.duration.name)]
        self.assertEqual(sorted(map(str, kinds)), ["None", "UpstreamFailed"])

    def test_one_event(self) -> None:
        """One failure has one event, also where two are asked after it."""
        record = CallRecord("r1", "me", 0.0)
        trace = self.tracer.begin(record, "chat", {})
        trace.ask(Candidate(NEAR, "a")).end(Spent("a", "near", "failed", Tokens()), failed(500))
        for name in ("b", "c"):
            trace.ask(Candidate(NEAR, name)).end(Spent(name, "near", "late", Tokens()), None)
        trace.end(record)
        [event] = self.spans()[-1].events
        self.assertEqual(event.attributes["aiproxy.to"], "b")

    def test_takeover(self) -> None:
        """A stream that another one went on with says so."""
        asked = self.chat(stream=True)
        self.provider.calls[-1].answer().send(*chat_stream("Once ", "upon ", "a")[:3])
        done = self.deliver(asked, self.client)
        reply = self.provider.calls[-1].reply
        assert reply is not None
        reply.cut()
        reply = self.provider.calls[-1].answer()
        reply.send(*chat_stream("Once upon a time."))
        reply.finish()
        self.successResultOf(done)
        cut, rest, call = self.spans()
        self.assertEqual(cut.attributes["aiproxy.outcome"], "cut")
        self.assertEqual(cut.attributes["error.type"], "StreamCut")
        self.assertNotIn("gen_ai.response.finish_reasons", cut.attributes)
        self.assertEqual(rest.attributes["gen_ai.response.finish_reasons"], ("stop",))
        [event] = call.events
        self.assertEqual(event.name, "aiproxy.takeover")
        self.assertEqual(call.attributes["aiproxy.takeovers"], 1)
        self.assertIs(call.status.status_code, StatusCode.UNSET)

    def test_all_fail(self) -> None:
        """What no upstream answers is an error of the call too."""
        self.use(ScriptedProvider(UpstreamFailed("sesame")), NEAR)
        self.change(retry=evolve(RETRY, max_retries=0))
        self.failureResultOf(self.chat("a"), UpstreamFailed)
        attempt, call = self.spans()
        self.assertEqual(call.attributes["error.type"], "provider_error")
        self.assertIs(call.status.status_code, StatusCode.ERROR)
        self.assertNotIn("sesame", attempt.to_json() + call.to_json())

    def test_callers_error(self) -> None:
        """What is the caller's own doing is none, and his words are not repeated."""
        self.failureResultOf(self.chat("nobody"), ModelNotFound)
        [call] = self.spans()
        self.assertEqual((call.name, call.attributes["http.response.status_code"]), ("chat", 404))
        self.assertIs(call.status.status_code, StatusCode.UNSET)
        self.assertNotIn("nobody", call.to_json())

    def test_left(self) -> None:
        """Nor is it one that the caller leaves; the attempt ends with the call."""
        asked = self.chat("a")
        asked.addErrback(lambda failure: None)
        asked.cancel()
        attempt, call = self.spans()
        self.assertEqual(attempt.attributes["aiproxy.outcome"], "left")
        self.assertEqual(call.attributes["error.type"], "client_left")
        for span in (attempt, call):
            self.assertIs(span.status.status_code, StatusCode.UNSET)


class CloseTests(TracedTestCase):
    """The end."""

    def test_bounded(self) -> None:
        """A collector that never answers does not hold up the end."""
        waits, closed = threading.Event(), []

        class Stuck(SpanProcessor):
            def shutdown(self) -> None:
                waits.wait()

        self.addCleanup(waits.set)
        self.patch(spans, "_CLOSE_SECONDS", 0.01)
        traces = TracerProvider(shutdown_on_exit=False)
        traces.add_span_processor(Stuck())
        meters = MeterProvider(shutdown_on_exit=False)
        CallTracer(traces, meters, "1", closed=lambda: closed.append(True)).close()
        self.assertEqual(closed, [True])

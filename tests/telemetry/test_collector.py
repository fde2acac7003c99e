"""A server, an upstream, and a collector that speaks OTLP over HTTP."""

from __future__ import annotations

import gzip
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from aiproxy.testing import chat_answer
from tests.integration.servers import ServersTestCase, config_for, write_chat
from tests.transport.upstreams import SocketConnection

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def answer_chat(connection: SocketConnection) -> None:
    """Answer as a provider does."""
    body = chat_answer("hello")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    connection.write(head % len(body) + body)


class CollectorTests(ServersTestCase):
    """Real sockets, and the protocol's own messages."""

    def collector(self) -> tuple[dict[str, str], list[tuple[str, bytes]]]:
        """Start one; return the environment that names it, and what it has got by path."""
        received: list[tuple[str, bytes]] = []

        def respond(connection: SocketConnection) -> None:
            head, _, body = connection.upstream.requests[-1].partition(b"\r\n\r\n")
            if b"content-encoding: gzip" in head.lower():
                body = gzip.decompress(body)
            received.append((head.split(b" ")[1].decode(), body))
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        _, port = self.upstream(respond)
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        return {**endpoint, "NO_PROXY": "127.0.0.1"}, received

    async def test_exports(self) -> None:
        """Spans and metrics of a call arrive, and the upstream knew of its span."""
        environment, received = self.collector()
        upstream, port = self.upstream(answer_chat)
        self.write(config_for(port))
        environment |= {"OTEL_SERVICE_NAME": "gateway", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}
        server = await self.serve(env=environment)
        request = write_chat("sesame", model="up/one")
        head = b"\r\nTraceparent: " + PARENT + b"\r\nTracestate: a=b\r\n"
        client = await self.ask(server.port, request.replace(b"\r\n", head, 1))
        self.assertEqual(client.status, 200)
        server.signal(15)
        self.assertEqual(await server.ended(), 0)

        spans = {span.name: span for span in _spans(received)}
        call, attempt = spans["chat up/one"], spans["chat one"]
        self.assertEqual(len(spans), 2)
        self.assertEqual((call.kind, attempt.kind), (call.SPAN_KIND_SERVER, call.SPAN_KIND_CLIENT))
        self.assertEqual(call.trace_id.hex().encode(), PARENT[3:35])
        self.assertEqual(call.parent_span_id.hex().encode(), PARENT[36:52])
        self.assertEqual(attempt.parent_span_id, call.span_id)
        told = f"00-{PARENT[3:35].decode()}-{attempt.span_id.hex()}-01"
        [asked] = upstream.requests
        self.assertIn(f"\r\ntraceparent: {told}\r\n".encode(), asked.lower())
        self.assertIn(b"\r\ntracestate: a=b\r\n", asked.lower())
        names = {metric.name for metric in _metrics(received)}
        self.assertLessEqual(
            {"gen_ai.client.operation.duration", "gen_ai.client.token.usage"}, names
        )
        for _, body in received:
            self.assertIn(b"gateway", body)
            for secret in (b"sesame", b"hello", b"sk-upstream", b"sk-client"):
                self.assertNotIn(secret, body)

    async def test_traceless(self) -> None:
        """Without a collector the upstream is told what the caller has told."""
        upstream, port = self.upstream(answer_chat)
        self.write(config_for(port))
        server = await self.serve()
        request = write_chat(model="up/one").replace(
            b"\r\n", b"\r\nTraceparent: " + PARENT + b"\r\n", 1
        )
        self.assertEqual((await self.ask(server.port, request)).status, 200)
        self.assertIn(b"\r\ntraceparent: " + PARENT + b"\r\n", upstream.requests[0].lower())

    async def test_nobody_there(self) -> None:
        """A collector that is down costs one line a minute, without the key for it."""
        self.write("models: [{name: demo/echo, provider: demo}]\n")
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=sk-collector",
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "OTEL_METRIC_EXPORT_INTERVAL": "50",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
            "NO_PROXY": "*",
        }
        server = await self.serve(env=environment)
        for _ in range(3):
            self.assertEqual((await self.ask(server.port, write_chat("hi"))).status, 200)
            await server.until_bytes(b"OpenTelemetry: ")
        server.signal(15)
        self.assertEqual(await server.ended(30), 0)
        self.assertEqual(server.output.count("OpenTelemetry: "), 1)
        for unwanted in ("Traceback", "sk-collector", "stderr"):
            self.assertNotIn(unwanted, server.output)


def _spans(received: list[tuple[str, bytes]]) -> list[Any]:
    return [
        span
        for path, body in received
        if path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _metrics(received: list[tuple[str, bytes]]) -> list[Any]:
    return [
        metric
        for path, body in received
        if path == "/v1/metrics"
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]

"""Whether there is a tracer at all, and what a collector gets."""

from __future__ import annotations

import gzip
import os
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.telemetry.setup import make_tracer
from tests.integration.servers import ServersTestCase, write_chat
from tests.transport.upstreams import SocketConnection


class SetupTests(SynchronousTestCase):
    """What the environment says."""

    def test_off(self) -> None:
        """Without an endpoint, or switched off, there is none."""
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
        for environment in ({}, {**endpoint, "OTEL_SDK_DISABLED": "true"}):
            self.assertIsNone(make_tracer(environment, "1"))


class CollectorTests(ServersTestCase):
    """A server, and a collector that speaks OTLP over HTTP."""

    async def test_exports(self) -> None:
        """Spans and metrics of a call arrive, when it stops at the latest."""
        received: list[tuple[bytes, bytes]] = []

        def respond(connection: SocketConnection) -> None:
            head, _, body = connection.upstream.requests[-1].partition(b"\r\n\r\n")
            if b"content-encoding: gzip" in head.lower():
                body = gzip.decompress(body)
            received.append((head.split(b" ")[1], body))
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        _, port = self.upstream(respond)
        self.write("models: [{name: demo/echo, provider: demo}]\n")
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_SERVICE_NAME": "our-gateway",
            "NO_PROXY": "127.0.0.1",
        }
        server = await self.serve(env=environment)
        self.assertEqual((await self.ask(server.port, write_chat("hi"))).status, 200)
        os.kill(server.pid, 15)
        self.assertEqual(await server.ended(), 0)
        self.assertNotIn("Traceback", server.output)
        spans = [span for path, body in received if path == b"/v1/traces" for span in _spans(body)]
        self.assertEqual({span.name for span in spans}, {"chat demo/echo", "chat echo"})
        metrics = [
            metric.name
            for path, body in received
            if path == b"/v1/metrics"
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        ]
        self.assertIn("gen_ai.client.operation.duration", metrics)

    async def test_nobody_there(self) -> None:
        """A collector that is down costs nothing but a line in the log."""
        self.write("models: [{name: demo/echo, provider: demo}]\n")
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "NO_PROXY": "*"}
        server = await self.serve(env=environment)
        self.assertEqual((await self.ask(server.port, write_chat("hi"))).status, 200)
        os.kill(server.pid, 15)
        self.assertEqual(await server.ended(30), 0)


def _spans(body: bytes) -> list[Any]:
    request = ExportTraceServiceRequest.FromString(body)
    for resource in request.resource_spans:
        names = {one.key: one.value.string_value for one in resource.resource.attributes}
        assert names["service.name"] == "our-gateway", names
    return [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]

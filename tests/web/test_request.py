"""Tests of :mod:`aiproxy.web.request`, and of what runs a route."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from aiproxy.config.load import load_config
from aiproxy.errors import UpstreamRefused
from aiproxy.proxy import Proxy
from aiproxy.web.edge import Edge
from aiproxy.web.request import ClientRequest
from aiproxy.web.routes import DeclaredRoute
from tests.sites import make_site
from tests.transport.http.clients import Client


class RouteResource(Resource):
    """Serves one route, which a test writes."""

    isLeaf = True

    def __init__(self, route: Callable[[ClientRequest], Awaitable[None]]) -> None:
        super().__init__()
        self._route = DeclaredRoute(
            route, "/", Edge(Proxy(load_config(env={}), Clock())._dispatcher)
        )

    def render(self, request: IRequest) -> Any:
        Deferred.fromCoroutine(self._route.answer(request))
        return NOT_DONE_YET


class RequestTests(SynchronousTestCase):
    """One request and its answer."""

    def client(self, route: Callable[[ClientRequest], Awaitable[None]]) -> Client:
        clock = MemoryReactorClock()
        return Client(make_site(RouteResource(route), clock, max_request_bytes=100), clock)

    def test_ids(self) -> None:
        """A caller's id is kept if it is fit, else one is made."""

        async def route(request: ClientRequest) -> None:
            request.write_json({})

        client = self.client(route)
        for told, kept in (("a.B-9_", True), ("x" * 128, True), ("x" * 129, False), ("a b", False)):
            client.ask("GET", "/", f"x-request-id: {told}")
            written = client.answer().headers["x-request-id"]
            self.assertEqual(written == told, kept)
            self.assertRegex(written, r"\A[\w.-]{1,128}\Z")

    def test_encoded(self) -> None:
        """A body that is encoded is refused by the name of its encoding; no encoding is none."""

        async def route(request: ClientRequest) -> None:
            request.write_json(request.read_body().decode("latin-1"))

        client = self.client(route)
        body = gzip.compress(b"{}")
        for told in ("gzip", "BR", "identity, zstd", "x\xff", "gzip\r\nContent-Encoding: identity"):
            client.ask("POST", "/", f"Content-Encoding: {told}", body=body)
            answer = client.answer()
            self.assertEqual(answer.status, 415)
            self.assertEqual(answer.headers["accept-encoding"], "identity")
            self.assertEqual(answer.error["type"], "validation_error")
            self.assertEqual(answer.error["code"], "unsupported_content_encoding")
            self.assertIn(told[:2], answer.error["message"])
            self.assertIn("send it as it is", answer.error["message"])
        for told in ("identity", "Identity,", "UTF-8", ""):
            client.ask("POST", "/", f"content-encoding: {told}", body=body)
            self.assertEqual(client.answer().json, body.decode("latin-1"))

    def test_odd_status(self) -> None:
        """A status that has no name is told as it is."""

        async def route(request: ClientRequest) -> None:
            raise UpstreamRefused("no", status=599)

        client = self.client(route)
        client.ask("GET", "/")
        self.assertEqual(client.answer().status, 599)

    def test_fails_when_begun(self) -> None:
        """An error after the first byte breaks the connection; what was pipelined is not run."""
        served: list[str] = []

        async def route(request: ClientRequest) -> None:
            served.append(request.path)
            request.start_stream({}, "text/plain").write(b"one")
            raise ZeroDivisionError

        client = self.client(route)
        client.send(b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(client.transport.aborted)
        self.assertEqual(served, ["/1"])
        self.assertFalse(client.take().endswith(b"0\r\n\r\n"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_fails_when_gone(self) -> None:
        """An error after the client's going is the log's alone."""
        going: Deferred[None] = Deferred()

        async def route(request: ClientRequest) -> None:
            await going
            raise ZeroDivisionError

        client = self.client(route)
        client.ask("GET", "/")
        client.leave()
        going.callback(None)
        self.assertEqual(client.take(), b"")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

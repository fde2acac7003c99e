"""Each hot route answers by itself as it does by way of Klein, over both HTTP servers."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen
from twisted.internet.defer import succeed

from aiproxy.proxy import Proxy
from aiproxy.transport.http.llhttp_site import LlhttpSite
from aiproxy.transport.http.site import GatewaySite
from aiproxy.transport.http.stock import StockSite
from tests.transport.http.clients import Answer, Client
from tests.web.serving import NOW, TOKEN, ScriptedReply, ServingTestCase, whole_reply

WAYS = ("hot", "klein", "stock")
CHAT = {"model": "scripted/one", "messages": [{"role": "user", "content": "hello there"}]}
BEARER = f"Authorization: Bearer {TOKEN}"
ADMIN = "Authorization: Bearer sk-admin"
#: What differs from one request to the next.
PASSING = frozenset(("date", "x-request-id"))


@frozen
class Told:
    """An answer without what differs from one request to the next."""

    status: int
    headers: dict[str, str]
    body: bytes


class HotRoutesTestCase(ServingTestCase):
    """A proxy in memory that is asked in each way."""

    def setUp(self) -> None:
        super().setUp()
        self.proxy = Proxy(
            self.load(self.text, {"AUTH_TOKEN": TOKEN, "ADMIN_TOKEN": "sk-admin"}).config,
            self.clock,
            providers={"scripted": self.provider},
            wall=lambda: NOW,
        )
        resource = self.proxy.resource()
        self.hot = resource.hot_routes()
        self.sites: dict[str, GatewaySite] = {
            "hot": LlhttpSite(resource, self.clock, max_request_bytes=2000, hot=self.hot),
            "klein": LlhttpSite(resource, self.clock, max_request_bytes=2000, hot={}),
            "stock": StockSite(resource, self.clock, max_request_bytes=2000),
        }

    def enter(self, way: str) -> Client:
        """Open a connection."""
        return Client(self.sites[way], self.clock)

    def tell(self, answer: Answer) -> Told:
        """Leave out of an answer what differs from one request to the next."""
        self.assertTrue(answer.headers.keys() >= PASSING)
        headers = {name: value for name, value in answer.headers.items() if name not in PASSING}
        if "request-id" in headers:
            self.assertEqual(headers.pop("request-id"), answer.headers["x-request-id"])
        body = answer.body
        if answer.headers["content-type"] == "application/json" and body:
            document = answer.json
            # The demonstration model makes up an id for each answer.
            if isinstance(document, dict) and "id" in document:
                document["id"] = "?"
            body = json.dumps(document).encode()
        return Told(answer.status, headers, body)

    def assert_same(self, method: str, path: str, *headers: str, body: bytes = b"") -> Told:
        """Ask in each way; return what all have answered."""
        told = {}
        for way in WAYS:
            client = self.enter(way)
            client.ask(method, path, *headers, body=body)
            self.clock.advance(0)
            told[way] = self.tell(client.answer(head=method == "HEAD"))
            if told[way].status not in (400, 413):
                client.ask("GET", "/ping")
                self.assertEqual(client.answer().body, b"OK", (way, method, path))
        for way in ("klein", "stock"):
            self.assertEqual(told["hot"], told[way], (way, method, path))
        return told["hot"]


class HotRoutesTests(HotRoutesTestCase):
    """Every route that has no variable part."""

    def test_found(self) -> None:
        """They are those that the proxy has; no HEAD is among them."""
        paths = {path for method, path in self.hot}
        self.assertLessEqual({b"/v1/chat/completions", b"/v1/models", b"/ping", b"/"}, paths)
        self.assertEqual({method for method, _ in self.hot}, {b"GET", b"POST"})

    def test_asked(self) -> None:
        """Each answers in the same way, with a token and without, with a query, to no JSON."""
        for method, path in sorted(self.hot):
            if path == b"/metrics":
                continue
            target = path.decode()
            bodies = (b"{}", b"", b"{", b"[]", b"\xff") if method == b"POST" else (b"",)
            asked = [(target, body) for body in bodies]
            asked += [(target + query, bodies[0]) for query in ("?", "?a=b&model=c")]
            for headers in ((), (BEARER,), (ADMIN,), ("Authorization: Bearer wrong",)):
                for place, body in asked:
                    self.assert_same(method.decode(), place, *headers, body=body)
                    self.clock.advance(61)  # Nobody is held back for wrong tokens.

    def test_other_methods(self) -> None:
        """A HEAD, a method that the path does not take, and one that is none."""
        for _, path in sorted(self.hot):
            target = path.decode()
            for method in ("HEAD", "OPTIONS", "DELETE", "PATCH", "BREW"):
                told = self.assert_same(method, target, BEARER)
                statuses = {"HEAD": (200, 401, 405), "BREW": (400,)}.get(method, (405,))
                self.assertIn(told.status, statuses)

    def test_metrics(self) -> None:
        """The operator sees metrics in each way, though not the same numbers; nobody else does."""
        for headers in ((), (BEARER,)):
            self.assertEqual(self.assert_same("GET", "/metrics", *headers).status, 401)
        for way in WAYS:
            client = self.enter(way)
            client.ask("GET", "/metrics", ADMIN)
            answer = client.answer()
            self.assertEqual(answer.status, 200)
            self.assertIn(b"aiproxy_", answer.body)

    def test_near(self) -> None:
        """A path that is nearly one of them is none in each way."""
        for target in (
            "/ping/",
            "//ping",
            "/PING",
            "/v1//models",
            "/v1%2F%2Fmodels",
            "/v1/models/",
            "*",
        ):
            self.assertEqual(self.assert_same("GET", target, BEARER).status, 404)
        self.assertEqual(self.assert_same("GET", "/%70ing").status, 200)
        self.assertEqual(self.assert_same("GET", "http://y/ping").status, 200)

    def test_encoded(self) -> None:
        """A body that is encoded is refused wherever one is read."""
        read = sorted(path for method, path in self.hot if method == b"POST")
        for path in read:
            if path != b"/admin/reload":
                headers = (ADMIN if b"explain" in path else BEARER, "Content-Encoding: gzip")
                told = self.assert_same("POST", path.decode(), *headers, body=b"\x1f\x8b")
                self.assertEqual((path, told.status), (path, 415))

    def test_too_large(self) -> None:
        """A body over the bound is refused before any route is asked."""
        told = self.assert_same("POST", "/v1/chat/completions", BEARER, body=b"x" * 2001)
        self.assertEqual(told.status, 413)


class CallTests(HotRoutesTestCase):
    """Calls to a model."""

    def test_whole(self) -> None:
        """A whole answer, with the headers that the upstream has told, is the same."""
        self.provider.start_with = lambda call: succeed(whole_reply({"x-up": "a\r\nb: c"}))
        body = json.dumps(CHAT).encode()
        told = self.assert_same("POST", "/v1/chat/completions", BEARER, body=body)
        self.assertEqual(told.status, 200)
        self.assertNotIn("b", told.headers)
        self.assertEqual(json.loads(told.body)["choices"][0]["message"]["content"], "hello")
        self.assertEqual(len(self.provider.calls), 3)

    def stream(self, way: str, *, fail: bool = False) -> tuple[bytes, bool]:
        """Stream two words; return what came, without what differs, and if it was cut."""
        reply = ScriptedReply()
        self.provider.start_with = lambda call: succeed(reply)
        client = self.enter(way)
        client.ask(
            "POST",
            "/v1/chat/completions",
            BEARER,
            "x-request-id: mine",
            body=json.dumps({**CHAT, "stream": True}).encode(),
        )
        came: list[bytes] = []
        steps: list[Any] = [lambda: reply.say("one"), lambda: reply.say("two")]
        steps.append(reply.end if not fail else client.leave)
        for step in steps:
            step()
            came.append(client.take())
        head, end, first = came[0].partition(b"\r\n\r\n")
        self.assertTrue(end)
        self.assertIn(b"one", first)
        self.assertIn(b"two", came[1])
        lines = sorted(line.lower() for line in head.split(b"\r\n"))
        lines = [line for line in lines if not line.startswith(b"date:")]
        self.assertEqual(reply.state, "stopped" if fail else "producing")
        if not fail:
            client.ask("GET", "/ping")
            self.assertEqual(client.answer().body, b"OK")
        return b"\n".join(lines) + b"".join(came)[len(head) :], client.closed

    def test_stream(self) -> None:
        """So is a stream, event by event, and its client's going stops it in each way."""
        streams = [self.stream(way) for way in WAYS]
        self.assertEqual(streams[0], streams[1])
        self.assertEqual(streams[0], streams[2])
        self.assertIn(b"[DONE]", streams[0][0])
        for way in WAYS:
            self.stream(way, fail=True)

    def test_demo(self) -> None:
        """The built-in model streams the same."""
        document = {**CHAT, "model": "demo/echo", "stream": True}
        told = []
        for way in WAYS:
            client = self.enter(way)
            client.ask("POST", "/", BEARER, body=json.dumps(document).encode())
            for _ in range(50):
                self.clock.advance(0.1)
            answer = client.answer()
            self.assertEqual(answer.status, 200)
            events = [json.loads(line[6:]) for line in answer.body.splitlines() if b"{" in line]
            told.append(["".join(_words(event)) for event in events])
        self.assertEqual(told[0], told[1])
        self.assertEqual(told[0], told[2])
        self.assertIn("hello", "".join(told[0]))


def _words(event: Any) -> list[str]:
    return [choice["delta"].get("content") or "" for choice in event["choices"]]

"""Tests of :mod:`aiproxy.web.cors`, as browsers see it."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import succeed

from tests.transport.http.clients import Answer, Client
from tests.web.serving import CONFIG, TOKEN, ScriptedReply, ServingTestCase, whole_reply

PAGE = "https://app.example"
OPTIONS = (f"Origin: {PAGE}", "Access-Control-Request-Method: POST")
CLIENT_ROUTES = ("/v1/chat/completions", "/", "/v1/models", "/v1/models/a/b", "/v1/messages")
ADMIN_ROUTES = ("/metrics", "/admin/reload", "/v1/route/explain")


class CORSTestCase(ServingTestCase):
    """A server that some pages may call."""

    cors = f"[{PAGE}, 'http://localhost:3000']"
    tokens: Mapping[str, str] = {"AUTH_TOKEN": TOKEN, "ADMIN_TOKEN": "sk-admin"}

    def setUp(self) -> None:
        self.text = f"{CONFIG}\n    server: {{cors: {self.cors}}}\n"
        super().setUp()

    def assert_allowed(self, answer: Answer, *exposed: str) -> None:
        """The page may read it, with these headers among others."""
        self.assertEqual(answer.headers["access-control-allow-origin"], PAGE)
        self.assertEqual(answer.headers["vary"], "origin")
        found = answer.headers["access-control-expose-headers"].split(", ")
        self.assertLessEqual({"x-request-id", *exposed}, set(found))
        self.assertLessEqual(set(found), set(answer.headers))
        self.assertNotIn("access-control-allow-credentials", answer.headers)

    def assert_unshared(self, answer: Answer) -> None:
        """No page may read it."""
        told = [name for name in answer.headers if name.startswith("access-control")]
        self.assertEqual(told, [])


class PreflightTests(CORSTestCase):
    """What a browser asks before."""

    def test_allowed(self) -> None:
        """An allowed origin is told the methods of each route; any headers, without a token."""
        for path, methods in zip(
            CLIENT_ROUTES,
            ("POST", "GET, HEAD, POST", "GET, HEAD", "GET, HEAD", "POST"),
            strict=True,
        ):
            asked = "Access-Control-Request-Headers: authorization,x-stainless-os"
            answer = self.ask_bare("OPTIONS", path, *OPTIONS, asked)
            self.assertEqual((answer.status, answer.body), (204, b""))
            self.assertEqual(answer.headers["access-control-allow-origin"], PAGE)
            self.assertEqual(answer.headers["access-control-allow-methods"], methods)
            self.assertEqual(
                answer.headers["access-control-allow-headers"], "authorization,x-stainless-os"
            )
            self.assertEqual(answer.headers["access-control-max-age"], "7200")
            self.assertEqual(answer.headers["vary"], "origin")
            self.assertNotIn("content-length", answer.headers)
            self.assertNotIn("transfer-encoding", answer.headers)

    def test_other_origins(self) -> None:
        """Any other is told nothing."""
        for origin in ("https://app.example.evil", "http://app.example", "null", "*", "\xff"):
            method = "Access-Control-Request-Method: POST"
            answer = self.ask_bare("OPTIONS", "/v1/models", f"Origin: {origin}", method)
            self.assertEqual((answer.status, answer.headers["vary"]), (405, "origin"))
            self.assert_unshared(answer)

    def test_no_preflight(self) -> None:
        """OPTIONS by itself is a method that no route takes."""
        answer = self.ask_bare("OPTIONS", "/v1/models", f"Origin: {PAGE}")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD"))
        self.assert_allowed(answer)
        self.assertEqual(self.ask_bare("OPTIONS", "/v1/models", OPTIONS[1]).status, 405)
        self.assertEqual(self.ask_bare("DELETE", "/v1/models", *OPTIONS).status, 405)

    def test_nothing_there(self) -> None:
        """Where there is no route, there is none for a page either."""
        for path in ("/nothing", "//", "/v1/%FF", "*"):
            self.assertEqual(self.ask_bare("OPTIONS", path, *OPTIONS).status, 404)

    def test_admin(self) -> None:
        """What is the operator's is no page's."""
        for path in ADMIN_ROUTES:
            answer = self.ask_bare("OPTIONS", path, *OPTIONS)
            self.assertEqual(answer.status, 405)
            self.assert_unshared(answer)


class AnswerTests(CORSTestCase):
    """What a page may read."""

    def test_whole(self) -> None:
        """A whole answer, with who gave it and what that one's limits are."""
        reply = whole_reply({"x-ratelimit-remaining-requests": "7"})
        self.provider.start_with = lambda call: succeed(reply)
        answer = self.chat(f"Origin: {PAGE}")
        self.assertEqual(answer.status, 200)
        exposed = ("x-aiproxy-model", "x-aiproxy-provider", "x-aiproxy-attempts")
        self.assert_allowed(answer, *exposed, "x-ratelimit-remaining-requests")

    def test_stream(self) -> None:
        """A stream."""
        reply = ScriptedReply()
        self.provider.start_with = lambda call: succeed(reply)
        self.begin_chat(f"Origin: {PAGE}", stream=True)
        reply.say("one")
        reply.end()
        answer = self.client.answer()
        self.assertIn(b"one", answer.body)
        self.assert_allowed(answer, "x-aiproxy-model")

    def test_errors(self) -> None:
        """Errors, or a page could not say what is wrong."""
        for method, path, token, status in (
            ("GET", "/v1/models", "wrong", 401),
            ("GET", "/nothing", TOKEN, 404),
            ("GET", "/v1/models/none", TOKEN, 404),
            ("DELETE", "/v1/models", TOKEN, 405),
            ("POST", "/v1/chat/completions", TOKEN, 400),
        ):
            bearer = f"Authorization: Bearer {token}"
            answer = self.ask_bare(method, path, bearer, f"Origin: {PAGE}", body=b"{")
            self.assertEqual(answer.status, status)
            self.assert_allowed(answer)

    def test_refused(self) -> None:
        """So is one of a request that is refused before it has come, in its path's envelope."""
        long = "Content-Length: 99999999999"
        for path in ("/v1/chat/completions", "/v1/messages"):
            self.client = Client(self.proxy.site(), self.clock)
            answer = self.ask_bare("POST", path, f"Origin: {PAGE}", long)
            self.assertEqual(answer.status, 413)
            self.assert_allowed(answer)
            self.assertEqual(answer.json.get("type"), "error" if "messages" in path else None)
        self.client = Client(self.proxy.site(), self.clock)
        nowhere = self.ask_bare("POST", "/v1//chat/completions", f"Origin: {PAGE}", long)
        self.assertEqual(nowhere.status, 413)
        self.client = Client(self.proxy.site(), self.clock)
        self.assert_unshared(self.ask_bare("POST", "/admin/reload", f"Origin: {PAGE}", long))

    def test_others(self) -> None:
        """Other pages may not, but caches must know that it depends."""
        for headers in ((), ("Origin: https://other.example",)):
            answer = self.ask("GET", "/v1/models", *headers)
            self.assertEqual((answer.status, answer.headers["vary"]), (200, "origin"))
            self.assert_unshared(answer)

    def test_admin(self) -> None:
        """What is the operator's is for no page, whatever the answer is."""
        for path in ADMIN_ROUTES:
            for method in ("GET", "POST"):
                for token, statuses in (("sk-admin", (200, 400, 405, 501)), (TOKEN, (401, 405))):
                    bearer = f"Authorization: Bearer {token}"
                    answer = self.ask_bare(method, path, bearer, f"Origin: {PAGE}", body=b"{")
                    self.assertIn(answer.status, statuses)
                    self.assert_unshared(answer)


class AnyOriginTests(CORSTestCase):
    """A server that all pages may call."""

    cors = "['*']"

    def test_any(self) -> None:
        """Each is told so, and no cache need tell them apart."""
        for origin in (PAGE, "null", "http://localhost:1"):
            asked = f"Origin: {origin}"
            for answer in (
                self.ask("GET", "/v1/models", asked),
                self.ask_bare("OPTIONS", "/v1/models", asked, OPTIONS[1]),
            ):
                self.assertIn(answer.status, (200, 204))
                self.assertEqual(answer.headers["access-control-allow-origin"], "*")
                self.assertNotIn("vary", answer.headers)
        self.assert_unshared(self.ask("GET", "/v1/models"))


class NoOriginTests(ServingTestCase):
    """A server that no page may call, which is how it comes."""

    def test_none(self) -> None:
        """Nothing is said about pages."""
        for answer in (
            self.ask("GET", "/v1/models", f"Origin: {PAGE}"),
            self.ask_bare("OPTIONS", "/v1/models", *OPTIONS),
        ):
            self.assertIn(answer.status, (200, 405))
            self.assertNotIn("vary", answer.headers)
            self.assertNotIn("access-control-allow-origin", answer.headers)

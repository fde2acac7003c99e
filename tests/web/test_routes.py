"""Tests of :mod:`aiproxy.web.routes`."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.web.resource import Resource

from aiproxy.interfaces import IReply
from tests.sites import make_site
from tests.transport.http.clients import Client
from tests.web.serving import TOKEN, ServingTestCase


class RoutesTests(ServingTestCase):
    """What no route is for."""

    def test_nothing_there(self) -> None:
        """Every other path is a 404 in the envelope."""
        for path in (
            "/v1/%FF",
            "//",
            "/v1//models",
            "//v1/models",
            "/v1%2F%2Fmodels",
            "/v1/models/",
            "/ping/",
            "/nothing",
            "/v1/chat",
            "/V1/models",
            "*",
        ):
            for method in ("GET", "POST", "DELETE"):
                answer = self.ask_bare(method, path)
                self.assertEqual((path, answer.status), (path, 404))
                self.assertEqual(answer.error["code"], "not_found")

    def test_wrong_base_url(self) -> None:
        """What a client appends to a wrong base URL is told what the right one is."""
        for path, hint in (
            ("/v1/v1/chat/completions", "the base URL of OpenAI's clients ends in /v1"),
            ("/v1/v1/messages", "that of Anthropic's has none"),
            ("/api/models", "the base URL of"),
            ("/v1/chat/completions/chat/completions", "the base URL of"),
            ("/v1/chat/completions/", "the base URL of"),
            ("//v1/chat/completions", "it has two slashes in a row"),
        ):
            message = self.ask_bare("POST", path).error["message"]
            self.assertTrue(message.startswith("there is nothing at this path; "), message)
            self.assertIn(hint, message)
        self.assertEqual(
            self.ask_bare("GET", "/nothing").error["message"], "there is nothing at this path"
        )

    def test_off(self) -> None:
        """The operator's routes say that they are off, and by what they are switched on."""
        for method, path in (("GET", "/metrics"), ("POST", "/admin/reload")):
            answer = self.ask(method, path)
            self.assertEqual((answer.status, answer.error["code"]), (404, "not_found"))
            self.assertIn("ADMIN_TOKEN is not set", answer.error["message"])

    def test_wrong_method(self) -> None:
        """A method that a path does not take is a 405 that names the others."""
        for method, path, allowed in (
            ("GET", "/v1/chat/completions", "POST"),
            ("POST", "/v1/models", "GET, HEAD"),
            ("OPTIONS", "/v1/models", "GET, HEAD"),
            ("DELETE", "/", "GET, HEAD, POST"),
        ):
            answer = self.ask_bare(method, path)
            self.assertEqual((answer.status, answer.headers["allow"]), (405, allowed))
            self.assertEqual(answer.error["code"], "method_not_allowed")
            methods = " or ".join(allowed.split(", "))
            self.assertEqual(
                answer.error["message"], f"{method} is not possible here, {methods} is"
            )

    def test_wrong_method_of_messages(self) -> None:
        """It is said in the words of the route's clients."""
        answer = self.ask("GET", "/v1/messages")
        self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))
        self.assertEqual(answer.json["type"], "error")

    def test_id_for_messages(self) -> None:
        """Anthropic's clients find a request's id by their name for it, with any status."""
        for path, named in (("/v1/messages", "mine"), ("/v1/chat/completions", None)):
            for ask in (self.ask, self.ask_bare):
                answer = ask("POST", path, "x-request-id: mine")
                self.assertEqual(answer.headers.get("request-id"), named)

    def test_id_for_long_messages(self) -> None:
        """So it is where a request is refused before any route is asked."""
        for path, named in (("/v1/messages", "mine"), ("/v1/chat/completions", None)):
            self.client = Client(self.proxy.site(), self.clock)
            answer = self.ask_bare(
                "POST", path, "x-request-id: mine", "Content-Length: 99999999999"
            )
            self.assertEqual((answer.status, answer.headers.get("request-id")), (413, named))

    def test_any_host(self) -> None:
        """Whatever a client calls the host, the routes are the same."""
        for host in ("[::1]:80", "a..b", "x" * 100, ""):
            self.client.send(f"GET /ping HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
            self.assertEqual(self.client.answer().body, b"OK")

    def test_prefix(self) -> None:
        """The routes may stand below a prefix, even one that looks like theirs."""
        root, models = Resource(), Resource()
        root.putChild(b"models", models)
        models.putChild(b"ai", self.proxy.resource())
        self.client = Client(make_site(root, self.clock, max_request_bytes=1000), self.clock)
        self.assertEqual(self.ask_bare("GET", "/models/ai/ping").body, b"OK")
        for path in ("/models/ai", "/models/ai/"):
            self.assertEqual(self.ask_bare("GET", path).status, 200)
            self.assertEqual(self.ask("POST", path).error["code"], "empty_body")
            self.assertEqual(self.ask_bare("DELETE", path).status, 405)
        self.assertEqual(self.ask_bare("GET", "/models/ai//").status, 404)
        shown = self.ask("GET", "/models/ai/v1/models/demo/echo")
        self.assertEqual(shown.json["id"], "demo/echo")
        self.assertEqual(self.ask_bare("GET", "/models/ai/nothing").status, 404)


class FailingTests(ServingTestCase):
    """What goes wrong inside."""

    def test_internal(self) -> None:
        """A bug is an enveloped 500 and a traceback in the log alone."""
        for error in (ZeroDivisionError("secret"), CancelledError()):
            self.provider.start_with = lambda call, error=error: fail(error)  # type: ignore[misc]
            answer = self.chat()
            self.assertEqual((answer.status, answer.error["code"]), (500, "internal_error"))
            self.assertNotIn(b"secret", answer.body)
            self.assertEqual(len(self.flushLoggedErrors(type(error))), 1)

    def test_client_gone(self) -> None:
        """A client that leaves cancels what was asked for it."""
        cancelled: list[object] = []
        waiting: Deferred[IReply] = Deferred(cancelled.append)
        self.provider.start_with = lambda call: waiting
        self.begin_chat()
        self.client.leave()
        self.assertEqual(cancelled, [waiting])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_client_gone_in_a_stream(self) -> None:
        """So it does in the middle of a stream."""
        reply = self.begin_stream()
        reply.say("one")
        self.client.leave()
        self.assertEqual(reply.state, "stopped")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_client_stalls(self) -> None:
        """A client that stops reading a stream is cut off in the end."""
        reply = self.begin_stream()
        reply.say("one")
        self.client.channel.pauseProducing()
        self.assertEqual(reply.state, "paused")
        self.clock.advance(121)
        self.assertTrue(self.client.transport.aborted)
        self.assertEqual(reply.state, "stopped")


class TokenTests(ServingTestCase):
    """The token is the guard's alone."""

    def test_not_told(self) -> None:
        """No answer repeats it."""
        for path in ("/v1/models", "/nothing", "/v1/models/none"):
            self.assertNotIn(TOKEN.encode(), self.ask("GET", path).body)

"""Tests of :mod:`aiproxy.web.health`."""

from __future__ import annotations

from tests.transport.http.clients import Client
from tests.web.serving import ServingTestCase


class HealthTests(ServingTestCase):
    """The routes that need no key."""

    def test_greeting(self) -> None:
        """The root says in a line what this is."""
        answer = self.ask_bare("GET", "/")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
        self.assertTrue(answer.body.startswith(b"aiproxy: "))
        self.assertEqual(answer.body.count(b"\n"), 1)

    def test_ping(self) -> None:
        """A ping is answered."""
        answer = self.ask_bare("GET", "/ping")
        self.assertEqual((answer.status, answer.body), (200, b"OK"))

    def test_live(self) -> None:
        """The process says that it lives."""
        for path in ("/health", "/health/live"):
            answer = self.ask_bare("GET", path)
            self.assertEqual((answer.status, answer.json), (200, {"status": "ok"}))
            self.assertEqual(answer.headers["content-type"], "application/json")

    def test_head(self) -> None:
        """HEAD gets the same without a body."""
        for path in ("/", "/ping", "/health", "/health/live", "/health/ready"):
            whole = self.ask_bare("GET", path)
            head = self.ask_bare("HEAD", path)
            self.assertEqual(head.status, 200)
            self.assertEqual(head.headers["content-length"], str(len(whole.body)))

    def test_ready(self) -> None:
        """Clients may come."""
        answer = self.ask_bare("GET", "/health/ready")
        self.assertEqual((answer.status, answer.json), (200, {"status": "ready"}))

    def test_draining(self) -> None:
        """While it stops no new client should come; it lives all the same."""
        self.begin_stream().say("one")
        self.proxy.service.startService()
        stopped = self.proxy.service.stopService()
        streaming, self.client = self.client, Client(self.site, self.clock)
        answer = self.ask_bare("GET", "/health/ready")
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json["reason"], "the server is shutting down")
        self.assertEqual(self.ask_bare("GET", "/health/live").status, 200)
        refused = self.chat()
        self.assertEqual((refused.status, refused.error["code"]), (503, "shutting_down"))
        self.assertNoResult(stopped)
        streaming.leave()
        self.successResultOf(stopped)


class EmptyTests(ServingTestCase):
    """A proxy that can serve nothing."""

    text = """
        models:
          - {name: a, provider: openai, token: "${MISSING}"}
    """

    def test_not_ready(self) -> None:
        """It is not ready, and says no more than that."""
        answer = self.ask_bare("GET", "/health/ready")
        self.assertEqual(answer.status, 503)
        self.assertEqual(answer.json["status"], "not ready")
        self.assertEqual(answer.json["reason"], "there is no model that can be served")
        self.assertEqual(self.ask_bare("GET", "/health").status, 200)

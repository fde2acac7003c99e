"""Tests of :mod:`aiproxy.web.reload`."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from aiproxy.errors import ConfigurationError, Problem
from aiproxy.web.app import make_resource
from aiproxy.web.reload import Reload, unavailable
from tests.sites import make_site
from tests.transport.http.clients import Answer, Client
from tests.web.serving import NOW, TOKEN, ServingTestCase

ADMIN = "sk-admin"
REPORT: Mapping[str, object] = {"object": "reload", "models": 3}


class ReloadTests(ServingTestCase):
    """``POST /admin/reload``."""

    tokens: Mapping[str, str] = {"AUTH_TOKEN": TOKEN, "ADMIN_TOKEN": ADMIN}

    def setUp(self) -> None:
        super().setUp()
        self.running: Deferred[Mapping[str, object]] = Deferred()
        self.begun = 0

    def begin(self) -> Deferred[Mapping[str, object]]:
        """Load, until the test says that it is done."""
        self.begun += 1
        return self.running

    def serve(self, reload: Reload) -> None:
        """Serve with this."""
        resource = make_resource(
            self.proxy._dispatcher, wall=lambda: NOW, unready=lambda: None, reload=reload
        )
        site = make_site(resource, self.clock, max_request_bytes=1000)
        self.client = Client(site, self.clock)

    def reload(self, token: str = ADMIN, method: str = "POST") -> Answer:
        """Ask for it."""
        return self.ask_bare(method, "/admin/reload", f"Authorization: Bearer {token}")

    def test_done(self) -> None:
        """The answer comes when it is done, and is what there is to say about it."""
        self.serve(self.begin)
        self.client.ask("POST", "/admin/reload", f"x-api-key: {ADMIN}")
        self.assertEqual((self.begun, self.client.take()), (1, b""))
        self.running.callback(REPORT)
        answer = self.client.answer()
        self.assertEqual((answer.status, answer.json), (200, REPORT))

    def test_problems(self) -> None:
        """A configuration that cannot be used is told with all that is wrong about it."""
        problems = [Problem("no such model", "c.yaml", 3), Problem("no token", "keys.yaml", 40)]
        self.serve(lambda: fail(ConfigurationError(problems)))
        answer = self.reload()
        self.assertEqual((answer.status, answer.error["type"]), (500, "configuration_error"))
        self.assertEqual(answer.error["code"], "configuration_error")
        self.assertEqual(answer.error["message"], "c.yaml:3: no such model\nkeys.yaml:40: no token")

    def test_guarded(self) -> None:
        """Nobody but the operator has it done, and by nothing but POST."""
        self.serve(self.begin)
        for token in (TOKEN, "wrong"):
            self.assertEqual(self.reload(token).status, 401)
        for method in ("GET", "PUT", "HEAD"):
            answer = self.reload(method=method)
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "POST"))
        self.assertEqual(self.begun, 0)

    def test_impossible(self) -> None:
        """A server that was told of no way to do it says so."""
        self.serve(unavailable)
        answer = self.reload()
        self.assertEqual((answer.status, answer.error["type"]), (501, "configuration_error"))
        self.assertEqual(answer.error["code"], "reload_unavailable")

    def test_client_leaves(self) -> None:
        """It goes on when nobody waits for it: what is half done would be worse."""
        for result in (succeed(REPORT), fail(ConfigurationError([Problem("no")]))):
            cancelled: list[object] = []
            self.running = Deferred(cancelled.append)
            self.serve(self.begin)
            self.client.ask("POST", "/admin/reload", f"x-api-key: {ADMIN}")
            self.client.leave()
            result.chainDeferred(self.running)
            self.assertEqual(cancelled, [])
        self.assertEqual(self.flushLoggedErrors(CancelledError), [])

    def test_bug(self) -> None:
        """A bug is the log's, whether somebody waits for the answer or not."""
        self.serve(lambda: fail(ZeroDivisionError("secret")))
        answer = self.reload()
        self.assertEqual((answer.status, answer.error["code"]), (500, "internal_error"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.serve(self.begin)
        self.client.ask("POST", "/admin/reload", f"x-api-key: {ADMIN}")
        self.client.leave()
        self.running.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

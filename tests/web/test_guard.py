"""Tests of :mod:`aiproxy.web.guard`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.logger import ILogObserver, formatEvent, globalLogPublisher

from aiproxy.policy.throttle import MOST_FAILURES
from tests.transport.http.clients import Client
from tests.web.serving import TOKEN, ServingTestCase

WRONG = (
    (),
    ("Authorization: Bearer sk-wrong",),
    ("Authorization: Bearer ",),
    ("Authorization: Bearer",),
    (f"Authorization: {TOKEN}",),
    (f"Authorization: Basic {TOKEN}",),
    (f"Authorization: Bearer {TOKEN} more",),
    (f"Authorization: Bearer {TOKEN[:-1]}",),
    ("Authorization: Bearer \xff\xfe",),
    ("x-api-key: sk-wrong",),
    ("x-api-key: ",),
    ("Authorization: Bearer sk-old",),
    ("Authorization: Bearer sk-wrong", f"x-api-key: {TOKEN}"),
)


class GuardTests(ServingTestCase):
    """Who comes in."""

    def test_bearer(self) -> None:
        """A token comes as a bearer's, in any case of that word."""
        for scheme in ("Bearer", "bearer", "BEARER", "Bearer  "):
            answer = self.ask_bare("GET", "/v1/models", f"Authorization: {scheme} {TOKEN}")
            self.assertEqual(answer.status, 200)

    def test_api_key(self) -> None:
        """Or as ``x-api-key``, also beside an ``Authorization`` that is for somebody else."""
        key = f"x-api-key: {TOKEN}"
        for headers in ((key,), (key, "Authorization: Basic dTpw"), (key, "Authorization: Bearer")):
            self.assertEqual(self.ask_bare("GET", "/v1/models", *headers).status, 200)

    def test_wrong(self) -> None:
        """Whatever is wrong about it, the answer is the same, and says nothing."""
        bodies = set()
        for headers in WRONG:
            answer = self.ask_bare("GET", "/v1/models", *headers)
            self.assertEqual(answer.status, 401)
            self.assertEqual(answer.headers["www-authenticate"], 'Bearer realm="aiproxy"')
            self.assertEqual(answer.error["type"], "authentication_error")
            self.assertEqual(answer.error["code"], "invalid_api_key")
            bodies.add(answer.body)
        self.assertEqual(len(bodies), 1)

    def test_everywhere(self) -> None:
        """Each route of a client wants it, before it looks at anything else."""
        for method, path in (
            ("POST", "/v1/chat/completions"),
            ("POST", "/chat/completions"),
            ("POST", "/"),
            ("GET", "/v1/models"),
            ("HEAD", "/v1/models"),
            ("GET", "/models"),
            ("GET", "/v1/models/none"),
            ("GET", "/models/demo/echo"),
        ):
            self.assertEqual(self.ask_bare(method, path).status, 401)

    def test_expires(self) -> None:
        """A key is valid until its day."""
        old = self.ask_bare("GET", "/v1/models", "Authorization: Bearer sk-old")
        young = self.ask_bare("GET", "/v1/models", "Authorization: Bearer sk-young")
        self.assertEqual((old.status, young.status), (401, 200))

    def test_narrow(self) -> None:
        """For a restricted key the other models do not exist."""
        narrow = "Authorization: Bearer sk-narrow"
        listed = self.ask_bare("GET", "/v1/models", narrow).json["data"]
        self.assertEqual([model["id"] for model in listed], ["scripted/one", "any/*"])
        hidden = self.ask_bare("GET", "/v1/models/demo/echo", narrow)
        self.assertEqual((hidden.status, hidden.error["code"]), (404, "model_not_found"))
        self.assertNotIn("did you mean demo", hidden.error["message"])
        self.assertEqual(self.ask_bare("GET", "/v1/models/any/thing", narrow).status, 200)
        refused = self.chat(token="sk-narrow", model="demo/echo")
        self.assertEqual((refused.status, refused.error["code"]), (404, "model_not_found"))
        self.assertEqual(self.chat(token="sk-narrow").status, 200)


class ThrottleTests(ServingTestCase):
    """Who comes with too many wrong tokens."""

    tokens: Mapping[str, str] = {"AUTH_TOKEN": TOKEN, "ADMIN_TOKEN": "sk-admin"}

    def get(self, token: str | None, path: str = "/v1/models") -> int:
        """Ask; return the status."""
        headers = () if token is None else (f"Authorization: Bearer {token}",)
        return self.ask_bare("GET", path, *headers).status

    def block(self, path: str = "/v1/models", token: str | None = "sk-guess") -> None:
        """Come with as many wrong tokens as there may be."""
        for _ in range(MOST_FAILURES):
            self.assertEqual(self.get(token, path), 401)

    def test_blocked(self) -> None:
        """After so many, right and wrong tokens have the same answer, until a minute is over."""
        self.block()
        bodies = set()
        for token in ("sk-guess", TOKEN, "sk-narrow"):
            answer = self.ask_bare("GET", "/v1/models", f"Authorization: Bearer {token}")
            self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "60"))
            self.assertEqual(answer.error["type"], "rate_limit_error")
            bodies.add(answer.body)
        self.assertEqual(len(bodies), 1)
        self.clock.advance(59.5)
        answer = self.chat()
        self.assertEqual((answer.status, answer.headers["retry-after"]), (429, "1"))
        self.clock.advance(0.5)
        self.assertEqual(self.get(TOKEN), 200)
        self.assertEqual(self.get("sk-guess"), 401)

    def test_known(self) -> None:
        """A token that was good from there goes on working, for what it was good for."""
        self.assertEqual(self.get(TOKEN), 200)
        self.block()
        for _ in range(3):
            self.assertEqual(self.get(TOKEN), 200)
            self.assertEqual(self.get("sk-narrow"), 429)
        self.assertEqual(self.get(TOKEN, "/metrics"), 401)

    def test_elsewhere(self) -> None:
        """Others come in as always."""
        self.block()
        self.client = Client(self.site, self.clock)
        self.client.transport.peerAddr = IPv4Address("TCP", "203.0.113.7", 1)
        self.assertEqual(self.get(TOKEN), 200)

    def test_admin(self) -> None:
        """The operator's token is guarded by the same count as the clients'."""
        self.block("/metrics")
        self.assertEqual(self.get("sk-admin", "/metrics"), 429)
        self.assertEqual(self.get(TOKEN), 429)
        self.clock.advance(60)
        self.assertEqual(self.get("sk-admin", "/metrics"), 200)

    def test_missing(self) -> None:
        """No token at all counts too, but it is told so every time."""
        self.block(token=None)
        self.assertEqual(self.get(None), 401)
        self.assertEqual(self.get(TOKEN), 429)
        self.assertEqual(self.get(None, "/ping"), 200)

    def test_good_ones(self) -> None:
        """Good tokens never count, nor do errors of another kind."""
        for _ in range(2 * MOST_FAILURES):
            self.assertEqual(self.get(TOKEN), 200)
            self.assertEqual(self.get(TOKEN, "/v1/models/none"), 404)
        self.assertEqual(self.get("sk-narrow"), 200)

    def test_log(self) -> None:
        """It is one line, with the address and no token."""
        events: list[dict[str, Any]] = []
        observer = cast(ILogObserver, events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.block()
        for _ in range(50):
            self.get("sk-guess")
            self.get(None)
        lines = [str(formatEvent(event)) for event in events]
        [line] = [line for line in lines if "192.168.1.1" in line]
        self.assertIn("too many requests with a wrong token", line)
        self.assertNotIn("sk-guess", "".join(lines))

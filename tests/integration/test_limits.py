"""Limits over real sockets: never more than they say, never longer than they say."""

from __future__ import annotations

import json
import resource
from collections import Counter
from typing import Any

from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint

from aiproxy.config.load import load
from aiproxy.proxy import Proxy
from aiproxy.service import Listener
from tests.integration.servers import TOKEN, Connection, ServersTestCase, write_request
from tests.sites import make_site
from tests.transport.upstreams import SocketConnection

COMPLETION = {
    "id": "c",
    "choices": [{"index": 0, "message": {"content": "ok"}, "finish_reason": "stop"}],
}
ANSWER = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n"
    + json.dumps(COMPLETION).encode()
)
CONFIG = """
retry: {{max_retries: 0}}
providers:
  up: {{base_url: "http://127.0.0.1:{port}/v1", token: sk-up}}
models:
  - {{name: up/one, provider: up, {limits}}}
{more}
"""


class AheadOfTime:
    """
    The reactor, with a clock that can be put forward.

    :ivar ahead: seconds by which it is.
    """

    def __init__(self, reactor: Any) -> None:
        self.ahead = 0.0
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def seconds(self) -> float:
        """Return the clock's time."""
        return float(self._reactor.seconds()) + self.ahead


class LimitsTestCase(ServersTestCase):
    """A proxy on a socket of this process."""

    async def serve_limits(self, limits: str, more: str = "", env: Any = None) -> int:
        """Start it; return its port."""
        from twisted.internet import reactor

        def respond(connection: SocketConnection) -> None:
            connection.write(ANSWER)
            connection.close()

        self.clock = AheadOfTime(reactor)
        running: Any = self.clock
        self.upstream_seen, upstream_port = self.upstream(respond)
        self.write(CONFIG.format(port=upstream_port, limits=limits, more=more))
        config = load(None, env=env or {"AUTH_TOKEN": TOKEN}, folder=self.folder).config
        self.proxy = Proxy(config, running, wall=lambda: 1.8e9 + running.seconds())
        site = make_site(self.proxy.resource(), running, max_request_bytes=1_000_000)
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1", backlog=2_000)
        self.proxy.service.site = site
        self.proxy.service.listeners = [Listener("here", endpoint, site)]
        self.proxy.service.privilegedStartService()
        self.proxy.service.startService()
        self.addCleanup(self.proxy.service.stopService)
        listening: Any = self.proxy.service.ports[0]
        return int(listening.getHost().port)

    async def chat(self, port: int, token: str = TOKEN) -> Connection:
        """Ask; return the connection when the answer is whole."""
        body = {"model": "up/one", "messages": [{"role": "user", "content": "hi"}]}
        return await self.ask(
            port, write_request("POST", "/v1/chat/completions", body, token=token)
        )


def retry_after(connection: Connection) -> int:
    """Return what an answer says about when to come back."""
    head = bytes(connection.received).partition(b"\r\n\r\n")[0].decode().lower()
    return int(head.partition("retry-after: ")[2].partition("\r\n")[0])


class ExactTests(LimitsTestCase):
    """Not one too many."""

    timeout = 120

    async def test_thousand(self) -> None:
        """Of 1,000 at once 37 a minute are admitted; the others are told the truth."""
        from twisted.internet.defer import Deferred

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        port = await self.serve_limits("requests_per_minute: 37")
        asked = [Deferred.fromCoroutine(self.chat(port)) for _ in range(1_000)]
        answers = await gatherResults(asked)
        statuses = Counter(answer.status for answer in answers)
        self.assertEqual(statuses, {200: 37, 429: 963})
        self.assertEqual(len(self.upstream_seen.requests), 37)
        refused = [answer for answer in answers if answer.status == 429]
        self.assertTrue(all(b'"rate_limit_error"' in answer.received for answer in refused))
        # The one that was told the longest comes when it was told to.
        delay = max(retry_after(answer) for answer in refused)
        self.assertLessEqual(delay, 61)
        self.clock.ahead += delay
        self.assertEqual((await self.chat(port)).status, 200)

    async def test_true_delay(self) -> None:
        """A second before its time a request is refused; at its time it is admitted."""
        port = await self.serve_limits("requests_per_hour: 2")
        for _ in range(2):
            self.assertEqual((await self.chat(port)).status, 200)
            self.clock.ahead += 100
        refused = await self.chat(port)
        self.assertEqual(refused.status, 429)
        self.clock.ahead += retry_after(refused) - 2
        self.assertEqual((await self.chat(port)).status, 429)
        self.clock.ahead += 2
        self.assertEqual((await self.chat(port)).status, 200)

    async def test_key(self) -> None:
        """A key has limits of its own."""
        keys = """
keys:
  - {name: small, token: sk-small, requests_per_minute: 1}
  - {name: large, token: sk-large}
"""
        port = await self.serve_limits("priority: 1", keys, {"HOME": "/"})
        statuses = [(await self.chat(port, "sk-small")).status for _ in range(2)]
        statuses += [(await self.chat(port, "sk-large")).status for _ in range(2)]
        self.assertEqual(statuses, [200, 429, 200, 200])


class Row3And5Tests(LimitsTestCase):
    """No lockout for good, and no way around the limits."""

    async def test_heals(self) -> None:
        """What was at its limit is chosen again when the window has passed, by any name."""
        port = await self.serve_limits("requests_per_minute: 1, model_size: SMALL")
        self.assertEqual((await self.chat(port)).status, 200)
        for name in ("SMALL", "up/one"):
            body = {"model": name, "messages": [{"role": "user", "content": "hi"}]}
            asked = write_request("POST", "/v1/chat/completions", body)
            self.assertEqual((await self.ask(port, asked)).status, 429)
        self.clock.ahead += 65
        self.assertEqual((await self.chat(port)).status, 200)


class ExplainTests(LimitsTestCase):
    """A dry run."""

    async def test_explain(self) -> None:
        """The operator sees who is in, who is out and when he comes back; nobody is asked."""
        env = {"AUTH_TOKEN": TOKEN, "ADMIN_TOKEN": "sk-admin"}
        more = "  - {name: up/two, provider: up}\n  - {name: up/draw, provider: up, kind: image}\n"
        group = "groups: {g: {models: [up/one, up/two, up/draw]}}\n"
        port = await self.serve_limits("requests_per_minute: 1", more + group, env)
        await self.chat(port)
        body = {"model": "g", "messages": [{"role": "user", "content": "hi"}]}
        asked = write_request("POST", "/v1/route/explain", body, token="sk-admin")
        answer = await self.ask(port, asked)
        found = json.loads(answer.received.partition(b"\r\n\r\n")[2])["data"]
        self.assertEqual([(one["model"], one["in"]) for one in found],
                         [("up/one", False), ("up/two", True), ("up/draw", False)])  # fmt: skip
        self.assertIn("requests_per_minute", found[0]["reason"])
        self.assertTrue(0 < found[0]["back_in_s"] <= 61)
        self.assertIn("kind image", found[2]["reason"])
        self.assertNotIn(b"sk-up", answer.received)
        self.assertEqual(len(self.upstream_seen.requests), 1)

    async def test_guarded(self) -> None:
        """A client's token is none here; without an operator's there is no such route."""
        body = {"model": "up/one", "messages": [{"role": "user", "content": "hi"}]}
        asked = write_request("POST", "/v1/route/explain", body)
        env = {"AUTH_TOKEN": TOKEN, "ADMIN_TOKEN": "sk-admin"}
        port = await self.serve_limits("priority: 1", "", env)
        self.assertEqual((await self.ask(port, asked)).status, 401)
        port = await self.serve_limits("priority: 1")
        self.assertEqual((await self.ask(port, asked)).status, 404)

"""Who waits, waits in turn: over real sockets, by keys and by addresses."""

from __future__ import annotations

import json
import resource
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory

from tests.integration.servers import TOKEN, Connection, write_request
from tests.integration.test_limits import ANSWER, LimitsTestCase
from tests.transport.upstreams import SocketConnection

#: Nothing else takes so long: each call that waits sets a timer with it.
PATIENCE = 54.321
MORE = f"server: {{queue_timeout: {PATIENCE}s}}\ngroups: {{chat: {{models: [up/one]}}}}\n"
KEYS = "keys: [{name: large, token: sk-many}, {name: small, token: sk-few}]\n"


class FairnessTests(LimitsTestCase):
    """One caller has 1,000 requests, another five; one is served at a time."""

    timeout = 120

    def upstream(self, respond: Any) -> Any:
        """Start an upstream that keeps its first answer back."""
        self.first: Deferred[SocketConnection] = Deferred()
        #: What it was asked, in order.
        self.order: list[str] = []

        def note(connection: SocketConnection) -> None:
            request = json.loads(connection.upstream.requests[-1].partition(b"\r\n\r\n")[2])
            self.order.append(request["messages"][0]["content"])
            if self.first.called:
                respond(connection)
            else:
                self.first.callback(connection)

        return super().upstream(note)

    def more_wait(self, number: int) -> Deferred[None]:
        """Fire when so many more calls wait."""
        enough: Deferred[None] = Deferred()
        call_later, missing = self.clock.callLater, number

        def counted(delay: float, *function: Any) -> Any:
            nonlocal missing
            missing -= delay == PATIENCE
            if not missing and not enough.called:
                enough.callback(None)
            return call_later(delay, *function)

        clock: Any = self.clock
        clock.callLater = counted
        return enough

    async def ask_from(
        self, port: int, text: str, *, address: str, model: str = "up/one", token: str = TOKEN
    ) -> int:
        """Ask from an address of this machine; return the answer's status."""
        from twisted.internet import reactor

        running: Any = reactor
        endpoint: Any = TCP4ClientEndpoint(running, "127.0.0.1", port, bindAddress=(address, 0))
        connection: Connection = await endpoint.connect(Factory.forProtocol(Connection))
        self.addCleanup(self._hang_up, connection)
        body = {"model": model, "messages": [{"role": "user", "content": text}]}
        request = write_request("POST", "/v1/chat/completions", body, token=token)
        connection.transport.write(request)  # type: ignore[union-attr]
        await connection.end(100)
        return connection.status

    async def check(self, port: int, many: dict[str, str], few: dict[str, str]) -> None:
        """Let the many come, then the few: these are served at every second place."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

        def ask(text: str, how: dict[str, str]) -> Deferred[int]:
            return Deferred.fromCoroutine(self.ask_from(port, text, **how))

        asked = [ask("first", many)]
        running = await self.first
        for number, text, how in ((1_000, "many", many), (5, "few", few)):
            waiting = self.more_wait(number)
            asked += [ask(text, how) for _ in range(number)]
            await waiting
        running.write(ANSWER)
        running.close()
        statuses = await gatherResults(asked)
        self.assertEqual(set(statuses), {200})
        self.assertEqual(self.order, ["first", *["many", "few"] * 5, *["many"] * 995])

    async def test_keys(self) -> None:
        """Two keys have the same share, though they come from one address."""
        port = await self.serve_limits("max_concurrent: 1", MORE + KEYS, {"HOME": "/"})
        here = {"address": "127.0.0.1"}
        await self.check(port, {"token": "sk-many", **here}, {"token": "sk-few", **here})

    async def test_addresses(self) -> None:
        """So have two addresses with one token, though they ask for different names."""
        port = await self.serve_limits("max_concurrent: 1", MORE)
        await self.check(port, {"address": "127.0.0.1"}, {"address": "127.0.0.2", "model": "chat"})

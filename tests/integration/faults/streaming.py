"""A proxy on a socket of this process, its upstreams on others, and a clock for all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint

from aiproxy.config.load import load
from aiproxy.gateway.usage import CallRecord
from aiproxy.providers.chaos.script import ANSWER
from aiproxy.proxy import Proxy
from aiproxy.service import Listener
from aiproxy.testing import ChaosUpstream
from aiproxy.wire.json import loads
from tests.integration.fast_clock import FastClock
from tests.integration.faults.seen import Seen
from tests.integration.servers import TOKEN, Connection, ServersTestCase, write_request
from tests.sites import make_site

#: Words that a chaos upstream tells, and a long way from any silence.
TEXT = ANSWER


class StreamingTestCase(ServersTestCase):
    """
    Streams from upstreams that misbehave.

    :ivar ups: the upstreams, in the order in which they are asked.
    :ivar records: of the calls that are over.
    """

    timeout = 120

    async def serve_ups(
        self, *scripts: object, kind: str = "openai", retry: str = "{max_retries: 0}",
        more: str = "", keys: str = "token: sk-up",
    ) -> int:  # fmt: skip
        """Start the upstreams with a script each, and a proxy; return its port."""
        from twisted.internet import reactor

        running: Any = reactor
        self.clock = FastClock(running)
        self.clock.moves = self._moves
        clock: Any = self.clock
        self.records: list[CallRecord] = []
        self.ups = [
            ChaosUpstream(script, clock=clock, name=f"up{number}")
            for number, script in enumerate(scripts)
        ]
        lines = [f"retry: {retry}", "breaker: {failures: 1000}", more, "providers:"]
        for number, up in enumerate(self.ups):
            url = await up.listen(running)
            self.addCleanup(up.stop)
            lines.append(f'  p{number}: {{type: {kind}, base_url: "{url}", {keys}}}')
        lines.append("models:")
        lines += [f"  - {{name: m{number}, provider: p{number}}}" for number in range(len(scripts))]
        names = ", ".join(f"m{number}" for number in range(len(scripts)))
        lines.append(f"groups: {{g: {{models: [{names}]}}}}")
        self.write("\n".join(lines))
        config = load(None, env={"AUTH_TOKEN": TOKEN}, folder=self.folder).config
        self.proxy = Proxy(
            config, clock, report=self.records.append, wall=lambda: 1.8e9 + clock.seconds()
        )
        site = make_site(self.proxy.resource(), running, max_request_bytes=1_000_000)
        endpoint = TCP4ServerEndpoint(running, 0, interface="127.0.0.1")
        self.proxy.service.site = site
        self.proxy.service.listeners = [Listener("here", endpoint, site)]
        self.proxy.service.privilegedStartService()
        self.proxy.service.startService()
        self.addCleanup(self._stop, self.proxy, self.clock)
        listening: Any = self.proxy.service.ports[0]
        return int(listening.getHost().port)

    async def begin(self, port: int, model: str = "g", **more: Any) -> Connection:
        """Ask for a stream; return the connection at once."""
        body = {
            "model": model,
            "messages": [{"role": "user", "content": "hi"}],
            "stream": True,
            "stream_options": {"include_usage": True},
            **more,
        }
        return await self.connect(port, write_request("POST", "/v1/chat/completions", body))

    async def see(self, port: int, **more: Any) -> Seen:
        """Ask for a stream, and read it to its end while time stands still."""
        connection = await self.begin(port, **more)
        return Seen.read_http(await connection.end())

    async def ask_plain(self, port: int) -> tuple[int, str]:
        """Ask for a plain answer; return its status, and its text if there is one."""
        connection = await self.begin(port, stream=False, stream_options=None)
        await connection.end()
        body = loads(bytes(connection.received).partition(b"\r\n\r\n")[2])
        return connection.status, body["choices"][0]["message"][
            "content"
        ] if "choices" in body else ""

    async def see_late(self, connection: Connection, *, within: float) -> tuple[Seen, float]:
        """Let time pass until a stream has ended; return it and the seconds that it took."""
        await self.still()
        took = await self.clock.run_until(lambda: connection.reason is not None, within=within)
        return Seen.read_http(bytes(connection.received)), took

    def asked(self) -> list[int]:
        """Return how many requests each upstream has seen."""
        return [len(up.requests) for up in self.ups]

    async def still(self) -> None:
        """Wait until somebody was asked and the sockets are quiet, while time stands still."""
        await self.until(lambda: any(self.asked()))
        await self.clock.settle()

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for something, while the clock stands still."""
        from twisted.internet import reactor

        running: Any = reactor
        end = running.seconds() + seconds
        while not condition():
            self.assertLess(running.seconds(), end, "it does not come")
            await self.clock.settle(1)

    def _moves(self) -> object:
        """Return what changes while something moves."""
        sent = [(len(up.requests), [one.sent for one in up.connections]) for up in self.ups]
        return sent, [(len(one.received), one.reason) for one in self.opened], len(self.records)

    async def _stop(self, proxy: Proxy, clock: FastClock) -> None:
        stopping = proxy.service.stopService()
        await clock.run(3)
        await stopping

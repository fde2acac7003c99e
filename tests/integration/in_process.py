"""A proxy in this process, between real sockets and chaos upstreams, on a clock of the test's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import deferLater

from aiproxy.config.load import load
from aiproxy.gateway.dispatch import Dispatcher
from aiproxy.gateway.usage import CallRecord
from aiproxy.proxy import Proxy
from aiproxy.service import Listener
from aiproxy.testing import ChaosUpstream
from tests.integration.fast_clock import FastClock
from tests.integration.servers import TOKEN, Connection, ServersTestCase, write_request
from tests.sites import make_site

_PROVIDERS = "".join(
    f"  up{place}: {{base_url: BASE{place}, token: sk-up{place}}}\n" for place in range(3)
)


class InProcessTestCase(ServersTestCase):
    """Three upstreams, ``up0`` to ``up2``, with a model ``upN/one`` each."""

    async def start(
        self, config: str, *scripts: object, reuse: bool = True, providers: str = ""
    ) -> None:
        """
        Start it all.

        :param config: all but the providers.
        :param scripts: of the upstreams; those without one answer well.
        :param providers: further ones.
        :param reuse: an upstream's connection may serve again.
        """
        from twisted.internet import reactor

        self.clock = FastClock(reactor)
        self.clock.moves = self._moves
        running: Any = self.clock
        self.upstreams: list[ChaosUpstream] = []
        self.records: list[CallRecord] = []
        providers = f"providers:\n{_PROVIDERS}{providers}"
        for place in range(3):
            script = scripts[place] if place < len(scripts) else ()
            upstream = ChaosUpstream(script, clock=self.clock, name=f"up{place}", keep_alive=reuse)
            providers = providers.replace(f"BASE{place}", await upstream.listen(reactor))
            self.addCleanup(upstream.stop)
            self.upstreams.append(upstream)
        self.write(config + providers)
        loaded = load(None, env={"AUTH_TOKEN": TOKEN}, folder=self.folder).config
        self.proxy = Proxy(
            loaded,
            running,
            report=self.records.append,
            wall=lambda: 1.8e9 + self.clock.seconds(),
        )
        self.site = make_site(self.proxy.resource(), running, max_request_bytes=100_000)
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        service = self.proxy.service
        service.site = self.site
        service.listeners = [Listener("here", endpoint, self.site)]
        service.privilegedStartService()
        service.startService()
        self.addCleanup(service.stopService)
        listening: Any = service.ports[0]
        self.port = int(listening.getHost().port)

    @property
    def dispatcher(self) -> Dispatcher:
        """The gateway."""
        return self.proxy._dispatcher

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Let the sockets do their work until something holds, while no time passes."""
        from twisted.internet import reactor

        running: Any = reactor
        end = running.seconds() + seconds
        while not condition():
            self.assertLess(running.seconds(), end, "it does not come to that")
            await deferLater(running, 0.002)

    def _moves(self) -> object:
        """Return what changes while something moves."""
        sent = [(len(up.requests), [one.sent for one in up.connections]) for up in self.upstreams]
        return sent, [(len(one.received), one.reason) for one in self.opened], len(self.records)

    async def begin(self, model: str = "up0/one", *headers: str, **more: object) -> Connection:
        """Ask for a chat's answer; return the connection, perhaps before there is one."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
        request = write_request("POST", "/v1/chat/completions", body)
        told = "".join(f"{header}\r\n" for header in headers).encode()
        return await self.connect(
            self.port, request.replace(b"\r\n\r\n", b"\r\n" + told + b"\r\n", 1)
        )


def read_text(received: bytes | bytearray) -> str:
    """Return the text of a stream so far."""
    text = ""
    for line in received.split(b"\n"):
        if line.startswith(b"data: {"):
            for choice in json.loads(bytes(line).removeprefix(b"data: ")).get("choices", []):
                text += choice.get("delta", {}).get("content") or ""
    return text

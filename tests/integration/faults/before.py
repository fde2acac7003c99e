"""Whole calls past upstreams that fail before the caller has seen anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from attrs import frozen
from twisted.internet.task import deferLater

from aiproxy.providers.chaos.script import ANSWER
from tests.integration.in_process import InProcessTestCase, read_text
from tests.integration.servers import Connection

#: Both ways to ask.
WAYS = (False, True)

CONFIG = """
retry: {{jitter: 0{retry}}}
breaker: {{{breaker}}}
timeouts: {{{timeouts}}}
models:
  - {{name: up0/one, provider: up0}}
  - {{name: up1/one, provider: up1}}
  - {{name: up2/one, provider: up2}}
groups:
  g: {{models: [up0/one, up1/one]}}
  all: {{models: [up0/one, up1/one, up2/one]}}
"""


@frozen
class Told:
    """
    What the caller was told.

    :ivar took: seconds.
    :ivar model: who answered, by the body.
    """

    status: int
    text: str
    error: dict[str, Any]
    headers: dict[str, str]
    model: str | None
    took: float

    @property
    def answered(self) -> bool:
        """Whether it is the whole answer."""
        return self.status == 200 and self.text == ANSWER and not self.error


class BeforeTestCase(InProcessTestCase):
    """A proxy, its upstreams, and time that passes as fast as it can."""

    timeout = 120

    async def play(
        self, *scripts: object, retry: str = "", breaker: str = "", timeouts: str = ""
    ) -> None:
        """Start a proxy with these upstreams."""
        text = CONFIG.format(retry=f", {retry}" if retry else "", breaker=breaker,
                             timeouts=timeouts)  # fmt: skip
        await self.start(text, *scripts)

    async def call(self, model: str = "g", *, stream: bool, **more: object) -> Told:
        """Ask, and let time pass until the answer is there."""
        began = self.clock.seconds()
        return await self.read(await self.begin(model, stream=stream, **more), began)

    async def read(self, connection: Connection, began: float) -> Told:
        """
        Let time pass until a request is answered.

        :param began: when it was sent.
        """
        await self.finish(connection)
        head, _, body = bytes(connection.received).partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")[1:]
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
        took = round(self.clock.seconds() - began, 2)
        return Told(connection.status, *_read(body, headers), took=took)

    async def finish(self, connection: Connection) -> None:
        """Let time pass, from one timer to the next, until a connection is closed."""
        while not await self.is_quiet(connection):
            due = min(one.getTime() for one in self.clock.getDelayedCalls())
            self.clock.advance(max(0.0, due - self.clock.seconds()))

    async def is_quiet(self, connection: Connection) -> bool:
        """Wait until nothing moves while no time passes; say whether all is over."""
        from twisted.internet import reactor

        seen, still = self.moves(connection), 0
        while still < 10 and connection.reason is None:
            await deferLater(reactor, 0.001)
            moved = self.moves(connection)
            still = still + 1 if moved == seen else 0
            seen = moved
        return connection.reason is not None

    def moves(self, connection: Connection) -> tuple[object, ...]:
        """Return what changes while something moves."""
        ups = [(len(up.requests), [one.sent for one in up.connections]) for up in self.upstreams]
        return (len(connection.received), ups, len(self.records))

    def asked(self) -> list[int]:
        """Return how many requests each upstream has seen."""
        return [len(up.requests) for up in self.upstreams]

    async def each_way(self, *scripts: object, model: str = "g", **settings: str) -> Iterator[Told]:
        """Ask plainly and for a stream, each of a proxy of its own."""
        told = []
        for stream in WAYS:
            await self.play(*scripts, **settings)
            told.append(await self.call(model, stream=stream))
        return iter(told)


def _read(body: bytes, headers: dict[str, str]) -> tuple[str, dict[str, Any], dict[str, str], Any]:
    """Read an answer, plain or streamed: its text, its error, its headers and its model."""
    if "event-stream" not in headers["content-type"]:
        document = json.loads(body)
        if "error" in document:
            return "", document["error"], headers, None
        message = document["choices"][0]["message"]
        return message["content"], {}, headers, document["model"]
    events = [
        json.loads(line.removeprefix(b"data: "))
        for line in body.split(b"\n")
        if line.startswith(b"data: {")
    ]
    error: dict[str, Any] = next((event["error"] for event in events if "error" in event), {})
    model = next((event["model"] for event in events if "model" in event), None)
    return read_text(body), error, headers, model

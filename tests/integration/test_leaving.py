"""Clients that leave: the upstream is let go at once, and nothing stays behind."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from aiproxy.gateway.usage import CallRecord
from aiproxy.providers.chaos.script import ANSWER
from tests.integration.in_process import InProcessTestCase, read_text
from tests.integration.servers import Connection

CONFIG = """
models:
  - {name: up0/one, provider: up0, fallbacks: [up1/one]}
  - {name: up1/one, provider: up1}
  - {name: up2/one, provider: up2, min_interval: 30s}
  - {name: alone, provider: up0, upstream_model: one, max_concurrent: 1}
  - {name: tls, provider: up0, url: "TLS"}
groups:
  pair: {models: [up0/one, up1/one], hedge: {after: 2s}}
retry: {max_retries: 1, base_delay: 20s, max_delay: 30s, jitter: 0}
server: {queue_timeout: 40s, keep_alive: 15s}
"""
SILENT = [{"fault": "silent", "times": 0}]
CUT = {"fault": "cut", "after_events": 3}


def open_descriptors() -> list[str]:
    """What this process has open, but for what lists it."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.append(f"{number} {os.readlink('/proc/self/fd/' + number)}")
    return sorted(found)


class LeavingTests(InProcessTestCase):
    """A client leaves at every phase of a call, by FIN and by RST, and no time passes after it."""

    async def set_up(self, *scripts: object) -> None:
        """Start it all."""
        self.scripts = [*scripts, (), (), ()][:3]
        self.tls, port = self.upstream(lambda connection: None)
        config = CONFIG.replace("TLS", f"https://127.0.0.1:{port}/v1/chat/completions")
        await self.start(config, *scripts, reuse=False)

    def look(self) -> list[Any]:
        """Return all that a call may leave behind."""
        gc.collect()
        shared = self.dispatcher.shared
        names = ("up0/one", "up1/one", "up2/one", "alone", "tls")
        return [
            len(self.dispatcher.running),
            shared.gate.waiting,
            self.leases,
            [shared.traffic.look(name).running for name in names],
            [upstream.open_connections for upstream in self.upstreams],
            len(self.site.channels),
            open_descriptors(),
            set(self.clock.getDelayedCalls()),
        ]

    @property
    def leases(self) -> int:
        """How many are held."""
        return sum(one.in_flight for one in self.dispatcher.shared.book._admissions.values())

    async def check(
        self,
        reached: Callable[[Connection], bool],
        *,
        model: str = "up0/one",
        stream: bool = True,
        attempts: int = 1,
        passes: float = 0.0,
    ) -> CallRecord:
        """
        Let clients leave when they have got there; all is as it was before.

        :param reached: says so.
        :param passes: seconds of waiting, once somebody is asked.
        :return: what the last call came to.
        """
        for reset in (False, True):
            for upstream, script in zip(self.upstreams, self.scripts, strict=True):
                upstream.play(script)
            await self.clock.settle()
            before, self.asked_before = self.look(), len(self.upstreams[0].requests)
            self.records.clear()
            client = await self.begin(model, stream=stream)
            if passes:
                await self.until(self.playing)
                self.clock.advance(passes)
            await self.until(partial(reached, client))
            self.assertEqual(self.records, [])
            now = self.clock.seconds()
            transport: Any = client.transport
            if reset:
                transport.abortConnection()
            else:
                transport.loseConnection()
            await self.until(partial(self.is_over, before), 1.0)
            self.assertEqual(self.look(), before)
            self.assertEqual(self.clock.seconds(), now)
            [record] = self.records
            self.assertEqual((record.error, record.attempts), ("client_left", attempts))
            self.assertEqual(len(record.spent), attempts)
        return record

    def playing(self, place: int = 0) -> bool:
        """Whether an upstream is asked now."""
        return any(one.lost is None and not one.idle for one in self.upstreams[place].connections)

    @property
    def shakes_hands(self) -> bool:
        """Whether TLS is begun."""
        return any(not one.lost.called for one in self.tls.connections)

    def is_over(self, before: list[Any]) -> bool:
        """Whether the call is reported, and nothing is left of it in the network."""
        gone = not self.shakes_hands and len(self.site.channels) == before[5]
        now = [upstream.open_connections for upstream in self.upstreams]
        return bool(gone and now == before[4] and self.records)

    def sent(self) -> int:
        """How much the first upstream has sent to this client."""
        return self.upstreams[0].connections[-1].sent if self.playing() else 0

    def failed(self, count: int) -> bool:
        """Whether so many attempts of this client have failed, and nobody is asked now."""
        asked = len(self.upstreams[0].requests) - self.asked_before
        running = self.dispatcher.shared.traffic.look("alone").running
        return asked == count and not running

    # --- before anybody is asked ------------------------------------------------------

    async def test_queued(self) -> None:
        """While it waits for its turn."""
        await self.set_up(SILENT)
        await self.begin("alone")
        await self.until(self.playing)
        gate = self.dispatcher.shared.gate
        await self.check(lambda client: gate.waiting == 1, model="alone", attempts=0)

    async def test_paced(self) -> None:
        """While it waits for its pace."""
        await self.set_up()
        await (await self.begin("up2/one")).end()
        record = await self.check(lambda client: self.leases == 1, model="up2/one", attempts=0)
        self.assertEqual(len(self.upstreams[2].requests), 1)
        self.assertEqual(record.spent, [])

    async def test_before_a_repeat(self) -> None:
        """While it waits to repeat what has failed."""
        await self.set_up([503])
        await self.check(lambda client: self.failed(1), model="alone")

    async def test_connecting(self) -> None:
        """While its connection is made: there is no TLS yet."""
        await self.set_up()
        await self.check(lambda client: self.shakes_hands, model="tls")

    # --- before the first token -------------------------------------------------------

    async def test_before_headers(self) -> None:
        """While the upstream says nothing."""
        await self.set_up(SILENT)
        for stream in (False, True):
            await self.check(lambda client: self.playing(), stream=stream)

    async def test_before_first_token(self) -> None:
        """While there are only headers."""
        await self.set_up([{"fault": "late", "ping_every": 1}])
        await self.check(lambda client: self.sent() > 100)

    async def test_kept_alive(self) -> None:
        """When it has been told to be patient."""
        await self.set_up(SILENT)
        await self.check(
            lambda client: b": keep-alive" in client.received, passes=15, model="alone"
        )

    async def test_hedged(self) -> None:
        """While two are asked."""
        await self.set_up(SILENT, SILENT)
        two = lambda client: self.playing(0) and self.playing(1)  # noqa: E731
        await self.check(two, model="pair", attempts=2, passes=2)

    # --- in the answer ------------------------------------------------------------------

    async def test_in_body(self) -> None:
        """In the middle of a whole answer."""
        await self.set_up([{"fault": "stall", "after_bytes": 50}])
        await self.check(lambda client: self.sent() > 50, stream=False, model="alone")

    async def test_in_stream(self) -> None:
        """In the middle of a stream."""
        await self.set_up([{"fault": "stall", "after_events": 3}])
        await self.check(lambda client: "lighthouse" in read_text(client.received))

    async def test_before_takeover(self) -> None:
        """While it waits for somebody to go on with a stream that was cut."""
        await self.set_up([CUT, 503])
        await self.check(lambda client: self.failed(2), model="alone", attempts=2)

    async def test_takeover(self) -> None:
        """While somebody is asked to go on."""
        await self.set_up([CUT], SILENT)
        await self.check(lambda client: self.playing(1), attempts=2)

    async def test_continuation(self) -> None:
        """While somebody else goes on."""
        await self.set_up([CUT], [{"fault": "stall", "after_events": 20}])
        record = await self.check(lambda client: "steps" in read_text(client.received), attempts=2)
        self.assertEqual([one.outcome for one in record.spent], ["cut", "left"])

    async def test_tail(self) -> None:
        """When all was said, but for the end: its usage is known."""
        await self.set_up([{"fault": "no_done", "end": "open"}])
        record = await self.check(lambda client: read_text(client.received) == ANSWER)
        self.assertGreater(record.tokens.completion, 10)

"""Hedging over real sockets: the slow upstream is let go when a faster one has begun."""

from __future__ import annotations

from aiproxy.providers.chaos.script import ANSWER
from tests.integration.in_process import InProcessTestCase, read_text

CONFIG = """
models:
  - {name: up0/one, provider: up0, requests_per_minute: 100}
  - {name: up1/one, provider: up1}
groups:
  pair: {models: [up0/one, up1/one], hedge: {after: AFTER, budget_per_minute: BUDGET}}
retry: {max_retries: 0}
timeouts: {first_token: 30s, headers: 30s}
server: {explain: true}
"""


class HedgingTests(InProcessTestCase):
    """Two upstreams, of which the second is asked where the first is slow."""

    async def start_pair(self, *scripts: object, after: str = "2s", budget: int = 10) -> None:
        """Start it all."""
        config = CONFIG.replace("AFTER", after).replace("BUDGET", str(budget))
        await self.start(config, *scripts)

    async def ask_pair(self, *waits: float) -> bytes:
        """Ask for a stream; let so many seconds pass, one after the other; return it all."""
        before = [len(upstream.requests) for upstream in self.upstreams]
        client = await self.begin("pair", stream=True, stream_options={"include_usage": True})
        for place, seconds in enumerate(waits):
            upstream = self.upstreams[place]
            await self.until(lambda: len(upstream.requests) > before[place])  # noqa: B023
            self.clock.advance(seconds)
        return await client.end()

    def running(self) -> list[int]:
        """Return how many calls go on at each model."""
        traffic = self.dispatcher.shared.traffic
        return [traffic.look(f"up{place}/one").running for place in range(2)]

    def outcomes(self) -> list[tuple[str, str]]:
        """Return what became of the last call's attempts."""
        return [(one.model, one.outcome) for one in self.records[-1].spent]

    async def test_slow(self) -> None:
        """The faster one's answer is whole; the slow one's connection is closed before its end."""
        slow = [{"fault": "late", "ping_every": 0.5}]
        await self.start_pair(slow, [{"fault": "stall", "after_events": 2, "delay": 9}])
        client = await self.begin("pair", stream=True)
        await self.until(lambda: len(self.upstreams[0].requests) == 1)
        self.clock.advance(2)
        await self.until(lambda: "The" in read_text(client.received))
        await self.until(lambda: self.upstreams[0].open_connections == 0)
        self.assertEqual(self.running(), [0, 1])
        self.assertEqual(self.upstreams[1].open_connections, 1)
        self.clock.advance(9)
        stream = await client.end()
        self.assertEqual(read_text(stream), ANSWER)
        self.assertIn(b"x-aiproxy-model: up1/one", stream.lower())
        self.assertIn(b"x-aiproxy-attempts: 2", stream.lower())
        self.assertIn(
            b": aiproxy: up1/one is asked too: the first token is late after 2.0 s", stream
        )
        self.assertEqual(self.outcomes(), [("up0/one", "late"), ("up1/one", "answered")])
        self.assertEqual(self.running(), [0, 0])
        self.assertGreater(self.records[0].tokens.completion, 0)

    async def test_slow_wins(self) -> None:
        """Where the first is faster after all, the second one's connection is closed."""
        late = [{"fault": "silent", "delay": 3}]
        await self.start_pair(late, [{"fault": "silent"}])
        stream = await self.ask_pair(2, 1)
        self.assertEqual(read_text(stream), ANSWER)
        await self.until(lambda: self.upstreams[1].open_connections == 0)
        self.assertEqual(self.outcomes(), [("up1/one", "late"), ("up0/one", "answered")])
        self.assertEqual(self.running(), [0, 0])

    async def test_both_fail(self) -> None:
        """The caller gets one error for both."""
        await self.start_pair([{"fault": "silent"}], [{"fault": "reset"}])
        client = await self.begin("pair", stream=True)
        await self.until(lambda: len(self.upstreams[0].requests) == 1)
        self.clock.advance(2)
        await self.until(lambda: len(self.upstreams[1].requests) == 1)
        self.upstreams[0].connections[0].transport.abortConnection()
        await client.end()
        self.assertEqual(client.status, 502)
        self.assertIn(b"x-should-retry: false", client.received.lower())
        self.assertEqual(sorted(self.outcomes()), [("up0/one", "failed"), ("up1/one", "failed")])
        self.assertEqual(self.running(), [0, 0])

    async def test_budget(self) -> None:
        """Without anything left of the budget the slow one is waited for."""
        late = [{"fault": "silent", "delay": 5, "times": 0}]
        await self.start_pair(late, budget=2)
        for _ in range(2):
            self.assertEqual(read_text(await self.ask_pair(2)), ANSWER)
        self.assertEqual(read_text(await self.ask_pair(5)), ANSWER)
        self.assertEqual([record.served_by for record in self.records],
                         ["up1/one", "up1/one", "up0/one"])  # fmt: skip
        self.clock.advance(60)
        self.assertEqual(read_text(await self.ask_pair(2)), ANSWER)
        self.assertEqual(self.records[-1].served_by, "up1/one")

    async def test_percentile(self) -> None:
        """With ``p95`` the traffic says what is late; before it has, nobody is asked too."""
        late = [{"fault": "silent", "delay": 1, "times": 20}, {"fault": "silent"}]
        await self.start_pair(late, after="p95")
        for _ in range(20):
            self.assertEqual(read_text(await self.ask_pair(1)), ANSWER)
        self.assertEqual(len(self.upstreams[1].requests), 0)
        self.assertEqual(read_text(await self.ask_pair(1)), ANSWER)
        self.assertEqual(self.records[-1].served_by, "up1/one")

    async def test_lease(self) -> None:
        """The one that loses keeps no place, and its request stays counted."""
        await self.start_pair([{"fault": "silent"}])
        await self.ask_pair(2)
        admissions = self.dispatcher.shared.book._admissions
        [first] = [one for key, one in admissions.items() if key[0] == "up0/one"]
        now = self.clock.seconds()
        self.assertEqual((first.in_flight, first.remaining(now, 1.8e9 + now)),
                         (0, {"requests_per_minute": 99}))  # fmt: skip

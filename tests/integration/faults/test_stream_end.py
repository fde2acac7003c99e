"""Streams whose end is missing though all was said, over real sockets."""

from __future__ import annotations

from tests.integration.faults.streaming import TEXT, StreamingTestCase


class EndTests(StreamingTestCase):
    """A finish reason is an end."""

    async def test_closed(self) -> None:
        """Without ``[DONE]`` the answer ends with the connection, however that is closed."""
        for end in ("close", "reset", "clean"):
            port = await self.serve_ups([{"fault": "no_done", "end": end}], [])
            self.assertIsNone((await self.see(port)).problem(TEXT))
            self.assertEqual((self.asked(), self.records[-1].takeovers), ([1, 0], 0))

    async def test_open(self) -> None:
        """If it stays open, two seconds are enough."""
        port = await self.serve_ups([{"fault": "no_done", "end": "open"}], [])
        seen, took = await self.see_late(await self.begin(port), within=5)
        self.assertIsNone(seen.problem(TEXT))
        self.assertTrue(2 <= took <= 2.5, took)
        await self.until(lambda: self.ups[0].open_connections == 0)
        self.assertEqual(self.asked(), [1, 0])

    async def test_without_usage(self) -> None:
        """A usage that does not come is awaited for two seconds as well."""
        # Behind the finish reason: 35 words, a role, and the reason itself.
        step = {"fault": "stall", "after_events": self.finish(), "delay": 60}
        port = await self.serve_ups([step], [])
        seen, took = await self.see_late(await self.begin(port), within=5)
        self.assertIsNone(seen.problem(TEXT, usage=False))
        self.assertEqual(seen.usages, [])
        self.assertTrue(2 <= took <= 2.5, took)

    async def test_late_usage(self) -> None:
        """A usage that comes in time is told."""
        step = {"fault": "stall", "after_events": self.finish(), "delay": 1.5}
        port = await self.serve_ups([step], [])
        seen, took = await self.see_late(await self.begin(port), within=5)
        self.assertIsNone(seen.problem(TEXT))
        self.assertTrue(1.5 <= took <= 2, took)

    async def test_before_the_finish_reason(self) -> None:
        """An end in proper HTTP without a finish reason is a cut."""
        step = {"fault": "cut", "after_events": self.finish() - 1, "end": "clean"}
        port = await self.serve_ups([step], [])
        self.assertIsNone((await self.see(port)).problem(TEXT))
        self.assertTrue(self.records[-1].rescued)

    def finish(self) -> int:
        """Return how many events there are with the finish reason's."""
        return 2 + len(TEXT.split())

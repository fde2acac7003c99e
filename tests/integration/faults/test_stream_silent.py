"""Streams that go silent, over real sockets: some minutes pass in no time."""

from __future__ import annotations

from typing import Any

from tests.integration.faults.streaming import TEXT, StreamingTestCase


def stall(**more: object) -> list[dict[str, object]]:
    """Write a script whose stream goes silent behind some events."""
    return [{"fault": "stall", "after_characters": 50, **more}]


class SilentTests(StreamingTestCase):
    """``timeouts.idle`` is 15 seconds, ``timeouts.reasoning`` two minutes."""

    async def took(self, *scripts: object, more: str = "", **request: Any) -> float:
        """Return after how many seconds an answer was whole, with a second one to go on."""
        port = await self.serve_ups(*scripts, more=more)
        seen, took = await self.see_late(await self.begin(port, **request), within=300)
        reason = "tool_calls" if seen.reasons == ["tool_calls"] else "stop"
        text = '{"city":"Zürich","days":3}' if reason == "tool_calls" else TEXT
        self.assertIsNone(seen.problem(text, reason))
        return took

    async def test_idle(self) -> None:
        """Silence is given up after ``idle``: another one goes on, the silent one is left."""
        took = await self.took(stall(), [])
        self.assertTrue(15 <= took < 17, took)
        self.assertEqual(self.asked(), [1, 1])
        self.assertEqual((self.records[-1].takeovers, self.records[-1].rescued), (1, True))
        await self.until(lambda: self.ups[0].open_connections == 0)

    async def test_short_silence(self) -> None:
        """Who says something again in time is not left."""
        took = await self.took(stall(delay=14), [])
        self.assertTrue(14 <= took < 15, took)
        self.assertEqual(self.asked(), [1, 0])

    async def test_pings(self) -> None:
        """A provider's pings and comments are life."""
        for ping in ("comment", "event"):
            took = await self.took(stall(delay=100, ping_every=10, ping=ping), [])
            self.assertTrue(100 <= took < 102, took)
            self.assertEqual(self.asked(), [1, 0])

    async def test_reasoning(self) -> None:
        """Who may think for long, has the time for it."""
        for request in ({"reasoning_effort": "high"}, {"tools": [{"type": "function"}]}):
            took = await self.took(stall(), [], **request)
            self.assertTrue(120 <= took < 122, took)

    async def test_open_call(self) -> None:
        """So has an open tool call."""
        script = {"tool": True, "faults": [{"fault": "stall", "after_characters": 10}]}
        took = await self.took(script, {"tool": True})
        self.assertTrue(120 <= took < 122, took)

    async def test_configured(self) -> None:
        """The times can be set."""
        took = await self.took(stall(), [], more="timeouts: {idle: 3s}")
        self.assertTrue(3 <= took < 5, took)

    async def test_first_token_late(self) -> None:
        """Headers without content are given up after ``first_token``, before anything is told."""
        took = await self.took([{"fault": "late"}], [])
        self.assertTrue(10 <= took < 12, took)
        self.assertEqual((self.records[-1].takeovers, self.asked()), (0, [1, 1]))
        await self.until(lambda: self.ups[0].open_connections == 0)

    async def test_nobody_left(self) -> None:
        """The last one's silence ends in an error event that names it."""
        port = await self.serve_ups(stall())
        seen, _ = await self.see_late(await self.begin(port), within=700)
        error = seen.broken_off(TEXT)
        self.assertEqual(error["code"], "upstream_timeout")
        self.assertIn("50 characters so far", error["message"])
        self.assertEqual(self.records[-1].error, "upstream_timeout")

    async def test_client_leaves(self) -> None:
        """A client that leaves meanwhile lets the upstream go at once."""
        port = await self.serve_ups(stall(), [])
        connection = await self.begin(port)
        await connection.until_bytes(b"hundred")
        connection.transport.abortConnection()  # type: ignore[union-attr]
        await self.until(lambda: self.ups[0].open_connections == 0)
        await self.until(lambda: bool(self.records))
        self.assertEqual((self.records[0].error, self.asked()), ("client_left", [1, 0]))

    async def test_client_leaves_in_takeover(self) -> None:
        """So does one that leaves while another one is awaited; nothing is left behind."""
        port = await self.serve_ups([{"fault": "cut"}], [{"fault": "silent"}])
        connection = await self.begin(port)
        await self.ups[1].until(lambda: len(self.ups[1].requests) == 1)
        connection.transport.abortConnection()  # type: ignore[union-attr]
        await self.until(lambda: self.ups[1].open_connections == 0)
        await self.until(lambda: bool(self.records))
        record = self.records[0]
        self.assertEqual((record.error, record.attempts, record.rescued), ("client_left", 2, False))

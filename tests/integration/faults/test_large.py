"""Answers without measure, over real sockets: all is bounded, and memory stays flat."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import deferLater

from aiproxy.gateway.delivered import DELIVERED_BYTES
from tests.integration.faults.streaming import TEXT, StreamingTestCase

LIMITS = "server: {max_response_bytes: 200KiB, max_event_bytes: 100KiB}"


def resident_bytes() -> int:
    """Return how much memory this process has."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * 4096


class EndlessTests(StreamingTestCase):
    """One part of an answer has no end: so much of it is read, and no more."""

    async def check(self, part: str, *, stream: bool) -> None:
        """It is a failed attempt of a bounded size, and nothing is left of it."""
        port = await self.serve_ups([{"fault": "endless", "part": part}], more=LIMITS)
        connection = await self.begin(port, stream=stream)
        await connection.end()
        self.assertEqual((part, connection.status), (part, 502))
        self.assertIn(b'"type":"provider_error"', connection.received)
        await self.until(lambda: self.ups[0].open_connections == 0)
        # What the kernel holds between the two is not ours.
        self.assertLess(self.ups[0].connections[0].sent, 12_000_000)

    async def test_stream(self) -> None:
        """An event, a line or a header block."""
        for part in ("event", "line", "header"):
            await self.check(part, stream=True)

    async def test_plain(self) -> None:
        """A plain answer, or its header block."""
        for part in ("answer", "header"):
            await self.check(part, stream=False)


class FloodTests(StreamingTestCase):
    """An upstream that is faster than the client."""

    async def test_client_does_not_read(self) -> None:
        """The upstream is paused: what is under way is bounded, however long the stream."""
        from twisted.internet import reactor

        port = await self.serve_ups([{"fault": "flood", "size": 50_000}])
        connection = await self.begin(port)
        await connection.until_bytes(b"aaaa")
        connection.transport.pauseProducing()  # type: ignore[union-attr]
        upstream = self.ups[0].connections[0]
        sent = -1
        while sent != upstream.sent:
            sent = upstream.sent
            await deferLater(reactor, 0.2)
        self.assertLess(sent, 40_000_000)  # The kernel's buffers, and ours.
        connection.transport.resumeProducing()  # type: ignore[union-attr]
        await self.ups[0].until(lambda: upstream.sent > sent + 20_000_000)
        connection.transport.abortConnection()  # type: ignore[union-attr]
        await self.until(lambda: self.ups[0].open_connections == 0)

    async def test_memory(self) -> None:
        """A stream of 200 MB takes no more memory than its first megabytes."""
        port = await self.serve_ups([{"fault": "flood", "size": 50_000}])
        connection = await self.begin(port)
        upstream = self.ups[0].connections

        async def pass_on(count: int) -> int:
            start = upstream[0].sent if upstream else 0
            while not upstream or upstream[0].sent - start < count:
                await connection.until(lambda: len(connection.received) > 1_000_000)
                connection.received.clear()
            return resident_bytes()

        before = await pass_on(20_000_000)
        self.assertLess(await pass_on(200_000_000) - before, 16_000_000)

    async def test_too_long_to_be_continued(self) -> None:
        """Only so much of an answer is kept; where a longer one is cut, the error says so."""
        events = DELIVERED_BYTES // 50_000 + 2
        for cut_after, continued in ((3, True), (events, False)):
            step = {"fault": "cut", "after_events": cut_after + 1}
            text = " ".join(f"{number:049999}" for number in range(events + 3))
            port = await self.serve_ups({"answer": text, "faults": [step]}, {"answer": text})
            seen = await self.see(port)
            if continued:
                self.assertIsNone(seen.problem(text))
            else:
                self.assertIn("too long to be continued", seen.broken_off(text)["message"])
                self.assertEqual(self.asked(), [1, 0])

    async def test_answer(self) -> None:
        """A plain answer may be as long as it is allowed to be."""
        port = await self.serve_ups({"answer": TEXT * 500}, more=LIMITS)
        self.assertEqual(await self.ask_plain(port), (200, TEXT * 500))
        port = await self.serve_ups({"answer": TEXT * 1_500}, more=LIMITS)
        self.assertEqual((await self.ask_plain(port))[0], 502)

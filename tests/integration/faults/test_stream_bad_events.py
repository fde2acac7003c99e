"""Streams with events that are none, errors inside, or nothing at all, over real sockets."""

from __future__ import annotations

from tests.integration.faults.streaming import TEXT, StreamingTestCase


class GarbledTests(StreamingTestCase):
    """One event cannot be decoded."""

    async def test_noise(self) -> None:
        """What is not the upstream's JSON at all is passed over: nothing can be lost."""
        port = await self.serve_ups([{"fault": "garbled", "looks": "noise", "after_events": 9}], [])
        self.assertIsNone((await self.see(port)).problem(TEXT))
        self.assertEqual(self.asked(), [1, 0])

    async def test_content(self) -> None:
        """What looks like a delta is a cut: another one goes on, and no word is missing."""
        for place in (2, 9, 20):
            step = {"fault": "garbled", "looks": "content", "after_events": place}
            port = await self.serve_ups([step], [])
            self.assertIsNone((await self.see(port)).problem(TEXT))
            self.assertEqual(self.asked(), [1, 1])
            if place > 2:  # Else it may come together with the first word.
                self.assertTrue(self.records[-1].rescued)

    async def test_noise_in_a_call(self) -> None:
        """In an open tool call anything may have been a part of it: it is started over."""
        step = {"fault": "garbled", "looks": "noise", "after_events": 3}
        port = await self.serve_ups({"tool": True, "faults": [step]}, {"tool": True})
        self.assertIsNone(
            (await self.see(port)).problem('{"city":"Zürich","days":3}', "tool_calls")
        )
        self.assertEqual(self.asked(), [1, 1])

    async def test_nobody_left(self) -> None:
        """Without anybody to go on it is told, and no content comes behind the gap."""
        port = await self.serve_ups([{"fault": "garbled", "looks": "content", "after_events": 9}])
        error = (await self.see(port)).broken_off(TEXT)
        self.assertIn("cannot be decoded", error["message"])


class ErrorInsideTests(StreamingTestCase):
    """An error in a 200 is what it would be as a status."""

    async def test_in_the_middle(self) -> None:
        """As an event behind some content: another one goes on."""
        for error in ("500", "rate_limit", "overloaded"):
            step = {"fault": "error_inside", "error": error, "after_characters": 60}
            port = await self.serve_ups([step], [])
            self.assertIsNone((await self.see(port)).problem(TEXT))
            self.assertTrue(self.records[-1].rescued)

    async def test_at_once(self) -> None:
        """As the first event: the next candidate answers, and it is no takeover."""
        step = {"fault": "error_inside", "error": "500", "after_events": 0}
        port = await self.serve_ups([step], [])
        seen = await self.see(port)
        self.assertIsNone(seen.problem(TEXT))
        self.assertEqual(({chunk["model"] for chunk in seen.chunks}), {"m1"})
        self.assertEqual((self.records[-1].takeovers, self.records[-1].attempts), (0, 2))

    async def test_refused(self) -> None:
        """A refusal by policy is rerouted no more than one with a status."""
        step = {"fault": "error_inside", "error": "content_policy", "after_characters": 60}
        port = await self.serve_ups([step], [])
        error = (await self.see(port)).broken_off(TEXT)
        self.assertEqual(self.asked(), [1, 0])
        self.assertEqual(self.records[-1].error, error["code"])

    async def test_plain(self) -> None:
        """In a plain answer's body: the next candidate answers."""
        port = await self.serve_ups([{"fault": "error_inside", "error": "500"}], [])
        self.assertEqual((await self.ask_plain(port)), (200, TEXT))
        self.assertEqual(self.asked(), [1, 1])


class NothingTests(StreamingTestCase):
    """A 200 that holds no answer is a failed attempt."""

    async def test_stream(self) -> None:
        """The next candidate's stream comes."""
        for fault in ("empty", "html", "nothing", "truncated"):
            port = await self.serve_ups([fault], [])
            self.assertIsNone((await self.see(port)).problem(TEXT))
            self.assertEqual((fault, self.asked()), (fault, [1, 1]))

    async def test_plain(self) -> None:
        """The next candidate's answer comes."""
        for fault in ("empty", "html", "nothing", "truncated", "garbled"):
            port = await self.serve_ups([fault], [])
            self.assertEqual((fault, *await self.ask_plain(port)), (fault, 200, TEXT))
            self.assertEqual(self.asked(), [1, 1])

    async def test_nobody_left(self) -> None:
        """Alone it is an error with a status, for plain answers and streams alike."""
        for fault in ("empty", "html", "nothing", "truncated"):
            for stream in (False, True):
                port = await self.serve_ups([fault])
                connection = await self.begin(port, stream=stream)
                await connection.end()
                self.assertEqual((fault, connection.status), (fault, 502))
                self.assertIn(b'"type":"provider_error"', connection.received)

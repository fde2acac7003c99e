"""Bugs of the Go proxy that aiproxy succeeds, by their numbers: it must not have them."""

from __future__ import annotations

from tests.integration.faults.before import WAYS, BeforeTestCase

ERRORS = (500, 503, "rate_limit", "bad_key", "no_model", "html", "reset", "empty", "quota")


class Row1Tests(BeforeTestCase):
    """Through an alias, an error was a 200 with nothing in it."""

    async def test_always_an_error(self) -> None:
        """Whatever the members of a group answer, the caller gets an envelope with a status."""
        for fault in ERRORS:
            again = {"fault": fault, "times": 0}
            for told in await self.each_way([again], [again], retry="max_retries: 0"):
                self.assertGreaterEqual(told.status, 400, fault)
                self.assertTrue(told.error["message"] and told.error["type"], fault)


class Row2Tests(BeforeTestCase):
    """Only one provider's plain 429 led to a fallback."""

    async def test_every_error(self) -> None:
        """Each kind of failure leads to the next member, plainly and for streams."""
        for fault in ERRORS:
            again = {"fault": fault, "times": 0}
            for told in await self.each_way([again], retry="max_retries: 0"):
                self.assertEqual((told.answered, told.model), (True, "up1/one"), fault)


class Row9Tests(BeforeTestCase):
    """A retry in the middle of a stream told the text again and again."""

    async def test_no_word_twice(self) -> None:
        """Cut again and again, by upstreams that start over: each word is told once."""
        cut = {"fault": "cut", "times": 1, "continuation": "start_over"}
        script = {"faults": [cut], "continuation": "start_over"}
        await self.play(script, script)
        told = await self.call("all", stream=True)
        self.assertTrue(told.answered, told)

    async def test_long_answers(self) -> None:
        """``timeout_seconds`` says nothing of the length of a stream: silence is what counts."""
        await self.play({"pace": 3.0}, timeouts="attempt: 5s")
        told = await self.call("up0/one", stream=True)
        self.assertTrue(told.answered)
        self.assertGreater(told.took, 60)
        self.assertEqual(self.asked()[0], 1)


class Row14Tests(BeforeTestCase):
    """An upstream went on after its client had left."""

    async def test_closed(self) -> None:
        """Its connection is closed at once, whole answer or stream."""
        for stream in WAYS:
            await self.play([{"fault": "silent", "times": 0}])
            connection = await self.begin("up0/one", stream=stream)
            await self.until(lambda: self.asked()[0] == 1)
            connection.transport.loseConnection()  # type: ignore[union-attr]
            await self.until(lambda: self.upstreams[0].open_connections == 0)
            await self.until(lambda: bool(self.records))
            self.assertEqual(self.records[0].error, "client_left")


class Row15Tests(BeforeTestCase):
    """Each request had a connection of its own, and no bound in time."""

    async def test_reused(self) -> None:
        """Calls one after the other share one connection."""
        await self.play()
        for stream in (*WAYS, *WAYS):
            self.assertTrue((await self.call("up0/one", stream=stream)).answered)
        self.assertEqual([one.served for one in self.upstreams[0].connections], [4])

    async def test_bounded(self) -> None:
        """Nothing waits for ever, even for an upstream that nobody stands behind."""
        await self.play([{"fault": "silent", "times": 0}])
        self.assertEqual((await self.call("up0/one", stream=False)).took, 600)

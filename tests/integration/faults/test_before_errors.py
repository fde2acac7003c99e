"""Upstreams that answer with an error: theirs, ours, or the caller's."""

from __future__ import annotations

from tests.integration.faults.before import WAYS, BeforeTestCase


class HiccupTests(BeforeTestCase):
    """500, 408, 409, 425."""

    async def test_once(self) -> None:
        """One more attempt on the same candidate answers."""
        for status in (500, 408, 409, 425):
            for told in await self.each_way([status]):
                self.assertEqual((told.answered, told.model, told.took), (True, "up0/one", 1))
                self.assertEqual(self.asked(), [2, 0, 0])

    async def test_twice(self) -> None:
        """After the second the next is asked."""
        for told in await self.each_way([{"fault": 500, "times": 0}]):
            self.assertEqual((told.answered, told.model), (True, "up1/one"))
            self.assertEqual(self.asked(), [2, 1, 0])


class OverloadTests(BeforeTestCase):
    """502, 503, 529."""

    async def test_next(self) -> None:
        """The next answers at once."""
        for status in (502, 503, 529):
            for told in await self.each_way([{"fault": status, "times": 0}]):
                self.assertEqual((told.answered, told.model, told.took), (True, "up1/one", 0))

    async def test_alone(self) -> None:
        """Alone it is asked again, with a longer wait each time."""
        for told in await self.each_way([{"fault": 503, "times": 3}], model="up0/one"):
            self.assertEqual((told.answered, told.took), (True, 7))

    async def test_passed_by(self) -> None:
        """After five failures it is passed by, but for a live request every three seconds."""
        for stream in WAYS:
            await self.play([{"fault": 503, "times": 6}])
            models = []
            for _ in range(24):
                models.append((await self.call(stream=stream)).model)
                self.clock.advance(0.5)
            # Five that failed; three seconds after the last one a probe that fails;
            # another three, and it answers.
            self.assertEqual(self.asked()[0], 6 + models.count("up0/one"))
            self.assertEqual(models, ["up1/one"] * 16 + ["up0/one"] * 8)

    async def test_flapping(self) -> None:
        """Every request of a bad minute is served; the first one is back within seconds."""
        for stream in WAYS:
            await self.play([{"fault": 503, "lasts": 60}])
            back = None
            for second in range(70):
                told = await self.call(stream=stream)
                self.assertTrue(told.answered, second)
                if told.model == "up0/one" and back is None:
                    back = second
                self.clock.advance(1)
            assert back is not None
            self.assertTrue(60 <= back <= 64, back)
            self.assertLess(self.asked()[0], 5 + 21 + 10)


class OurFaultTests(BeforeTestCase):
    """Our key, our configuration."""

    async def test_key(self) -> None:
        """Another at once; out for a minute; never a 401 to the caller."""
        for fault in ("bad_key", "forbidden", "key_not_valid"):
            for stream in WAYS:
                await self.play([{"fault": fault, "times": 1}])
                for seconds, model in ((0, "up1/one"), (59, "up1/one"), (2, "up0/one")):
                    self.clock.advance(seconds)
                    told = await self.call(stream=stream)
                    self.assertEqual((told.answered, told.model), (True, model), fault)
                self.assertEqual(self.asked()[0], 2)

    async def test_key_alone(self) -> None:
        """Alone it is a 502, and then nobody is asked in vain."""
        for fault in ("bad_key", "forbidden", "key_not_valid"):
            for stream in WAYS:
                await self.play([{"fault": fault, "times": 0}])
                told = await self.call("up0/one", stream=stream)
                self.assertEqual(told.status, 502)
                self.assertEqual(told.error["code"], "upstream_authentication_failed")
                self.assertNotIn("sk-up0", str(told))
                told = await self.call("up0/one", stream=stream)
                self.assertEqual((told.status, self.asked()[0]), (503, 1))
                self.assertEqual(told.headers["retry-after"], "60")

    async def test_configuration(self) -> None:
        """A model or an address that is not there: the next, else a 502 that says so."""
        for fault in ("no_model", "moved"):
            for told in await self.each_way([{"fault": fault, "times": 0}]):
                self.assertEqual((told.answered, told.model, told.took), (True, "up1/one", 0))
            for told in await self.each_way([{"fault": fault, "times": 0}], model="up0/one"):
                self.assertEqual(told.status, 502)
                self.assertEqual(told.error["code"], "upstream_model_not_found")
                self.assertEqual(self.asked()[0], 1)


class CallersFaultTests(BeforeTestCase):
    """What another upstream would say too, or must not be asked."""

    async def test_mistakes(self) -> None:
        """The provider's words and status; nobody else is asked, and it stands as before."""
        for fault, status in (("bad_request", 400), ("not_found", 404), ("unprocessable", 422)):
            for stream in WAYS:
                await self.play([{"fault": fault, "times": 6}])
                for _ in range(6):
                    told = await self.call(stream=stream)
                    self.assertEqual((told.status, told.took), (status, 0))
                self.assertEqual(self.asked(), [6, 0, 0])
                self.assertEqual((await self.call(stream=stream)).model, "up0/one")

    async def test_content(self) -> None:
        """Refused content is refused: 400, the provider's reason, nobody else."""
        for fault in ("content_policy", "moderation"):
            for told in await self.each_way([{"fault": fault, "times": 0}]):
                self.assertEqual((told.status, self.asked()), (400, [1, 0, 0]))

    async def test_content_elsewhere(self) -> None:
        """Unless that is allowed."""
        for fault in ("content_policy", "moderation"):
            for told in await self.each_way([fault], retry="reroute_refusals: true"):
                self.assertEqual((told.answered, told.model), (True, "up1/one"))


class AnotherTests(BeforeTestCase):
    """Another one answers before the first byte."""

    async def test_named(self) -> None:
        """The body, the headers, the usage and the record name who answered."""
        for told in await self.each_way([503]):
            self.assertEqual((told.model, told.headers["x-aiproxy-model"]), ("up1/one",) * 2)
            self.assertEqual(told.headers["x-aiproxy-attempts"], "2")
            [record] = self.records
            self.assertEqual((record.served_by, record.attempts), ("up1/one", 2))
            self.assertEqual([one.outcome for one in record.spent], ["failed", "answered"])
            self.assertEqual([one.model for one in record.spent if one.tokens.prompt], ["up1/one"])

"""Upstreams that hold us back: 429 of every kind, no money, too long."""

from __future__ import annotations

from tests.integration.faults.before import WAYS, BeforeTestCase


class RateLimitTests(BeforeTestCase):
    """429."""

    async def test_waited_out(self) -> None:
        """A short time that is named, in whatever way, is waited out; nobody is asked sooner."""
        for told_by in ("seconds", "ms", "body", "date"):
            fault = {"fault": "rate_limit", "retry_after": 7, "told_by": told_by}
            for told in await self.each_way([fault], model="up0/one"):
                self.assertTrue(told.answered, (told_by, told))
                # A date is exact to a second.
                self.assertTrue(6 <= told.took <= 8.01, (told_by, told.took))
                self.assertEqual(self.asked()[0], 2)

    async def test_too_long(self) -> None:
        """A longer one is told to the caller, and true: until then nobody asks again."""
        for stream in WAYS:
            await self.play([{"fault": "rate_limit", "retry_after": 60}])
            told = await self.call("up0/one", stream=stream)
            self.assertEqual((told.status, told.error["type"]), (429, "rate_limit_error"))
            self.assertEqual((told.headers["retry-after"], told.took), ("60", 0))
            self.clock.advance(58)
            told = await self.call("up0/one", stream=stream)
            self.assertEqual((told.status, told.headers["retry-after"]), (429, "2"))
            self.assertEqual(self.asked()[0], 1)
            self.clock.advance(2)
            self.assertTrue((await self.call("up0/one", stream=stream)).answered)

    async def test_another(self) -> None:
        """Another one answers at once, for this request and those that come until then."""
        for stream in WAYS:
            await self.play([{"fault": "rate_limit", "retry_after": 7}])
            for _ in range(3):
                told = await self.call(stream=stream)
                self.assertEqual((told.answered, told.model, told.took), (True, "up1/one", 0))
            self.assertEqual(self.asked(), [1, 3, 0])
            self.clock.advance(7)
            self.assertEqual((await self.call(stream=stream)).model, "up0/one")

    async def test_unnamed(self) -> None:
        """Without a time: later and later, then the truth."""
        again = {"fault": "rate_limit", "retry_after": None, "times": 0}
        for told in await self.each_way([again], model="up0/one", breaker="failures: 50"):
            self.assertEqual((told.status, told.took), (429, 7))
            self.assertGreaterEqual(int(told.headers["retry-after"]), 1)
            self.assertEqual(told.headers["x-should-retry"], "false")
            self.assertEqual(self.asked()[0], 4)

    async def test_unnamed_with_another(self) -> None:
        """Another one is asked before the same."""
        again = {"fault": "rate_limit", "retry_after": None, "times": 0}
        for told in await self.each_way([again]):
            self.assertEqual((told.answered, told.model, told.took), (True, "up1/one", 0))

    async def test_all(self) -> None:
        """If all name a time, the one that is free first is waited for."""
        late, soon = ({"fault": "rate_limit", "retry_after": after} for after in (20, 5))
        for told in await self.each_way([late], [soon]):
            self.assertEqual((told.answered, told.model, told.took), (True, "up1/one", 5))


class MoneyTests(BeforeTestCase):
    """Our account is empty."""

    async def test_out(self) -> None:
        """No rate limit: another at once, out for a minute, then one live probe."""
        for fault in ("quota", "no_credit"):
            for stream in WAYS:
                await self.play([{"fault": fault, "times": 2}])
                for seconds, model, seen in (
                    (0, "up1/one", 1),
                    (59, "up1/one", 1),
                    (2, "up1/one", 2),  # The probe.
                    (61, "up0/one", 3),
                    (0, "up0/one", 4),
                ):
                    self.clock.advance(seconds)
                    told = await self.call(stream=stream)
                    self.assertEqual((told.answered, told.model, told.took), (True, model, 0))
                    self.assertEqual(self.asked()[0], seen, (fault, seconds))

    async def test_alone(self) -> None:
        """Where nobody else is left it is our fault, not the caller's."""
        for told in await self.each_way(["quota"], model="up0/one"):
            self.assertEqual((told.status, told.error["code"]), (502, "insufficient_quota"))


class TooLongTests(BeforeTestCase):
    """The conversation does not fit."""

    async def test_more_room(self) -> None:
        """It goes to who may have more room, and not to the same again."""
        for fault in ("context_length", "request_too_large", "payload_too_large"):
            for told in await self.each_way([{"fault": fault, "times": 0}]):
                self.assertEqual((told.answered, told.model, told.took), (True, "up1/one", 0))
                self.assertEqual(self.asked(), [1, 1, 0])

    async def test_nowhere(self) -> None:
        """Else the provider's own words, as a 400."""
        for fault in ("context_length", "request_too_large", "payload_too_large"):
            for told in await self.each_way([{"fault": fault, "times": 0}], model="up0/one"):
                self.assertEqual(told.status, 400, fault)
                self.assertEqual(told.error["type"], "provider_error")
                self.assertEqual(self.asked()[0], 1)

"""How candidates stand after they have failed: who is asked, how often, and what the log says."""

from __future__ import annotations

from typing import Any, cast

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher

from tests.integration.faults.before import WAYS, BeforeTestCase, Told

SHARED_KEY = """
retry: {jitter: 0}
models:
  - {name: up0/one, provider: up0}
  - {name: up0/two, provider: up0}
  - {name: up1/one, provider: up1}
groups:
  g: {models: [up0/one, up1/one]}
  same_key: {models: [up0/two, up1/one]}
"""


class LoggedTestCase(BeforeTestCase):
    """What an operator must know is an error in the log."""

    def setUp(self) -> None:
        """Listen to the log."""
        super().setUp()
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def loud(self) -> list[str]:
        """Return the errors of the log since the last time."""
        lines = [formatEvent(one) for one in self.events if one["log_level"] is LogLevel.error]
        self.events.clear()
        return lines


class LoudTests(LoggedTestCase):
    """The operator's own faults."""

    async def test_loud(self) -> None:
        """A refused key, an empty account, a model or an address that is not there: one error."""
        for fault in ("bad_key", "key_not_valid", "quota", "no_credit", "no_model", "moved"):
            for stream in WAYS:
                await self.play([fault])
                self.loud()
                self.assertTrue((await self.call(stream=stream)).answered)
                [line] = self.loud()
                self.assertIn("up0/one of up0 failed", line)
                self.assertNotIn("sk-up0", line)

    async def test_quiet(self) -> None:
        """A provider's bad day and a caller's mistake are none."""
        for fault in (503, "rate_limit", "bad_request", "content_policy", "reset"):
            for stream in WAYS:
                await self.play([fault])
                self.loud()
                await self.call(stream=stream)
                self.assertEqual(self.loud(), [], fault)


class ProbeTests(BeforeTestCase):
    """A candidate that is passed by."""

    async def at_once(self, count: int, *, stream: bool) -> list[Told]:
        """Ask several times at the same time."""
        began = self.clock.seconds()
        asked = [await self.begin("g", stream=stream) for _ in range(count)]
        return [await self.read(one, began) for one in asked]

    async def test_one_probe(self) -> None:
        """Of ten requests at once one tries it; it fails over like any other."""
        for stream in WAYS:
            await self.play([{"fault": 503, "times": 6}, {"fault": "silent", "delay": 1}])
            for _ in range(5):
                await self.call(stream=stream)
            for seconds, seen, models in (
                (2.9, 5, ["up1/one"] * 10),
                (0.1, 6, ["up1/one"] * 10),
                (3.0, 7, ["up0/one"] + ["up1/one"] * 9),
            ):
                self.clock.advance(seconds)
                told = await self.at_once(10, stream=stream)
                self.assertTrue(all(one.answered for one in told))
                self.assertEqual(self.asked()[0], seen)
                self.assertEqual(sorted(str(one.model) for one in told), models)
            told = await self.at_once(10, stream=stream)
            self.assertEqual({one.model for one in told}, {"up0/one"})

    async def test_cuts(self) -> None:
        """Whose streams break off is passed by as well, and back with one that is whole."""
        cut = {"fault": "cut", "after_characters": 40}
        await self.play([{**cut, "times": 7}])
        for seconds, seen in ((0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (2, 5), (1, 6), (3, 7)):
            self.clock.advance(seconds)
            self.assertTrue((await self.call(stream=True)).answered)
            self.assertEqual(self.asked()[0], seen)
        self.clock.advance(3)
        for _ in range(4):
            self.assertEqual((await self.call(stream=True)).model, "up0/one")
        self.upstreams[0].play([cut])
        for _ in range(2):
            self.assertEqual((await self.call(stream=True)).model, "up0/one")

    async def test_slow_failures(self) -> None:
        """Failures further apart than the window do not open it."""
        for stream in WAYS:
            await self.play([{"fault": 503, "times": 8}], breaker="failures: 3, window: 30s")
            for number in range(8):
                self.assertTrue((await self.call(stream=stream)).answered)
                self.assertEqual(self.asked()[0], number + 1)
                self.clock.advance(16)

    async def test_caller_mistakes(self) -> None:
        """What is the caller's doing opens nothing: no policy, no length, no wrong field."""
        for fault in ("bad_request", "content_policy", "context_length", "unprocessable"):
            for stream in WAYS:
                await self.play([{"fault": fault, "times": 6}])
                for _ in range(6):
                    await self.call(stream=stream)
                self.assertEqual((await self.call(stream=stream)).model, "up0/one", fault)


class KeyTests(BeforeTestCase):
    """A key that was refused."""

    async def test_suspect(self) -> None:
        """Another model of the same key is asked behind the others, but asked it is."""
        for stream in WAYS:
            await self.start(SHARED_KEY, [{"fault": "bad_key"}])
            self.assertEqual((await self.call("up0/one", stream=stream)).status, 502)
            self.assertEqual((await self.call("same_key", stream=stream)).model, "up1/one")
            told = await self.call("up0/two", stream=stream)
            self.assertEqual((told.answered, told.model), (True, "up0/two"))
            # Its answer shows that the key is good.
            self.assertEqual((await self.call("same_key", stream=stream)).model, "up0/two")


class BudgetTests(BeforeTestCase):
    """Repeats are bounded for all requests together."""

    async def test_outage(self) -> None:
        """Forty requests at once on a dead model are forty attempts and ten repeats."""
        for stream in WAYS:
            await self.play([{"fault": 503, "times": 0}], breaker="failures: 100")
            asked: list[Any] = [await self.begin("up0/one", stream=stream) for _ in range(40)]
            told = [await self.read(one, 0) for one in asked]
            self.assertEqual({one.status for one in told}, {502})
            self.assertEqual(self.asked()[0], 50)

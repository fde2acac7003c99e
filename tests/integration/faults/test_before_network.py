"""Upstreams that cannot be talked to, or do not answer."""

from __future__ import annotations

from tests.integration.faults.before import WAYS, BeforeTestCase

DRILL = """
retry: {jitter: 0}
models:
  - {name: drill/a, provider: drill, body: {chaos: [{fault: FAULT, times: 2}]}}
  - {name: drill/b, provider: drill}
groups: {g: {models: [drill/a, drill/b]}}
"""


class ConnectionTests(BeforeTestCase):
    """No connection, or none that lasts."""

    async def test_once(self) -> None:
        """Reset or closed before any byte: one more attempt answers."""
        for fault in ("reset", "close"):
            for told in await self.each_way([fault]):
                self.assertEqual((told.answered, told.model, told.took), (True, "up0/one", 1))
                self.assertEqual(self.asked(), [2, 0, 0])

    async def test_next(self) -> None:
        """Again: the next."""
        for fault in ("reset", "close", "refuse"):
            again = {"fault": fault, "times": 0} if fault != "refuse" else {"fault": fault,
                                                                           "lasts": 60}  # fmt: skip
            for told in await self.each_way([again]):
                self.assertEqual((told.answered, told.model), (True, "up1/one"), fault)

    async def test_nobody(self) -> None:
        """A 502 that says what it was, without internals."""
        for fault in ("reset", "close"):
            for told in await self.each_way([{"fault": fault, "times": 0}], model="up0/one"):
                self.assertEqual((told.status, told.error["type"]), (502, "network_error"))
                self.assertNotIn("twisted", str(told.error).lower())
                self.assertNotIn("Failure", str(told.error))

    async def test_kept(self) -> None:
        """A kept connection that turns out closed is no attempt and no fault."""
        for stream in WAYS:
            await self.play(["none", "stale"])
            for _ in range(2):
                told = await self.call("up0/one", stream=stream)
                self.assertEqual((told.answered, told.took), (True, 0))
                self.assertEqual(told.headers["x-aiproxy-attempts"], "1")
            self.assertEqual([record.attempts for record in self.records], [1, 1])


class DrillTests(BeforeTestCase):
    """What a socket of this machine cannot do: a provider of type ``chaos`` can."""

    async def test_every_way(self) -> None:
        """Refused, no such name, no TLS: another attempt, then the next."""
        for fault in ("refuse", "dns", "tls"):
            for stream in WAYS:
                await self.start(
                    DRILL.replace("FAULT", fault), providers="  drill: {type: chaos}\n"
                )
                told = await self.call(stream=stream)
                self.assertEqual((told.answered, told.model), (True, "drill/b"))
                self.assertTrue(1 <= told.took <= 2, told.took)
                self.assertEqual(self.records[-1].attempts, 3)
                told = await self.call("drill/a", stream=stream)
                self.assertTrue(told.answered)


class SilentTests(BeforeTestCase):
    """Accepts, and never answers."""

    async def test_next(self) -> None:
        """After ``headers`` (plain: ``attempt``) the next at once; nobody is asked twice."""
        for stream, seconds in ((True, 10), (False, 120)):
            await self.play([{"fault": "silent", "times": 0}])
            told = await self.call(stream=stream)
            self.assertEqual((told.answered, told.model, told.took), (True, "up1/one", seconds))
            self.assertEqual(self.asked(), [1, 1, 0])
            self.assertEqual(self.upstreams[0].open_connections, 0)

    async def test_headers(self) -> None:
        """``headers`` counts where it is shorter than the time to the first token."""
        await self.play([{"fault": "silent", "times": 0}], timeouts="headers: 4s")
        self.assertEqual((await self.call(stream=True)).took, 4)

    async def test_last(self) -> None:
        """The last one has all the time that there is, then a 504."""
        for told in await self.each_way(
            [{"fault": "silent", "times": 0}], model="up0/one", timeouts="total: 300s"
        ):
            self.assertEqual(told.took, 300)
            self.assertEqual(told.error["type"], "network_error")
            self.assertEqual(self.asked()[0], 1)
            self.assertIn(told.status, (504, 200))

    async def test_late(self) -> None:
        """Headers at once and the first token late: the next, and the slow one is cancelled."""
        await self.play([{"fault": "late", "delay": 60, "times": 0}])
        told = await self.call(stream=True)
        self.assertEqual((told.answered, told.model, told.took), (True, "up1/one", 10))
        self.assertEqual(self.upstreams[0].open_connections, 0)


class UselessTests(BeforeTestCase):
    """A 200 that is no answer."""

    async def test_next(self) -> None:
        """HTML, nothing, half a JSON, an empty answer: the next one's counts."""
        for fault in ("html", "nothing", "truncated", "empty"):
            for told in await self.each_way([{"fault": fault, "times": 0}]):
                self.assertEqual((told.answered, told.model), (True, "up1/one"), fault)

    async def test_alone(self) -> None:
        """Alone, once more; then a 502."""
        for fault in ("html", "nothing", "truncated", "empty"):
            for told in await self.each_way([fault], model="up0/one"):
                self.assertTrue(told.answered, fault)
            for told in await self.each_way([{"fault": fault, "times": 0}], model="up0/one"):
                self.assertEqual((told.status, self.asked()[0]), (502, 2), fault)

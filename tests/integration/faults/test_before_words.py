"""What the caller is told when nobody can answer: the provider's words, and no internals."""

from __future__ import annotations

from tests.integration.faults.before import WAYS, BeforeTestCase

#: What must be in no answer of ours.
INTERNALS = (
    "twisted",
    "traceback",
    "failure",
    "127.0.0.1",
    "sk-up",
    "errno",
    "deferred",
    "<",
    "0x",
)

NO_CONNECTION = """
retry: {jitter: 0}
models:
  - {name: drill/a, provider: drill, body: {chaos: [{fault: FAULT, times: 0}]}}
"""
ROOM = """
models:
  - {name: up0/one, provider: up0, context_window: 8000, fallbacks: [up1/one, up2/one]}
  - {name: up1/one, provider: up1, context_window: 4000}
  - {name: up2/one, provider: up2, context_window: 9000}
"""


class WordsTestCase(BeforeTestCase):
    """Looks at what is told."""

    def assert_clean(self, told: object) -> None:
        """It has no internals."""
        for word in INTERNALS:
            self.assertNotIn(word, str(told).lower())


class ProviderWordsTests(WordsTestCase):
    """The caller's own doing."""

    async def test_words(self) -> None:
        """The provider's reason and status, and its code where it gave one."""
        for fault, status, code, words in (
            ("bad_request", 400, "upstream_refused", "'temperature': 9 is above 2"),
            ("not_found", 404, "upstream_refused", "No such file: file-1"),
            ("unprocessable", 422, "upstream_refused", "less than 2: top_p"),
            ("content_policy", 400, "content_policy_violation", "rejected as a result of our"),
            ("moderation", 400, "content_filter", "Your input was flagged"),
            ("context_length", 400, "context_length_exceeded", "maximum context length is 8192"),
            ("request_too_large", 400, "context_length_exceeded", "Limit 30000"),
            ("payload_too_large", 400, "context_length_exceeded", "Request body too large"),
        ):
            for told in await self.each_way([fault], model="up0/one"):
                self.assertEqual((told.status, told.error["type"]), (status, "provider_error"))
                self.assertIn(words, told.error["message"])
                self.assertEqual((fault, told.error["code"]), (fault, code))
                self.assertEqual((told.error["provider"], told.error["model"]), ("up0", "up0/one"))
                self.assertNotIn("x-should-retry", told.headers)

    async def test_room(self) -> None:
        """What is too long for one is not sent to another with as little room."""
        for stream in WAYS:
            await self.start(ROOM, ["context_length"])
            told = await self.call("up0/one", stream=stream)
            self.assertEqual((told.answered, told.model), (True, "up2/one"))
            self.assertEqual(self.asked(), [1, 0, 1])


class NetworkWordsTests(WordsTestCase):
    """The provider cannot be talked to."""

    async def test_connections(self) -> None:
        """A 502 that says what it was."""
        for fault, words in (
            ("refuse", "refused"),
            ("dns", "resolve"),
            ("tls", "tls"),
            ("reset", "closed"),
        ):
            for stream in WAYS:
                await self.start(
                    NO_CONNECTION.replace("FAULT", fault), providers="  drill: {type: chaos}\n"
                )
                told = await self.call("drill/a", stream=stream)
                self.assertEqual((told.status, told.error["type"]), (502, "network_error"), fault)
                self.assertIn(words, told.error["message"].lower())
                self.assertEqual(told.headers["x-should-retry"], "false")
                self.assertEqual(self.records[-1].attempts, 2)
                self.assert_clean(told.error)

    async def test_silent(self) -> None:
        """A 504 from the last one; a stream that was kept alive has it as an event."""
        silent = [{"fault": "silent", "times": 0}]
        for told in await self.each_way(silent, model="up0/one", timeouts="total: 10s"):
            self.assertEqual((told.status, told.error["type"]), (504, "network_error"))
            self.assertEqual((told.took, told.error["code"]), (10, "upstream_timeout"))
            self.assert_clean(told.error)


class WaitWordsTests(WordsTestCase):
    """When to come back."""

    async def test_words(self) -> None:
        """A time that stands in the provider's own words is waited out too."""
        fault = {"fault": "rate_limit", "retry_after": 7, "told_by": "words"}
        for told in await self.each_way([fault], model="up0/one"):
            self.assertEqual((told.answered, told.took), (True, 7))

    async def test_never_before(self) -> None:
        """Nobody comes before the time named, in whatever way, even among many."""
        for told_by in ("seconds", "ms", "body", "date", "words"):
            fault = {"fault": "rate_limit", "retry_after": 7, "told_by": told_by, "lasts": 6.99}
            for stream in WAYS:
                await self.play([fault])
                asked = [await self.begin("up0/one", stream=stream) for _ in range(5)]
                told = [await self.read(one, 0) for one in asked]
                # Who has come after the first was refused is told so at once.
                answered = [one for one in told if one.answered]
                late = [one for one in told if not one.answered]
                self.assertTrue(answered, told_by)
                self.assertEqual({one.status for one in late} - {429}, set(), told_by)
                self.assertEqual(self.asked()[0], 2 * len(answered))

    async def test_first_comes_sooner(self) -> None:
        """If the next names a longer time, the first is waited for."""
        for longer in (20, 60):
            soon, late = ({"fault": "rate_limit", "retry_after": one} for one in (5, longer))
            for told in await self.each_way([soon], [late]):
                self.assertEqual((told.answered, told.model, told.took), (True, "up0/one", 5))
                self.assertEqual(self.asked(), [2, 1, 0])

    async def test_silent_meanwhile(self) -> None:
        """If the next is silent, the first is asked again as soon as that has taken too long."""
        silent = [{"fault": "silent", "times": 0}]
        for stream, seconds in ((True, 10), (False, 120)):
            await self.play([{"fault": "rate_limit", "retry_after": 5}], silent)
            told = await self.call(stream=stream)
            self.assertEqual((told.answered, told.model, told.took), (True, "up0/one", seconds))
            self.assertEqual(self.asked(), [2, 1, 0])

    async def test_all_long(self) -> None:
        """If all are out for long, the caller is told when the first is back."""
        late, later = ({"fault": "rate_limit", "retry_after": one} for one in (40, 60))
        for told in await self.each_way([later], [late]):
            self.assertEqual((told.status, told.headers["retry-after"]), (429, "40"))
            self.assertEqual(told.headers["x-should-retry"], "false")
            self.assertEqual(told.took, 0)

"""Streams that are cut, over real sockets: somebody else goes on, or the caller is told."""

from __future__ import annotations

from itertools import cycle
from typing import Any

from aiproxy.providers.chaos.answers import make_answer
from aiproxy.providers.chaos.script import Script
from aiproxy.wire.json import loads
from tests.integration.faults.seen import Seen
from tests.integration.faults.streaming import TEXT, StreamingTestCase

WAYS = ("go_on", "start_over", "overlap", "refuse")
ENDS = ("close", "reset", "clean")
#: What the upstream's arguments are by default.
ARGUMENTS = {"city": "Zürich", "days": 3}


def cut(**more: object) -> list[dict[str, object]]:
    """Write a script that cuts one stream."""
    return [{"fault": "cut", **more}]


class TakeoverTests(StreamingTestCase):
    """Another one goes on, or the same."""

    def check(self, seen: Seen, text: str = TEXT, reason: str = "stop") -> None:
        """It is whole."""
        self.assertIsNone(seen.problem(text, reason))
        self.assertEqual(self.records[-1].error, None)

    async def test_share(self) -> None:
        """Cut behind each event and at some bytes, in every way: all are rescued."""
        whole = make_answer({"messages": []}, Script(), "up0-1", 0.0)
        events = whole.events()
        places: list[dict[str, Any]] = [
            {"after_events": count} for count in range(2, len(events) - 1)
        ]
        start = len(events[0]) + 1
        places += [{"after_bytes": at} for at in range(start, len(b"".join(events)), 501)]
        tried, rescued, lost = 0, 0, []
        for kind in ("openai", "mistral"):
            port = await self.serve_ups([], [], kind=kind)
            ends, ways = cycle(ENDS), cycle(WAYS)
            for place in places:
                step = cut(end=next(ends), **place)
                way = next(ways)
                self.ups[0].play(step)
                self.ups[1].play({"continuation": way})
                seen = await self.see(port)
                tried += 1
                # Mistral tells its usage unasked, so this one does not.
                problem = seen.problem(TEXT, usage=kind == "openai")
                if self.records[-1].rescued and problem is None:
                    rescued += 1
                elif seen.problem(TEXT, usage=False) is not None or self.records[-1].takeovers:
                    lost.append((kind, step, way, problem))
                else:
                    tried -= 1  # It had its finish reason.
        print(f"\n{rescued} of {tried} were rescued", end="")  # noqa: T201
        self.assertEqual(lost, [])
        self.assertGreater(rescued, 90)

    async def test_same_again(self) -> None:
        """Where there is nobody else, the same one goes on; ``max_retries: 0`` forbids it."""
        port = await self.serve_ups([], retry="{max_retries: 1}")
        self.ups[0].play(cut(after_characters=40))
        self.check(await self.see(port))
        self.assertEqual(self.asked(), [2])
        port = await self.serve_ups(cut(after_characters=40), retry="{max_retries: 0}")
        seen = await self.see(port)
        error = seen.broken_off(TEXT)
        self.assertEqual((error["code"], error["type"]), ("stream_cut", "provider_error"))
        self.assertIn("40 characters so far", error["message"])
        self.assertIn("nobody is left", error["message"])
        self.assertEqual(self.asked(), [1])

    async def test_other_without_retries(self) -> None:
        """``max_retries: 0`` does not forbid another one."""
        port = await self.serve_ups(cut(), [])
        self.check(await self.see(port))
        self.assertEqual(self.asked(), [1, 1])

    async def test_dies_again(self) -> None:
        """Three may go on; a fourth may not."""
        dying = [cut(after_characters=45, end="reset") for _ in range(3)]
        port = await self.serve_ups(*dying, [])
        self.check(await self.see(port))
        self.assertEqual((self.records[-1].takeovers, self.asked()), (3, [1, 1, 1, 1]))
        port = await self.serve_ups(*dying, cut(after_characters=45), [])
        error = (await self.see(port)).broken_off(TEXT)
        self.assertIn("taken over 3 times", error["message"])
        self.assertEqual(self.asked(), [1, 1, 1, 1, 0])
        self.assertFalse(self.records[-1].rescued)

    async def test_barren(self) -> None:
        """Who brings not one word is not asked again; the next one is."""
        port = await self.serve_ups(
            cut(after_characters=45), [{"fault": "cut", "after_events": 1, "times": 0}], []
        )
        self.check(await self.see(port))
        self.assertEqual(self.asked(), [1, 1, 1])

    async def test_blank_first(self) -> None:
        """Who was cut behind the blank that its answer begins with may go on, even alone."""
        text = f"\n\n{TEXT}"
        script = {"answer": text, "faults": cut(after_characters=2)}
        port = await self.serve_ups(script, retry="{max_retries: 1}")
        self.check(await self.see(port), text)
        self.assertEqual(self.asked(), [2])

    async def test_barren_key(self) -> None:
        """Each of a model's keys is asked by itself, whatever the others have brought."""
        script = [*cut(after_characters=45), *cut(after_events=1)]
        port = await self.serve_ups(script, keys="tokens: [sk-1, sk-2, sk-3]")
        self.check(await self.see(port))
        self.assertEqual((self.records[-1].takeovers, self.asked()), (2, [3]))

    async def test_too_long_before(self) -> None:
        """A model for which the conversation was too long is not asked to go on with it."""
        for fault in ("context_length", "request_too_large", "payload_too_large"):
            port = await self.serve_ups([fault], cut(), [], retry="{max_retries: 3}")
            self.check(await self.see(port))
            self.assertEqual(self.asked(), [1, 1, 1])

    async def test_silent_before(self) -> None:
        """Nor is one that was silent: the caller does not wait for it a second time."""
        port = await self.serve_ups(["silent"], cut(), [])
        seen, took = await self.see_late(await self.begin(port), within=25)
        self.check(seen)
        self.assertTrue(10 <= took < 12, took)
        self.assertEqual(self.asked(), [1, 1, 1])

    async def test_only_silent_left(self) -> None:
        """If nobody else is left, the caller is told at once."""
        port = await self.serve_ups(["silent"], cut())
        seen, took = await self.see_late(await self.begin(port), within=25)
        self.assertIn("nobody is left", seen.broken_off(TEXT)["message"])
        self.assertTrue(10 <= took < 12, took)
        self.assertEqual(self.asked(), [1, 1])

    async def test_turned_off(self) -> None:
        """Without takeovers a cut is told, and nobody else is asked."""
        port = await self.serve_ups(cut(), [], retry="{max_retries: 3, takeover: false}")
        error = (await self.see(port)).broken_off(TEXT)
        self.assertEqual(error["code"], "stream_cut")
        self.assertEqual(self.asked(), [1, 0])

    async def test_several_choices(self) -> None:
        """An answer with more than one choice cannot be continued, and the error says so."""
        port = await self.serve_ups(cut(), [])
        error = (await self.see(port, n=2)).broken_off(TEXT)
        self.assertIn("several choices", error["message"])
        self.assertEqual(self.asked(), [1, 0])

    async def test_paraphrase(self) -> None:
        """Who was to repeat some words and says others is not believed; the next one is."""
        port = await self.serve_ups(cut(), {"continuation": "paraphrase"}, [])
        self.check(await self.see(port))
        port = await self.serve_ups(cut(), {"continuation": "paraphrase"})
        error = (await self.see(port)).broken_off(TEXT)
        self.assertIn(f"{len(TEXT) // 2} characters so far", error["message"])

    async def test_who_served(self) -> None:
        """Identity is the first one's; who served what stands in the last chunk and the record."""
        port = await self.serve_ups(cut(after_characters=100), [])
        seen = await self.see(port)
        self.check(seen)
        about = seen.chunks[-1]["x_aiproxy"]
        self.assertEqual([one["model"] for one in about["served"]], ["m0", "m1"])
        self.assertEqual({chunk["model"] for chunk in seen.chunks}, {"m0"})
        record = self.records[-1]
        self.assertEqual((record.takeovers, record.rescued, record.attempts), (1, True, 2))
        self.assertEqual([one.outcome for one in record.spent], ["cut", "answered"])
        self.assertEqual(record.tokens.completion, seen.usages[0]["completion_tokens"])

    async def test_comments_meanwhile(self) -> None:
        """While another one is awaited, the caller hears comments."""
        port = await self.serve_ups(
            cut(), [{"fault": "silent", "delay": 9}], more="server: {keep_alive: 2s}"
        )
        seen, took = await self.see_late(await self.begin(port), within=15)
        self.check(seen)
        self.assertGreaterEqual(took, 9)
        self.assertEqual(set(seen.comments), {b": keep-alive"})
        self.assertEqual(len(seen.comments), 4)


class CallTests(StreamingTestCase):
    """Cut in the arguments of a tool call."""

    async def see_call(self, days: int, place: int) -> Seen:
        """Cut a call at a character; let another one call with so many days."""
        first = {"tool": True, "faults": cut(after_characters=place)}
        second = {"tool": True, "arguments": {**ARGUMENTS, "days": days}}
        return await self.see(await self.serve_ups(first, second))

    async def test_agrees(self) -> None:
        """It is started over, and what comes through is one call that can be read."""
        for place in (0, 7, 20, 27):
            seen = await self.see_call(3, place)
            self.assertIsNone(seen.problem('{"city":"Zürich","days":3}', "tool_calls"))

    async def test_disagrees_later(self) -> None:
        """What differs behind the cut is no disagreement."""
        seen = await self.see_call(4, 20)
        self.assertEqual(loads(seen.text), {**ARGUMENTS, "days": 4})

    async def test_disagrees(self) -> None:
        """What differs before it is an error, and never arguments that cannot be read."""
        seen = await self.see_call(4, 25)
        error = seen.broken_off('{"city":"Zürich","days":3}')
        self.assertIn("characters so far", error["message"])

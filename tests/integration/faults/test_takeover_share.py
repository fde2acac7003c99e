"""
Takeover: every stream that can be rescued is, to the last space.

All of the gateway is real, from the caller's request to the dialects; only the
upstreams are in memory, which know one answer each and die where they are told to.
"""

from __future__ import annotations

from collections import Counter
from itertools import cycle, product
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Config, Group, Model, Retry, Server
from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.gateway.answer import StreamedAnswer
from aiproxy.gateway.dispatch import ClientCall, Dispatcher
from aiproxy.gateway.plan import Plan
from aiproxy.gateway.usage import CallRecord
from aiproxy.policy.access import Access, Principal
from aiproxy.providers.registry import ProviderParts, ProviderRegistry
from aiproxy.transport.client import UpstreamClient
from aiproxy.wire.json import dumps, loads
from tests.integration.faults.seen import Seen
from tests.integration.faults.storytellers import (
    HABITS,
    Story,
    Storyteller,
    write_anthropic,
    write_openai,
)
from tests.untraced import untraced

#: Doubled words and blanks, quotes, code with its indentation, letters of two to four bytes.
STORY = Story(
    "She had had a dog, “Straße” 🐕, and she had had enough.\n\n"
    "```python\ndef f(x):\n    if x:\n        return 'ß 👍🏽'  # 中文,  two blanks\n```\n"
    "- ha ha, she said.  That is the end. ",
    piece=17,
)
#: The same, told character by character.
LETTERS = Story(STORY.text, piece=1)
CALL = Story('{"city": "Zürich 👍", "days": [1, 2, 33], "note": "say \\"hi\\"\\n"}', 5, "plan")
JSON = Story('{"title": "Straße 🐕", "lines": ["had had", "  x"], "n": 12.5, "ok": true}', 5)

#: Of each type of provider that is asked in a way of its own: a model, and what it speaks.
#: OpenAI's are instructed, Mistral's get a prefix, Anthropic's a prefill.
TARGETS: dict[str, tuple[str, Any, Any]] = {
    "openai": ("gpt-4o", OpenAIDialect(), write_openai),
    "mistral": ("mistral-large-latest", OpenAIDialect(), write_openai),
    "anthropic": ("claude-sonnet-4-5", AnthropicDialect(), write_anthropic),
}


def teller(kind: str, story: Story, *arguments: Any, **more: Any) -> tuple[str, Storyteller]:
    """Make a storyteller of a provider's type."""
    _, dialect, write = TARGETS[kind]
    return kind, Storyteller(dialect, write, story, *arguments, **more)


def first(story: Story, place: int) -> tuple[str, Storyteller]:
    """Make the one who begins, and dies behind so many bytes."""
    return teller("openai", story, dies_after=place)


def every_byte(story: Story) -> range:
    """Return all places in the first one's stream where it may die."""
    return range(1, len(b"".join(write_openai(story, story.text, "", 1))) + 1)


def every_event(story: Story) -> list[int]:
    """Return the places behind each event with some of the text."""
    events = write_openai(story, story.text, "", 1)[:-3]
    return [len(b"".join(events[:count])) for count in range(2, len(events) + 1)]


@define
class Share:
    """
    How many answers are whole.

    :ivar cases: by what was done, and what became of it.
    :ivar lost: the problems of the others.
    """

    cases: Counter[str] = field(factory=Counter)
    lost: list[object] = field(factory=list)

    def add(self, case: object, seen: Seen, record: CallRecord, story: Story) -> None:
        """Note a case."""
        # Who has told a finish reason and died before the usage was whole by himself.
        problem = seen.problem(story.text, story.reason, usage=record.attempts > 1)
        if problem is not None:
            self.cases["lost"] += 1
            self.lost.append((case, problem))
        else:
            self.cases["rescued" if record.rescued else "needed no rescue"] += 1

    def __str__(self) -> str:
        tried = self.cases["rescued"] + self.cases["lost"]
        return f"{self.cases['rescued']} of {tried} were rescued"


class ShareTestCase(SynchronousTestCase):
    """Calls through the whole gateway, to storytellers in memory."""

    def ask(self, *tellers: tuple[str, Storyteller], retry: Retry | None = None,
            **more: object) -> tuple[Seen, CallRecord]:  # fmt: skip
        """Ask a group of them, each with the type of its provider; return what came of it."""
        clock, records, client = Clock(), list[CallRecord](), StringTransport()
        models = tuple(
            Model(f"m{place}", f"p{place}", kind, "openai", upstream_model=TARGETS[kind][0])
            for place, (kind, _) in enumerate(tellers)
        )
        config = Config(
            server=Server(keep_alive=0),
            models=models,
            retry=retry or Retry(max_retries=0),
            groups={"g": Group(tuple(model.name for model in models))},
        )
        parts = ProviderParts(UpstreamClient(MemoryReactorClock()), clock)
        providers = {f"p{place}": teller for place, (_, teller) in enumerate(tellers)}
        dispatcher = Dispatcher(
            Plan(config, Access(()), ProviderRegistry(parts, providers)),
            clock,
            wall=lambda: 1_700_000_000.5,
            report=records.append,
        )
        body = {
            "model": "g",
            "messages": [{"role": "user", "content": "Tell me all."}],
            "stream": True,
            "stream_options": {"include_usage": True},
            **more,
        }
        call = ClientCall("r1", OpenAIFace(), Principal("me"), dumps(body))
        answer = self.successResultOf(Deferred.fromCoroutine(dispatcher.answer(call)))
        assert isinstance(answer, StreamedAnswer)
        delivery = Deferred.fromCoroutine(answer.deliver(client))
        for _ in range(20):
            if delivery.called:
                break
            clock.advance(1)
        self.successResultOf(delivery)
        clock.advance(0)
        assert not clock.getDelayedCalls(), clock.getDelayedCalls()
        [record] = records
        return Seen.read(client.value()), record

    def check(self, share: Share, *, least: int) -> None:
        """All that had to be rescued is; so many were at least."""
        Logger().info("{name}: {share}", name=self.id(), share=share)
        print(f"\n{self.id().rpartition('.')[2]}: {share}", end="")  # noqa: T201
        self.assertEqual(share.lost[:5], [])
        self.assertGreaterEqual(share.cases["rescued"], least)


class TextTests(ShareTestCase):
    """Texts."""

    @untraced()
    def test_every_byte(self) -> None:
        """A stream cut at any byte is rescued, however another one goes on."""
        share, kinds = Share(), cycle(TARGETS)
        for place in every_byte(STORY):
            for habit in HABITS:
                kind = next(kinds)
                answer = self.ask(first(STORY, place), teller(kind, STORY, habit))
                share.add((place, kind, habit), *answer, STORY)
        self.check(share, least=3_500)

    @untraced()
    def test_every_character(self) -> None:
        """The same for each character, each way to be asked, and each way to go on."""
        share = Share()
        for place, kind, habit in product(every_event(LETTERS), TARGETS, HABITS):
            answer = self.ask(first(LETTERS, place), teller(kind, STORY, habit))
            share.add((place, kind, habit), *answer, STORY)
        self.check(share, least=2_500)

    def test_die_again(self) -> None:
        """Who goes on may die as well, and the next: up to three go on."""
        share, kinds = Share(), cycle(TARGETS)
        for place, habit in product(range(1, len(STORY.text)), HABITS):
            mortals = [(place,), (place + 25,), (place + 50,)]
            tellers = [teller(next(kinds), STORY, habit, dies_at=dies) for dies in mortals]
            tellers[0] = teller("openai", LETTERS, dies_at=(place,))
            answer = self.ask(*tellers, teller(next(kinds), STORY))
            share.add((place, habit), *answer, STORY)
        self.check(share, least=800)

    def test_same_again(self) -> None:
        """Where there is nobody else, the same one goes on."""
        share = Share()
        kinds = cycle(TARGETS)
        for place, habit in product(range(1, len(STORY.text)), HABITS[:2]):
            kind = next(kinds)
            alone = teller(kind, LETTERS, habit, dies_at=(place,))
            answer = self.ask(alone, retry=Retry(max_retries=1))
            share.add((place, kind, habit), *answer, STORY)
        self.check(share, least=300)

    def test_paraphrase(self) -> None:
        """Other words betray themselves to who was asked to repeat some: an error, no mixture."""
        for place in every_event(LETTERS):
            seen, record = self.ask(first(LETTERS, place), teller("openai", STORY, "paraphrase"))
            if seen.problem(STORY.text) is not None:
                self.assertIn("characters so far", seen.broken_off(STORY.text)["message"])
            self.assertEqual(record.rescued, not seen.errors)

    def test_nobody_left(self) -> None:
        """Alone and without a second try it ends in one error event, or whole."""
        ends = Counter[str]()
        for place in every_byte(STORY):
            if place <= every_event(STORY)[0] - 1:
                continue  # Nothing was said yet: that is an error before the stream.
            seen, record = self.ask(first(STORY, place))
            if seen.errors:
                message = seen.broken_off(STORY.text)["message"]
                self.assertIn(f"{len(seen.text)} characters so far", message)
            else:
                self.assertIsNone(seen.problem(STORY.text, usage=False))
            ends[str(record.error)] += 1
        self.assertEqual(set(ends), {"stream_cut", "None"})


class WholePieceTests(ShareTestCase):
    """What has to be of one piece: calls of tools, and JSON."""

    def test_call(self) -> None:
        """A call cut at any byte is started over, and comes through as one."""
        share, kinds = Share(), cycle(TARGETS)
        for place in every_byte(CALL):
            kind = next(kinds)
            seen, record = self.ask(first(CALL, place), teller(kind, CALL))
            share.add((place, kind), seen, record, CALL)
            names = [call["function"].get("name") for choice in seen.choices
                     for call in choice["delta"].get("tool_calls") or ()]  # fmt: skip
            self.assertEqual([name for name in names if name], ["plan"])
        self.check(share, least=800)

    def test_call_that_disagrees(self) -> None:
        """Other arguments are an error, unless nothing of what differs was delivered."""
        other = evolve(CALL, text=CALL.text.replace("33", "34"))
        agreed, ends = CALL.text.index("33") + 1, Counter[bool]()
        for place in every_event(CALL):
            seen, _ = self.ask(first(CALL, place), teller("anthropic", other))
            if seen.errors:
                seen.broken_off(CALL.text)
                self.assertGreater(len(seen.text), agreed)
            else:
                self.assertIsNone(seen.problem(other.text, "tool_calls"))
                loads(seen.text)
            ends[bool(seen.errors)] += 1
        self.assertGreater(min(ends[True], ends[False]), 3)

    def test_json(self) -> None:
        """So is an answer that has to be JSON, in whatever layout it comes again."""
        share, kinds = Share(), cycle(TARGETS)
        shape = {"type": "json_object"}
        for place in every_byte(JSON):
            kind = next(kinds)
            answer = self.ask(first(JSON, place), teller(kind, JSON), response_format=shape)
            share.add((place, kind), *answer, JSON)
        self.check(share, least=700)
        spread = evolve(JSON, text=JSON.text.replace(",", " ,\n").replace("{", "{  "))
        for place in every_event(JSON):
            seen, _ = self.ask(first(JSON, place), teller("mistral", spread), response_format=shape)
            self.assertEqual((loads(seen.text), seen.errors), (loads(JSON.text), []))


class AccountTests(ShareTestCase):
    """What is told and noted of it."""

    def test_usage(self) -> None:
        """The prompt once, the completion as delivered; beside it who served what."""
        place = every_event(STORY)[4]
        seen, record = self.ask(first(STORY, place), teller("anthropic", STORY))
        [told] = seen.usages
        about = seen.chunks[-1]["x_aiproxy"]
        self.assertEqual([one["model"] for one in about["served"]], ["m0", "m1"])
        self.assertEqual([one["provider"] for one in about["served"]], ["p0", "p1"])
        nothing, spent = about["usage"]
        self.assertIsNone(nothing)  # It died before it told its usage.
        # The second one's prompt has the begun answer in it, which is none of the caller's.
        self.assertEqual(told["prompt_tokens"], len("Tell me all.") // 4)
        self.assertGreater(spent["prompt_tokens"], told["prompt_tokens"])
        tokens = -(-len(STORY.text) // STORY.piece)
        self.assertLessEqual(abs(told["completion_tokens"] - tokens), 1)
        self.assertEqual(record.tokens.completion, told["completion_tokens"])
        self.assertEqual([one.outcome for one in record.spent], ["cut", "answered"])
        self.assertEqual([one.model for one in record.spent], ["m0", "m1"])
        self.assertEqual(record.spent[1].tokens.prompt, spent["prompt_tokens"])
        self.assertEqual((record.takeovers, record.rescued, record.error), (1, True, None))

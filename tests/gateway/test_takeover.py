"""Tests of :mod:`aiproxy.gateway.takeover`: one whole answer from several upstreams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.errors import (
    AIProxyError,
    AnswerTooLarge,
    ContentRefused,
    NetworkError,
    ShuttingDown,
    StreamCut,
    UpstreamFailed,
    UpstreamRefused,
)
from aiproxy.gateway.continuation import Capabilities, Continuation, Target
from aiproxy.gateway.takeover import MOST_TAKEOVERS, GiveUp, Next, Takeover
from aiproxy.wire.json import dumps
from tests.dialects.streams import fold_calls
from tests.gateway.test_seam import CANONICAL, bits

REQUEST: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Tell me all."}],
    "stream": True,
    "stream_options": {"include_usage": True},
}

FIRST = Target("first", "p1", "openai", "gpt-4o")
SECOND = Target("second", "p2", "openai", "gpt-4o-mini")
CLAUDE = Target("claude", "p3", "anthropic", "claude-sonnet-4-5")
MISTRAL = Target("mistral", "p4", "mistral", "mistral-large")

#: What an upstream answers: the deltas, and how it ends.
Deltas = list[dict[str, Any]]
Model = Callable[[Continuation], Deltas]


def texts(text: str, size: int = 9) -> Deltas:
    """Tell a text."""
    return [{"content": piece} for piece in bits(text, size)]


def go_on(continuation: Continuation, canonical: str = CANONICAL) -> str:
    """Answer as a model does that does what it is asked for, and has one answer only."""
    messages = continuation.request["messages"]
    if continuation.way == "restart":
        return canonical
    if continuation.way == "prefill":
        shown: str = messages[-1]["content"]
        assert canonical.startswith(shown)
        return canonical[len(shown) :]
    shown, turn = messages[-2]["content"], messages[-1]["content"]
    words: str = turn.partition("\n\n")[2]
    assert canonical.startswith(shown) and shown.endswith(words)
    return words + canonical[len(shown) :]


def stream(
    deltas: Iterable[dict[str, Any]],
    reason: str = "stop",
    *,
    identity: str = "c-1",
    usage: dict[str, Any] | None = None,
) -> bytes:
    """Write an upstream's whole stream."""
    frame = {"id": identity, "object": "chat.completion.chunk", "created": 7, "model": identity}
    events = [
        {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in ({"role": "assistant", "content": ""}, *deltas)
    ]
    events.append({**frame, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    if usage is not None:
        events.append({**frame, "choices": [], "usage": usage})
    return b"".join(b"data: " + dumps(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"


class Caller:
    """Sees what the caller sees."""

    def __init__(self, request: dict[str, Any] = REQUEST, **options: Any) -> None:
        self.capabilities = options.pop("capabilities", Capabilities())
        self.takeover = Takeover(request, capabilities=self.capabilities, **options)
        self.chunks: list[dict[str, Any]] = []
        self.error: AIProxyError | None = None
        self.barren: list[bool] = []

    def read(
        self,
        target: Target,
        data: Sequence[bytes] | bytes,
        continuation: Continuation | None = None,
    ) -> bool:
        """Read one upstream's stream; whether somebody may go on from there."""
        takeover = self.takeover
        reader = OpenAIDialect().stream_reader(choices=1, max_event_bytes=1 << 20)
        takeover.begin(target, continuation)
        for piece in [data] if isinstance(data, bytes) else data:
            self.chunks += takeover.feed(reader.feed(piece))
        self.chunks += takeover.feed(reader.close())
        if reader.error is None and takeover.failed is None:
            self.chunks += takeover.end(reader.usage)
        error = takeover.failed or reader.error
        if error is None:
            return False
        step = takeover.cut(error, reader.usage)
        if isinstance(step, GiveUp):
            self.error = step.error
            return False
        self.barren.append(step.barren)
        return True

    def ask(self, target: Target) -> Continuation:
        """Ask a target to go on."""
        continuation = self.takeover.ask(target)
        assert continuation is not None
        return continuation

    def rescue(self, targets: Iterable[Target], model: Model, reason: str = "stop") -> None:
        """Let one after the other go on, until the answer is whole."""
        for target in targets:
            continuation = self.ask(target)
            if not self.read(target, stream(model(continuation), reason), continuation):
                return

    def deltas(self) -> Deltas:
        """Give what was told."""
        return [choice["delta"] for chunk in self.chunks for choice in chunk["choices"]]

    def said(self, name: str = "content") -> str:
        """Give all that was told in one field."""
        return "".join(delta.get(name) or "" for delta in self.deltas())

    def check(self, reason: str = "stop") -> None:
        """One identity, one role, one finish reason, at the end."""
        assert self.error is None, self.error
        identities = {(chunk["id"], chunk["created"], chunk["model"]) for chunk in self.chunks}
        assert len(identities) == 1, identities
        assert sum("role" in delta for delta in self.deltas()) == 1
        reasons = [
            choice["finish_reason"]
            for chunk in self.chunks
            for choice in chunk["choices"]
            if choice["finish_reason"]
        ]
        assert reasons == [reason], reasons
        rest = [chunk for chunk in self.chunks if chunk["choices"]]
        assert rest[-1]["choices"][0]["finish_reason"] == reason


def cut_after(deltas: Deltas) -> bytes:
    """Write a stream that is cut behind these deltas."""
    whole = stream(deltas)
    return whole[: whole.rindex(b'data: {"id"')]


class RescueTests(SynchronousTestCase):
    """Texts, cut at every character: each of them is rescued."""

    def rescued_share(self, cases: Iterable[tuple[object, Caller]]) -> None:
        """All that must be rescued is."""
        tried, lost = 0, []
        for name, caller in cases:
            tried += 1
            if caller.said() != CANONICAL or not caller.takeover.rescued:
                lost.append((name, caller.error))
                continue
            caller.check()
        self.assertEqual(lost, [])
        self.assertGreater(tried, 500)

    def cut_everywhere(
        self, targets: Sequence[Target], model: Model
    ) -> Iterator[tuple[int, Caller]]:
        """Cut the canonical text at every character, and have it rescued."""
        for place in range(1, len(CANONICAL) + 1):
            caller = Caller()
            self.assertTrue(caller.read(FIRST, cut_after(texts(CANONICAL[:place], 50))))
            caller.rescue(targets, model)
            yield place, caller

    def test_goes_on(self) -> None:
        """The target does what it is asked for, whichever way that is."""
        for target in (SECOND, CLAUDE, MISTRAL, FIRST):
            self.rescued_share(self.cut_everywhere([target], lambda asked: texts(go_on(asked), 40)))

    def test_starts_over(self) -> None:
        """The target starts over, whatever it is asked for."""
        for target in (SECOND, CLAUDE, MISTRAL):
            self.rescued_share(self.cut_everywhere([target], lambda asked: texts(CANONICAL, 40)))

    def test_remark(self) -> None:
        """The target makes a remark before it does what it is asked for."""
        self.rescued_share(
            self.cut_everywhere(
                [SECOND], lambda asked: texts(f"Sure, continuing:\n\n{go_on(asked)}", 40)
            )
        )

    def test_other_words_that_come_back(self) -> None:
        """The target begins in other words and comes back to the delivered ones."""
        told = texts(f"As I was saying before, {CANONICAL[60:]}", 40)
        lost, tried = [], 0
        for place, caller in self.cut_everywhere([SECOND], lambda asked: told):
            if place > 100:  # Before, there is little to come back to.
                tried += 1
                if caller.said() != CANONICAL:
                    lost.append(place)
        self.assertEqual(lost, [])
        self.assertGreater(tried, 400)

    def test_dies_again(self) -> None:
        """A target goes on, dies as well, and the next one goes on from there."""

        def mortal(asked: Continuation) -> Deltas:
            told = go_on(asked)
            return texts(told, 40) if asked.target == MISTRAL else []

        def cases() -> Iterator[tuple[int, Caller]]:
            for place in range(1, len(CANONICAL) + 1, 1):
                caller = Caller()
                caller.read(FIRST, cut_after(texts(CANONICAL[:place], 50)))
                for target in (SECOND, CLAUDE):
                    asked = caller.ask(target)
                    told = go_on(asked)
                    repeated = len(told) - (len(CANONICAL) - len(caller.said()))
                    cut = cut_after(texts(told[: max(repeated, 0) + 37], 11))
                    self.assertTrue(caller.read(target, cut, asked))
                caller.rescue([MISTRAL], mortal)
                yield place, caller

        self.rescued_share(cases())

    def test_refused_prefill(self) -> None:
        """A prefill that is refused is learned; the same target is instructed."""

        def cases() -> Iterator[tuple[int, Caller]]:
            for place in range(1, len(CANONICAL)):
                caller = Caller()
                caller.read(FIRST, cut_after(texts(CANONICAL[:place], 50)))
                asked = caller.ask(CLAUDE)
                refusal = UpstreamRefused("must end with a user message")
                self.assertEqual(caller.takeover.refused(asked, refusal), asked.way == "prefill")
                if asked.way == "prefill":
                    self.assertEqual(caller.ask(CLAUDE).way, "instruct")
                caller.rescue([CLAUDE], lambda asked: texts(go_on(asked), 40))
                yield place, caller

        self.rescued_share(cases())

    def test_every_byte(self) -> None:
        """A stream may be cut at every byte of it, and its continuation comes byte by byte."""
        canonical = CANONICAL[:150]
        whole = stream(texts(canonical, 11))
        lost = []
        start = whole.index(b"Sure")
        for place in range(start, whole.index(b'"finish_reason":"stop"')):
            caller = Caller()
            if not caller.read(FIRST, whole[:place]):
                if caller.error is None or caller.said():
                    lost.append(place)
                continue
            asked = caller.ask(SECOND)
            rest = stream(texts(go_on(asked, canonical) if caller.said() else canonical, 7))
            caller.read(SECOND, rest, asked)
            if caller.said() != canonical:
                lost.append(place)
            else:
                caller.check()
        self.assertEqual(lost, [])

    @settings(max_examples=100, deadline=None)
    @given(st.integers(1, len(CANONICAL)), st.data())
    def test_any_split(self, place: int, data: st.DataObject) -> None:
        """However a continuation's bytes are split, the caller sees the same."""
        target = data.draw(st.sampled_from([SECOND, CLAUDE, MISTRAL]))
        size = data.draw(st.integers(1, 60))
        caller = Caller()
        caller.read(FIRST, cut_after(texts(CANONICAL[:place], 50)))
        asked = caller.ask(target)
        written = stream(texts(go_on(asked), size))
        places = data.draw(st.lists(st.integers(0, len(written)), max_size=9).map(sorted))
        edges = [0, *places, len(written)]
        pieces = [written[a:b] for a, b in pairwise(edges)]
        caller.read(target, pieces, asked)
        self.assertEqual(caller.said(), CANONICAL)
        caller.check()


def call_deltas(arguments: Sequence[tuple[str, str]], size: int = 5, start: int = 0) -> Deltas:
    """Tell calls, each a name and arguments."""
    deltas: Deltas = []
    for index, (name, text) in enumerate(arguments, start):
        head = {"name": name, "arguments": ""}
        deltas.append(
            {
                "tool_calls": [
                    {"index": index, "id": f"call_{index}", "type": "function", "function": head}
                ]
            }
        )
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in bits(text, size)
        ]
    return deltas


class CallTests(SynchronousTestCase):
    """Tool calls, cut at every byte of their arguments."""

    calls = (
        ("weather", '{"city": "München 👍", "days": [1, 2, 33]}'),
        ("book", '{"to": "Paris", "note": "say \\"hi\\"\\n"}'),
    )

    def cut(self, deltas: Deltas, count: int) -> Caller:
        """Let the first upstream be cut behind some deltas."""
        caller = Caller()
        self.assertTrue(caller.read(FIRST, cut_after(deltas[:count])))
        return caller

    def assert_called(self, caller: Caller, text: str = "") -> None:
        """The caller has both calls, once, and the text before them."""
        caller.check("tool_calls")
        self.assertEqual(caller.said(), text)
        folded = fold_calls(caller.deltas())
        self.assertEqual(
            [
                (call["id"], call["function"]["name"], call["function"]["arguments"])
                for call in folded
            ],
            [(f"call_{n}", name, arguments) for n, (name, arguments) in enumerate(self.calls)],
        )

    def test_every_cut(self) -> None:
        """Started over, what was delivered is held back, and the rest goes on."""
        text = "Let me look that up for you. "
        for before in ("", text):
            deltas = texts(before, 5) + call_deltas(self.calls, 1)
            first = len(texts(before, 5))
            for count in range(first + 1, len(deltas) + 1):
                caller = self.cut(deltas, count)
                asked = caller.ask(CLAUDE)
                self.assertEqual(asked.way, "restart")
                caller.read(
                    CLAUDE,
                    stream(texts(before, 7) + call_deltas(self.calls, 7), "tool_calls"),
                    asked,
                )
                self.assert_called(caller, before)

    def test_cut_before_the_call(self) -> None:
        """The text is gone on with, then the call comes, at once or behind the repeated words."""
        text = "Let me look that up for you."
        for place in range(1, len(text) + 1):
            for target in (SECOND, CLAUDE, MISTRAL):
                caller = self.cut(texts(text[:place], 4), 99)
                caller.rescue(
                    [target],
                    lambda asked: texts(go_on(asked, text), 3) + call_deltas(self.calls),
                    "tool_calls",
                )
                self.assert_called(caller, text)
        for target in (SECOND, CLAUDE):
            caller = self.cut(texts(text, 4), 99)
            caller.rescue([target], lambda _: call_deltas(self.calls), "tool_calls")
            self.assert_called(caller, text)

    def test_other_text_before_the_same_call(self) -> None:
        """What another model says before the same call adds nothing."""
        caller = self.cut(texts("Let me look.") + call_deltas(self.calls), 4)
        told = texts("I shall look that up.") + call_deltas(self.calls)
        caller.rescue([SECOND], lambda _: told, "tool_calls")
        self.assert_called(caller, "Let me look.")

    def test_disagreement(self) -> None:
        """Other arguments, another tool or none: nothing of it is told, and others may go on."""
        others: list[tuple[Deltas, str]] = [
            (call_deltas([("weather", '{"city": "Berlin"}')]), "tool_calls"),
            (call_deltas([("whether", self.calls[0][1])]), "tool_calls"),
            (call_deltas([self.calls[0]]), "tool_calls"),
            (texts("It is fine there."), "stop"),
        ]
        whole = call_deltas(self.calls)
        for deltas, reason in others:
            caller = self.cut(whole, len(whole) - 2)
            before = list(caller.chunks)
            asked = caller.ask(SECOND)
            self.assertTrue(caller.read(SECOND, stream(deltas, reason), asked))
            self.assertEqual(caller.chunks, before)
            self.assertEqual(caller.barren[-1], True)
            self.assertFalse(caller.takeover.may_ask(SECOND))
            caller.rescue([CLAUDE], lambda _: whole, "tool_calls")
            self.assert_called(caller)

    def test_never_unreadable_arguments(self) -> None:
        """Arguments that cannot be read never get a finish reason, but for "length"."""
        broken = call_deltas([("weather", '{"city": "Mün')])
        caller = self.cut(call_deltas(self.calls), 3)
        self.assertTrue(caller.read(SECOND, stream(broken, "tool_calls"), caller.ask(SECOND)))
        self.assertFalse(any("finish_reason" in str(delta) for delta in caller.deltas()))
        caller.read(CLAUDE, stream(broken, "length"), caller.ask(CLAUDE))
        caller.check("length")

    def test_dies_again(self) -> None:
        """Each goes on a bit further."""
        whole = call_deltas(self.calls, 3)
        caller = self.cut(whole, 4)
        for target, count in ((SECOND, 9), (MISTRAL, 18)):
            self.assertTrue(caller.read(target, cut_after(whole[:count]), caller.ask(target)))
        caller.rescue([CLAUDE], lambda _: whole, "tool_calls")
        self.assert_called(caller)
        self.assertEqual(caller.takeover.takeovers, MOST_TAKEOVERS)

    def test_legacy_call(self) -> None:
        """The ``function_call`` of before tools is started over as well."""
        text = '{"city": "Paris"}'
        whole: Deltas = [{"function_call": {"name": "weather", "arguments": ""}}]
        whole += [{"function_call": {"arguments": character}} for character in text]
        for count in range(1, len(whole)):
            caller = self.cut(whole, count)
            caller.rescue([SECOND], lambda _: whole, "function_call")
            caller.check("function_call")
            told = [delta["function_call"] for delta in caller.deltas() if "function_call" in delta]
            self.assertEqual("".join(call.get("arguments", "") for call in told), text)
            self.assertEqual([call["name"] for call in told if "name" in call], ["weather"])

    def test_call_without_arguments(self) -> None:
        """A call that was only named must come again, and gets its empty arguments."""
        bare = call_deltas([("now", "")])
        caller = self.cut(bare, 1)
        told = texts("It is noon.")
        self.assertTrue(caller.read(SECOND, stream(told), caller.ask(SECOND)))
        caller.rescue([CLAUDE], lambda _: bare, "tool_calls")
        caller.check("tool_calls")
        (call,) = fold_calls(caller.deltas())
        self.assertEqual(call["function"], {"name": "now", "arguments": "{}"})

    def test_custom_call(self) -> None:
        """A custom tool's input is free text."""
        text = "free  text {"

        def call(told: str) -> Deltas:
            head = {"index": 0, "id": "c", "type": "custom", "custom": {"name": "g", "input": ""}}
            rest = [{"index": 0, "custom": {"input": piece}} for piece in bits(told, 2)]
            return [{"tool_calls": [piece]} for piece in (head, *rest)]

        for place in range(len(text)):
            caller = self.cut(call(text[:place]), 99)
            caller.rescue([CLAUDE], lambda _: call(text), "tool_calls")
            caller.check("tool_calls")
            self.assertEqual(fold_calls(caller.deltas())[0]["custom"]["input"], text)

    def test_json_that_differs(self) -> None:
        """JSON of other values is no continuation, however alike it is."""
        caller = Caller({**REQUEST, "response_format": {"type": "json_object"}})
        caller.read(FIRST, cut_after(texts('{"number": 1')))
        told = texts('{"number": "1"}')
        self.assertTrue(caller.read(SECOND, stream(told), caller.ask(SECOND)))
        self.assertEqual(caller.said(), '{"number": 1')

    def test_json_answer(self) -> None:
        """An answer in JSON starts over and goes on, however it is laid out."""
        request = {**REQUEST, "response_format": {"type": "json_object"}}
        text = '{"a": [1, 2], "b": "Über_all *x*"}'
        for place in range(1, len(text)):
            caller = Caller(request)
            caller.read(FIRST, cut_after(texts(text[:place], 5)))
            caller.rescue([CLAUDE], lambda _: texts(text, 5))
            self.assertEqual(caller.said(), text)


class TakeoverTests(SynchronousTestCase):
    """The rest of the machine."""

    text = "Once upon a time there was a king who had three daughters, and they were fair."

    def test_frame(self) -> None:
        """What stands in the first chunk stands in each later one, unless it is long."""
        for fingerprint, told in (("fp", "fp"), ("f" * 513, None), ({"a": 1}, None)):
            caller = Caller()
            delta = {"index": 0, "delta": {"content": "One, two"}}
            first = {"id": "c-0", "system_fingerprint": fingerprint, "choices": [delta]}
            self.assertTrue(caller.read(FIRST, b"data: " + dumps(first) + b"\n\n"))
            continuation = caller.takeover.ask(SECOND)
            caller.read(SECOND, stream(texts("One, two, three.")), continuation)
            for chunk in caller.chunks[1:]:
                self.assertEqual(chunk["id"], "c-0")
                self.assertEqual(chunk.get("system_fingerprint"), told)

    def cut(self, place: int = 40, **options: Any) -> Caller:
        """Let the first upstream be cut."""
        caller = Caller(**options)
        caller.read(FIRST, cut_after(texts(self.text[:place])))
        return caller

    def test_no_cut_no_change(self) -> None:
        """Without a cut every chunk passes as it is."""
        reader = OpenAIDialect().stream_reader(choices=1, max_event_bytes=1 << 20)
        written = stream(texts(self.text), usage={"prompt_tokens": 3, "completion_tokens": 4})
        chunks = reader.feed(written)
        takeover = Takeover(REQUEST, capabilities=Capabilities())
        takeover.begin(FIRST)
        given = takeover.feed(chunks) + takeover.end(reader.usage)
        self.assertEqual(given, chunks)
        self.assertTrue(all(a is b for a, b in zip(given, chunks, strict=True)))
        self.assertFalse(takeover.rescued)

    def test_usage(self) -> None:
        """The prompt once, the completion as delivered; what was spent stands beside it."""
        caller = self.cut(40)
        asked = caller.ask(SECOND)
        told = go_on(asked, self.text)
        spent = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}
        caller.read(SECOND, stream(texts(told), usage=spent), asked)
        last = caller.chunks[-1]
        self.assertEqual(last["choices"], [])
        usage = last["usage"]
        self.assertEqual(usage["prompt_tokens"], 100 - asked.added_characters // 4)
        for_all = 40 / len(told) * len(self.text)
        self.assertLessEqual(abs(usage["completion_tokens"] - for_all), 1)
        self.assertEqual(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"])
        self.assertEqual(
            last["x_aiproxy"],
            {
                "served": [
                    {"model": "first", "provider": "p1"},
                    {"model": "second", "provider": "p2"},
                ],
                "usage": [None, spent],
            },
        )

    def test_usage_of_long_tokens(self) -> None:
        """Where the upstream's tokens are longer than we reckon, the prompt keeps its share."""
        for content in ("Tell me all.", [{"type": "text", "text": "Tell me all."}, {"type": "x"}]):
            request = {**REQUEST, "messages": [{"role": "user", "content": content}]}
            caller = self.cut(40, request=request)
            asked = caller.ask(SECOND)
            shown, turn = (message["content"] for message in asked.request["messages"][1:])
            words = sum(len(text.split()) for text in ("Tell me all.", shown, turn))
            self.assertLess(words, asked.added_characters // 4)
            spent = {"prompt_tokens": words, "completion_tokens": 9}
            caller.read(SECOND, stream(texts(go_on(asked, self.text)), usage=spent), asked)
            usage = caller.chunks[-1]["usage"]
            self.assertEqual(usage["prompt_tokens"], 3)

    def test_usage_of_all(self) -> None:
        """Where each told its usage, the first one's prompt and the shares count."""
        caller = Caller()
        events = cut_after(texts(self.text[:40]))
        events += b'data: {"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":8}}\n\n'
        caller.read(FIRST, events)
        told = {"prompt_tokens": 55, "completion_tokens": 10, "total_tokens": 65}
        written = stream(texts(self.text[40:]), usage=told)
        caller.read(MISTRAL, written, caller.ask(MISTRAL))
        self.assertEqual(
            caller.chunks[-1]["usage"],
            {"prompt_tokens": 10, "completion_tokens": 18, "total_tokens": 28},
        )

    def test_last_chunk_of_who_sees_no_usage(self) -> None:
        """Who did not ask for usage finds the names with the finish reason."""
        request = {name: REQUEST[name] for name in ("model", "messages", "stream")}
        caller = self.cut(request=request)
        caller.rescue([MISTRAL], lambda asked: texts(go_on(asked, self.text)))
        finish = next(chunk for chunk in caller.chunks if "x_aiproxy" in chunk)
        self.assertEqual(finish["choices"][0]["finish_reason"], "stop")

    def test_turned_off(self) -> None:
        """``retry.takeover: false``: a cut is the end."""
        caller = self.cut(enabled=False)
        self.assertIsInstance(caller.error, StreamCut)
        self.assertNotIn("taken over", str(caller.error))

    def test_final_errors(self) -> None:
        """What another upstream would be told as well, or must not be asked, is the end."""
        for error in (ContentRefused("bad"), AnswerTooLarge("long"), ShuttingDown("ends")):
            step = self.cut().takeover.cut(error)
            self.assertIsInstance(step, GiveUp)
            self.assertIs(step.error if isinstance(step, GiveUp) else None, error)
        takeover = self.cut(reroutes_refusals=True).takeover
        self.assertIsInstance(takeover.cut(ContentRefused("bad")), Next)

    def test_error_says_how_far_it_got(self) -> None:
        """The error names what happened, how far the answer got and why nobody goes on."""
        caller = Caller(limit_bytes=30)
        takeover = caller.takeover
        caller.read(FIRST, cut_after(texts(self.text[:40], 10)))
        self.assertIn("too long", str(caller.error))
        takeover = self.cut(40).takeover
        cause = NetworkError("the connection was reset", provider="p1", model="first")
        error = takeover.give_up(cause)
        self.assertIsInstance(error, StreamCut)
        self.assertEqual(
            error.message,
            "the connection was reset; the answer has 40 characters so far,"
            " and it was not taken over: nobody is left to go on",
        )
        self.assertEqual((error.provider, error.model), ("p1", "first"))
        self.assertEqual(error.code, "connection_failed")

    def test_at_most_three(self) -> None:
        """The third continuation that is cut is the last."""
        caller = self.cut(10)
        places = iter((20, 30, 40))
        for target in (MISTRAL, CLAUDE, SECOND):
            self.assertIsNone(caller.error)
            asked = caller.ask(target)
            told = go_on(asked, self.text)
            left = len(self.text) - next(places)
            caller.read(target, cut_after(texts(told[: len(told) - left])), asked)
        self.assertIn("3 times", str(caller.error))
        self.assertEqual(caller.said(), self.text[:40])

    def test_too_long_while_it_goes_on(self) -> None:
        """An answer that becomes too long in a continuation is whole; it cannot be cut again."""
        for dies in (False, True):
            caller = Caller(limit_bytes=len(CANONICAL.encode()) - 50)
            self.assertTrue(caller.read(FIRST, cut_after(texts(CANONICAL[:200]))))
            asked = caller.ask(SECOND)
            told = texts(go_on(asked))
            caller.read(SECOND, cut_after(told[:-1]) if dies else stream(told), asked)
            if dies:
                assert caller.error is not None
                self.assertIn("too long to be continued", caller.error.message)
            else:
                self.assertEqual(caller.said(), CANONICAL)
                caller.check()

    def test_barren(self) -> None:
        """Who brings no word is not asked again; the others may be, and the first as well."""
        caller = self.cut()
        self.assertTrue(caller.read(SECOND, cut_after([]), caller.ask(SECOND)))
        self.assertEqual(caller.barren, [False, True])
        self.assertFalse(caller.takeover.may_ask(SECOND))
        caller.rescue([FIRST], lambda asked: texts(go_on(asked, self.text)))
        self.assertEqual(caller.said(), self.text)
        caller.check()

    def test_paraphrase(self) -> None:
        """Other words that nothing betrays are left; nothing of them is told."""
        caller = self.cut()
        told = texts("Long ago a king lived with his three fair daughters.")
        self.assertTrue(caller.read(SECOND, stream(told), caller.ask(SECOND)))
        self.assertEqual(caller.said(), self.text[:40])
        caller.rescue([MISTRAL], lambda asked: texts(go_on(asked, self.text)))
        self.assertEqual(caller.said(), self.text)

    def test_refuses_to_go_on(self) -> None:
        """A continuation that refuses is none, in whatever field."""
        for delta in ({"refusal": "I cannot."}, {"content": "I'm sorry, I can't help with it."}):
            caller = self.cut()
            self.assertTrue(caller.read(SECOND, stream([delta]), caller.ask(SECOND)))
            self.assertEqual(caller.said("refusal"), "")
            caller.rescue([CLAUDE], lambda asked: texts(go_on(asked, self.text)))
            self.assertEqual(caller.said(), self.text)

    def test_refusal_is_rescued(self) -> None:
        """A refusal that was cut is started over."""
        text = "I'm sorry, but I cannot help with that."
        for place in range(1, len(text)):
            caller = Caller()
            caller.read(FIRST, cut_after([{"refusal": text[:place]}]))
            caller.rescue([CLAUDE], lambda _: [{"refusal": piece} for piece in bits(text, 4)])
            self.assertEqual(caller.said("refusal"), text)
            caller.check()

    def test_thoughts(self) -> None:
        """Thoughts that come again are left out; others follow behind a blank line."""
        thoughts = "First I think about kings."
        for field in ("reasoning_content", "reasoning"):
            for place in range(1, len(thoughts)):
                caller = Caller()
                caller.read(FIRST, cut_after([{field: thoughts[:place]}]))
                again = [{field: piece} for piece in bits(thoughts, 4)] + texts(self.text)
                caller.read(CLAUDE, stream(again), caller.ask(CLAUDE))
                self.assertEqual(caller.said("reasoning_content"), thoughts)
                self.assertEqual(caller.said(), self.text)
                caller.check()
            caller = Caller()
            caller.read(FIRST, cut_after([{field: "First I"}]))
            other = [{field: "First, a"}, {field: " king"}, *texts(self.text)]
            caller.read(CLAUDE, stream(other), caller.ask(CLAUDE))
            self.assertEqual(caller.said("reasoning_content"), "First I\n\nFirst, a king")

    def test_no_thoughts_in_the_middle(self) -> None:
        """Once the answer has begun, a continuation's thoughts are left out."""
        caller = self.cut()
        caller.rescue(
            [SECOND],
            lambda asked: [
                {"reasoning_content": "Go on", "reasoning_details": [{"text": "Go on"}]},
                *texts(go_on(asked, self.text)),
            ],
        )
        self.assertEqual(caller.said(), self.text)
        self.assertEqual(caller.said("reasoning_content"), "")
        self.assertFalse(any("reasoning_details" in delta for delta in caller.deltas()))

    def test_other_fields(self) -> None:
        """What else a continuation's chunks and deltas hold passes behind the seam."""
        caller = self.cut()
        asked = caller.ask(MISTRAL)
        rest = [*texts(self.text[40:]), {"annotations": [{"type": "url_citation"}]}]
        caller.read(MISTRAL, stream(rest), asked)
        self.assertEqual(caller.deltas()[-2], {"annotations": [{"type": "url_citation"}]})

    def test_finish_reason_is_the_last_ones(self) -> None:
        """The one who ends the answer says why."""
        caller = self.cut()
        caller.rescue([MISTRAL], lambda asked: texts(go_on(asked, self.text)), "length")
        caller.check("length")

    def test_several_choices(self) -> None:
        """Several choices cannot be taken over."""
        caller = self.cut(request={**REQUEST, "n": 2})
        self.assertIn("several choices", str(caller.error))

    def test_prefill_refusal_is_no_other_error(self) -> None:
        """Other errors of a target are its own."""
        caller = self.cut()
        asked = caller.ask(MISTRAL)
        self.assertEqual(asked.way, "prefill")
        self.assertFalse(caller.takeover.refused(asked, UpstreamFailed("broken")))
        self.assertEqual(caller.ask(MISTRAL).way, "prefill")

    def test_steps(self) -> None:
        """A cut is answered by what may follow."""
        takeover = Takeover(REQUEST, capabilities=Capabilities())
        takeover.begin(FIRST)
        step = takeover.cut(StreamCut("cut"))
        self.assertIsInstance(step, GiveUp)
        takeover.feed([{"choices": [{"index": 0, "delta": {"content": "a"}}]}])
        self.assertEqual(takeover.cut(StreamCut("cut")), Next(barren=False))

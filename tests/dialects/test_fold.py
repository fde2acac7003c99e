"""Streams folded into the answers that they stand for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.cohere import CohereDialect
from aiproxy.dialects.dialect import AnswerReader
from aiproxy.dialects.fold import ChatFold
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.gigachat import GigaChatDialect
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.dialects.whole_answer import unfold
from tests.dialects.recordings import Recording, read_recordings
from tests.dialects.streams import Outcome, chunk
from tests.dialects.test_recordings import PROVIDERS, read_events

Json = dict[str, Any]


def fold(*chunks: Json, usage: Json | None = None) -> Json:
    """Fold chunks, which have to stay as they are."""
    before = deepcopy(chunks)
    folded = ChatFold()
    for one in chunks:
        folded.add(one)
    answer = folded.answer(usage)
    assert answer == folded.answer(usage)
    assert chunks == before
    return answer


def message(*deltas: Json) -> Json:
    """Fold deltas to the message that they make."""
    told: Json = fold(*(chunk(delta) for delta in deltas))["choices"][0]["message"]
    return told


class AnswerTests(SynchronousTestCase):
    """What stands beside the choices, and beside their messages."""

    def test_frame(self) -> None:
        """Identity is the first that says something, all else the last; padding is left out."""
        first = {"id": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": [1]}
        told = {"id": "a", "created": 5, "model": "m", "service_tier": None, "obfuscation": "x"}
        last = {"id": "b", "created": 6, "model": "n", "service_tier": "flex", "p": "abc"}
        more = {"system_fingerprint": None, "x_groq": {"id": "r"}, "citations": ["u"]}
        again = {"system_fingerprint": "f", "x_groq": {"seed": 1}, "citations": ["u", "v"]}
        self.assertEqual(
            fold(
                first,
                {**told, **more, "object": "chat.completion.chunk", "choices": []},
                {**last, **again, "choices": []},
                {"service_tier": None, "choices": [], "usage": {"total_tokens": 1}},
                usage={"total_tokens": 2},
            ),
            {
                "id": "a",
                "object": "chat.completion",
                "created": 5,
                "model": "m",
                "choices": [],
                "service_tier": "flex",
                "system_fingerprint": "f",
                "prompt_filter_results": [1],
                "x_groq": {"id": "r", "seed": 1},
                "citations": ["u", "v"],
                "usage": {"total_tokens": 2},
            },
        )

    def test_no_usage(self) -> None:
        """No usage is told where there is none."""
        self.assertNotIn("usage", fold(chunk({"content": "a"}), chunk(reason="stop")))

    def test_choices(self) -> None:
        """Choices stand in order, each with its own text and finish reason."""
        answer = fold(
            chunk({"role": "assistant", "content": "b"}, index=1),
            chunk({"role": "assistant", "content": "a"}, index=0),
            chunk({"content": "B"}, index=1),
            chunk({"content": "A"}, index=0),
            chunk(reason="length", index=1),
            chunk(reason="stop", index=0),
        )
        told = [
            (one["index"], one["message"]["content"], one["finish_reason"])
            for one in answer["choices"]
        ]
        self.assertEqual(told, [(0, "aA", "stop"), (1, "bB", "length")])

    def test_choice_fields(self) -> None:
        """Of a choice's other fields the last counts; what repeats the delta is left out."""
        first = chunk({"content": "a"})
        first["choices"][0] |= {
            "text": "a",
            "role": "assistant",
            "message": {"content": "a"},
            "native_finish_reason": None,
            "content_filter_results": {"hate": {"filtered": False}},
            "seed": 7,
        }
        last = chunk(reason="stop")
        last["choices"][0] |= {
            "native_finish_reason": "eos",
            "content_filter_results": {"violence": {"filtered": False}},
            "seed": None,
        }
        self.assertEqual(
            fold(first, last)["choices"],
            [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "a"},
                    "finish_reason": "stop",
                    "native_finish_reason": "eos",
                    "content_filter_results": {
                        "hate": {"filtered": False},
                        "violence": {"filtered": False},
                    },
                    "seed": 7,
                }
            ],
        )

    def test_logprobs(self) -> None:
        """Log probabilities are one list; without any they are null."""
        told = [
            {"content": [{"token": "a", "bytes": [97]}], "refusal": None},
            None,
            {"content": [{"token": "b", "bytes": [98]}], "refusal": [{"token": "c"}]},
        ]
        chunks = [chunk({"content": "a"}) for _ in told]
        for one, logprobs in zip(chunks, told, strict=True):
            one["choices"][0]["logprobs"] = logprobs
        (choice,) = fold(*chunks)["choices"]
        self.assertEqual(
            choice["logprobs"],
            {
                "content": [{"token": "a", "bytes": [97]}, {"token": "b", "bytes": [98]}],
                "refusal": [{"token": "c"}],
            },
        )
        (choice,) = fold(chunks[1])["choices"]
        self.assertIs(choice["logprobs"], None)


class MessageTests(SynchronousTestCase):
    """What is said."""

    def test_texts(self) -> None:
        """Texts are joined, whatever a provider calls them; null says nothing."""
        self.assertEqual(
            message(
                {"role": "assistant", "content": None, "refusal": None, "reasoning": None},
                {"reasoning": "h", "reasoning_content": "h", "thoughts": "1"},
                {"reasoning": "m", "reasoning_content": "m", "thoughts": "2"},
                {"content": "a", "reasoning": None},
                {"content": ""},
                {"content": "a"},
            ),
            {
                "role": "assistant",
                "content": "aa",
                "refusal": None,
                "reasoning": "hm",
                "reasoning_content": "hm",
                "thoughts": "12",
            },
        )

    def test_no_content(self) -> None:
        """Content is null where something else is said instead, and only there."""
        call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f"}}
        for instead in (
            {"tool_calls": [call]},
            {"function_call": {"name": "f", "arguments": "{}"}},
            {"refusal": "no"},
            {"audio": {"id": "a", "data": "AA"}},
        ):
            self.assertIs(message({"content": ""}, instead)["content"], None, instead)
            self.assertEqual(message({"content": "a"}, instead)["content"], "a", instead)
        self.assertEqual(message({"content": ""})["content"], "")
        self.assertIs(message({})["content"], None)

    def test_about_the_piece(self) -> None:
        """What is about a piece or its speaker is in no plain answer."""
        piece = {"content": "a", "name": "assistant", "channel": "final", "token_id": 5, "index": 0}
        self.assertEqual(message(piece, piece), {"role": "assistant", "content": "aa"})

    def test_halves(self) -> None:
        """The halves of a character that came in two pieces are written as one."""
        written = OpenAIFace().write_answer(
            fold(chunk({"content": "\ud83d"}), chunk({"content": "\ude00"}), chunk(reason="stop")),
            identity="c",
            created=1,
            model="m",
        )
        answer = json.loads(written.body)
        self.assertEqual(answer["choices"][0]["message"]["content"], "\U0001f600")

    def test_calls(self) -> None:
        """Calls are joined by their index, which is left out, and stand in its order."""
        signed = {"google": {"thought_signature": "S"}}
        self.assertEqual(
            message(
                {"tool_calls": [_call(1, "custom", name="g", input="x")]},
                {"tool_calls": [_call(0, "function", name="f", arguments="")]},
                {"tool_calls": [{"index": 1, "custom": {"input": "x"}}]},
                {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
                {
                    "tool_calls": [
                        {"index": 0, "function": {"arguments": "1}"}},
                        {"index": 1, "custom": {"input": "y"}, "extra_content": signed},
                    ]
                },
            )["tool_calls"],
            [
                {
                    "id": "call_0",
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a":1}'},
                },
                {
                    "id": "call_1",
                    "type": "custom",
                    "custom": {"name": "g", "input": "xxy"},
                    "extra_content": signed,
                },
            ],
        )

    def test_several_in_one_piece(self) -> None:
        """The first piece of calls may hold several of one call."""
        pieces = [
            _call(0, "function", name="f", arguments="1"),
            {"index": 0, "function": {"arguments": "2"}},
        ]
        (call,) = message({"tool_calls": pieces})["tool_calls"]
        self.assertEqual(call["function"], {"name": "f", "arguments": "12"})

    def test_objects(self) -> None:
        """The fields of an object are joined; numbers are not summed."""
        told = message(
            {"function_call": {"name": "f", "arguments": "1"}, "audio": {"id": "a", "data": "AA"}},
            {"audio": {"data": "BB", "transcript": "h", "expires_at": 5}},
            {"function_call": {"arguments": "2"}, "audio": {"transcript": "i", "expires_at": 6}},
        )
        self.assertEqual(told["function_call"], {"name": "f", "arguments": "12"})
        self.assertEqual(
            told["audio"], {"id": "a", "data": "AABB", "transcript": "hi", "expires_at": 6}
        )

    def test_lists(self) -> None:
        """Entries without an index, and images, are appended."""
        first, second = {"type": "url_citation", "url": "a"}, {"type": "url_citation", "url": "b"}
        image = {"type": "image_url", "image_url": {"url": "data:"}, "index": 0}
        told = message(
            {"annotations": [first], "content_parts": ["p"]},
            {"annotations": [second, first], "images": [image]},
            {"content_parts": ["p"], "images": [image]},
        )
        self.assertEqual(told["annotations"], [first, second, first])
        self.assertEqual(told["content_parts"], ["p", "p"])
        self.assertEqual(told["images"], [image, image])

    def test_reasoning_details(self) -> None:
        """Details are joined by index and type; what each piece repeats is told once."""
        summary = {"type": "reasoning.summary", "format": "f", "index": 0}
        secret = {"type": "reasoning.encrypted", "id": "rs", "format": "f", "index": 0}
        self.assertEqual(
            message(
                {"reasoning_details": [{**summary, "summary": "h"}]},
                {"reasoning_details": [{**summary, "summary": "m"}]},
                {"reasoning_details": [{**secret, "data": "AA"}]},
                {"reasoning_details": [{"index": 0, "data": "BB", "id": "", "format": None}]},
            )["reasoning_details"],
            [{**summary, "summary": "hm"}, {**secret, "data": "AABB"}],
        )

    def test_executed_tools(self) -> None:
        """A tool that ran at the provider is told again, with its output."""
        asked = {"index": 0, "type": "search", "arguments": "{}"}
        done = {**asked, "output": "found"}
        self.assertEqual(
            message({"executed_tools": [asked]}, {"executed_tools": [done]})["executed_tools"],
            [done],
        )

    def test_extra_content(self) -> None:
        """Blocks are joined by their index, which is left out; wholes take the place of wholes."""
        told = message(
            {"extra_content": {"anthropic": {"thinking_blocks": [{"index": 0, "thinking": "h"}]}}},
            {
                "extra_content": {
                    "anthropic": {
                        "thinking_blocks": [
                            {"index": 0, "thinking": "m", "signature": "S"},
                            {"index": 1, "type": "redacted_thinking", "data": "D"},
                        ],
                        "layout": [{"type": "text", "length": 1}],
                    },
                    "google": {"safetyRatings": [1], "parts": [{"a": 1}], "thought_signature": "T"},
                }
            },
            {"extra_content": {"google": {"parts": [{"b": 2}], "thought_signature": "U"}}},
            {"extra_content": {"google": {"safetyRatings": [2]}, "other": "x"}},
        )
        self.assertEqual(
            told["extra_content"],
            {
                "anthropic": {
                    "thinking_blocks": [
                        {"thinking": "hm", "signature": "S"},
                        {"type": "redacted_thinking", "data": "D"},
                    ],
                    "layout": [{"type": "text", "length": 1}],
                },
                "google": {
                    "safetyRatings": [2],
                    "parts": [{"a": 1}, {"b": 2}],
                    "thought_signature": "U",
                },
                "other": "x",
            },
        )


def _call(index: int, kind: str, **payload: str) -> Json:
    return {"index": index, "id": f"call_{index}", "type": kind, kind: payload}


# --- any answer, in any pieces ------------------------------------------------------------

#: Where the text of each type of call stands.
FIELDS = {"function": "arguments", "custom": "input"}
TEXTS = st.text(min_size=1, max_size=12)
CALLS = st.lists(
    st.builds(
        lambda kind, name, text: (kind, {"name": name, FIELDS[kind]: text}),
        st.sampled_from(["function", "custom"]),
        TEXTS,
        TEXTS,
    ),
    max_size=3,
).map(
    lambda calls: [
        {"id": f"call_{place}", "type": kind, kind: payload}
        for place, (kind, payload) in enumerate(calls)
    ]
)
TOKENS = st.lists(st.fixed_dictionaries({"token": TEXTS, "logprob": st.floats(-9, 0)}), min_size=1)


@st.composite
def answers(draw: st.DrawFn) -> Json:
    """Make a plain answer."""
    choices: list[Json] = []
    for index in range(draw(st.integers(1, 3))):
        optional: Json = {
            "reasoning_content": TEXTS,
            "refusal": TEXTS,
            "annotations": st.lists(st.fixed_dictionaries({"url": TEXTS}), min_size=1),
            "audio": st.fixed_dictionaries({"id": TEXTS, "data": TEXTS, "transcript": TEXTS}),
            "function_call": st.fixed_dictionaries({"name": TEXTS, "arguments": TEXTS}),
            "reasoning_details": TEXTS.map(lambda text: [{"index": 0, "type": "t", "text": text}]),
        }
        said: Json = {"role": "assistant", "content": draw(st.none() | TEXTS)}
        said |= draw(st.fixed_dictionaries({}, optional=optional))
        calls = draw(CALLS)
        if calls:
            said["tool_calls"] = calls
        choice: Json = {"index": index, "message": said}
        choice["finish_reason"] = draw(st.sampled_from(["stop", "length", "tool_calls"]))
        if draw(st.booleans()):
            choice["logprobs"] = {"content": draw(TOKENS), "refusal": None}
        choices.append(choice)
    frame = {"id": "c-1", "object": "chat.completion", "created": 5, "model": "m"}
    return {**frame, "choices": choices, "usage": {"total_tokens": draw(st.integers(0, 9))}}


def pieces_of(draw: st.DrawFn, value: Any) -> list[Any]:
    """Cut a text or a list anywhere."""
    places = draw(st.lists(st.integers(0, len(value)), max_size=4).map(sorted))
    edges = [0, *places, len(value)]
    return [value[begin:end] for begin, end in pairwise(edges)]


def deltas_of(draw: st.DrawFn, said: Json) -> Iterator[Json]:
    """Tell a message in pieces, field by field."""
    yield {"role": "assistant", "content": None}
    for name, value in said.items():
        if name == "tool_calls":
            for index, call in enumerate(value):
                field = FIELDS[call["type"]]
                payload = call[call["type"]]
                yield {name: [{**call, "index": index, call["type"]: {**payload, field: ""}}]}
                for piece in pieces_of(draw, payload[field]):
                    yield {name: [{"index": index, call["type"]: {field: piece}}]}
        elif name == "reasoning_details":
            for piece in pieces_of(draw, value[0]["text"]):
                yield {name: [{**value[0], "text": piece}]}
        elif isinstance(value, dict):
            for field, text in value.items():
                whole = field in ("id", "name")
                for piece in [text] if whole else pieces_of(draw, text):
                    yield {name: {field: piece}}
        elif name != "role" and value is not None:
            for piece in pieces_of(draw, value):
                yield {name: piece}


@st.composite
def streamed(draw: st.DrawFn) -> tuple[Json, list[Json]]:
    """Make an answer, and the chunks of a stream that says the same."""
    answer = draw(answers())
    frame = {"id": "c-1", "object": "chat.completion.chunk", "created": 5, "model": "m"}
    told: list[list[Json]] = []
    for choice in answer["choices"]:
        index = choice["index"]
        own = [
            {"index": index, "delta": delta, "finish_reason": None}
            for delta in deltas_of(draw, choice["message"])
        ]
        if "logprobs" in choice:
            for piece in pieces_of(draw, choice["logprobs"]["content"]):
                logprobs = {"content": piece, "refusal": None}
                own.append({"index": index, "delta": {}, "logprobs": logprobs})
        own.append({"index": index, "delta": {}, "finish_reason": choice["finish_reason"]})
        told.append(own)
    order = draw(st.permutations([place for place, own in enumerate(told) for _ in own]))
    chunks = [{**frame, "choices": [told[place].pop(0)]} for place in order]
    return answer, chunks


class PropertyTests(SynchronousTestCase):
    """Answers made up."""

    @given(streamed())
    def test_partition(self, both: tuple[Json, list[Json]]) -> None:
        """Whatever pieces an answer comes in, it is the same one."""
        answer, chunks = both
        self.assertEqual(fold(*chunks, usage=answer["usage"]), answer)

    @given(answers())
    def test_unfolded(self, answer: Json) -> None:
        """An answer that was told as a stream is the same when it is folded again."""
        self.assertEqual(fold(*unfold(deepcopy(answer)), usage=answer["usage"]), answer)


# --- recordings -----------------------------------------------------------------------------

#: What OpenAI's client joins as any other; it refuses lists without an index.
KNOWN = ("role", "content", "refusal", "reasoning_content", "tool_calls", "function_call")


def recorded_streams() -> Iterator[tuple[Recording, AnswerReader]]:
    """Give all recorded streams, each with its dialect."""
    dialects: list[tuple[str, AnswerReader, tuple[str, ...]]] = [
        ("chat", OpenAIDialect(), (*PROVIDERS, "vertex")),
        ("chat", GigaChatDialect(), ("gigachat",)),
        ("chat", CohereDialect(), ("cohere",)),
        ("messages", AnthropicDialect(), ("anthropic", "vertex")),
        ("streamGenerateContent", GeminiDialect(), ("gemini", "vertex")),
    ]
    for api, dialect, providers in dialects:
        for recording in read_recordings(api, *providers):
            old = recording.provider == "cohere" and "/v2/" not in recording.request["url"]
            if recording.streamed and recording.status == 200 and not old:
                yield recording, dialect


class RecordedTests(SynchronousTestCase):
    """Recorded streams."""

    def test_as_the_client(self) -> None:
        """A folded answer says what OpenAI's client makes of the stream, in its own type."""
        seen: Counter[str] = Counter()
        calls = 0
        for recording, dialect in recorded_streams():
            outcome = Outcome([recording.body], dialect=dialect, max_event_bytes=64 * 1024 * 1024)
            if outcome.error is not None:
                continue
            seen[recording.provider] += 1
            identity: Json = {"identity": "c-1", "created": 1, "model": "m"}
            asked = {"stream_options": {"include_usage": True}}
            written = OpenAIFace().write_answer(
                fold(*outcome.chunks, usage=outcome.usage), **identity
            )
            answer = ChatCompletion.model_validate_json(with_known_tier(written.body), strict=True)
            writer = OpenAIFace().stream_writer(asked, **identity)
            stream = b"".join(writer.write(deepcopy(one)) for one in outcome.chunks)
            expected = told_by_client(stream)
            self.assertEqual(answer.usage, expected.usage, recording.name)
            for ours, theirs in zip(answer.choices, expected.choices, strict=True):
                self.assertEqual(said(ours), said(theirs), recording.name)
                calls += len(ours.message.tool_calls or ())
        self.assertGreater(calls, 20)
        self.assertGreater(len(seen), 15, seen)

    def test_as_the_plain(self) -> None:
        """A recorded plain answer that is told as a stream and folded is what it was."""
        seen: Counter[str] = Counter()
        sources: list[tuple[str, AnswerReader, str]] = [
            ("messages", AnthropicDialect(), "anthropic"),
            ("generateContent", GeminiDialect(), "gemini"),
            *(("chat", OpenAIDialect(), provider) for provider in ("openai", "openrouter", "groq")),
        ]
        for api, dialect, provider in sources:
            for recording in read_recordings(api, provider):
                if recording.status != 200 or not recording.body.lstrip().startswith(b"{"):
                    continue
                names = json.loads(recording.body).keys()
                if "error" in names or not names & {"choices", "content", "candidates"}:
                    continue
                answer = dialect.read_reply(recording.body)
                folded = fold(*unfold(deepcopy(answer)), usage=answer.get("usage"))
                seen[provider] += 1
                self.assertEqual(folded, without_streams(answer), recording.name)
        for _, _, provider in sources:
            self.assertGreater(seen[provider], 2, seen)


def with_known_tier(body: bytes) -> bytes:
    """Leave out a tier that is not OpenAI's: it is passed on as it came."""
    answer = json.loads(body)
    if answer.get("service_tier") in ("on_demand", "standard"):
        del answer["service_tier"]
    return json.dumps(answer).encode()


def without_streams(answer: Json) -> Json:
    """Leave out of a plain answer what is only for streams: OpenRouter's calls have an index."""
    answer = deepcopy(answer)
    for choice in answer["choices"]:
        said = choice["message"]
        if said.get("tool_calls"):
            said["content"] = said["content"] or None
            for call in said["tool_calls"]:
                call.pop("index", None)
    return answer


def told_by_client(stream: bytes) -> Any:
    """Return what OpenAI's client makes of a stream."""
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    for event in read_events(stream):
        event.pop("service_tier", None)
        for choice in event["choices"]:
            delta = choice["delta"]
            choice["delta"] = {name: delta[name] for name in KNOWN if name in delta}
        state.handle_chunk(ChatCompletionChunk.model_validate(event))
    return state.current_completion_snapshot


def said(choice: Any) -> Json:
    """Return all that a choice says, as the client has read it."""
    told: Json = choice.message.model_dump(exclude_unset=True)
    for call in told.get("tool_calls") or ():
        call.pop("index", None)
        call.pop("extra_content", None)
        call["function"].pop("parsed_arguments", None)
    words = {name: told.get(name) or None for name in KNOWN}
    logprobs = choice.logprobs.model_dump() if choice.logprobs else None
    return {**words, "finish_reason": choice.finish_reason, "logprobs": logprobs}

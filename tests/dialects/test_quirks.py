"""Tests of :mod:`aiproxy.dialects.quirks`, as requests show them."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.config.known_providers import KNOWN_PROVIDERS
from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.quirks import Quirks, quirks_of
from aiproxy.wire.json import dumps
from tests.dialects.streams import ROOMY, chunk, write_events

EXTRA = {"google": {"thought_signature": "s"}, "other": {"x": 1}}

#: What a client sends back of a turn that another provider has answered.
HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "a", "name": "Ann"},
    {
        "role": "assistant",
        "content": None,
        "reasoning": "b",
        "reasoning_content": "b",
        "reasoning_details": [{"type": "reasoning.text", "text": "b", "signature": "s"}],
        "extra_content": EXTRA,
        "tool_calls": [
            {
                "id": "c",
                "type": "function",
                "function": {"name": "f", "arguments": "{}"},
                "extra_content": EXTRA,
            }
        ],
    },
]


class QuirksCase(SynchronousTestCase):
    """Requests to one type of provider."""

    def write(
        self, provider_type: str, request: dict[str, Any], *, model: str = "m", stream: bool = False
    ) -> WireRequest:
        """Write a request, having made sure that the caller's is not changed."""
        before = deepcopy(request)
        dialect = OpenAIDialect(quirks=quirks_of(provider_type))
        wire = dialect.write_request(request, model=model, stream=stream)
        self.assertEqual(request, before)
        return wire

    def check(
        self,
        provider_type: str,
        request: dict[str, Any],
        expected: dict[str, Any],
        *dropped: str,
        model: str = "m",
    ) -> None:
        """Assert what is written of a request, and what is named as left out."""
        wire = self.write(provider_type, request, model=model)
        body = json.loads(wire.body)
        self.assertEqual(body, {**expected, "model": model, "stream": False}, provider_type)
        self.assertEqual(wire.dropped, dropped, provider_type)

    def history(self, provider_type: str, *dropped: str) -> dict[str, Any]:
        """Give the assistant's turn of :data:`HISTORY` as it is written."""
        wire = self.write(provider_type, {"messages": HISTORY})
        self.assertEqual(wire.dropped, dropped, provider_type)
        message: dict[str, Any] = json.loads(wire.body)["messages"][1]
        return message


class TableTests(QuirksCase):
    """The table as a whole."""

    def test_unknown_types(self) -> None:
        """Somebody's own server gets what the caller sent."""
        self.assertEqual(quirks_of("homemade"), Quirks())
        request = {"messages": HISTORY, "max_tokens": 3, "stop": ["x"], "logprobs": True, "n": 2}
        self.check("homemade", request, request, model="o3")

    def test_every_type_has_a_row(self) -> None:
        """A type that is known by name never gets what another provider left for itself."""
        for name in KNOWN_PROVIDERS.keys() - {"demo"}:
            self.assertIsNotNone(quirks_of(name).keeps_extra, name)

    def test_extra_content(self) -> None:
        """It is stripped without a word, but for Google's own at Google."""
        for name in KNOWN_PROVIDERS.keys() - {"demo", "google"}:
            wire = self.write(name, {"messages": HISTORY})
            self.assertNotIn(b"extra_content", wire.body, name)
            self.assertNotIn("extra_content", " ".join(wire.dropped), name)
        message = self.history(
            "google", *(f"messages[].reasoning{end}" for end in ("_content", "", "_details"))
        )
        kept = {"google": EXTRA["google"]}
        self.assertEqual(message["extra_content"], kept)
        self.assertEqual(message["tool_calls"][0]["extra_content"], kept)
        only_others = {"messages": [{"role": "user", "extra_content": {"other": 1}}]}
        self.check("google", only_others, {"messages": [{"role": "user"}]})

    def test_compatible_as_they_are(self) -> None:
        """Of these no quirk is known: what OpenAI takes passes, as its schemas do."""
        request = {
            "messages": [{"role": "user", "content": "a", "name": "Ann"}],
            "max_tokens": 3,
            "max_completion_tokens": 3,
            "stop": "x",
            "n": 2,
            "logprobs": True,
            "logit_bias": {"1": 2},
            "reasoning_effort": "low",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "strict": True, "schema": {"type": "object"}},
            },
            "x_unknown": {"deep": [None]},
        }
        for name in (
            *("cloudflare", "github", "huggingface", "together", "arliai", "aimlapi", "glama"),
            "fireworks",
        ):
            self.check(name, request, request, model="openai/gpt-5")

    def test_odd_requests(self) -> None:
        """What nobody has checked is passed, and never a crash."""
        for name in ("openai", "openrouter", "groq", "google"):
            for messages in (
                None,
                "x",
                [],
                [7, None],
                [{"tool_calls": None}, {"tool_calls": "x"}, {"tool_calls": [7]}],
            ):
                self.check(name, {"messages": messages}, {"messages": messages})


class GroqTests(QuirksCase):
    """Groq refuses what it does not know."""

    def test_one_choice(self) -> None:
        """More than one is another request."""
        for n in (None, 1):
            self.check("groq", {"n": n}, {"n": n})
        with self.assertRaises(errors.InvalidRequest) as caught:
            self.write("groq", {"n": 2})
        self.assertEqual((caught.exception.param, caught.exception.status), ("n", 400))

    def test_dropped(self) -> None:
        """Refused fields are left out, and named if they ask for anything."""
        self.check(
            "groq",
            {"logprobs": True, "top_logprobs": 2, "logit_bias": {"1": 2}, "seed": 1,
             "presence_penalty": 0.5, "frequency_penalty": -0.5},
            {"seed": 1},
            *("logprobs", "top_logprobs", "logit_bias", "presence_penalty", "frequency_penalty"),
        )  # fmt: skip
        self.check(
            "groq", {"logprobs": False, "logit_bias": None, "presence_penalty": 0, "x": 1}, {"x": 1}
        )

    def test_messages(self) -> None:
        """Names are left out; thoughts have another name."""
        message = self.history("groq", "messages[].name", "messages[].reasoning_details")
        self.assertEqual(message["reasoning"], "b")
        self.assertNotIn("reasoning_content", message)
        told = {"messages": [{"role": "assistant", "content": "a", "reasoning_content": "b"}] * 2}
        sent = {"messages": [{"role": "assistant", "content": "a", "reasoning": "b"}] * 2}
        self.check("groq", told, sent)

    def test_thoughts_apart(self) -> None:
        """Who asks for reasoning gets it apart from the text, of models that would mix it in."""
        effort = {"reasoning_effort": "default"}
        table: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
            ("qwen/qwen3-32b", effort, {**effort, "reasoning_format": "parsed"}),
            ("deepseek-r1-distill-llama-70b", effort, {**effort, "reasoning_format": "parsed"}),
            ("qwen/qwen3-32b", {}, {}),
            ("openai/gpt-oss-120b", effort, effort),
            ("llama-3.1-8b-instant", effort, effort),
            *(
                ("qwen/qwen3-32b", {**effort, **given}, {**effort, **given})
                for given in ({"reasoning_format": "hidden"}, {"include_reasoning": False})
            ),
        ]
        for model, told, expected in table:
            self.check("groq", told, expected, model=model)

    def test_formats_exclude_each_other(self) -> None:
        """Both are refused: the more telling one is kept."""
        both = {"reasoning_format": "hidden", "include_reasoning": False}
        kept = {"reasoning_format": "hidden"}
        self.check("groq", both, kept, "include_reasoning", model="qwen/qwen3-32b")


class OpenRouterTests(QuirksCase):
    """OpenRouter has more fields than OpenAI."""

    def test_effort(self) -> None:
        """The effort is one of its settings for reasoning, unless these are given."""
        self.check("openrouter", {"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}})
        self.check("openrouter", {"reasoning_effort": None}, {"reasoning_effort": None})
        given = {"reasoning": {"max_tokens": 9}}
        self.check("openrouter", {**given, "reasoning_effort": "low"}, given, "reasoning_effort")

    def test_own_fields(self) -> None:
        """They pass."""
        request = {
            "models": ["a", "b"],
            "provider": {"order": ["P"]},
            "plugins": [{"id": "web"}],
            "transforms": [],
            "logit_bias": {"1": 1},
        }
        self.check("openrouter", request, request)

    def test_thoughts(self) -> None:
        """Details go back verbatim, for they are signed; clear text under its own name."""
        message = self.history("openrouter")
        self.assertEqual(message["reasoning_details"], HISTORY[1]["reasoning_details"])
        self.assertEqual(message["reasoning"], "b")
        self.assertNotIn("reasoning_content", message)
        self.check(
            "openrouter",
            {"messages": [{"reasoning": "a", "reasoning_content": "b"}]},
            {"messages": [{"reasoning": "a"}]},
            "messages[].reasoning_content",
        )


class OpenAITests(QuirksCase):
    """OpenAI's models that reason."""

    def test_limit(self) -> None:
        """These know only the newer name of the limit."""
        for model in ("o1", "o1-2024-12-17", "o3", "o3-mini", "o4-mini", "gpt-5", "gpt-5.1-mini",
                      "ft:o4-mini:org"):  # fmt: skip
            limit = {"max_completion_tokens": 3}
            self.check("openai", {"max_tokens": 3}, limit, model=model)
            self.check("openai", {"max_tokens": None}, {}, model=model)
            self.check("openai", {"max_tokens": 3, **limit}, limit, model=model)
            self.check("openai", {"max_tokens": 4, **limit}, limit, "max_tokens", model=model)
        for model in ("gpt-4o", "gpt-4.1-nano", "gpt-5-chat-latest", "chatgpt-4o", "omni", "foo3"):
            self.check("openai", {"max_tokens": 3}, {"max_tokens": 3}, model=model)

    def test_thoughts(self) -> None:
        """Its messages have no place for them."""
        message = self.history(
            "openai", *(f"messages[].reasoning{end}" for end in ("_content", "", "_details"))
        )
        self.assertEqual(message.keys(), {"role", "content", "tool_calls"})

    def test_stop_taken(self) -> None:
        """Where the provider can cut, it does."""
        for model in ("gpt-4.1", "o1", "o3-mini", "gpt-5-chat-latest"):
            self.check("openai", {"stop": ["x"]}, {"stop": ["x"]}, model=model)
            self.assertIsNone(self.write("openai", {"stop": ["x"]}, model=model).reader)

    def test_stop_refused(self) -> None:
        """Where it cannot, the answer is cut here, plain or streamed: nothing is dropped."""
        answer = {"choices": [{"message": {"content": "a b x c"}, "finish_reason": "length"}]}
        stream = write_events(
            chunk({"content": "a b "}), chunk({"content": "x c"}, "length"), b"[DONE]"
        )
        for model in ("o3", "o3-2025-04-16", "o4-mini", "gpt-5", "gpt-5-mini", "gpt-5.4"):
            self.check("openai", {"stop": ["x"]}, {}, model=model)
            reader = self.write("openai", {"stop": ["x"]}, model=model).reader
            assert reader is not None
            (choice,) = reader.read_reply(dumps(answer))["choices"]
            self.assertEqual(
                (choice["message"]["content"], choice["finish_reason"]), ("a b ", "stop")
            )
            streamed = reader.stream_reader(choices=1, max_event_bytes=ROOMY)
            told = [choice for x in streamed.feed(stream) for choice in x["choices"]]
            text = "".join(choice["delta"].get("content") or "" for choice in told)
            self.assertEqual((text, told[-1]["finish_reason"]), ("a b ", "stop"))
            error = reader.read_error(429, {"retry-after": "3"}, b"")
            self.assertIsInstance(error, errors.UpstreamRateLimited)
            self.assertEqual(error.retry_after, 3.0)

    def test_stop_that_asks_nothing(self) -> None:
        """It is left out all the same, and answers are read as ever."""
        stops: list[object] = [None, [], ""]
        for stop in stops:
            self.check("openai", {"stop": stop}, {}, model="o3")
            self.assertIsNone(self.write("openai", {"stop": stop}, model="o3").reader)


class GoogleTests(QuirksCase):
    """Google's compatible endpoint."""

    def test_dropped(self) -> None:
        """It refuses names that it does not know."""
        self.check("google", {"frequency_penalty": 1, "seed": 1}, {"seed": 1}, "frequency_penalty")

"""Tests of :mod:`aiproxy.dialects.quirks`, as requests show them."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any, get_type_hints

from groq.types.chat.completion_create_params import CompletionCreateParams as GroqRequest
from openai.types.chat import ParsedChoice
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as OpenAIRequest
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.config.known_providers import KNOWN_PROVIDERS
from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.quirks import Quirks, quirks_of
from aiproxy.wire.json import dumps
from tests.dialects.streams import ROOMY, chunk, write_events
from tests.shown import show

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

    def test_search(self) -> None:
        """A search of the web is asked for by an empty object: who has none says so."""
        for name in ("groq", "mistral", "fireworks"):
            self.check(name, {"web_search_options": {}}, {}, "web_search_options")

    def test_answers_of_the_client(self) -> None:
        """What OpenAI's client has read goes back as those take it who refuse the unknown."""
        function = {"name": "f", "arguments": "{}", "parsed_arguments": {}}
        call = {"id": "aB3456789", "type": "function", "index": 0, "function": function}
        choice = {"index": 0, "finish_reason": "tool_calls"}
        read = ParsedChoice[None].model_validate(
            {**choice, "message": {"role": "assistant", "content": None, "tool_calls": [call]}}
        )
        told = read.message.model_dump()
        self.assertLess({"refusal", "annotations", "audio", "parsed"}, told.keys())
        plain = {**call, "function": {"name": "f", "arguments": "{}"}}
        del plain["index"]
        for name in ("groq", "mistral", "cerebras", "fireworks"):
            wire = self.write(name, {"messages": [told]})
            self.assertEqual(wire.dropped, (), name)
            (message,) = json.loads(wire.body)["messages"]
            # Groq knows the older form of a call.
            message.pop("function_call", None)
            # Mistral takes an index.
            expected = {**plain, "index": 0} if name == "mistral" else plain
            self.assertEqual(
                message, {"role": "assistant", "content": None, "tool_calls": [expected]}, name
            )

    def test_answers_of_others(self) -> None:
        """What only other providers' answers have is left out there, and named."""
        told = {"role": "assistant", "content": "a"}
        more: dict[str, Any] = {"executed_tools": [{}], "images": [{}], "content_parts": [{}]}
        names = [f"messages[].{name}" for name in more]
        for name in ("groq", "mistral", "cerebras", "fireworks"):
            self.check(name, {"messages": [{**told, **more}]}, {"messages": [told]}, *names)

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
            *("cloudflare", "huggingface", "together", "zai", "arliai", "aimlapi", "glama"),
            *("fireworks", "vllm", "lmstudio"),
        ):
            self.check(name, request, request, model="openai/gpt-5")

    def test_odd_requests(self) -> None:
        """What nobody has checked is passed, and never a crash."""
        for name in KNOWN_PROVIDERS.keys() - {"demo"}:
            for messages in (
                None,
                "x",
                [],
                [7, None],
                [{"tool_calls": None}, {"tool_calls": "x"}, {"tool_calls": []}],
                [{"tool_calls": [7], "reasoning_content": None, "tool_call_id": 7}],
            ):
                wire = self.write(name, {"messages": messages}, model="grok-4")
                written = json.loads(wire.body)["messages"]
                if isinstance(messages, list) and len(messages) == 1:
                    written[0].setdefault("reasoning_content", None)
                self.assertEqual(written, messages, name)
                self.assertEqual(wire.dropped, (), name)

    def test_odd_fields(self) -> None:
        """The same of all else that is changed for anybody."""
        odd: list[object] = [7, "x", [], {}, [7], {"function": 7}, {"json_schema": 7}]
        for name in KNOWN_PROVIDERS.keys() - {"demo"}:
            for field in ("tool_choice", "tools", "response_format", "reasoning_effort", "stop"):
                for value in odd:
                    json.loads(self.write(name, {field: value, "messages": []}).body)


class GroqTests(QuirksCase):
    """Groq refuses what it does not know."""

    def test_fields_of_openai(self) -> None:
        """Those that its own client does not know are left out, and named."""
        fields = get_type_hints(OpenAIRequest).keys() - get_type_hints(GroqRequest).keys()
        # It tells usage in streams for it (recorded).
        unknown = dict.fromkeys(fields - {"stream_options"}, "x")
        self.assertLess({"prompt_cache_key", "verbosity", "prediction"}, unknown.keys())
        wire = self.write("groq", {**unknown, "user": "ann"})
        self.assertEqual(json.loads(wire.body), {"model": "m", "stream": False, "user": "ann"})
        self.assertEqual(set(wire.dropped), unknown.keys())

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
        show("groq", "reasoning effort")

    def test_efforts(self) -> None:
        """Qwen thinks or does not, GPT-OSS has three efforts; of others nothing is known."""
        for model, told, sent in (
            *(("qwen/qwen3-32b", effort, "default") for effort in ("minimal", "low", "high")),
            *(("qwen/qwen3.6-27b", effort, effort) for effort in ("none", "default")),
            *(("openai/gpt-oss-20b", effort, "low") for effort in ("none", "minimal", "low")),
            ("openai/gpt-oss-20b", "medium", "medium"),
            ("openai/gpt-oss-20b", "xhigh", "high"),
            ("llama-3.1-8b-instant", "minimal", "minimal"),
        ):
            body = json.loads(self.write("groq", {"reasoning_effort": told}, model=model).body)
            self.assertEqual(body["reasoning_effort"], sent, (model, told))

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
        show("openrouter", "reasoning effort")

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
        show("openai", "stop")

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


class VendorTests(QuirksCase):
    """OpenAI's models where others serve them."""

    def test_reasoning_models(self) -> None:
        """They refuse at GitHub and at Azure what they refuse at home."""
        for name, model in (("github", "openai/o3"), ("azure", "gpt-5-mini"), ("github", "o3")):
            limit = {"max_completion_tokens": 3}
            self.check(name, {"max_tokens": 3}, limit, model=model)
            self.check(name, {"stop": "x"}, {}, model=model)
            self.assertIsNotNone(self.write(name, {"stop": "x"}, model=model).reader)
        for name, model in (("github", "openai/gpt-4.1"), ("azure", "deepseek-r1")):
            request = {"max_tokens": 3, "stop": "x"}
            self.check(name, request, request, model=model)
            show(name, "stop")

    def test_choice_of_a_tool(self) -> None:
        """Other vendors' models at Azure know words only: the one tool is all that they get."""
        one, other = ({"type": "function", "function": {"name": name}} for name in ("a", "b"))
        request = {"tools": [other, one], "tool_choice": one}
        for model in ("mai-ds-r1", "Kimi-K2.5", "Meta-Llama-3.1"):
            self.check("azure", request, {"tools": [one], "tool_choice": "required"}, model=model)
            for kept in ({"tools": [one, other], "tool_choice": "auto"}, {"tool_choice": one}):
                self.check("azure", kept, kept, model=model)
        self.check("azure", request, request, model="o4-mini")
        show("azure", "tool choice")


class MistralTests(QuirksCase):
    """Mistral forbids extra inputs."""

    def test_names(self) -> None:
        """Its own names, and only the older limit."""
        self.check(
            "mistral",
            {"max_completion_tokens": 3, "seed": 7, "n": 2, "tool_choice": "required"},
            {"max_tokens": 3, "random_seed": 7, "n": 2, "tool_choice": "any"},
        )
        show("mistral", "seed", "n", "tool choice")
        self.check("mistral", {"max_completion_tokens": None, "seed": None}, {})
        both = {"max_completion_tokens": 3, "max_tokens": 4}
        self.check("mistral", both, {"max_tokens": 3}, "max_tokens")
        self.check("mistral", {**both, "max_tokens": 3}, {"max_tokens": 3})

    def test_dropped(self) -> None:
        """What OpenAI alone knows is left out; what Mistral knows is not."""
        self.check(
            "mistral",
            {"logit_bias": {"1": 2}, "moderation": {"model": "m"}, "user": "Ann"},
            {},
            *("logit_bias", "user", "moderation"),
        )
        self.check("mistral", {"prompt_cache_options": {"mode": "x"}}, {}, "prompt_cache_options")
        self.check("mistral", {"logit_bias": None, "store": False, "verbosity": None}, {})
        own = {
            "prompt_mode": "reasoning",
            "reasoning_effort": "high",
            "presence_penalty": 1,
            "metadata": {"a": "b"},
            "parallel_tool_calls": False,
            "logprobs": True,
            "top_logprobs": 2,
            "x_unknown": 1,
        }
        self.check("mistral", own, own)

    def test_tiers(self) -> None:
        """Of OpenAI's tiers it has two, one by another name."""
        for told, written in (
            ("auto", "auto"), ("default", "standard_only"), ("standard_only", "standard_only"),
        ):  # fmt: skip
            self.check("mistral", {"service_tier": told}, {"service_tier": written})
        for other in ("flex", "priority", 5):
            self.check("mistral", {"service_tier": other}, {}, "service_tier")
        self.check("openai", {"service_tier": "flex"}, {"service_tier": "flex"})

    def test_files(self) -> None:
        """The data of a file stands in a link; a file may be named by its id."""
        text = {"type": "text", "text": "a"}
        data = "data:application/pdf;base64,JVBE"
        for told, written in (
            (
                {"file_data": data, "filename": "a.pdf"},
                {"type": "document_url", "document_url": data, "document_name": "a.pdf"},
            ),
            ({"file_data": "JVBE"}, {"type": "document_url", "document_url": data}),
            ({"file_id": "f"}, {"type": "file", "file_id": "f"}),
        ):
            part = {"type": "file", "file": told}
            for provider, expected in (("mistral", written), ("openai", part)):
                self.check(
                    provider,
                    {"messages": [{"role": "user", "content": [text, part]}]},
                    {"messages": [{"role": "user", "content": [text, expected]}]},
                )
        own = {"messages": [{"role": "user", "content": [{"type": "file", "file_id": "f"}]}]}
        self.check("mistral", own, own)
        show("mistral", "parallel calls off")

    def test_effort(self) -> None:
        """It thinks or does not; Large 4 also in between."""
        for told, written in (
            ("none", "none"), ("minimal", "none"), ("low", "high"), ("medium", "high"),
            ("high", "high"), ("xhigh", "high"), ("max", "high"), ("new", "new"),
        ):  # fmt: skip
            effort = {"reasoning_effort": written}
            self.check("mistral", {"reasoning_effort": told}, effort)
            as_told = {"reasoning_effort": told}
            self.check("mistral", as_told, as_told, model="mistral-large-4-0")
        show("mistral", "reasoning effort")

    def test_usage(self) -> None:
        """It is told without a question, which is refused."""
        wire = self.write("mistral", {"stream_options": {"include_usage": True}}, stream=True)
        self.assertNotIn("stream_options", json.loads(wire.body))
        self.assertEqual(wire.dropped, ())
        options = {"include_obfuscation": False, "x": 1}
        wire = self.write("mistral", {"stream_options": options}, stream=True)
        self.assertNotIn("stream_options", json.loads(wire.body))
        self.assertEqual(wire.dropped, ("stream_options.x",))

    def test_messages(self) -> None:
        """Names and thoughts are left out; what an answer held as null goes without a word."""
        message = self.history(
            "mistral",
            "messages[].name",
            *(f"messages[].reasoning{end}" for end in ("_content", "", "_details")),
        )
        self.assertEqual(message.keys(), {"role", "content", "tool_calls"})
        answered: dict[str, Any] = {
            "role": "assistant",
            "content": "a",
            "refusal": None,
            "annotations": [],
        }
        self.check(
            "mistral",
            {"messages": [{**answered, "audio": None, "function_call": None}]},
            {"messages": [{"role": "assistant", "content": "a"}]},
        )

    def test_ids(self) -> None:
        """Another provider's ids become nine letters and digits, the same in call and result."""
        told = [
            {"role": "assistant", "tool_calls": [{"id": "call_1"}, {"id": "aB3456789"}]},
            {"role": "tool", "tool_call_id": "call_1", "content": "x"},
            {"role": "tool", "tool_call_id": "aB3456789", "content": "y"},
            {"role": "tool", "tool_call_id": "call_2", "content": "z"},
        ]
        messages = json.loads(self.write("mistral", {"messages": told}).body)["messages"]
        first, second = (call["id"] for call in messages[0]["tool_calls"])
        results = [message["tool_call_id"] for message in messages[1:]]
        self.assertEqual(results[:2], [first, second])
        self.assertEqual(second, "aB3456789")
        self.assertNotEqual(results[2], first)
        for identity in (first, results[2]):
            self.assertRegex(identity, r"\A[a-zA-Z0-9]{9}\Z")
        show("mistral", "tool results")

    def test_developer(self) -> None:
        """A developer's word is the system's, wherever only that role is known."""
        told = {"messages": [{"role": "developer", "content": "a"}]}
        for name in ("mistral", "deepseek", "cerebras", "perplexity"):
            self.check(name, told, {"messages": [{"role": "system", "content": "a"}]})
            show(name, "system and developer messages")
        for name in ("openai", "azure", "github", "xai"):
            self.check(name, told, told)
            show(name, "system and developer messages")


class XAITests(QuirksCase):
    """Grok's models differ in what they refuse."""

    def test_penalties(self) -> None:
        """Refused since Grok 3, be they 0."""
        penalties = {"presence_penalty": 0.5, "frequency_penalty": 0}
        for model in ("grok-3-mini", "grok-4", "grok-4-fast-non-reasoning", "grok-code-fast-1"):
            self.check("xai", penalties, {}, "presence_penalty", model=model)
        self.check("xai", penalties, penalties, model="grok-2-1212")

    def test_stop(self) -> None:
        """Models that reason refuse it: their answers are cut here."""
        for model in ("grok-3-mini", "grok-4", "grok-4-fast-reasoning", "grok-code-fast-1"):
            self.check("xai", {"stop": "x"}, {}, model=model)
            self.assertIsNotNone(self.write("xai", {"stop": "x"}, model=model).reader)
        for model in ("grok-2", "grok-3", "grok-4-fast-non-reasoning"):
            self.check("xai", {"stop": "x"}, {"stop": "x"}, model=model)
            self.assertIsNone(self.write("xai", {"stop": "x"}, model=model).reader)
        show("xai", "stop")

    def test_effort(self) -> None:
        """Two words for the small one, OpenAI's for the newest, and none for the others."""
        effort = {"reasoning_effort": "medium"}
        self.check("xai", effort, {"reasoning_effort": "high"}, model="grok-3-mini-fast")
        low = {"reasoning_effort": "low"}
        self.check("xai", {"reasoning_effort": "minimal"}, low, model="grok-3-mini")
        for model in ("grok-4.3", "grok-4.5", "grok-4.20-multi-agent"):
            self.check("xai", effort, effort, model=model)
        for model in ("grok-2", "grok-3", "grok-4", "grok-4-0709", "grok-4-fast-reasoning"):
            self.check("xai", effort, {}, "reasoning_effort", model=model)
        show("xai", "reasoning effort")


class DeepSeekTests(QuirksCase):
    """DeepSeek has no schemas, and wants its thoughts back."""

    def test_limit(self) -> None:
        """It passes over the newer name."""
        self.check("deepseek", {"max_completion_tokens": 3}, {"max_tokens": 3})

    def test_reasoner(self) -> None:
        """What has no effect on it is not asked for in silence."""
        sampling = {"temperature": 0.5, "top_p": 0.5, "logprobs": True}
        self.check("deepseek", sampling, {}, *sampling, model="deepseek-reasoner")
        self.check("deepseek", sampling, sampling, model="deepseek-chat")
        show("deepseek", "sampling parameters")

    def test_schema(self) -> None:
        """It stands in words behind the other instructions, beside JSON mode."""
        schema = {"type": "object", "properties": {"a": {"type": "string"}}}
        told = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        system, user = ({"role": role, "content": "a"} for role in ("system", "user"))
        for before, after in (([system], [user, system]), ([], [user]), ([system, system], [])):
            wire = self.write("deepseek", {"messages": [*before, *after], "response_format": told})
            body = json.loads(wire.body)
            self.assertEqual(body["response_format"], {"type": "json_object"})
            words = body["messages"].pop(len(before))
            self.assertEqual(body["messages"], [*before, *after])
            self.assertEqual(words["role"], "system")
            self.assertIn(dumps(schema).decode(), words["content"])
            self.assertEqual(wire.dropped, ())
        for kept in ({"type": "json_object"}, {"type": "text"}):
            request = {"messages": [user], "response_format": kept}
            self.check("deepseek", request, request)
        show("deepseek", "JSON mode", "JSON schema")

    def test_thoughts(self) -> None:
        """They go back; models that think get an empty one where there is none."""
        message = self.history("deepseek", "messages[].reasoning_details")
        self.assertEqual(message["reasoning_content"], "b")
        self.assertNotIn("reasoning", message)
        bare: list[dict[str, Any]] = [
            {"role": "assistant", "content": "a"},
            {"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]},
        ]
        filled = [bare[0], {**bare[1], "reasoning_content": ""}]
        for model in ("deepseek-reasoner", "deepseek-v4-flash"):
            self.check("deepseek", {"messages": bare}, {"messages": filled}, model=model)
        self.check("deepseek", {"messages": bare}, {"messages": bare}, model="deepseek-chat")


class StrictTests(QuirksCase):
    """Cerebras, Fireworks and Perplexity."""

    def test_cerebras(self) -> None:
        """Its thoughts have another name; it takes both limits and the question for usage."""
        message = self.history("cerebras", "messages[].reasoning_details")
        self.assertEqual(message["reasoning"], "b")
        self.assertNotIn("reasoning_content", message)
        limits: list[dict[str, Any]] = [{"max_tokens": 3}, {"max_completion_tokens": 3}]
        for limit in limits:
            self.check("cerebras", {**limit, "presence_penalty": 1, "logit_bias": {}}, limit,
                       "presence_penalty")  # fmt: skip
        wire = self.write("cerebras", {}, stream=True)
        self.assertEqual(json.loads(wire.body)["stream_options"], {"include_usage": True})

    def test_fireworks(self) -> None:
        """Thoughts are its own; fields of OpenAI's that it does not know are left out."""
        message = self.history("fireworks", "messages[].reasoning_details")
        self.assertEqual(message["reasoning_content"], "b")
        self.assertNotIn("reasoning", message)
        kept: dict[str, Any] = {"prompt_cache_key": "k", "user": "ann", "reasoning_effort": "low"}
        self.check("fireworks", {**kept, "store": False, "verbosity": "low"}, kept, "verbosity")

    def test_perplexity(self) -> None:
        """A frequency penalty is a factor there, and none is not 0; its own fields pass."""
        self.check("perplexity", {"frequency_penalty": 0}, {})
        self.check("perplexity", {"frequency_penalty": 0.5}, {}, "frequency_penalty")
        own = {"search_domain_filter": ["a.example"], "presence_penalty": 1, "max_tokens": 3}
        self.check("perplexity", own, own)


class OllamaTests(QuirksCase):
    """Ollama passes over what it does not know."""

    def test_fields(self) -> None:
        """What it would pass over is named, or done."""
        self.check(
            "ollama",
            {"max_completion_tokens": 3, "logit_bias": {"1": 2}, "user": "Ann", "seed": 1},
            {"max_tokens": 3, "seed": 1},
            *("logit_bias", "user"),
        )
        with self.assertRaises(errors.InvalidRequest) as caught:
            self.write("ollama", {"n": 2})
        self.assertEqual(caught.exception.param, "n")
        show("ollama", "seed")

    def test_choice(self) -> None:
        """No tools for none of them; to have to call one cannot be said."""
        tools = {"tools": [{"type": "function", "function": {"name": "a"}}]}
        self.check("ollama", {**tools, "tool_choice": "auto"}, tools)
        self.check("ollama", {**tools, "tool_choice": "none"}, {})
        self.check("ollama", {**tools, "tool_choice": "required"}, tools, "tool_choice")
        show("ollama", "tools")

    def test_thoughts(self) -> None:
        """They have one name."""
        message = self.history("ollama")
        self.assertEqual(message["reasoning"], "b")
        self.assertNotIn("reasoning_content", message)


class ImageTests(QuirksCase):
    """Who fetches images that are only named by a URL."""

    def test_wanted(self) -> None:
        """Servers of one's own that take no URL of the web get the images."""
        for url, wanted in (("https://example.com/a.png", True), ("data:image/png;base64,", False)):
            part = {"type": "image_url", "image_url": {"url": url}}
            request = {"messages": [{"role": "user", "content": [part]}]}
            for name in KNOWN_PROVIDERS.keys() - {"demo"}:
                dialect = OpenAIDialect(quirks=quirks_of(name))
                self.assertEqual(
                    dialect.wants_images(request, model="m"),
                    wanted and name in ("ollama", "lmstudio"),
                    name,
                )

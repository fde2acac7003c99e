"""
The types of Anthropic's, Cohere's and Mistral's own clients, on what we write and read.

Those providers refuse fields that they do not know, but their clients' types
pass over them, or keep them as they are: so what they have read is written
again, and has to be the same.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from anthropic.types.message_create_params import MessageCreateParamsBase as AnthropicRequest
from cohere import V2ChatResponse as CohereAnswer
from cohere.v2.raw_client import RawV2Client
from hypothesis import given
from hypothesis import strategies as st
from mistralai.client.models import ChatCompletionRequest as MistralRequest
from mistralai.client.models import ChatCompletionResponse as MistralAnswer
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as OpenAIRequest
from pydantic import BaseModel, ConfigDict, TypeAdapter, create_model
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.cohere import CohereDialect
from aiproxy.dialects.dialect import Dialect
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.quirks import quirks_of
from tests.dialects.cohere_inverse import openai_request
from tests.dialects.recordings import Recording, read_recordings
from tests.dialects.test_anthropic_recordings import spent

# --- requests of OpenAI's ---------------------------------------------------------------

PIXEL = "data:image/png;base64,AAAA"
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=9)
SCHEMAS = st.sampled_from(
    [
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
    ]
)
NAMES = st.sampled_from(["alpha", "beta", "gamma"])
FUNCTIONS = st.fixed_dictionaries(
    {"name": NAMES, "parameters": SCHEMAS},
    optional={"description": st.sampled_from(["", "Does it."]), "strict": st.booleans()},
)
TOOLS: st.SearchStrategy[list[dict[str, Any]]] = st.lists(
    FUNCTIONS, min_size=1, max_size=3, unique_by=lambda one: str(one["name"])
).map(lambda functions: [{"type": "function", "function": one} for one in functions])
IMAGES = st.builds(
    lambda url, more: {"type": "image_url", "image_url": {"url": url, **more}},
    st.sampled_from([PIXEL, "https://img.example/1.png"]),
    st.sampled_from([{}, {"detail": "auto"}, {"detail": "high"}]),
)
ARGUMENTS = st.sampled_from(["{}", '{"a": "b"}', ""])
TEXTS = WORDS.map(lambda text: {"type": "text", "text": text})
CONTENTS = WORDS | st.lists(TEXTS | IMAGES, min_size=1, max_size=3)
#: What an answer holds beside its content, and a client sends back.
LEFT_BEHIND: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "reasoning_content": WORDS,
        "refusal": st.none(),
        "annotations": st.just([]),
        "audio": st.none(),
        "parsed": st.none(),
        "name": st.just("ann"),
        "extra_content": st.just(
            {
                "anthropic": {
                    "thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "S"}]
                },
                "google": {"thought_signature": "S"},
            }
        ),
    },
)
#: A value for each field of OpenAI's; what every provider refuses is not among them.
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "audio": st.just({"voice": "alloy", "format": "mp3"}),
    "frequency_penalty": st.sampled_from([-2, 0, 0.5, 2]),
    "logit_bias": st.just({"5": 1}),
    "logprobs": st.booleans(),
    "max_completion_tokens": st.sampled_from([1, 2_000, 30_000]),
    "max_tokens": st.sampled_from([1, 2_000, 30_000]),
    "metadata": st.just({"a": "b"}),
    "modalities": st.sampled_from([["text"], ["text", "audio"]]),
    "moderation": st.just({"model": "omni-moderation-latest"}),
    "n": st.just(1),
    "parallel_tool_calls": st.booleans(),
    "prediction": st.just({"type": "content", "content": "x"}),
    "presence_penalty": st.sampled_from([-2, 0, 0.5, 2]),
    "prompt_cache_key": st.just("k"),
    "prompt_cache_options": st.just({"mode": "implicit"}),
    "prompt_cache_retention": st.just("24h"),
    "reasoning_effort": st.sampled_from(
        ["none", "minimal", "low", "medium", "high", "xhigh", "max"]
    ),
    "response_format": st.sampled_from(
        [
            {"type": "text"},
            {"type": "json_object"},
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "n",
                    "strict": True,
                    "schema": {"type": "object", "properties": {"a": {"type": "string"}}},
                },
            },
        ]
    ),
    "safety_identifier": st.just("s"),
    "seed": st.just(7),
    "service_tier": st.sampled_from(["auto", "default", "flex", "scale", "priority"]),
    "stop": st.sampled_from(["x", ["x", "y"], [], " "]),
    "store": st.booleans(),
    "temperature": st.sampled_from([0, 0.5, 1, 2]),
    "top_logprobs": st.sampled_from([0, 2]),
    "top_p": st.sampled_from([0, 0.5, 1]),
    "user": st.just("u"),
    "verbosity": st.just("low"),
    "web_search_options": st.just({"search_context_size": "low"}),
}


@st.composite
def turns(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Make a question, or one with its answer, or with calls and what they gave back."""
    question = {"role": "user", "content": draw(CONTENTS)}
    kind = draw(st.sampled_from(["question", "answer", "calls"]))
    if kind == "question":
        return [question]
    answer = {"role": "assistant", "content": draw(WORDS), **draw(LEFT_BEHIND)}
    if kind == "answer":
        return [question, answer]
    names = draw(st.lists(NAMES, min_size=1, max_size=2))
    calls: list[dict[str, Any]] = [
        {
            "id": f"call_{place}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": draw(st.sampled_from(["{}", '{"a": "b"}', ""])),
            },
            "extra_content": {"google": {"thought_signature": "S"}},
        }
        for place, name in enumerate(names)
    ]
    answer |= {"content": draw(st.none() | WORDS), "tool_calls": calls}
    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": draw(WORDS | st.lists(TEXTS))}
        for call in calls
    ]
    return [question, answer, *results]


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """Make a request that every provider can do something with."""
    instructions = draw(st.lists(st.sampled_from(["system", "developer"]), max_size=2))
    words = WORDS | st.lists(TEXTS, min_size=1)
    messages: list[dict[str, Any]] = [
        {"role": role, "content": draw(words)} for role in instructions
    ]
    for turn in draw(st.lists(turns(), min_size=1, max_size=3)):
        messages += turn
    request = {"messages": messages, **draw(st.fixed_dictionaries({}, optional=FIELDS))}
    if draw(st.booleans()):
        request["tools"] = tools = draw(TOOLS)
        named: dict[str, Any] = {"type": "function"}
        named["function"] = {"name": tools[0]["function"]["name"]}
        choice = draw(st.none() | st.sampled_from(["none", "auto", "required", named]))
        if choice:
            request["tool_choice"] = choice
    return request


# --- their clients' types ---------------------------------------------------------------


def certain(hint: Any) -> Any:
    """Return a type without the ``Any`` that lets values pass which a client does not know yet."""
    if get_origin(hint) is not Union:
        return hint
    return Union[tuple(one for one in get_args(hint) if one is not Any)]  # noqa: UP007


def cohere_request() -> type[BaseModel]:
    """Make a type of what Cohere's client takes: it has arguments and no type for them all."""
    hints = get_type_hints(RawV2Client.chat, include_extras=True)
    for name in ("return", "request_options"):
        del hints[name]
    fields: dict[str, Any] = {
        name: (certain(hint), ...) if name in ("model", "messages") else (certain(hint), None)
        for name, hint in hints.items()
    }
    fields["stream"] = (bool, ...)
    made: type[BaseModel] = create_model(
        "CohereRequest", __config__=ConfigDict(extra="forbid"), **fields
    )
    return made


def unknown(read: Any, where: str = "") -> Iterator[str]:
    """Give the places of fields that a type has kept without knowing them."""
    if isinstance(read, BaseModel):
        yield from (f"{where}.{name}" for name in read.model_extra or ())
        for name in read.model_fields_set & set(type(read).model_fields):
            yield from unknown(getattr(read, name), f"{where}.{name}")
    elif isinstance(read, list | tuple):
        for place, one in enumerate(read):
            yield from unknown(one, f"{where}[{place}]")


#: A name and arguments.
Call = tuple[str, object]

ANTHROPIC: TypeAdapter[Any] = TypeAdapter(AnthropicRequest)
COHERE = cohere_request()
MODELS = {
    "anthropic": ("claude-sonnet-4-5", "claude-sonnet-4-6", "claude-sonnet-5", "claude-opus-5-5"),
    "cohere": ("command-a-03-2025", "command-a-reasoning-08-2025"),
    "mistral": ("mistral-small-latest", "mistral-large-4-0"),
}


def dialect_of(provider: str) -> Dialect:
    """Make a provider's dialect."""
    made: dict[str, Dialect] = {"anthropic": AnthropicDialect(), "cohere": CohereDialect()}
    return made.get(provider) or OpenAIDialect(quirks=quirks_of(provider))


class RequestTypesCase(SynchronousTestCase):
    """Reads what is written."""

    def check(self, provider: str, request: Mapping[str, Any], model: str, what: str = "") -> None:
        """Assert that a provider's client knows all that is written of a request."""
        told = dict(request)
        wire = dialect_of(provider).write_request(told, model=model, stream=False)
        body = json.loads(wire.body)
        read = getattr(self, f"read_{provider}")(body, what)
        self.assertEqual(read, body, what)

    def read_anthropic(self, body: dict[str, Any], what: str) -> object:
        """Read a request as Anthropic's client does; its types drop what they do not know."""
        known = spent(ANTHROPIC.validate_python(body, strict=True))
        for tool, told in zip(known.get("tools", ()), body.get("tools", ()), strict=True):
            if "input_schema" in told:
                # The caller's own, of which they know a part.
                tool["input_schema"] = told["input_schema"]
        return known

    def read_cohere(self, body: dict[str, Any], what: str) -> object:
        """Read a request as Cohere's client does; its types keep what they do not know."""
        read = COHERE.model_validate(body)
        self.assertEqual(list(unknown(read)), [], what)
        return read.model_dump(exclude_unset=True)

    def read_mistral(self, body: dict[str, Any], what: str) -> object:
        """Read a request as Mistral's client does; its types drop what they do not know."""
        read = MistralRequest.model_validate(body, strict=True)
        return read.model_dump(by_alias=True, exclude_unset=True)


class TypesTests(RequestTypesCase):
    """The types themselves."""

    def test_strict(self) -> None:
        """What a provider does not know is found, wherever it stands."""
        message = {"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}
        for name, whole in (
            ("x", {"messages": [{"role": "user", "content": "a"}], "x": 1}),
            ("parts", {"messages": [message]}),
            ("word", {"messages": [{"role": "user", "content": "a"}], "tool_choice": "some"}),
        ):
            for provider in MODELS:
                body = {"model": "m", "max_tokens": 1, "stream": False, **whole}
                try:
                    read = getattr(self, f"read_{provider}")(body, name)
                except (ValueError, self.failureException):
                    continue
                self.assertNotEqual(read, body, (provider, name))

    def test_fields(self) -> None:
        """A value stands here for each field that OpenAI's client knows, or what it stands for."""
        apart = {"messages", "model", "tools", "tool_choice", "functions", "function_call"}
        known = set(get_type_hints(OpenAIRequest)) - apart - {"stream_options"}
        self.assertLessEqual(known, set(FIELDS))


class RequestTests(RequestTypesCase):
    """Requests of OpenAI's."""

    @given(requests(), st.data())
    def test_known(self, request: dict[str, Any], data: st.DataObject) -> None:
        """Nothing is written that the provider's client does not know."""
        for provider, models in MODELS.items():
            self.check(provider, request, data.draw(st.sampled_from(models)), provider)

    def test_recorded(self) -> None:
        """So it is for the requests of other clients, but for what was taken all the same."""
        seen = 0
        for recording in read_recordings("chat", "cohere", "mistral"):
            request = recorded_request(recording)
            if request is None:
                continue
            seen += 1
            model = request.pop("model")
            self.check(recording.provider, request, model, recording.name)
        self.assertGreater(seen, 20)


class AnswerTests(SynchronousTestCase):
    """Answers of the recordings."""

    def test_recorded(self) -> None:
        """The provider's client and we read the same text, calls and tokens."""
        read = {"cohere": told_by_cohere, "mistral": told_by_mistral}
        seen: Counter[str] = Counter()
        for provider, told in read.items():
            for recording in read_recordings("chat", provider):
                old = provider == "cohere" and "/v2/" not in recording.request["url"]
                if old or recording.status != 200 or not recording.body.startswith(b"{"):
                    continue  # Errors, streams, and Cohere's first version.
                seen[provider] += 1
                answer = dialect_of(provider).read_reply(recording.body)
                message, usage = answer["choices"][0]["message"], answer["usage"]
                calls = [call["function"] for call in message.get("tool_calls") or ()]
                ours = (
                    message["content"] or "",
                    [(call["name"], json.loads(call["arguments"])) for call in calls],
                    usage["completion_tokens"],
                )
                self.assertEqual(ours, told(recording.body), recording.name)
        for provider in read:
            self.assertGreater(seen[provider], 3)


def told_by_cohere(body: bytes) -> tuple[str, list[Call], int]:
    """Return what Cohere's client reads: text, calls, tokens of the answer."""
    answer = CohereAnswer.model_validate_json(body)
    content = answer.message.content or []
    text = "".join(part.text for part in content if part.type == "text")
    functions = [call.function for call in answer.message.tool_calls or ()]
    calls: list[Call] = [
        # "null" is what a call with nothing has (recorded).
        (str(one.name), json.loads(one.arguments or "{}") or {})
        for one in functions
        if one is not None
    ]
    assert answer.usage is not None and answer.usage.tokens is not None
    return text, calls, int(answer.usage.tokens.output_tokens or 0)


def told_by_mistral(body: bytes) -> tuple[str, list[Call], int]:
    """Return what Mistral's client reads; thoughts stand among the parts of the content."""
    answer = MistralAnswer.model_validate_json(body)
    message = answer.choices[0].message
    assert message is not None
    content = message.content or ""
    if not isinstance(content, str):
        content = "".join(part.text for part in content if part.type == "text")
    functions = [call.function for call in message.tool_calls or ()]
    calls: list[Call] = [
        (one.name, json.loads(one.arguments) if isinstance(one.arguments, str) else one.arguments)
        for one in functions
    ]
    return content, calls, answer.usage.completion_tokens or 0


def recorded_request(recording: Recording) -> dict[str, Any] | None:
    """Return the request of OpenAI's that a recording is about; ``None``: it is about none."""
    body = recording.request["body"]
    if not isinstance(body, dict) or recording.status == 422:
        return None
    if recording.provider == "cohere":
        return openai_request(body) if "/v2/" in recording.request["url"] else None
    if "input_audio" in json.dumps(body):
        # Its service took OpenAI's object, of which its client knows nothing.
        return None
    return body

"""Recorded chat completions of all OpenAI-compatible providers, through the dialect."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, ValidationError
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.dialects.openai_repairs import FINISH_REASONS, made_call_id
from tests import shown
from tests.dialects.recordings import Recording, read_recordings
from tests.dialects.streams import ROOMY, Outcome, find_difference, fold_calls

PROVIDERS = (
    *("azure", "cerebras", "cloudflare", "deepseek", "gemini", "github", "groq", "huggingface"),
    *("mistral", "ollama", "openai", "openrouter", "perplexity", "together", "xai", "zai"),
)


def read_events(stream: bytes) -> Iterator[dict[str, Any]]:
    """Read a stream as naively as can be."""
    for block in stream.decode().replace("\r\n", "\n").split("\n\n"):
        for line in block.split("\n"):
            if line.startswith("data:") and line != "data: [DONE]":
                yield json.loads(line.removeprefix("data:"))


def as_text(message: dict[str, Any]) -> dict[str, Any]:
    """Say a recorded message or delta in OpenAI's fields, with other words than the dialect's."""
    said = dict(message)
    content = said.get("content")
    if isinstance(content, dict):
        said["content"] = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    elif isinstance(content, list):
        assert {part["type"] for part in content} <= {"text", "thinking"}, content
        said["content"] = "".join(part["text"] for part in content if part["type"] == "text")
        pieces = [piece for part in content for piece in part.get("thinking", [])]
        if pieces:
            said["reasoning_content"] = "".join(piece["text"] for piece in pieces)
    if said.get("reasoning"):
        said.setdefault("reasoning_content", said["reasoning"])
    return said


def in_text(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Say recorded chunks so."""
    return [
        {
            **event,
            "choices": [
                {**choice, "delta": as_text(choice.get("delta", {}))}
                for choice in event.get("choices", ())
            ],
        }
        for event in events
    ]


def as_key(value: object) -> str:
    """Make a value countable."""
    return json.dumps(value, sort_keys=True)


def summed(usage: Any) -> Any:
    """Make the sums of a recorded usage right, and its parts no more than the whole."""
    if not usage:
        return usage
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    details = {
        name: dict(usage.get(name) or {})
        for name in ("prompt_tokens_details", "completion_tokens_details")
    }
    if usage["total_tokens"] > prompt + completion:
        sound = details["prompt_tokens_details"].get("audio_tokens") or 0
        if prompt + sound + completion == usage["total_tokens"]:
            prompt += sound
        completion = usage["total_tokens"] - prompt
    for name, part, whole in (
        ("prompt_tokens_details", "cached_tokens", prompt),
        ("completion_tokens_details", "reasoning_tokens", completion),
    ):
        if part in details[name]:
            details[name][part] = min(details[name][part] or 0, whole)
    told = {name: value for name, value in details.items() if value}
    return {**usage, "prompt_tokens": prompt, "completion_tokens": completion, **told}


class Told:
    """What chunks say, put together without knowledge of any provider."""

    #: These are put right, or told by themselves: they may differ.
    REPAIRED: ClassVar = {"id", "object", "created", "model", "choices", "usage"}

    def __init__(self, chunks: list[dict[str, Any]]) -> None:
        #: All else that says something: how often each of it stands in a chunk and in a choice.
        self.fields: Counter[str] = Counter()
        #: For each choice: its texts by name, all else that deltas hold, finish reasons.
        self.texts: dict[int, dict[str, str]] = {}
        self.values: dict[int, list[tuple[str, object]]] = {}
        self.reasons: dict[int, list[str]] = {}
        self.native_reasons: set[str] = set()
        self.usage: object = None
        for chunk in chunks:
            self.usage = chunk.get("usage") or chunk.get("x_groq", {}).get("usage") or self.usage
            self.count(chunk, self.REPAIRED)
            for choice in chunk["choices"]:
                self.read(choice)

    def count(self, source: dict[str, Any], known: set[str]) -> None:
        """Count what stands in an object beside the known fields."""
        for name, value in source.items():
            if value and name not in known:
                self.fields[as_key([name, value])] += 1

    def read(self, choice: dict[str, Any]) -> None:
        """Read one choice of a chunk."""
        self.count(choice, {"index", "delta", "finish_reason", "native_finish_reason"})
        if choice.get("native_finish_reason"):
            self.native_reasons.add(choice["native_finish_reason"])
        index = choice["index"]
        if choice.get("finish_reason"):
            self.reasons.setdefault(index, []).append(choice["finish_reason"])
        texts = self.texts.setdefault(index, {})
        values = self.values.setdefault(index, [])
        for name, value in choice.get("delta", {}).items():
            if name in ("role", "tool_calls") or not value:
                continue
            if isinstance(value, str):
                texts[name] = texts.get(name, "") + value
            else:
                values.append((name, value))


def naive_calls(chunks: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Put tool calls together: their names and arguments, by id, else by index."""
    calls: dict[object, dict[str, str]] = {}
    last: dict[object, object] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            for piece in choice.get("delta", {}).get("tool_calls") or ():
                place = piece.get("index")
                key = last[place] = piece.get("id") or last[place]
                call = calls.setdefault(key, {"name": "", "arguments": ""})
                call["name"] += piece["function"].get("name") or ""
                call["arguments"] += piece["function"].get("arguments") or ""
    return list(calls.values())


#: Streams that end in an error: its class, status and code.
FAILED_STREAMS = {
    "groq/pydantic-ai-test_groq-test_tool_use_failed_error_streaming": (
        errors.UpstreamRefused,
        400,
        "tool_use_failed",
    ),
    "openrouter/pydantic-ai-test_openrouter-test_openrouter_stream_error": (
        errors.UpstreamRefused,
        400,
        400,
    ),
}


class StreamTests(SynchronousTestCase):
    """Streams with status 200."""

    def streams(self) -> Iterator[Recording]:
        """Give the recorded streams."""
        for recording in read_recordings("chat", *PROVIDERS):
            if recording.streamed and recording.status == 200:
                yield recording

    def test_nothing_is_lost(self) -> None:
        """All that was recorded is told: every text, tool call, usage and unknown field."""
        seen = 0
        for recording in self.streams():
            seen += 1
            recorded = list(read_events(recording.body))
            outcome = Outcome([recording.body])
            self.check_error(recording, outcome)
            if outcome.error is not None:
                recorded = [event for event in recorded if "error" not in event]
            expected, told = Told(in_text(recorded)), Told(outcome.chunks)
            self.assertEqual(told.texts, expected.texts, recording.name)
            self.assertEqual(told.values, expected.values, recording.name)
            self.assertEqual(outcome.skipped, 0, recording.name)
            self.assertTrue(outcome.said, recording.name)
            calls = [call["function"] for call in fold_calls(outcome.deltas())]
            self.assertEqual(calls, naive_calls(recorded), recording.name)
            if outcome.error is not None:
                shown.show(recording.provider, "errors inside a stream")
            else:
                self.show(recording, outcome)
                usage = summed(expected.usage)
                self.assertEqual(told.usage, usage, recording.name)
                self.assertEqual(outcome.usage, usage, recording.name)
                self.assertGreaterEqual(told.native_reasons, expected.native_reasons)
                self.assertEqual(expected.fields - told.fields, Counter(), recording.name)
        self.assertGreater(seen, 0)

    def show(self, recording: Recording, outcome: Outcome) -> None:
        """Note what the stream has shown."""
        message = {
            "content": outcome.text(),
            "reasoning_content": outcome.text("reasoning_content"),
            "refusal": outcome.text("refusal"),
            "tool_calls": outcome.calls(),
        }
        (reason,) = set(outcome.reasons())
        shown.show_answer(recording.provider, message, reason, outcome.usage, shown.STREAMED)

    def check_error(self, recording: Recording, outcome: Outcome) -> None:
        """Check that the stream has failed as it must, or not."""
        expected = next(
            (value for name, value in FAILED_STREAMS.items() if recording.name.startswith(name)),
            None,
        )
        error = outcome.error
        told = None if error is None else (type(error), error.status, error.code)
        self.assertEqual(told, expected, recording.name)

    def test_shape(self) -> None:
        """One role first, one finish reason last, usage once and after everything else."""
        for recording in self.streams():
            outcome = Outcome([recording.body])
            deltas = outcome.deltas()
            self.assertEqual(deltas[0]["role"], "assistant", recording.name)
            self.assertFalse(any("role" in delta for delta in deltas[1:]), recording.name)
            reasons = [
                choice["finish_reason"] for chunk in outcome.chunks for choice in chunk["choices"]
            ]
            if outcome.error is not None:
                self.assertEqual(set(reasons), {None}, recording.name)
                continue
            self.assertEqual(set(reasons[:-1]), {None}, recording.name)
            self.assertIn(reasons[-1], FINISH_REASONS, recording.name)
            recorded = Told(list(read_events(recording.body))).reasons[0]
            self.assertIn(reasons[-1], recorded, recording.name)
            self.assertEqual(reasons[-1] == "tool_calls", bool(outcome.calls()), recording.name)
            with_usage = ["usage" in chunk for chunk in outcome.chunks]
            self.assertFalse(any(with_usage[:-1]), recording.name)
            self.assertEqual(with_usage[-1], outcome.usage is not None, recording.name)

    def test_every_split(self) -> None:
        """No split changes anything, wherever it could do harm."""
        for recording in self.streams():
            self.assertIsNone(find_difference(recording.body, self.outcome), recording.name)

    def outcome(self, pieces: list[bytes]) -> Outcome:
        """Read pieces."""
        return Outcome(pieces)


class AnswerTests(SynchronousTestCase):
    """Plain answers with status 200."""

    def test_as_recorded(self) -> None:
        """What comes back is what was recorded, but for the listed repairs."""
        seen = 0
        for recording in read_recordings("chat", *PROVIDERS):
            if recording.streamed or recording.status != 200:
                continue
            seen += 1
            answer = OpenAIDialect().read_reply(recording.body)
            self.assertEqual(answer, self.repaired(json.loads(recording.body)), recording.name)
            choice = answer["choices"][0]
            shown.show_answer(
                recording.provider,
                choice["message"],
                choice["finish_reason"],
                answer.get("usage"),
                shown.PLAIN,
            )
        self.assertGreater(seen, 0)

    def repaired(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Make the repairs that the recordings need, with other words than the dialect's."""
        answer["object"] = "chat.completion"
        if "usage" in answer:
            answer["usage"] = summed(answer["usage"])
        for choice in answer["choices"]:
            choice["message"] = message = as_text(choice["message"])
            message.setdefault("content", None)
            calls = message.get("tool_calls")
            if not calls:
                message.pop("tool_calls", None)
            for number, call in enumerate(calls or ()):
                call.setdefault("type", "function")
                made_id = made_call_id(answer, choice["index"], number)
                call["id"] = made_id if call["id"] == "" else str(call["id"])
                arguments = call["function"]["arguments"] or {}
                if not isinstance(arguments, str):
                    call["function"]["arguments"] = json.dumps(arguments, separators=(",", ":"))
            told = choice["finish_reason"]
            if calls:
                choice["finish_reason"] = "tool_calls"
            elif message.get("function_call"):
                choice["finish_reason"] = "function_call"
            elif told not in FINISH_REASONS:
                choice["finish_reason"] = "stop"
            if told and told != choice["finish_reason"]:
                choice.setdefault("native_finish_reason", told)
        return answer


#: What openai-python's types do not know, and stays as the provider tells it: where -> why.
BEYOND_THE_TYPES = {
    "service_tier": "Groq's is on_demand",
    "choices.message.annotations.type": "OpenRouter's are about files, too",
    "choices.message.annotations.url_citation": "which have no URL",
}


class OfficialClientTests(SynchronousTestCase):
    """What a client of OpenAI's makes of the answers."""

    def test_types(self) -> None:
        """Every answer and chunk is what openai-python's types say, but for the table's."""
        kinds = {True: 0, False: 0}
        for recording in read_recordings("chat", *PROVIDERS):
            if recording.status != 200:
                continue
            kinds[recording.streamed] += 1
            if recording.streamed:
                self.check_stream(recording)
            else:
                self.check_answer(recording)
        self.assertTrue(all(kinds.values()), kinds)

    def check_answer(self, recording: Recording) -> None:
        """Check a plain answer."""
        answer = OpenAIDialect().read_reply(recording.body)
        for choice in answer["choices"]:
            self.assertIsInstance(choice["message"]["content"], str | None, recording.name)
        body = OpenAIFace().write_answer(answer, identity="c-1", created=1, model="m").body
        self.validate(ChatCompletion, body, recording)

    def check_stream(self, recording: Recording) -> None:
        """Check each chunk of a stream."""
        request = {"stream_options": {"include_usage": True}}
        writer = OpenAIFace().stream_writer(request, identity="c-1", created=1, model="m")
        for chunk in Outcome([recording.body]).chunks:
            for choice in chunk["choices"]:
                self.assertIsInstance(choice["delta"].get("content"), str | None, recording.name)
            (event,) = read_events(writer.write(chunk))
            self.validate(ChatCompletionChunk, json.dumps(event).encode(), recording)

    def validate(self, kind: type[BaseModel], body: bytes, recording: Recording) -> None:
        """Check a body against a type, as strictly as JSON can be."""
        try:
            kind.model_validate_json(body, strict=True)
        except ValidationError as problem:
            for mistake in problem.errors():
                place = ".".join(str(part) for part in mistake["loc"] if isinstance(part, str))
                self.assertIn(place, BEYOND_THE_TYPES, f"{recording.name}: {mistake}")


#: How the name of a recorded error begins -> what it means.
ERRORS = {
    "azure/mirascope-test_refusal": errors.ContentRefused,
    "azure/openllmetry-test_azure-test_chat_reasoning": errors.UpstreamModelNotFound,
    "azure/req_llm-azure-mai_ds_r1-tool_round_trip": errors.UpstreamRefused,
    "azure/ruby_llm-chat_real_error_scenarios_azure_grok": errors.UpstreamFailed,
    "azure/ruby_llm-chat_real_error_scenarios_azure_kimi": errors.UpstreamFailed,
    "deepseek/ruby_llm-chat_nested_parameters": errors.UpstreamAuthFailed,
    "deepseek/ruby_llm-chat_real_error_scenarios": errors.ContextTooLong,
    "github/chatlas-test_provider_github-test_data_extraction": errors.UpstreamRateLimited,
    "groq/pydantic-ai-test_groq-test_tool_use_failed": errors.UpstreamRefused,
    "groq/pydantic-ai-test_model_name_suggestions": errors.UpstreamModelNotFound,
    "groq/pydantic-ai-test_multimodal_tool_returns": errors.UpstreamRateLimited,
    "groq/req_llm-groq-gemma2_9b_it-no_tool": errors.UpstreamAuthFailed,
    "groq/req_llm-groq-llama_guard_3_8b": errors.UpstreamModelNotFound,
    "groq/req_llm-groq-meta_llama_llama_4_scout": errors.UpstreamRefused,
    "huggingface/huggingface_hub-testinferenceclient": errors.UpstreamAuthFailed,
    "huggingface/pydantic-ai-test_huggingface-test_together_500": errors.UpstreamFailed,
    "huggingface/pydantic-ai-test_tool_choice_vcr": errors.UpstreamFailed,
    "mistral/pydantic-ai-test_context_window_exceeded": errors.ContextTooLong,
    "mistral/pydantic-ai-test_mistral-test_mistral_model_instructions": errors.UpstreamAuthFailed,
    "mistral/ruby_llm-chat_basic_chat_functionality": errors.UpstreamRefused,
    "mistral/ruby_llm-chat_error_handling": errors.UpstreamAuthFailed,
    "mistral/ruby_llm-chat_function_calling": errors.UpstreamRateLimited,
    "mistral/ruby_llm-chat_real_error_scenarios_mistral_mistral-small-lat": errors.UpstreamFailed,
    "mistral/ruby_llm-chat_real_error_scenarios_mistral_mistral-small_": errors.UpstreamRefused,
    "mistral/ruby_llm-chat_vision_models": errors.UpstreamRefused,
    "ollama/ruby_llm-chat_error_handling": errors.UpstreamAuthFailed,
    "openai/ellmer-inst-content_image_url": errors.UpstreamOutOfCredit,
    "openai/mirascope-test_authentication_error": errors.UpstreamAuthFailed,
    "openai/mirascope-test_call_with_params": errors.UpstreamRefused,
    "openai/openinference-test_crewai": errors.UpstreamFailed,
    "openai/req_llm-openai-text_embedding_3_large": errors.UpstreamAuthFailed,
    "openai/ruby_llm-chat_real_error_scenarios": errors.ContextTooLong,
    "openrouter/req_llm-openrouter-deepseek_deepseek_r1": errors.UpstreamRateLimited,
    "openrouter/req_llm-openrouter-qwen_qwen3_235b": errors.UpstreamRateLimited,
    "openrouter/req_llm-openrouter-rekaai": errors.UpstreamModelNotFound,
    "openrouter/req_llm-openrouter-x_ai_grok_3_mini": errors.ContentRefused,
    "openrouter/ruby_llm-chat_error_handling": errors.UpstreamAuthFailed,
    "openrouter/ruby_llm-chat_real_error_scenarios": errors.ContextTooLong,
    "perplexity/ruby_llm-chat_basic_chat_functionality": errors.UpstreamRefused,
    "perplexity/ruby_llm-chat_error_handling": errors.UpstreamAuthFailed,
    "together/mirascope-test_call_with_image_url": errors.UpstreamRefused,
    "xai/req_llm-xai-grok_beta": errors.UpstreamModelNotFound,
    "xai/ruby_llm-chat_real_error_scenarios": errors.ContextTooLong,
    "xai/ruby_llm-chat_tool_choice_and_parallel_control": errors.UpstreamFailed,
    "zai/pydantic-ai-test_zai-test_zai_thinking_stream": errors.UpstreamRateLimited,
}

#: The same for Google's native API.
GOOGLE: dict[str, type[errors.UpstreamError]] = {
    "gemini/mirascope-google-test_structured_output": errors.UpstreamRefused,
    "gemini/mirascope-test_model_not_found": errors.UpstreamModelNotFound,
    "gemini/pydantic-ai-test_embeddings": errors.UpstreamModelNotFound,
    "gemini/pydantic-ai-test_google-test_google_model_file": errors.UpstreamFailed,
    "gemini/pydantic-ai-test_google-test_google_recursive": errors.UpstreamFailed,
    "gemini/req_llm-google-gemini_1_5_pro": errors.UpstreamAuthFailed,
    "gemini/ruby_llm-chat_error_handling": errors.UpstreamAuthFailed,
    "gemini/ruby_llm-chat_real_error_scenarios": errors.UpstreamRateLimited,
    "vertex/opentelemetry-python-contrib-test_generate_content": errors.UpstreamModelNotFound,
    "vertex/ruby_llm-chat_real_error_scenarios_vertexai_gemini-2_5-flash_handles_context_length_"
    "exceeded_errors-a68809": errors.UpstreamRateLimited,
    "vertex/ruby_llm-chat_real_error_scenarios_vertexai_gemini-2_5-flash_handles_context_length_"
    "exceeded_errors-b2a4b4": errors.ContextTooLong,
}

#: For what no table can name: further recordings of the same kinds.
BY_STATUS: dict[int, tuple[type[errors.UpstreamError], ...]] = {
    400: (
        *(errors.UpstreamRefused, errors.UpstreamAuthFailed),
        errors.UpstreamModelNotFound,
    ),
    401: (errors.UpstreamAuthFailed,),
    402: (errors.UpstreamOutOfCredit,),
    403: (errors.UpstreamAuthFailed, errors.ContentRefused, errors.UpstreamOutOfCredit),
    404: (errors.UpstreamModelNotFound, errors.UpstreamRefused),
    422: (errors.UpstreamRefused,),
    429: (errors.UpstreamRateLimited, errors.UpstreamOutOfCredit, errors.ContextTooLong),
}


class ErrorTests(SynchronousTestCase):
    """Answers with an error status."""

    def test_classes(self) -> None:
        """Each means what the table says, and shows the caller no key, page or 401."""
        seen = 0
        for recording in read_recordings("chat", *PROVIDERS):
            if recording.status < 400:
                continue
            seen += 1
            error = OpenAIDialect().read_error(recording.status, recording.headers, recording.body)
            self.assertEqual(error.upstream_status, recording.status, recording.name)
            self.assertNotIn(error.status, (401, 403), recording.name)
            self.assertTrue(0 < len(error.message) <= 2_000, recording.name)
            self.assertNotRegex(error.message, "<html|API key ID: [^*]", recording.name)
            shown.show(recording.provider, "errors by status")
            if error.retry_after:
                shown.show(recording.provider, "retry delay")
            expected = [kind for name, kind in ERRORS.items() if recording.name.startswith(name)]
            if expected:
                self.assertEqual([type(error)], expected, recording.name)
            else:
                kinds = BY_STATUS.get(recording.status, (errors.UpstreamFailed,))
                self.assertIsInstance(error, (*kinds, errors.ContextTooLong), recording.name)
        self.assertGreater(seen, 0)

    def test_google(self) -> None:
        """Google's own errors, as statuses, inside a 200 and in a stream, by the same tables."""
        seen = 0
        for recording in self.google():
            seen += 1
            error = OpenAIDialect().read_error(recording.status, {}, recording.body)
            inside = Outcome([recording.body]).error
            with self.assertRaises(errors.UpstreamError) as caught:
                OpenAIDialect().read_reply(recording.body)
            expected = [kind for name, kind in GOOGLE.items() if recording.name.startswith(name)]
            for told in (error, inside, caught.exception):
                assert isinstance(told, errors.UpstreamError)
                self.assertEqual(told.upstream_status, recording.status, recording.name)
                self.assertEqual(told.retry_after, error.retry_after, recording.name)
                if expected:
                    self.assertEqual([type(told)], expected, recording.name)
                else:
                    kinds = BY_STATUS.get(recording.status, (errors.UpstreamFailed,))
                    self.assertIsInstance(told, (*kinds, errors.ContextTooLong), recording.name)
            if b"RetryInfo" in recording.body:
                self.assertIsNotNone(error.retry_after, recording.name)
        self.assertGreater(seen, 0)

    def google(self) -> Iterator[Recording]:
        """Give the recorded errors of Google's native API."""
        for api in ("generateContent", "streamGenerateContent", "batchEmbedContents"):
            for recording in read_recordings(api, "gemini", "vertex"):
                if recording.status >= 400:
                    yield recording

    def test_delays(self) -> None:
        """A delay comes from the headers, else from the words; a reset long past is no delay."""
        expected = {
            "github/chatlas-test_provider_github-test_data_extraction": 0.0,
            "groq/pydantic-ai-test_multimodal_tool_returns": 1.0,
            "huggingface/pydantic-ai-test_huggingface-test_together_500": 1.0,
            "openrouter/req_llm-openrouter-qwen_qwen3_235b": 0.0,
            "zai/pydantic-ai-test_zai-test_zai_thinking_stream": None,
        }
        for recording in read_recordings("chat", *PROVIDERS):
            for name, delay in expected.items():
                if recording.name.startswith(name) and recording.status >= 400:
                    error = OpenAIDialect().read_error(
                        recording.status, recording.headers, recording.body
                    )
                    self.assertEqual(error.retry_after, delay, recording.name)

    def test_error_bodies_as_answers(self) -> None:
        """The same bodies with status 200, plain or as a stream, are never answers."""
        for recording in read_recordings("chat", *PROVIDERS):
            if recording.status < 400:
                continue
            with self.assertRaises(errors.UpstreamError):
                OpenAIDialect().read_reply(recording.body)
            outcome = Outcome([recording.body], max_event_bytes=ROOMY)
            self.assertEqual(outcome.chunks, [], recording.name)
            self.assertIsInstance(outcome.error, errors.UpstreamError, recording.name)
            shown.show(recording.provider, "errors inside a 200")

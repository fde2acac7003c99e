"""Recorded traffic of Gemini and Vertex, through the dialect, both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from google.genai import types as genai
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.openai_repairs import FINISH_REASONS
from tests import shown
from tests.dialects.gemini_inverse import camel, lower_types, openai_request
from tests.dialects.recordings import Recording, read_recordings
from tests.dialects.streams import Outcome, find_difference

PROVIDERS = ("gemini", "vertex")
ROOM = 4 * 1024 * 1024


def recordings() -> Iterator[Recording]:
    """Give all exchanges with models of Google's."""
    for api in ("generateContent", "streamGenerateContent"):
        yield from read_recordings(api, *PROVIDERS)


def is_stream(recording: Recording) -> bool:
    """Whether the answer is an event stream."""
    return recording.headers.get("content-type", "").startswith("text/event-stream")


def read_documents(recording: Recording) -> list[dict[str, Any]]:
    """Read the events of a stream, or the one document that there is."""
    text = recording.body.decode()
    if text.startswith("data:"):
        blocks = text.replace("\r\n", "\n").split("\n")
        return [json.loads(line[5:]) for line in blocks if line.startswith("data:")]
    document = json.loads(text)
    return document if isinstance(document, list) else [document]


class Told:
    """What an answer of Gemini's says, put together without knowledge of OpenAI's."""

    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self.content = self.reasoning = ""
        self.calls: list[tuple[str, Any]] = []
        self.call_ids: list[str | None] = []
        self.signatures: list[str] = []
        self.images = 0
        self.reason = ""
        usage: dict[str, Any] = {}
        for document in documents:
            usage.update(document.get("usageMetadata", {}))
            for candidate in document.get("candidates", ()):
                self.reason = candidate.get("finishReason") or self.reason
                for part in candidate.get("content", {}).get("parts", ()):
                    self.read(part)
        self.prompt = usage["promptTokenCount"] + usage.get("toolUsePromptTokenCount", 0)
        self.thoughts = usage.get("thoughtsTokenCount", 0)
        self.completion = usage.get("candidatesTokenCount", 0) + self.thoughts
        self.cached = usage.get("cachedContentTokenCount", 0)

    def read(self, part: dict[str, Any]) -> None:
        """Read one part."""
        if "functionCall" in part:
            call = part["functionCall"]
            self.calls.append((call["name"], call["args"]))
            self.call_ids.append(call.get("id"))
        elif part.get("thought"):
            self.reasoning += part["text"]
        elif "text" in part:
            self.content += part["text"]
        elif "inlineData" in part:
            self.images += 1
        if "thoughtSignature" in part:
            self.signatures.append(part["thoughtSignature"])

    @property
    def finish(self) -> str:
        """The finish reason in OpenAI's words."""
        if self.calls:
            return "tool_calls"
        return "length" if self.reason == "MAX_TOKENS" else "stop"


def signatures_in(value: Any) -> list[str]:
    """Find every signature, wherever it stands."""
    if isinstance(value, list):
        return [found for one in value for found in signatures_in(one)]
    if not isinstance(value, dict):
        return []
    own = [
        held for name, held in value.items() if name in ("thought_signature", "thoughtSignature")
    ]
    return own + [found for one in value.values() for found in signatures_in(one)]


class AnswerTests(SynchronousTestCase):
    """Answers with status 200."""

    def test_plain(self) -> None:
        """Text, thoughts, calls, images, finish and usage are told; OpenAI's type takes them."""
        seen = 0
        for recording in recordings():
            if recording.status != 200 or is_stream(recording):
                continue
            seen += 1
            answer = GeminiDialect().read_reply(recording.body)
            told = Told(read_documents(recording))
            (choice,) = answer["choices"]
            message = choice["message"]
            calls = message.get("tool_calls", [])
            self.check(recording, told, message, calls, choice["finish_reason"], answer["usage"])
            self.assertEqual(sorted(signatures_in(answer)), sorted(told.signatures))
            ChatCompletion.model_validate({"id": "x", "created": 1, **answer}, strict=True)
            reason, usage = choice["finish_reason"], answer["usage"]
            shown.show_answer("google", message, reason, usage, shown.PLAIN)
        self.assertGreater(seen, 10)

    def test_streams(self) -> None:
        """The same of streams, their chunks put together; every chunk is one of OpenAI's."""
        seen = 0
        for recording in recordings():
            if recording.status != 200 or not is_stream(recording):
                continue
            seen += 1
            outcome = self.outcome([recording.body])
            told = Told(read_documents(recording))
            self.assertIsNone(outcome.error, recording.name)
            deltas = outcome.deltas()
            self.assertEqual([place for place, delta in enumerate(deltas) if "role" in delta], [0])
            message: dict[str, Any] = {
                "content": outcome.text() or None,
                "reasoning_content": outcome.text("reasoning_content"),
                "images": [image for delta in deltas for image in delta.get("images", ())],
            }
            (reason,) = outcome.reasons()
            self.assertIn(reason, FINISH_REASONS)
            usage = outcome.usage
            assert usage is not None
            self.check(recording, told, message, outcome.calls(), reason, usage)
            self.assertEqual(sorted(signatures_in(outcome.chunks)), sorted(told.signatures))
            self.assertEqual(outcome.chunks[-1]["usage"], usage, recording.name)
            extra = [delta["extra_content"] for delta in deltas if "extra_content" in delta]
            whole = {**message, "tool_calls": outcome.calls(), "extra_content": extra}
            shown.show_answer("google", whole, reason, usage, shown.STREAMED)
            frame = {"object": "chat.completion.chunk", "created": 1}
            for chunk in outcome.chunks:
                ChatCompletionChunk.model_validate({**chunk, **frame}, strict=True)
        self.assertGreater(seen, 3)

    def check(
        self,
        recording: Recording,
        told: Told,
        message: dict[str, Any],
        calls: list[dict[str, Any]],
        reason: str,
        usage: dict[str, Any],
    ) -> None:
        """Compare what was said with what was told."""
        name = recording.name
        self.assertEqual(message["content"] or "", told.content, name)
        self.assertEqual(message.get("reasoning_content") or "", told.reasoning, name)
        self.assertEqual(len(message.get("images") or ()), told.images, name)
        made = [
            (call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls
        ]
        self.assertEqual(made, told.calls, name)
        for call, call_id in zip(calls, told.call_ids, strict=True):
            self.assertEqual(call["id"], call_id or call["id"], name)
        self.assertEqual(len({call["id"] for call in calls}), len(calls), name)
        self.assertEqual(reason, told.finish, name)
        self.assertEqual(usage["prompt_tokens"], told.prompt, name)
        self.assertEqual(usage["completion_tokens"], told.completion, name)
        self.assertEqual(
            usage["completion_tokens_details"]["reasoning_tokens"], told.thoughts, name
        )
        self.assertEqual(usage["prompt_tokens_details"]["cached_tokens"], told.cached, name)

    def test_arrays_as_streams(self) -> None:
        """A stream that came as one array says the same as its events would."""
        seen = 0
        for recording in recordings():
            documents = read_documents(recording)
            if recording.status != 200 or is_stream(recording) or len(documents) < 2:
                continue
            seen += 1
            stream = b"".join(b"data: %s\r\n\r\n" % json.dumps(one).encode() for one in documents)
            outcome = self.outcome([stream])
            message = GeminiDialect().read_reply(recording.body)["choices"][0]["message"]
            self.assertEqual(outcome.text(), message["content"] or "", recording.name)
            calls = [
                {name: held for name, held in call.items() if name != "index"}
                for call in outcome.calls()
            ]
            self.assertEqual(calls, message.get("tool_calls", []), recording.name)
        self.assertGreater(seen, 2)

    def test_every_split(self) -> None:
        """No split of the bytes changes a chunk."""
        seen = 0
        for recording in recordings():
            if is_stream(recording):
                seen += 1
                self.assertIsNone(find_difference(recording.body, self.outcome), recording.name)
        self.assertGreater(seen, 2)

    def outcome(self, pieces: list[bytes]) -> Outcome:
        """Read a stream; each with a memory of its own."""
        return Outcome(pieces, max_event_bytes=ROOM, dialect=GeminiDialect())


#: How the name of a recorded error begins -> what it means, and the delay that it tells.
ERRORS: dict[str, tuple[type[errors.UpstreamError], float | None]] = {
    "gemini/mirascope-google-test_structured": (errors.UpstreamRefused, None),
    "gemini/mirascope-test_model_not_found": (errors.UpstreamModelNotFound, None),
    "gemini/pydantic-ai-test_google-test_google_model_file": (errors.UpstreamFailed, None),
    "gemini/pydantic-ai-test_google-test_google_recursive": (errors.UpstreamFailed, None),
    "gemini/req_llm-google-gemini_1_5": (errors.UpstreamAuthFailed, None),
    "gemini/ruby_llm-chat_error_handling": (errors.UpstreamAuthFailed, None),
    "gemini/ruby_llm-chat_real_error": (errors.UpstreamRateLimited, 48.0),
    "vertex/opentelemetry": (errors.UpstreamModelNotFound, None),
}


class ErrorTests(SynchronousTestCase):
    """Answers with an error status."""

    def test_errors(self) -> None:
        """Each means what the table says, also inside a 200, plain and as a stream."""
        seen = 0
        for recording in recordings():
            if recording.status < 400:
                continue
            dialect = GeminiDialect()
            error = dialect.read_error(recording.status, recording.headers, recording.body)
            self.assertNotIn(error.status, (401, 403))
            kind = type(error)
            for name, expected in ERRORS.items():
                if recording.name.startswith(name):
                    seen += 1
                    self.assertEqual((kind, error.retry_after), expected, recording.name)
            with self.assertRaises(errors.UpstreamError):
                dialect.read_reply(recording.body)
            for body in (
                recording.body,
                b"data: " + json.dumps(json.loads(recording.body)).encode(),
            ):
                outcome = Outcome([body], dialect=dialect)
                self.assertEqual(outcome.chunks, [])
                self.assertIs(type(outcome.error), kind, recording.name)
        self.assertEqual(seen, len(ERRORS))
        shown.show("google", *shown.ERRORS)


#: What is written otherwise than it was recorded: part of the recording's name -> why.
WRITTEN_OTHERWISE = {
    "struct-ses_tool_output_scenario": "JSON mode beside functions is a 400 there: asked in words",
    "vertex_tool_combination_omits": "Vertex wants no word for server tools beside functions",
    "test_stream_function_call_choice": "its types are numbers, which no JSON schema has",
}


def settled(body: dict[str, Any]) -> dict[str, Any]:
    """
    Return a request without what makes no difference.

    - ``parameters`` and ``parametersJsonSchema``: two ways for one thing;
    - a role of the instruction, an empty instruction or description, an empty
      configuration; the only modality that is told anyway; one candidate;
    - the order in which tools of different kinds stand.
    """
    body = camel(json.loads(json.dumps(body)))
    instruction = body.pop("systemInstruction", None)
    if instruction:
        parts = instruction["parts"]
        texts = [part["text"] for part in (parts if isinstance(parts, list) else [parts])]
        body["system"] = [text for text in texts if text]
    config = body.pop("generationConfig", {})
    if config.get("responseModalities") == ["TEXT"]:
        del config["responseModalities"]
    if config.get("candidateCount") == 1:
        del config["candidateCount"]
    if "responseModalities" in config:
        config["responseModalities"] = [one.upper() for one in config["responseModalities"]]
    schema = config.pop("responseSchema", None) or config.pop("responseJsonSchema", None)
    body["config"] = {**config, "schema": lower_types(schema)}
    declared: dict[str, Any] = {}
    others: list[Any] = []
    for tool in body.pop("tools", []):
        for function in tool.pop("functionDeclarations", []):
            told = function.get("parameters") or function.get("parametersJsonSchema")
            declared[function["name"]] = [function.get("description") or None, lower_types(told)]
        others += [tool] if tool else []
    for content in body["contents"]:
        content.setdefault("role", "user")
    body["toolConfig"] = body.get("toolConfig") or {}
    return {"system": [], **body, "functions": declared, "others": others}


class RequestTests(SynchronousTestCase):
    """Requests of other clients, rebuilt from the OpenAI request that means the same."""

    def written(self, recording: Recording) -> dict[str, Any]:
        """Write the OpenAI request that means what was recorded."""
        model, request = self.request(recording)
        wire = GeminiDialect().write_request(request, model=model, stream=recording.streamed)
        self.assertEqual(wire.dropped, (), recording.name)
        body: dict[str, Any] = json.loads(wire.body)
        return body

    def request(self, recording: Recording) -> tuple[str, dict[str, Any]]:
        """Return the model, and the OpenAI request that means what was recorded."""
        model = recording.request["url"].rpartition("/models/")[2].partition(":")[0]
        return model, openai_request(recording.request["body"], model)

    def sensible(self) -> Iterator[Recording]:
        """Give the recordings with a whole request in words."""
        for recording in recordings():
            body = recording.request["body"]
            if isinstance(body, dict) and not any(
                name in recording.name for name in WRITTEN_OTHERWISE
            ):
                yield recording

    def test_rebuilt(self) -> None:
        """Each is written as it was recorded, but for what makes no difference."""
        seen = 0
        for recording in self.sensible():
            seen += 1
            recorded = settled(recording.request["body"])
            self.assertEqual(settled(self.written(recording)), recorded, recording.name)
            shown.show_request("google", self.request(recording)[1])
        self.assertGreater(seen, 20)

    def test_official_types(self) -> None:
        """Google's own client knows every field that is written."""
        for recording in self.sensible():
            body = self.written(recording)
            for content in body["contents"]:
                genai.Content.model_validate(content)
            if "systemInstruction" in body:
                genai.Content.model_validate(body["systemInstruction"])
            for tool in body.get("tools", ()):
                genai.Tool.model_validate(tool)
            genai.ToolConfig.model_validate(body.get("toolConfig", {}))
            genai.GenerationConfig.model_validate(body.get("generationConfig", {}))

"""Recorded requests of OpenAI-compatible providers, as a caller's own."""

from __future__ import annotations

import json
from typing import Any, get_type_hints

from groq.types.chat.completion_create_params import CompletionCreateParams
from pydantic import TypeAdapter
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.openai_face import OpenAIFace
from aiproxy.dialects.quirks import quirks_of
from aiproxy.errors import InvalidRequest
from aiproxy.wire.json import dumps
from tests.dialects.recordings import Recording, read_recordings
from tests.shown import show_request

PROVIDERS = (
    *("azure", "cerebras", "cloudflare", "deepseek", "github", "google", "groq", "huggingface"),
    *("mistral", "ollama", "openai", "openrouter", "perplexity", "together", "xai", "zai"),
)

#: What is not written as it was recorded: provider and field -> why.
CHANGED = {
    ("openai", "max_tokens"): "models that reason refuse it",
    ("openai", "max_completion_tokens"): "which is its newer name",
    ("openai", "stop"): "GPT-5 refused it: the answer is cut here instead",
    ("openrouter", "reasoning_effort"): "its own name is reasoning.effort",
    ("openrouter", "reasoning"): "which is where the effort goes",
    ("azure", "tool_choice"): "an object was refused by another vendor's model",
    ("ollama", "messages"): "thoughts were told under two names: its own is left",
}


def model_of(recording: Recording) -> str:
    """Give the name of a deployment at Azure."""
    _, found, rest = recording.request["url"].partition("/deployments/")
    assert found, recording.name
    return str(rest.partition("/")[0])


def one_name(message: dict[str, Any]) -> dict[str, Any]:
    """Leave one of two names for the same thoughts."""
    assert message.get("reasoning") == message.get("reasoning_content")
    return {name: value for name, value in message.items() if name != "reasoning_content"}


class RequestTests(SynchronousTestCase):
    """What the providers took, they get."""

    def test_as_recorded(self) -> None:
        """The same JSON comes out, but for the model, the stream, and the table's."""
        seen = 0
        for provider in PROVIDERS:
            folder = "gemini" if provider == "google" else provider
            for recording in read_recordings("chat", folder):
                seen += self.compare(provider, recording)
        self.assertGreater(seen, 0)

    def compare(self, provider: str, recording: Recording) -> bool:
        """Compare what is written of one request with what was recorded; whether it was one."""
        recorded = recording.request["body"]
        if recorded is None:
            # Published without its request.
            return False
        if "model" not in recorded:
            recorded["model"] = model_of(recording)
        try:
            request = OpenAIFace().read_request(dumps(recorded))
        except InvalidRequest as error:
            # One client sent a text in the place of messages, and was refused as well.
            self.assertGreaterEqual(recording.status, 400, recording.name)
            self.assertEqual(error.param, "messages", recording.name)
            return False
        stream = bool(recorded.get("stream"))
        wire = OpenAIDialect(quirks=quirks_of(provider)).write_request(
            request, model=recorded["model"], stream=stream
        )
        if recording.status == 200:
            # Nobody whose request was taken loses anything.
            self.assertEqual(wire.dropped, (), recording.name)
        written, expected = (self.without_stream(body) for body in (json.loads(wire.body), request))
        self.assertEqual(json.loads(wire.body)["stream"], stream)
        for name in written.keys() | expected.keys():
            if (provider, name) not in CHANGED:
                told, due = (body.get(name, "nothing") for body in (written, expected))
                self.assertEqual(told, due, f"{recording.name}: {name}")
        if provider == "ollama":
            self.assertEqual(written["messages"], [one_name(m) for m in request["messages"]])
        if recording.status == 422 and "tool_choice" in recorded:
            self.assertEqual(written["tool_choice"], "required", recording.name)
        effort = recorded.get("reasoning_effort")
        if provider == "openrouter" and effort:
            self.assertEqual(written["reasoning"], {"effort": effort}, recording.name)
        if recording.status == 200:
            show_request(provider, request)
        if "stop" in recorded and "stop" not in written:
            self.assertIsNotNone(wire.reader, recording.name)
        return True

    def without_stream(self, body: dict[str, Any]) -> dict[str, Any]:
        """Leave out what is the gateway's own matter."""
        options = dict(body.get("stream_options") or {})
        options.pop("include_usage", None)
        rest = {
            name: value for name, value in body.items() if name not in ("stream", "stream_options")
        }
        return {**rest, **({"stream_options": options} if options else {})}


class OfficialClientTests(SynchronousTestCase):
    """What a provider's own client would have asked."""

    def test_groq(self) -> None:
        """Groq's types know every field that is sent, but for what its service added since."""
        types: TypeAdapter[object] = TypeAdapter(CompletionCreateParams)
        known = set(get_type_hints(CompletionCreateParams))
        seen = 0
        for recording in read_recordings("chat", "groq"):
            recorded = recording.request["body"]
            if recording.status != 200 or recorded is None:
                continue
            seen += 1
            wire = OpenAIDialect(quirks=quirks_of("groq")).write_request(
                recorded, model=recorded["model"], stream=False
            )
            body = json.loads(wire.body)
            self.assertLessEqual(set(body), known, recording.name)
            types.validate_python(body)
        self.assertGreater(seen, 5)

"""Recorded traffic of Anthropic, also through Vertex, through the dialect, both ways."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from anthropic.types.beta.message_create_params import MessageCreateParamsNonStreaming as BetaParams
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming as Params
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel, TypeAdapter
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.openai_repairs import FINISH_REASONS
from tests import shown
from tests.dialects.anthropic_inverse import openai_request, sent_back
from tests.dialects.recordings import Recording, read_recordings
from tests.dialects.streams import Outcome, client_message, find_difference

PROVIDERS = ("anthropic", "vertex")
ROOM = 4 * 1024 * 1024


def recordings() -> Iterator[Recording]:
    """Give all exchanges in Anthropic's own language."""
    yield from read_recordings("messages", *PROVIDERS)


def is_stream(recording: Recording) -> bool:
    """Whether the answer is an event stream."""
    return recording.headers.get("content-type", "").startswith("text/event-stream")


def read_events(recording: Recording) -> list[dict[str, Any]]:
    """Read the events of a stream."""
    lines = recording.body.decode().splitlines()
    return [json.loads(line[5:]) for line in lines if line.startswith("data:")]


def is_broken(recording: Recording) -> bool:
    """Whether a stream ended with an error."""
    return any(event["type"] == "error" for event in read_events(recording))


def put_together(events: list[dict[str, Any]]) -> dict[str, Any]:
    """Put a stream together to the whole answer that it stands for, as Anthropic's client does."""
    message: dict[str, Any] = {}
    inputs: dict[int, str] = {}
    for event in events:
        kind = event["type"]
        if kind == "message_start":
            message = event["message"]
        elif kind == "content_block_start":
            message["content"].append(event["content_block"])
        elif kind == "content_block_delta":
            block, delta = message["content"][event["index"]], event["delta"]
            if delta["type"] == "input_json_delta":
                inputs[event["index"]] = inputs.get(event["index"], "") + delta["partial_json"]
            elif delta["type"] == "citations_delta":
                block.setdefault("citations", []).append(delta["citation"])
            else:
                (name,) = set(delta) - {"type"}
                block[name] = block.get(name, "") + delta[name]
        elif kind == "message_delta":
            message.update(event["delta"])
            message["usage"].update(event["usage"])
    for index, text in inputs.items():
        if text:
            message["content"][index]["input"] = json.loads(text)
    return message


class Told:
    """What an answer of Anthropic's says, without knowledge of OpenAI's."""

    def __init__(self, message: dict[str, Any]) -> None:
        blocks = message["content"]
        self.content = "".join(one["text"] for one in blocks if one["type"] == "text")
        self.reasoning = "".join(one["thinking"] for one in blocks if one["type"] == "thinking")
        self.calls = [
            (one["id"], one["name"], one["input"]) for one in blocks if one["type"] == "tool_use"
        ]
        extra = {
            "thinking_blocks": [one for one in blocks if one["type"] == "thinking"],
            "citations": [cited for one in blocks for cited in one.get("citations") or ()],
            "blocks": [
                one for one in blocks if one["type"] not in ("text", "thinking", "tool_use")
            ],
            "container": message.get("container"),
        }
        usual = [one for one in blocks if one["type"] == "thinking"]
        usual += extra["blocks"] or []
        usual += [one for one in blocks if one["type"] == "text"][:1]
        usual += [one for one in blocks if one["type"] == "tool_use"]
        if usual != blocks or extra["citations"]:
            extra["layout"] = [self.place(one) for one in blocks]
        self.extra = {name: value for name, value in extra.items() if value}
        self.reason = message["stop_reason"]
        usage = message["usage"]
        self.cached = usage["cache_read_input_tokens"]
        self.written = usage["cache_creation_input_tokens"]
        self.prompt = usage["input_tokens"] + self.cached + self.written
        self.completion = usage["output_tokens"]
        self.thoughts = usage.get("output_tokens_details", {}).get("thinking_tokens")

    @staticmethod
    def place(block: dict[str, Any]) -> dict[str, Any]:
        """Say what of a block stands here."""
        place = {"type": block["type"]}
        if block["type"] == "text":
            place["length"] = len(block["text"])
            if block.get("citations"):
                place["citations"] = len(block["citations"])
        return place

    @property
    def finish(self) -> str:
        """The finish reason in OpenAI's words."""
        named = {"max_tokens": "length", "tool_use": "tool_calls", "end_turn": "stop"}
        return named[self.reason]


def join_extra(deltas: list[dict[str, Any]]) -> dict[str, Any]:
    """Put together what the deltas tell under ``extra_content.anthropic``."""
    joined: dict[str, Any] = {}
    for delta in deltas:
        for name, value in delta.get("extra_content", {}).get("anthropic", {}).items():
            joined[name] = joined.get(name, []) + value if isinstance(value, list) else value
    return joined


def join_deltas(deltas: list[dict[str, Any]]) -> dict[str, Any]:
    """Put them together; take away the places, which OpenAI's client wants in lists."""
    joined = join_extra(deltas)
    for name, value in joined.items():
        if isinstance(value, list) and name != "layout":
            joined[name] = [{**one} for one in value]
            places = [one.pop("index") for one in joined[name]]
            assert places == list(range(len(value))), name
    return joined


class AnswerTests(SynchronousTestCase):
    """Answers with status 200."""

    def test_plain(self) -> None:
        """Text, thoughts, calls, finish and usage are told; OpenAI's type takes them."""
        seen = 0
        for recording in recordings():
            if recording.status != 200 or is_stream(recording):
                continue
            seen += 1
            answer = AnthropicDialect().read_reply(recording.body)
            (choice,) = answer["choices"]
            message, reason, usage = choice["message"], choice["finish_reason"], answer["usage"]
            calls = message.get("tool_calls", [])
            told = Told(json.loads(recording.body))
            self.check(recording, told, message, calls, reason, usage)
            self.assertEqual(join_extra([message]), told.extra, recording.name)
            ChatCompletion.model_validate({"created": 1, **answer}, strict=True)
            shown.show_answer("anthropic", message, reason, usage, shown.PLAIN)
        self.assertGreater(seen, 7)

    def test_streams(self) -> None:
        """The same of streams, their chunks put together; every chunk is one of OpenAI's."""
        seen = 0
        for recording in recordings():
            if not is_stream(recording) or is_broken(recording):
                continue
            seen += 1
            outcome = self.outcome([recording.body])
            self.assertIsNone(outcome.error, recording.name)
            deltas = outcome.deltas()
            self.assertEqual([place for place, delta in enumerate(deltas) if "role" in delta], [0])
            message: dict[str, Any] = {
                "content": outcome.text() or None,
                "reasoning_content": outcome.text("reasoning_content"),
            }
            (reason,) = outcome.reasons()
            self.assertIn(reason, FINISH_REASONS)
            usage = outcome.usage
            assert usage is not None
            told = Told(put_together(read_events(recording)))
            self.check(recording, told, message, outcome.calls(), reason, usage)
            extra = join_deltas(deltas)
            self.assertEqual(extra, told.extra, recording.name)
            self.assertEqual(outcome.chunks[-1]["usage"], usage, recording.name)
            whole = {**message, "tool_calls": outcome.calls(), "extra_content": extra}
            shown.show_answer("anthropic", whole, reason, usage, shown.STREAMED)
            frame = {"object": "chat.completion.chunk", "created": 1}
            for chunk in outcome.chunks:
                ChatCompletionChunk.model_validate({**chunk, **frame}, strict=True)
        self.assertGreater(seen, 8)

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
        made = [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in calls
        ]
        self.assertEqual(made, told.calls, name)
        self.assertEqual(reason, told.finish, name)
        self.assertEqual(usage["prompt_tokens"], told.prompt, name)
        self.assertEqual(usage["completion_tokens"], told.completion, name)
        details = usage["prompt_tokens_details"]
        self.assertEqual(
            details, {"cached_tokens": told.cached, "cache_write_tokens": told.written}, name
        )
        thoughts = usage.get("completion_tokens_details", {}).get("reasoning_tokens")
        self.assertEqual(thoughts, told.thoughts, name)

    def test_plain_as_streams(self) -> None:
        """What a stream puts together is read like the whole answer that it is."""
        seen = 0
        for recording in recordings():
            if not is_stream(recording) or is_broken(recording):
                continue
            seen += 1
            body = json.dumps(put_together(read_events(recording))).encode()
            answer = AnthropicDialect().read_reply(body)
            message = answer["choices"][0]["message"]
            outcome = self.outcome([recording.body])
            self.assertEqual(message["content"] or "", outcome.text(), recording.name)
            self.assertEqual(join_extra([message]), join_deltas(outcome.deltas()), recording.name)
            self.assertEqual(answer["usage"], outcome.usage, recording.name)
        self.assertGreater(seen, 8)

    def test_sent_back(self) -> None:
        """What a client sends back reaches Anthropic as it came from there, plain or streamed."""
        seen = 0
        for recording in recordings():
            if recording.status != 200 or (is_stream(recording) and is_broken(recording)):
                continue
            seen += 1
            if is_stream(recording):
                content = put_together(read_events(recording))["content"]
                said = client_message(self.outcome([recording.body]))
            else:
                content = json.loads(recording.body)["content"]
                answer = AnthropicDialect().read_reply(recording.body)
                said = answer["choices"][0]["message"]
            calls = [one["id"] for one in content if one["type"] == "tool_use"]
            results = [{"role": "tool", "tool_call_id": one, "content": "r"} for one in calls]
            asked = {"role": "user", "content": "?"}
            request = {"messages": [asked, said, *results, asked]}
            wire = AnthropicDialect().write_request(request, model="claude-x", stream=False)
            body = json.loads(wire.body)
            self.assertEqual(body["messages"][1]["content"], sent_back(content), recording.name)
        self.assertGreater(seen, 15)

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
        return Outcome(pieces, max_event_bytes=ROOM, dialect=AnthropicDialect())


#: Part of the name of a recorded error -> what it means, and the delay that it tells.
ERRORS: dict[str, tuple[type[errors.UpstreamError], float | None]] = {
    "test_model_call_with_format_tool_mode": (errors.UpstreamAuthFailed, None),
    "test_model_not_found_stream": (errors.UpstreamModelNotFound, None),
    "handles_context_length_exceeded_errors": (errors.UpstreamRateLimited, 47.0),
    "missingextensionerror_for_urls_without_extension": (errors.UpstreamRefused, None),
}


class ErrorTests(SynchronousTestCase):
    """Errors."""

    def test_errors(self) -> None:
        """Each means what the table says, also inside a 200, plain and as a stream."""
        seen = 0
        for recording in recordings():
            if recording.status < 400:
                continue
            dialect = AnthropicDialect()
            error = dialect.read_error(recording.status, recording.headers, recording.body)
            self.assertNotIn(error.status, (401, 403))
            kind = type(error)
            for name, expected in ERRORS.items():
                if name in recording.name:
                    seen += 1
                    self.assertEqual((kind, error.retry_after), expected, recording.name)
            with self.assertRaises(errors.UpstreamError):
                dialect.read_reply(recording.body)
            for body in (recording.body, b"event: error\ndata: " + recording.body + b"\n\n"):
                outcome = Outcome([body], dialect=dialect)
                self.assertEqual(outcome.chunks, [])
                self.assertIs(type(outcome.error), kind, recording.name)
        self.assertEqual(seen, len(ERRORS))
        shown.show("anthropic", *shown.ERRORS)

    def test_streams(self) -> None:
        """A stream that ends with an error is one, with the status that it stands for."""
        broken = [one for one in recordings() if is_stream(one) and is_broken(one)]
        self.assertGreater(len(broken), 0)
        for recording in broken:
            outcome = Outcome([recording.body], dialect=AnthropicDialect())
            self.assertIsInstance(outcome.error, errors.UpstreamFailed, recording.name)
            assert isinstance(outcome.error, errors.UpstreamError)
            self.assertEqual(outcome.error.upstream_status, 529)


def settled(body: dict[str, Any]) -> dict[str, Any]:
    """
    Return a request without what makes no difference.

    - a text, or the list of its one part, for a content or for the instructions;
    - ``is_error: false``, no tools, an empty description, a setting that is null;
    - ``stream: false``; ``output_format``, as ``output_config.format`` was called once;
    - ``display``, which is always told where the model thinks as long as it likes;
    - a temperature of 1, which is the only one beside thinking and the default;
    - the model and the version, which stand in the URL on Vertex.
    """
    body = json.loads(json.dumps(body))
    for name in ("model", "anthropic_version"):
        body.pop(name, None)
    if not body.get("stream"):
        body.pop("stream", None)
    if body.get("temperature") == 1:
        del body["temperature"]
    if not body.get("tools"):
        body.pop("tools", None)
    for tool in body.get("tools", ()):
        for name in [name for name, value in tool.items() if value in (None, "")]:
            del tool[name]
    wanted = body.pop("output_format", None)
    if wanted:
        body.setdefault("output_config", {})["format"] = wanted
    body.get("thinking", {}).pop("display", None)
    for holder in (body, *body["messages"]):
        name = "system" if holder is body else "content"
        if isinstance(holder.get(name), str):
            holder[name] = [{"type": "text", "text": holder[name]}]
    for message in body["messages"]:
        for block in message["content"]:
            if not block.get("is_error"):
                block.pop("is_error", None)
            if block["type"] == "tool_result" and isinstance(block.get("content"), str):
                block["content"] = [{"type": "text", "text": block["content"]}]
    return dict(body)


def spent(value: Any) -> Any:
    """Return what a client's types have read: lists are checked only as one goes through them."""
    if isinstance(value, BaseModel):
        return spent(value.model_dump(exclude_unset=True))
    if isinstance(value, dict):
        return {name: spent(one) for name, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [spent(one) for one in value]
    return value


class RequestTests(SynchronousTestCase):
    """Requests of other clients, rebuilt from the OpenAI request that means the same."""

    def written(self, recording: Recording) -> dict[str, Any]:
        """Write the OpenAI request that means what was recorded."""
        model, request = self.request(recording)
        stream = recording.request["body"].get("stream", False)
        wire = AnthropicDialect().write_request(request, model=model, stream=stream)
        self.assertEqual(wire.dropped, (), recording.name)
        self.assertEqual(wire.route, "/messages")
        body: dict[str, Any] = json.loads(wire.body)
        return body

    def request(self, recording: Recording) -> tuple[str, dict[str, Any]]:
        """Return the model, and the OpenAI request that means what was recorded."""
        body = recording.request["body"]
        in_url = recording.request["url"].rpartition("/models/")[2].partition(":")[0]
        model = body.get("model") or in_url
        return model, openai_request(body, model)

    def sensible(self) -> Iterator[Recording]:
        """Give the recordings with a whole request."""
        for recording in recordings():
            if isinstance(recording.request["body"], dict):
                yield recording

    def test_rebuilt(self) -> None:
        """Each is written as it was recorded, but for what makes no difference."""
        seen = 0
        for recording in self.sensible():
            seen += 1
            recorded = settled(recording.request["body"])
            self.assertEqual(settled(self.written(recording)), recorded, recording.name)
            shown.show_request("anthropic", self.request(recording)[1])
        self.assertGreater(seen, 20)

    def test_official_types(self) -> None:
        """Anthropic's own client knows every field that is written."""
        stable, beta = TypeAdapter(Params), TypeAdapter(BetaParams)
        for recording in self.sensible():
            body = self.written(recording)
            body.pop("stream", None)
            own = body.pop("anthropic_version", None)
            self.assertEqual(own is not None, recording.name.startswith("vertex/"))
            kinds = stable if "beta=true" not in recording.request["url"] else beta
            known = spent(kinds.validate_python(body, strict=True))
            for tool in (*known.get("tools", ()), *body.get("tools", ())):
                tool.pop("input_schema", None)  # The caller's own, of which they know a part.
            self.assertEqual(known, body, recording.name)

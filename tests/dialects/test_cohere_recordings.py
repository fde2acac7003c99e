"""Recorded traffic of Cohere's second version, through the dialect, both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from openai.types.chat import ChatCompletion, ChatCompletionChunk
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.cohere import CohereDialect
from aiproxy.dialects.openai_repairs import FINISH_REASONS
from tests.dialects.cohere_inverse import openai_request
from tests.dialects.recordings import Recording, read_recordings
from tests.dialects.streams import Outcome, find_difference
from tests.shown import PLAIN, STREAMED, show, show_answer, show_request

ROOM = 4 * 1024 * 1024

REASONS = {"COMPLETE": "stop", "TOOL_CALL": "tool_calls", "MAX_TOKENS": "length"}


def recordings() -> Iterator[Recording]:
    """Give all exchanges of ``/v2/chat``; the first version is another protocol."""
    for recording in read_recordings("chat", "cohere"):
        if "/v2/" in recording.request["url"]:
            yield recording


def read_events(recording: Recording) -> list[dict[str, Any]]:
    """Read the events of a stream."""
    lines = recording.body.decode().split("\n")
    data = [line[6:] for line in lines if line.startswith("data: ")]
    assert data.pop() == "[DONE]"
    return [json.loads(one) for one in data]


class Told:
    """What an answer of Cohere's says, put together without knowledge of OpenAI's."""

    def __init__(self, recording: Recording) -> None:
        self.content = self.reasoning = ""
        self.calls: list[list[str]] = []
        self.citations: list[Any] = []
        if recording.streamed:
            for event in read_events(recording):
                self.read_event(event)
        else:
            document = json.loads(recording.body)
            self.identity = document["id"]
            self.read_message(document["message"])
            self.read_end(document)

    def read_message(self, message: dict[str, Any]) -> None:
        """Read a whole message."""
        self.reasoning = message.get("tool_plan", "")
        for part in message.get("content", ()):
            self.content += part.get("text", "")
            self.reasoning += part.get("thinking", "")
        for call in message.get("tool_calls", ()):
            function = call["function"]
            self.calls.append([call["id"], function["name"], function["arguments"]])
        self.citations = message.get("citations", [])

    def read_event(self, event: dict[str, Any]) -> None:
        """Read one event of a stream."""
        kind, message = event["type"], event.get("delta", {}).get("message", {})
        if kind == "message-start":
            self.identity = event["id"]
        elif kind == "message-end":
            self.read_end(event["delta"])
        elif kind in ("content-start", "content-delta"):
            self.content += message["content"].get("text", "")
            self.reasoning += message["content"].get("thinking", "")
        elif kind == "tool-plan-delta":
            self.reasoning += message["tool_plan"]
        elif kind == "tool-call-start":
            call = message["tool_calls"]
            function = call["function"]
            self.calls.append([call["id"], function["name"], function["arguments"]])
        elif kind == "tool-call-delta":
            self.calls[event["index"]][2] += message["tool_calls"]["function"]["arguments"]
        elif kind == "citation-start":
            self.citations.append(message["citations"])
        else:
            assert kind in ("content-end", "tool-call-end", "citation-end"), kind

    def read_end(self, holder: dict[str, Any]) -> None:
        """Read the finish reason and the usage."""
        self.finish = REASONS[holder["finish_reason"]]
        usage = holder["usage"]
        tokens = usage["tokens"]
        self.prompt = tokens["input_tokens"] + tokens.get("image_tokens", 0)
        self.completion = tokens["output_tokens"]
        self.thoughts = tokens.get("reasoning_tokens", 0)
        self.cached = usage.get("cached_tokens", 0)
        self.billed = usage["billed_units"]


class AnswerTests(SynchronousTestCase):
    """Answers with status 200."""

    def test_plain(self) -> None:
        """Text, thoughts, calls, citations, finish and usage are told in OpenAI's type."""
        seen = 0
        for recording in recordings():
            if recording.status != 200 or recording.streamed:
                continue
            seen += 1
            answer = CohereDialect().read_reply(recording.body)
            (choice,) = answer["choices"]
            message = choice["message"]
            cited = message.get("extra_content", {}).get("cohere", {}).get("citations", [])
            self.assertEqual(cited, Told(recording).citations, recording.name)
            self.check(
                recording,
                {**message, "id": answer["id"], "tool_calls": message.get("tool_calls", [])},
                choice["finish_reason"],
                answer["usage"],
            )
            ChatCompletion.model_validate({"model": "m", "created": 1, **answer}, strict=True)
            show_answer("cohere", message, choice["finish_reason"], answer["usage"], PLAIN)
        self.assertGreater(seen, 5)

    def test_streams(self) -> None:
        """The same of streams, their chunks put together; every chunk is one of OpenAI's."""
        seen = 0
        for recording in recordings():
            if not recording.streamed:
                continue
            seen += 1
            outcome = self.outcome([recording.body])
            self.assertIsNone(outcome.error, recording.name)
            deltas = outcome.deltas()
            self.assertEqual([place for place, delta in enumerate(deltas) if "role" in delta], [0])
            extras = [delta["extra_content"] for delta in deltas if "extra_content" in delta]
            cited = [one for extra in extras for one in extra["cohere"]["citations"]]
            places = [one.pop("index") for one in cited]
            self.assertEqual(places, list(range(len(cited))), recording.name)
            self.assertEqual(cited, Told(recording).citations, recording.name)
            (identity,) = {chunk["id"] for chunk in outcome.chunks}
            message = {
                "id": identity,
                "content": outcome.text(),
                "reasoning_content": outcome.text("reasoning_content"),
                "tool_calls": outcome.calls(),
            }
            (reason,) = outcome.reasons()
            usage = outcome.usage
            assert usage is not None
            self.check(recording, message, reason, usage)
            self.assertEqual(outcome.chunks[-1]["usage"], usage, recording.name)
            show_answer("cohere", {**message, "extra_content": extras}, reason, usage, STREAMED)
            frame = {"object": "chat.completion.chunk", "created": 1, "model": "m"}
            for chunk in outcome.chunks:
                ChatCompletionChunk.model_validate({**chunk, **frame}, strict=True)
        self.assertGreater(seen, 2)

    def check(
        self, recording: Recording, message: dict[str, Any], reason: str, usage: dict[str, Any]
    ) -> None:
        """Compare what was said with what was told."""
        name, told = recording.name, Told(recording)
        self.assertEqual(message["id"], told.identity, name)
        self.assertEqual(message["content"] or "", told.content, name)
        self.assertEqual(message.get("reasoning_content") or "", told.reasoning, name)
        made = [
            [call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])]
            for call in message["tool_calls"]
        ]
        expected = [
            [call_id, function, json.loads(arguments) or {}]
            for call_id, function, arguments in told.calls
        ]
        self.assertEqual(made, expected, name)
        self.assertIn(reason, FINISH_REASONS)
        self.assertEqual(reason, told.finish, name)
        self.assertEqual(
            usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"], name
        )
        self.assertEqual(usage["prompt_tokens"], told.prompt, name)
        self.assertEqual(usage["completion_tokens"], told.completion, name)
        details = usage["completion_tokens_details"]
        self.assertEqual(details["reasoning_tokens"], told.thoughts, name)
        self.assertEqual(usage["prompt_tokens_details"]["cached_tokens"], told.cached, name)
        self.assertEqual(usage["cohere"]["billed_units"], told.billed, name)

    def test_every_split(self) -> None:
        """No split of the bytes changes a chunk."""
        seen = 0
        for recording in recordings():
            if recording.streamed:
                seen += 1
                self.assertIsNone(find_difference(recording.body, self.outcome), recording.name)
        self.assertGreater(seen, 2)

    def test_every_cut(self) -> None:
        """A stream that ends before its finish reason is never taken for a whole one."""
        for recording in recordings():
            if not recording.streamed:
                continue
            events = recording.body.split(b"\n\n")
            end = next(n for n, event in enumerate(events) if b"message-end" in event)
            for kept in range(end):
                outcome = self.outcome([b"".join(event + b"\n\n" for event in events[:kept])])
                self.assertIsInstance(outcome.error, errors.UpstreamError, recording.name)

    def outcome(self, pieces: list[bytes]) -> Outcome:
        """Read a stream."""
        return Outcome(pieces, max_event_bytes=ROOM, dialect=CohereDialect())


class ErrorTests(SynchronousTestCase):
    """Answers with an error status; both versions write them alike."""

    def test_errors(self) -> None:
        """A conversation too long and a model that is gone are told apart; a 200 hides none."""
        kinds: dict[int, type[errors.UpstreamError]] = {
            400: errors.ContextTooLong,
            404: errors.UpstreamModelNotFound,
        }
        seen = set()
        for recording in read_recordings("chat", "cohere"):
            if recording.status < 400:
                continue
            seen.add(recording.status)
            kind = kinds[recording.status]
            dialect = CohereDialect()
            error = dialect.read_error(recording.status, recording.headers, recording.body)
            self.assertIs(type(error), kind, recording.name)
            self.assertEqual(error.message, json.loads(recording.body)["message"])
            hidden = self.assertRaises(errors.UpstreamError, dialect.read_reply, recording.body)
            self.assertEqual(hidden.message, error.message)
            for body in (recording.body, b"data: %s\n\n" % recording.body.replace(b"\n", b"")):
                outcome = Outcome([body], dialect=dialect)
                self.assertEqual(outcome.chunks, [])
                self.assertIs(type(outcome.error), type(hidden), recording.name)
        self.assertEqual(seen, set(kinds))
        show("cohere", "errors by status", "errors inside a 200", "errors inside a stream")


class RequestTests(SynchronousTestCase):
    """Requests of other clients, rebuilt from the OpenAI request that means the same."""

    def test_rebuilt(self) -> None:
        """Each is written as it was recorded, and nothing of it is dropped."""
        seen = 0
        for recording in recordings():
            body = recording.request["body"]
            if not isinstance(body, dict):
                continue
            seen += 1
            wire = CohereDialect().write_request(
                openai_request(body), model=body["model"], stream=body["stream"]
            )
            self.assertEqual(json.loads(wire.body), body, recording.name)
            self.assertEqual(wire.dropped, (), recording.name)
            self.assertTrue(recording.request["url"].endswith(f"/v2{wire.route}"))
            show_request("cohere", openai_request(body))
        self.assertGreater(seen, 8)

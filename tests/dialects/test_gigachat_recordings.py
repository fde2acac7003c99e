"""Recorded traffic of GigaChat, through its dialect."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.gigachat import GigaChatDialect
from tests.dialects.recordings import Recording, read_recordings
from tests.dialects.streams import Outcome, bytewise, split_at
from tests.shown import PLAIN, STREAMED, show, show_answer, show_request

#: Streams up to so many bytes are split at every single place: all that are recorded.
SHORT_BYTES = 8 * 1024


def recorded_events(stream: bytes) -> Iterator[dict[str, Any]]:
    """Read a stream as naively as can be."""
    for line in stream.decode().split("\n"):
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def with_cached(usage: dict[str, Any]) -> dict[str, Any]:
    """Say how many tokens were cached in OpenAI's way too."""
    if "precached_prompt_tokens" not in usage:
        return usage
    cached = {"cached_tokens": usage["precached_prompt_tokens"]}
    return {**usage, "prompt_tokens_details": cached}


def as_openai(body: dict[str, Any]) -> dict[str, Any]:
    """Turn a request of GigaChat's into the one of OpenAI's that asks the same."""
    request = deepcopy(body)
    functions = request.pop("functions", None)
    if functions is not None:
        request["tools"] = [{"type": "function", "function": each} for each in functions]
    told = request.get("response_format")
    if told is not None:
        named = {"name": "answer", "schema": told["schema"], "strict": told["strict"]}
        request["response_format"] = {"type": told["type"], "json_schema": named}
    for message in request["messages"]:
        message["content"] = [{"type": "text", "text": message["content"]}]
    return request


class RecordedRequestTests(SynchronousTestCase):
    """Requests."""

    def test_rebuilt(self) -> None:
        """What GigaChat was asked comes out of the request of OpenAI's that asks the same."""
        seen = 0
        for recording in read_recordings("chat", "gigachat"):
            expected = recording.request["body"]
            if expected is None:
                continue
            seen += 1
            wire = GigaChatDialect().write_request(
                as_openai(expected), model=expected["model"], stream=expected.get("stream", False)
            )
            told = json.loads(wire.body)
            if "functions" in expected:
                # We say what is meant where it was left to GigaChat.
                self.assertEqual(told.pop("function_call"), "auto", recording.name)
            self.assertEqual(told, expected, recording.name)
            self.assertEqual(wire.dropped, (), recording.name)
            self.assertTrue(recording.request["url"].endswith("/api/v1" + wire.route))
            show_request("gigachat", as_openai(expected))
        self.assertGreater(seen, 5)


class RecordedAnswerTests(SynchronousTestCase):
    """Whole answers and errors."""

    def test_answers(self) -> None:
        """What comes back is what was recorded, but for its shape."""
        seen = 0
        for recording in read_recordings("chat", "gigachat"):
            if recording.streamed or recording.status != 200:
                continue
            seen += 1
            answer = GigaChatDialect().read_reply(recording.body)
            choice = answer["choices"][0]
            reason, usage = choice["finish_reason"], answer["usage"]
            show_answer("gigachat", choice["message"], reason, usage, PLAIN)
            expected = json.loads(recording.body)
            expected["object"] = "chat.completion"
            expected["usage"] = with_cached(expected["usage"])
            for told, choice in zip(answer["choices"], expected["choices"], strict=True):
                call = choice["message"].pop("function_call", None)
                if call is not None:
                    [made] = told["message"].pop("tool_calls")
                    self.assertTrue(made["id"], recording.name)
                    self.assertEqual(made["function"]["name"], call["name"], recording.name)
                    arguments = json.loads(made["function"]["arguments"])
                    self.assertEqual(arguments, call["arguments"], recording.name)
                    choice["native_finish_reason"] = choice["finish_reason"]
                    choice["finish_reason"] = "tool_calls"
            self.assertEqual(answer, expected, recording.name)
        self.assertGreater(seen, 4)

    def test_errors(self) -> None:
        """A model that is not there is the configuration's fault."""
        seen = 0
        for recording in read_recordings("chat", "gigachat"):
            if recording.status == 200:
                continue
            seen += 1
            error = GigaChatDialect().read_error(
                recording.status, recording.headers, recording.body
            )
            self.assertIs(type(error), errors.UpstreamModelNotFound, recording.name)
            self.assertEqual(error.message, json.loads(recording.body)["message"])
            show("gigachat", "errors by status")
        self.assertGreater(seen, 0)


class RecordedStreamTests(SynchronousTestCase):
    """Streams."""

    def streams(self) -> Iterator[Recording]:
        """Give the recorded streams."""
        seen = 0
        for recording in read_recordings("chat", "gigachat"):
            if recording.streamed:
                seen += 1
                yield recording
        self.assertGreater(seen, 2)

    def read(self, *pieces: bytes) -> Outcome:
        """Read a stream."""
        return Outcome(pieces, dialect=GigaChatDialect())

    def test_nothing_is_lost(self) -> None:
        """All that was recorded is told, in OpenAI's shape."""
        for recording in self.streams():
            events = list(recorded_events(recording.body))
            choices = [choice for event in events for choice in event["choices"]]
            usage = next((each["usage"] for each in events if "usage" in each), None)
            outcome = self.read(recording.body)
            self.assertIsNone(outcome.error, recording.name)
            self.assertEqual(outcome.skipped, 0, recording.name)
            text = "".join(choice["delta"]["content"] for choice in choices)
            self.assertEqual(outcome.text(), text, recording.name)
            reasons = [choice["finish_reason"] for choice in choices if "finish_reason" in choice]
            self.assertEqual(outcome.reasons(), reasons, recording.name)
            self.assertEqual(outcome.usage, usage and with_cached(usage), recording.name)
            show_answer("gigachat", {"content": text}, reasons[0], outcome.usage, STREAMED)
            kinds = {chunk["object"] for chunk in outcome.chunks}
            self.assertEqual(kinds, {"chat.completion.chunk"}, recording.name)
            roles = [delta.get("role") for delta in outcome.deltas()]
            self.assertEqual(roles, ["assistant", *[None] * (len(roles) - 1)], recording.name)

    def test_splits(self) -> None:
        """At every single place, in single bytes, and in pieces of any size."""
        chance = random.Random(20_251_125)
        for recording in self.streams():
            stream = recording.body
            self.assertLessEqual(len(stream), SHORT_BYTES, recording.name)
            expected = self.read(stream)
            self.assertEqual(self.read(*bytewise(stream)), expected, recording.name)
            for place in range(1, len(stream)):
                self.assertEqual(self.read(*split_at(stream, place)), expected, recording.name)
            for _ in range(50):
                places = chance.sample(range(1, len(stream)), chance.randrange(2, 60))
                self.assertEqual(self.read(*split_at(stream, *places)), expected, recording.name)

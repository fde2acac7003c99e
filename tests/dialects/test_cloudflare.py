"""Tests of :mod:`aiproxy.dialects.cloudflare`, with the samples of our own making."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import tests.golden
from aiproxy.dialects.cloudflare import CloudflareDialect, CloudflareReader
from aiproxy.dialects.dialect import WireRequest
from aiproxy.errors import AIProxyError, InvalidRequest
from aiproxy.wire.json import dumps
from aiproxy.wire.urls import join_url
from tests.dialects.streams import Outcome, bytewise, split_at, write_events
from tests.golden.expected import describe_error
from tests.shown import PLAIN, STREAMED, show

SAMPLES = Path(tests.golden.__file__).parent / "cloudflare"
STREAMS = sorted((SAMPLES / "streams").glob("*.sse"))
MODEL = "@cf/maker/model-7b"
MESSAGES = [{"role": "user", "content": "Hello"}]
TOOL = {"type": "function", "function": {"name": "time", "parameters": {"type": "object"}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


def write(*, stream: bool = False, model: str = MODEL, **fields: object) -> WireRequest:
    """Write a request with these fields."""
    request = {"model": "mine", "messages": MESSAGES, **fields}
    before = deepcopy(request)
    wire = CloudflareDialect().write_request(request, model=model, stream=stream)
    assert request == before
    return wire


def body(*, stream: bool = False, model: str = MODEL, **fields: object) -> dict[str, Any]:
    """Give the body that is written, nothing of the request being dropped."""
    wire = write(stream=stream, model=model, **fields)
    assert wire.dropped == ()
    written: dict[str, Any] = json.loads(wire.body)
    return written


def messages(*told: dict[str, Any]) -> Any:
    """Give the messages that are written."""
    return body(messages=list(told))["messages"]


def reader_of(wire: WireRequest) -> CloudflareReader:
    """Give the reader of a request's answer."""
    assert isinstance(wire.reader, CloudflareReader)
    return wire.reader


def sample_reader(sample: dict[str, Any]) -> CloudflareReader:
    """Make the reader that a sample is for."""
    return CloudflareReader(
        tuple(sample.pop("stops", ())), sample.pop("max_tokens", None), seed="s"
    )


def read_samples(name: str) -> list[dict[str, Any]]:
    """Read a file of samples."""
    samples: list[dict[str, Any]] = json.loads((SAMPLES / name).read_text("utf-8"))
    return samples


def to_bytes(value: object) -> bytes:
    """Write a sample's body."""
    return value.encode() if isinstance(value, str) else dumps(value)


class RequestTests(SynchronousTestCase):
    """What is asked for."""

    def test_plain(self) -> None:
        """The model stands in the route only; unknown fields pass, null ones are left out."""
        wire = write(temperature=0, lora="mine", top_k=None, tool_choice="auto")
        self.assertEqual(wire.route, "/@cf/maker/model-7b")
        self.assertEqual(wire.headers, {"content-type": "application/json"})
        expected = {
            "messages": MESSAGES,
            "temperature": 0,
            "lora": "mine",
            "tool_choice": "auto",
            "max_tokens": 2048,
            "stream": False,
        }
        self.assertEqual(json.loads(wire.body), expected)
        show("cloudflare native", "sampling parameters")

    def test_limit(self) -> None:
        """A limit is always named: the newer field's, the older one's, or our own."""
        self.assertEqual(body(max_tokens=7)["max_tokens"], 7)
        both = body(max_tokens=7, max_completion_tokens=9)
        self.assertEqual(both["max_tokens"], 9)
        self.assertNotIn("max_completion_tokens", both)
        self.assertEqual(body(max_tokens=7, max_completion_tokens=None)["max_tokens"], 7)
        request = {"messages": MESSAGES}
        wire = CloudflareDialect(default_max_tokens=5).write_request(
            request, model=MODEL, stream=False
        )
        self.assertEqual(json.loads(wire.body)["max_tokens"], 5)
        self.assertEqual(reader_of(wire).max_tokens, 5)

    def test_least_values(self) -> None:
        """What is less than the least that is taken becomes the least."""
        self.assertEqual(body(top_p=0)["top_p"], 0.001)
        self.assertEqual(body(top_p=0.5)["top_p"], 0.5)
        self.assertEqual(body(seed=0)["seed"], 1)
        self.assertEqual(body(seed=8)["seed"], 8)
        show("cloudflare native", "seed")

    def test_dropped(self) -> None:
        """What there is no such thing for is named, once."""
        spoken = [{"role": "user", "content": "Hi", "name": "Ann"}] * 2
        wire = write(
            messages=spoken,
            n=2,
            logprobs=True,
            top_logprobs=3,
            logit_bias={"1": 5},
            user="ann",
            parallel_tool_calls=False,
            modalities=["text", "audio"],
            web_search_options={},
        )
        expected = {
            *("n", "logprobs", "top_logprobs", "logit_bias", "user", "parallel_tool_calls"),
            *("modalities", "messages[].name", "web_search_options"),
        }
        self.assertEqual(len(wire.dropped), len(expected))
        self.assertEqual(set(wire.dropped), expected)
        written = json.loads(wire.body)
        self.assertEqual(set(written), {"messages", "max_tokens", "stream"})
        self.assertEqual(written["messages"], [{"role": "user", "content": "Hi"}] * 2)

    def test_nothing_lost(self) -> None:
        """What asks for nothing special is left out without a word."""
        written = body(
            n=1,
            logprobs=False,
            logit_bias={},
            parallel_tool_calls=True,
            modalities=["text"],
            tools=[],
            response_format={"type": "text"},
            stream_options={"include_usage": True},
        )
        self.assertEqual(set(written), {"messages", "max_tokens", "stream"})

    def test_stop(self) -> None:
        """Stop sequences are not sent; the answer's reader has them."""
        wire = write(stop=["a", ""])
        self.assertNotIn("stop", json.loads(wire.body))
        self.assertEqual(reader_of(wire).stops, ("a",))
        show("cloudflare native", "stop")

    def test_texts(self) -> None:
        """Parts of text are joined; there is always a text."""
        parts = [{"type": "text", "text": "a"}, {"type": "refusal", "refusal": "b"}]
        call = {"id": "k", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        extra: dict[str, Any] = {"extra_content": {"google": {}}}
        written = messages(
            {"role": "developer", "content": parts},
            {"role": "assistant", "content": None, "tool_calls": [{**call, **extra}], **extra},
            {"role": "tool", "tool_call_id": "k", "content": parts[:1]},
            {"role": "assistant", "refusal": "no"},
        )
        expected = [
            {"role": "system", "content": "a\nb"},
            {"role": "assistant", "tool_calls": [call], "content": ""},
            {"role": "tool", "tool_call_id": "k", "content": "a"},
            {"role": "assistant", "content": "no"},
        ]
        self.assertEqual(written, expected)

    def test_images(self) -> None:
        """Parts with images stay as they are."""
        told = {"role": "user", "content": [{"type": "text", "text": "a"}, IMAGE]}
        self.assertEqual(messages(told), [told])
        show("cloudflare native", "images, data URL")

    def test_other_parts(self) -> None:
        """What is neither text nor image is refused, and where it stands is told."""
        told = [*MESSAGES, {"role": "user", "content": [{"type": "input_audio"}]}]
        error = self.assertRaises(InvalidRequest, write, messages=told)
        self.assertEqual(error.param, "messages[1].content")

    def test_wants_images(self) -> None:
        """Images on the web have to be fetched, others are here already."""
        part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
        for parts, expected in (([IMAGE, part], True), ([IMAGE], False)):
            request = {"messages": [{"role": "user", "content": parts}]}
            self.assertIs(CloudflareDialect().wants_images(request, model=MODEL), expected)

    def test_tools(self) -> None:
        """A tool has a description and parameters, its own where it has some."""
        full = {
            "type": "function",
            "function": {
                "name": "sum",
                "description": "Adds",
                "parameters": {"type": "object", "properties": {"a": {}}},
                "strict": True,
            },
        }
        bare = {"type": "function", "function": {"name": "now"}}
        written = body(tools=[full, TOOL, bare])["tools"]
        self.assertEqual(written[0], full)
        self.assertEqual(
            written[1]["function"],
            {"name": "time", "description": "time", "parameters": {"type": "object"}},
        )
        empty = {"type": "object", "properties": {}}
        self.assertEqual(
            written[2]["function"], {"name": "now", "description": "now", "parameters": empty}
        )
        show("cloudflare native", "tools")

    def test_other_tools(self) -> None:
        """Tools that are no functions, and functions that are no tools, are refused."""
        custom = {"type": "custom", "custom": {"name": "sql"}}
        error = self.assertRaises(InvalidRequest, write, tools=[TOOL, custom])
        self.assertEqual(error.param, "tools[1]")
        error = self.assertRaises(InvalidRequest, write, functions=[{"name": "f"}])
        self.assertEqual(error.param, "functions")

    def test_schema(self) -> None:
        """A schema is sent bare; what is said of it becomes its own, strictness is not known."""
        schema = {"type": "object", "title": "Own"}
        told = {"name": "city", "description": "A city", "schema": schema, "strict": True}
        wire = write(response_format={"type": "json_schema", "json_schema": told})
        written = {"title": "Own", "description": "A city", "type": "object"}
        self.assertEqual(
            json.loads(wire.body)["response_format"],
            {"type": "json_schema", "json_schema": written},
        )
        self.assertEqual(wire.dropped, ("response_format.json_schema.strict",))
        for as_it_is in (
            {"type": "json_object"},
            {"type": "json_schema", "json_schema": {"type": "object"}},
        ):
            self.assertEqual(body(response_format=as_it_is)["response_format"], as_it_is)
        show("cloudflare native", "JSON schema")

    def test_stream(self) -> None:
        """A stream is asked for only where there is one: not in JSON mode, not of gpt-oss."""
        self.assertIs(body(stream=True)["stream"], True)
        self.assertIs(body(stream=True, response_format={"type": "text"})["stream"], True)
        json_mode = {"type": "json_object"}
        self.assertIs(body(stream=True, response_format=json_mode)["stream"], False)
        self.assertIs(body(stream=True, model="@cf/openai/gpt-oss-20b")["stream"], False)

    def test_model_names(self) -> None:
        """A model's name cannot leave its place in the URL."""
        self.assertEqual(write(model="@cf/a b?c#d").route, "/@cf/a%20b%3Fc%23d")
        for name in ("../run", "@cf/../x", "@cf//x", "./x", ""):
            error = self.assertRaises(InvalidRequest, write, model=name)
            self.assertEqual(error.param, "model")

    def test_call_ids(self) -> None:
        """Each turn of a conversation has call ids of its own; the same request the same."""
        turn = reader_of(write(tools=[TOOL])).call_id(0)
        again = reader_of(write(tools=[TOOL])).call_id(0)
        later = reader_of(write(tools=[TOOL], messages=MESSAGES * 2)).call_id(0)
        self.assertEqual(turn, again)
        self.assertEqual(len({turn, later, reader_of(write(tools=[TOOL])).call_id(1)}), 3)


class URLTests(SynchronousTestCase):
    """Where a request goes."""

    def test_base_url(self) -> None:
        """The model is appended to the base URL."""
        base = "https://api.cloudflare.com/client/v4/accounts/1/ai/run"
        self.assertEqual(join_url(base, write().route), f"{base}/{MODEL}")

    def test_model_is_appended(self) -> None:
        """A model's own URL gets its name where it does not have it."""
        gateway = "https://gateway.ai.cloudflare.com/v1/1/mine/workers-ai"
        for url in ("https://api.cloudflare.com/client/v4/accounts/1/ai/run", gateway):
            for end in ("", "/"):
                located = CloudflareDialect().locate(url + end, write())
                self.assertEqual(located, f"{url}/{MODEL}")
        located = CloudflareDialect().locate(gateway + "/run?a=1", write())
        self.assertEqual(located, f"{gateway}/run/{MODEL}?a=1")

    def test_whole_url(self) -> None:
        """A URL that names a model is the whole one."""
        for url in (
            "https://api.cloudflare.com/client/v4/accounts/1/ai/run/@cf/maker/other",
            "https://gateway.ai.cloudflare.com/v1/1/mine/workers-ai/@cf/maker/other",
            "https://example.com/my-own",
        ):
            self.assertEqual(CloudflareDialect().locate(url, write()), url)


class AnswerTests(SynchronousTestCase):
    """Plain answers and errors: the samples."""

    def test_answers(self) -> None:
        """Each gives what is expected of it: an answer or an error."""
        for sample in read_samples("answers.json"):
            reader = sample_reader(sample)
            try:
                answer = reader.read_reply(to_bytes(sample["body"]))
            except AIProxyError as error:
                self.assertEqual(describe_error(error), sample.get("error"), sample["name"])
            else:
                self.assertEqual(answer, sample.get("answer"), sample["name"])
        show("cloudflare native", "text", "tool calls", "usage", way=PLAIN)

    def test_errors(self) -> None:
        """Each means what is expected of it, and the status that came is told."""
        for sample in read_samples("errors.json"):
            error = CloudflareDialect().read_error(sample["status"], {}, to_bytes(sample["body"]))
            self.assertEqual(describe_error(error), sample["error"], sample["name"])
            self.assertEqual(error.upstream_status, sample["status"], sample["name"])
        show("cloudflare native", "errors by status", "errors inside a 200")

    def test_delay(self) -> None:
        """A delay in the headers counts."""
        told = {"errors": [{"code": 3040, "message": "busy"}], "success": False}
        error = CloudflareDialect().read_error(429, {"retry-after": "7"}, dumps(told))
        self.assertEqual(error.retry_after, 7)
        show("cloudflare native", "retry delay")

    def test_limit_that_was_asked_for(self) -> None:
        """An answer that is as long as was allowed is cut."""
        result = {"response": "Hello", "usage": {"completion_tokens": 5}}
        for most, expected in ((5, "length"), (6, "stop")):
            reader = reader_of(write(max_tokens=most))
            answer = reader.read_reply(dumps({"result": result, "success": True}))
            self.assertEqual(answer["choices"][0]["finish_reason"], expected)
        show("cloudflare native", "end by length", way=PLAIN)


class StreamTests(SynchronousTestCase):
    """Streams: the samples, in one piece and in two."""

    def test_whole(self) -> None:
        """Each stream gives what is expected of it."""
        self.assertGreater(len(STREAMS), 9)
        for path in STREAMS:
            expected = json.loads(path.with_suffix(".json").read_text("utf-8"))
            outcome = Outcome([path.read_bytes()], dialect=sample_reader(expected))
            told = {
                "chunks": outcome.chunks,
                "usage": outcome.usage,
                "skipped": outcome.skipped,
                "error": describe_error(outcome.error),
            }
            self.assertEqual(told, expected, path.stem)
        show("cloudflare native", "text", "tool calls", "usage", way=STREAMED)
        show("cloudflare native", "errors inside a stream")

    def test_every_split(self) -> None:
        """No split changes anything, nor do single bytes."""
        for path in STREAMS:
            stream = path.read_bytes()
            reader = sample_reader(json.loads(path.with_suffix(".json").read_text("utf-8")))
            expected = Outcome([stream], dialect=reader)
            self.assertEqual(Outcome(bytewise(stream), dialect=reader), expected, path.stem)
            for place in range(1, len(stream)):
                if Outcome(split_at(stream, place), dialect=reader) != expected:
                    self.fail(f"{path.stem} split at {place}")

    @given(
        st.lists(st.text("ab#é", min_size=1, max_size=4), min_size=1, max_size=6),
        st.integers(1, 8),
        st.sampled_from([(), ("##",), ("b#", "a")]),
    )
    def test_as_the_whole_answer(
        self, pieces: list[str], most: int, stops: tuple[str, ...]
    ) -> None:
        """A stream says what the whole answer would, and ends for the same reason."""
        usage = {"completion_tokens": len(pieces)}
        reader = CloudflareReader(stops, most)
        result = {"response": "".join(pieces), "usage": usage}
        answer = reader.read_reply(dumps({"result": result, "success": True}))
        choice = answer["choices"][0]
        events: list[object] = [{"response": piece} for piece in pieces]
        stream = write_events(*events, {"response": "", "usage": usage}, "[DONE]")
        outcome = Outcome([stream], dialect=reader)
        self.assertIsNone(outcome.error)
        self.assertEqual(outcome.text(), choice["message"]["content"])
        self.assertEqual(outcome.reasons(), [choice["finish_reason"]])
        self.assertEqual(outcome.usage, usage)

    def test_one_choice(self) -> None:
        """There is one choice, whatever was asked for: with it the answer is finished."""
        end = {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}]}
        for reader, event in (
            (CloudflareReader(), end),
            (CloudflareReader(max_tokens=1), {"response": "a", "usage": {"completion_tokens": 1}}),
            (CloudflareReader((".",)), {"response": "one. two"}),
        ):
            outcome = Outcome([write_events(event)], choices=2, dialect=reader)
            self.assertTrue(outcome.finished)

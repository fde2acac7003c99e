"""Tests of :mod:`aiproxy.dialects.cohere` and its parts."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.cohere import CohereDialect
from aiproxy.dialects.dialect import WireRequest
from aiproxy.wire.json import dumps
from tests.dialects.streams import Outcome, client_message

HI = {"role": "user", "content": "Hi"}
MODEL = "command-a-plus-05-2026"
OLD = "command-a-03-2025"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
USAGE = {
    "billed_units": {"input_tokens": 1, "output_tokens": 2},
    "tokens": {"input_tokens": 10.0, "output_tokens": 7.0, "reasoning_tokens": 3},
    "cached_tokens": 99,
}


def tool(name: str = "f", **more: Any) -> dict[str, Any]:
    """Make a tool."""
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA, **more}}


def call(arguments: Any = "{}", call_id: Any = "c1", name: str = "f") -> dict[str, Any]:
    """Make a tool call."""
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def answer(reason: str | None = "COMPLETE", **more: Any) -> dict[str, Any]:
    """Make an answer of Cohere's."""
    document: dict[str, Any] = {"id": "i", "finish_reason": reason, "usage": USAGE}
    message = {"role": "assistant", "content": [{"type": "text", "text": "x"}], **more}
    return {**document, "message": message}


def event(kind: str, message: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Make an event of a stream."""
    delta = {} if message is None else {"delta": {"message": message}}
    return {"type": kind, **more, **delta}


def text(said: str) -> dict[str, Any]:
    """Make an event with some text."""
    return event("content-delta", {"content": {"text": said}}, index=0)


def end(reason: str | None = "COMPLETE", **more: Any) -> dict[str, Any]:
    """Make the last event."""
    return event("message-end", delta={"finish_reason": reason, "usage": USAGE, **more})


def call_events(*pieces: str, index: int = 0, first: str = "") -> list[dict[str, Any]]:
    """Make the events of a call."""
    begun = call(first, f"c{index}", f"f{index}")
    return [
        event("tool-call-start", {"tool_calls": begun}, index=index),
        *(
            event("tool-call-delta", {"tool_calls": {"function": {"arguments": one}}}, index=index)
            for one in pieces
        ),
        event("tool-call-end", index=index),
    ]


def write_stream(*events: dict[str, Any], done: bool = True) -> bytes:
    """Write a stream as Cohere does, the start before what is given."""
    empty = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": []}
    start = event("message-start", {**empty, "citations": []}, id="i")
    stream = b"".join(
        b"event: %s\ndata: %s\n\n" % (one["type"].encode(), dumps(one)) for one in (start, *events)
    )
    return stream + (b"data: [DONE]\n\n" if done else b"")


def read_stream(*events: dict[str, Any], one_call: bool = False) -> Outcome:
    """Read a stream."""
    return Outcome([write_stream(*events)], dialect=CohereDialect(one_call=one_call))


def read(document: dict[str, Any], *, one_call: bool = False) -> dict[str, Any]:
    """Read a whole answer."""
    return CohereDialect(one_call=one_call).read_reply(dumps(document))


class WritingTestCase(SynchronousTestCase):
    """Writes requests."""

    def write(
        self, *messages: dict[str, Any], model: str = MODEL, stream: bool = False, **more: Any
    ) -> WireRequest:
        """Write a request."""
        request = {"model": "m", "messages": list(messages or (HI,)), **more}
        return CohereDialect().write_request(request, model=model, stream=stream)

    def written(self, more: dict[str, Any]) -> WireRequest:
        """Write a request with these fields."""
        return self.write(**more)

    def body(self, *messages: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Write a request; return its body."""
        body: dict[str, Any] = json.loads(self.write(*messages, **more).body)
        return body

    def messages(self, *messages: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        """Write messages; return them."""
        written: list[dict[str, Any]] = self.body(*messages, **more)["messages"]
        return written

    def refused(self, param: str, *messages: dict[str, Any], **more: Any) -> None:
        """Assert that a request is refused, with the field at fault."""
        error = self.assertRaises(errors.InvalidRequest, self.write, *messages, **more)
        self.assertEqual(error.param, param)


class RouteTests(WritingTestCase):
    """Where requests go."""

    def test_route(self) -> None:
        """All go to one route; the model and the way of the answer stand in the body."""
        wire = self.write(stream=True, stream_options={"include_usage": True})
        self.assertEqual(wire.route, "/chat")
        self.assertEqual(wire.headers, {"content-type": "application/json"})
        expected = {"model": MODEL, "stream": True, "messages": [HI]}
        self.assertEqual(json.loads(wire.body), expected)
        self.assertIs(self.body()["stream"], False)

    def test_own_url(self) -> None:
        """A model's own URL is the whole one, and images are left to Cohere."""
        url = "https://h/v2/chat"
        self.assertEqual(CohereDialect().locate(url, self.write()), url)
        part = {"type": "image_url", "image_url": {"url": "https://h/a.png"}}
        request = {"messages": [{"role": "user", "content": [part]}]}
        self.assertFalse(CohereDialect().wants_images(request, model=MODEL))


class MessageTests(WritingTestCase):
    """How messages are written."""

    def test_instructions(self) -> None:
        """System and developer messages are the first one, wherever they stood."""
        system = {"role": "system", "content": "a"}
        empty = {"role": "system", "content": ""}
        self.assertEqual(self.messages(HI, system, empty), [system, HI])
        developer = {"role": "developer", "content": [{"type": "text", "text": "b"}]}
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        self.assertEqual(
            self.messages(system, HI, developer), [{"role": "system", "content": parts}, HI]
        )

    def test_parts(self) -> None:
        """Texts, images and Cohere's own parts stay; a refusal is a text."""
        url = {"url": "data:image/png;base64,AAAA", "detail": "low"}
        for part, written in (
            ({"type": "text", "text": "a"}, None),
            ({"type": "image_url", "image_url": url}, None),
            ({"type": "image_url", "image_url": "u"}, {"url": "u"}),
            ({"type": "document", "document": {"data": "d"}}, None),
            ({"type": "thinking", "thinking": "t"}, None),
        ):
            expected = part if written is None else {**part, "image_url": written}
            self.assertEqual(
                self.messages({"role": "user", "content": [part]}),
                [{"role": "user", "content": [expected]}],
            )
        refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}
        self.assertEqual(self.messages(refusal)[0]["content"], [{"type": "text", "text": "no"}])
        beside = {"role": "assistant", "content": None, "refusal": "no"}
        self.assertEqual(self.messages(beside), [{"role": "assistant", "content": "no"}])

    def test_calls(self) -> None:
        """Calls go back as they came, thoughts as the plan; nothing else of them."""
        told = {**call('{"a": 1}'), "index": 0, "extra_content": {"x": 1}}
        message = {"role": "assistant", "content": None, "reasoning_content": "p"}
        result = {"role": "tool", "tool_call_id": "c1", "content": "r"}
        expected = {"role": "assistant", "tool_plan": "p", "tool_calls": [call('{"a": 1}')]}
        self.assertEqual(
            self.messages(HI, {**message, "tool_calls": [told]}, result), [HI, expected, result]
        )
        own = {**message, "tool_plan": "q", "content": "c", "tool_calls": [told]}
        self.assertEqual(self.messages(HI, own)[1], {**expected, "tool_plan": "q", "content": "c"})
        for arguments, written in (("", "{}"), (None, "{}"), ({"a": 1}, '{"a":1}')):
            again = {"role": "assistant", "tool_calls": [call(arguments)]}
            self.assertEqual(self.messages(again)[0]["tool_calls"], [call(written)])

    def test_thoughts_without_calls(self) -> None:
        """Thoughts of an answer without calls have no place."""
        message = {"role": "assistant", "content": "x", "reasoning_content": "p"}
        wire = self.write(HI, message)
        self.assertEqual(wire.dropped, ("messages[].reasoning_content",))
        self.assertNotIn(b"reasoning_content", wire.body)

    def test_results(self) -> None:
        """What a tool gave back may be a text, texts or documents."""
        for content in (
            "r",
            [{"type": "text", "text": "r"}],
            [{"type": "document", "document": {"id": "d", "data": {"text": "r"}}}],
        ):
            result = {"role": "tool", "tool_call_id": "c1", "content": content}
            self.assertEqual(self.messages(result), [result])

    def test_dropped(self) -> None:
        """What Cohere's messages have no field for is named."""
        named = {**HI, "name": "n", "audio": None}
        part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
        said = {"role": "assistant", "content": [part], "annotations": [], "audio": {"id": "a"}}
        wire = self.write({"role": "system", "content": "s", "name": "n"}, named, said)
        self.assertEqual(
            wire.dropped,
            ("messages[].audio", "messages[].content[].cache_control", "messages[].name"),
        )
        self.assertEqual(json.loads(wire.body)["messages"][1], HI)
        wire = self.write({"role": "system", "content": "s", "name": "n"}, HI)
        self.assertEqual(wire.dropped, ("messages[].name",))

    def test_refused(self) -> None:
        """What has no words in Cohere's protocol is refused, with its place."""
        sound = {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}}
        self.refused("messages[1].content[0]", HI, {"role": "user", "content": [sound]})
        self.refused("messages[0].content", {"role": "user", "content": 1})
        self.refused("messages[0].role", {"role": "function", "name": "f", "content": "r"})
        self.refused("messages[0].tool_call_id", {"role": "tool", "content": "r"})
        legacy = {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}}
        self.refused("messages[0].function_call", legacy)
        for wrong, param in (({"id": "c", "custom": {}}, ""), (call(call_id=None), ".id")):
            message = {"role": "assistant", "tool_calls": [wrong]}
            self.refused(f"messages[0].tool_calls[0]{param}", message)


class GenerationTests(WritingTestCase):
    """How the answer shall be."""

    def test_parameters(self) -> None:
        """Each has Cohere's name."""
        told = {"temperature": 0, "top_k": 5, "seed": 1, "stop": "a", "max_tokens": 9}
        body = self.body(**told, logprobs=True, top_p=None)
        expected = {"temperature": 0, "k": 5, "seed": 1, "stop_sequences": ["a"], "max_tokens": 9}
        self.assertEqual({name: body[name] for name in expected}, expected)
        self.assertEqual(set(body) - set(expected), {"logprobs", "messages", "model", "stream"})
        body = self.body(max_tokens=9, max_completion_tokens=8, stop=["a", "b"])
        self.assertEqual((body["max_tokens"], body["stop_sequences"]), (8, ["a", "b"]))

    def test_bounds(self) -> None:
        """``top_p`` is clipped, penalties too, but then they are named; 0 is none."""
        for value, clipped in ((0, 0.01), (0.5, 0.5), (1, 0.99)):
            self.assertEqual(self.body(top_p=value)["p"], clipped)
        for name in ("frequency_penalty", "presence_penalty"):
            for value, clipped, dropped in ((-2, 0, (name,)), (0.5, 0.5, ()), (1.5, 1, (name,))):
                wire = self.written({name: value})
                self.assertEqual(json.loads(wire.body)[name], clipped)
                self.assertEqual(wire.dropped, dropped)
            self.assertNotIn(name, self.body(**{name: 0}))
        self.refused("stop", stop=list("abcdef"))
        self.refused("stop", stop=1)

    def test_dropped(self) -> None:
        """What Cohere has nothing for is named; its own fields pass."""
        own: dict[str, Any] = {
            "documents": [{"data": "d"}],
            "safety_mode": "OFF",
            "citation_options": {"mode": "x"},
        }
        wire = self.write(
            user="u",
            logit_bias={"1": 2},
            logprobs=True,
            top_logprobs=2,
            modalities=["audio"],
            **own,
        )
        self.assertEqual(wire.dropped, ("logit_bias", "modalities", "top_logprobs", "user"))
        body = json.loads(wire.body)
        self.assertEqual(set(body) - set(own), {"logprobs", "messages", "model", "stream"})
        self.assertEqual({name: body[name] for name in own}, own)
        self.assertEqual(self.write(top_logprobs=0, modalities=["text"]).dropped, ())

    def test_refused(self) -> None:
        """Several answers and functions of old are refused."""
        self.refused("n", n=2)
        self.refused("functions", functions=[{"name": "f"}])
        self.refused("function_call", function_call="auto")
        self.assertNotIn("n", self.body(n=1))

    def test_json(self) -> None:
        """JSON is asked for in words too, unless a message does."""
        form = {"type": "json_object"}
        words = {"role": "system", "content": "Answer with a JSON object."}
        body = self.body(response_format=form)
        self.assertEqual((body["response_format"], body["messages"]), (form, [words, HI]))
        body = self.body({"role": "system", "content": "s"}, HI, response_format=form)
        parts = [{"type": "text", "text": one} for one in ("s", words["content"])]
        self.assertEqual(body["messages"][0], {"role": "system", "content": parts})
        spoken = {"role": "user", "content": "as json"}
        self.assertEqual(self.messages(spoken, response_format=form), [spoken])

    def test_schema(self) -> None:
        """A schema stands bare; a plain text needs no format."""
        named = {"name": "n", "strict": True, "schema": SCHEMA}
        body = self.body(response_format={"type": "json_schema", "json_schema": named})
        form = {"type": "json_object", "json_schema": SCHEMA}
        self.assertEqual((body["response_format"], body["messages"]), (form, [HI]))
        self.assertNotIn("response_format", self.body(response_format={"type": "text"}))
        self.refused("response_format", response_format={"type": "grammar"})

    def test_format_beside_tools(self) -> None:
        """Beside tools or documents there is no format: it is asked for in words, and named."""
        named = {"name": "n", "schema": SCHEMA}
        for form in ({"type": "json_object"}, {"type": "json_schema", "json_schema": named}):
            for beside in ({"tools": [tool()]}, {"documents": ["d"]}):
                wire = self.write(response_format=form, **beside)
                self.assertEqual(wire.dropped, ("response_format",))
                body = json.loads(wire.body)
                self.assertNotIn("response_format", body)
                words = body["messages"][0]["content"]
                self.assertIn("JSON only", words)
                self.assertEqual(dumps(SCHEMA).decode() in words, form["type"] == "json_schema")

    def test_thinking(self) -> None:
        """Effort is a budget of thought; the highest has none."""
        for effort, thinking in (
            ("none", {"type": "disabled"}),
            ("minimal", {"type": "enabled", "token_budget": 1_024}),
            ("low", {"type": "enabled", "token_budget": 1_024}),
            ("medium", {"type": "enabled", "token_budget": 8_192}),
            ("high", {"type": "enabled"}),
        ):
            self.assertEqual(self.body(reasoning_effort=effort)["thinking"], thinking)
            self.assertEqual(self.body(reasoning={"effort": effort})["thinking"], thinking)
        for wish, thinking in (
            ({"enabled": False}, {"type": "disabled"}),
            ({"enabled": True}, {"type": "enabled"}),
            ({"max_tokens": 5}, {"type": "enabled", "token_budget": 5}),
        ):
            self.assertEqual(self.body(reasoning=wish)["thinking"], thinking)
        self.assertNotIn("thinking", self.body(reasoning={}))
        own = {"type": "enabled", "token_budget": 7}
        self.assertEqual(self.body(thinking=own, reasoning_effort="low")["thinking"], own)
        hidden = self.write(reasoning={"effort": "low", "exclude": True})
        self.assertEqual(hidden.dropped, ("reasoning.exclude",))

    def test_models_that_cannot_think(self) -> None:
        """Older models are not told to; not to think is what they do anyway."""
        for model in (
            OLD,
            "command-r7b-12-2024",
            "command-a-vision-07-2025",
            "command",
            "c4ai-aya",
        ):
            wire = self.write(model=model, reasoning_effort="high")
            self.assertEqual(wire.dropped, ("reasoning_effort",), model)
            self.assertNotIn(b"thinking", wire.body)
            self.assertEqual(self.write(model=model, reasoning_effort="none").dropped, ())
        self.assertEqual(self.write(model=OLD, reasoning={"max_tokens": 5}).dropped, ("reasoning",))
        for model in (MODEL, "command-a-reasoning-08-2025"):
            self.assertIn("thinking", self.body(model=model, reasoning_effort="high"))


class ToolTests(WritingTestCase):
    """How tools are written."""

    def test_tools(self) -> None:
        """Tools stay as they are; one without parameters has an empty schema."""
        self.assertEqual(self.body(tools=[tool(description="d")])["tools"], [tool(description="d")])
        bare = {"type": "function", "function": {"name": "f"}}
        empty = {"type": "object", "properties": {}}
        self.assertEqual(self.body(tools=[bare])["tools"], [tool(parameters=empty)])
        self.assertNotIn("tools", self.body(tools=[]))
        wrong = tool(parameters=[1])
        self.refused("tools[0].function.parameters", tools=[wrong])
        self.refused("tools[1]", tools=[tool(), {"type": "web_search"}])

    def test_strict(self) -> None:
        """All tools are strict or none; one without a required parameter cannot be."""
        both = self.write(tools=[tool(strict=True), tool("g", strict=True)])
        self.assertEqual((json.loads(both.body)["strict_tools"], both.dropped), (True, ()))
        self.assertNotIn(b'"strict"', both.body)
        for tools in (
            [tool(strict=True), tool("g")],
            [tool(strict=True, parameters={"type": "object"})],
            [tool(strict=True, parameters=None)],
        ):
            wire = self.write(tools=tools)
            self.assertEqual(wire.dropped, ("tools[].function.strict",))
            self.assertNotIn(b"strict", wire.body)
        self.assertEqual(self.write(tools=[tool(strict=False)]).dropped, ())

    def test_choice(self) -> None:
        """Each choice has its word; of one function, only that one is told."""
        tools = [tool("f"), tool("g"), tool("h")]
        for choice, names, word in (
            (None, "fgh", None),
            ("auto", "fgh", None),
            ("none", "fgh", "NONE"),
            ("required", "fgh", "REQUIRED"),
            ({"type": "function", "function": {"name": "g"}}, "g", "REQUIRED"),
            ({"allowed_tools": {"mode": "auto", "tools": [tool("g"), tool("h")]}}, "gh", None),
            ({"allowed_tools": {"mode": "required", "tools": [tool("g")]}}, "g", "REQUIRED"),
        ):
            body = self.body(tools=tools, tool_choice=choice)
            self.assertEqual([one["function"]["name"] for one in body["tools"]], list(names))
            self.assertEqual(body.get("tool_choice"), word)
        wrong: Any
        for wrong in ("any", {}, {"function": {"name": "x"}}, {"allowed_tools": {"tools": 1}}):
            self.refused("tool_choice", tools=tools, tool_choice=wrong)
        self.assertNotIn("tool_choice", self.body(tool_choice="none"))

    def test_one_call(self) -> None:
        """Without parallel calls, a reader of its own keeps the first one."""
        wire = self.write(tools=[tool()], parallel_tool_calls=False)
        self.assertNotIn(b"parallel", wire.body)
        self.assertEqual(wire.dropped, ())
        assert wire.reader is not None
        calls = [call(), call(call_id="c2")]
        told = answer("TOOL_CALL", tool_calls=calls)
        (choice,) = wire.reader.read_reply(dumps(told))["choices"]
        self.assertEqual(choice["message"]["tool_calls"], [call()])
        self.assertEqual(choice["finish_reason"], "tool_calls")
        stream = write_stream(
            *call_events('{"a":', "1}"), *call_events("{}", index=1), end("TOOL_CALL")
        )
        outcome = Outcome([stream], dialect=wire.reader)
        self.assertEqual(outcome.calls(), [{**call('{"a":1}', "c0", "f0"), "index": 0}])
        self.assertIsNone(self.write(parallel_tool_calls=True).reader)


class AnswerTests(SynchronousTestCase):
    """How whole answers are read."""

    def test_message(self) -> None:
        """Texts, thoughts and a plan are told apart; other parts are kept."""
        parts = [
            {"type": "thinking", "thinking": "t"},
            {"type": "text", "text": "a"},
            {"type": "text", "text": "b"},
            {"type": "new", "new": 1},
        ]
        told = read(answer(content=parts, tool_plan="p"))
        self.assertEqual((told["id"], told["object"]), ("i", "chat.completion"))
        (choice,) = told["choices"]
        expected = {
            "role": "assistant",
            "content": "ab",
            "reasoning_content": "tp",
            "content_parts": [{"type": "new", "new": 1}],
        }
        self.assertEqual(choice, {"index": 0, "message": expected, "finish_reason": "stop"})
        message = read(answer(content="x"))["choices"][0]["message"]
        self.assertEqual(message, {"role": "assistant", "content": "x"})

    def test_arguments(self) -> None:
        """Arguments of nothing are an empty object."""
        for arguments in ("null", "", None, " null "):
            told = answer("TOOL_CALL", content=None, tool_calls=[call(arguments)])
            message = read(told)["choices"][0]["message"]
            self.assertEqual(message["tool_calls"], [call("{}")])
            self.assertIsNone(message["content"])

    def test_calls_of_another_kind(self) -> None:
        """A call that is none of a function is passed on as it is."""
        odd = {"id": "c1", "type": "new", "new": {"a": 1}}
        message = read(answer("TOOL_CALL", tool_calls=[odd]))["choices"][0]["message"]
        self.assertEqual(message["tool_calls"], [odd])
        outcome = read_stream(event("tool-call-start", {"tool_calls": odd}, index=0), end())
        self.assertEqual(outcome.calls(), [{**odd, "index": 0}])

    def test_citations(self) -> None:
        """Citations are kept as they are."""
        cited = [{"start": 0, "end": 1, "text": "x", "sources": []}]
        message = read(answer(citations=cited))["choices"][0]["message"]
        self.assertEqual(message["extra_content"], {"cohere": {"citations": cited}})
        self.assertNotIn("extra_content", read(answer(citations=[]))["choices"][0]["message"])

    def test_reasons(self) -> None:
        """Each finish reason has OpenAI's word; a new one is kept beside it."""
        for reason, word in (
            ("COMPLETE", "stop"),
            ("STOP_SEQUENCE", "stop"),
            ("MAX_TOKENS", "length"),
            ("TOOL_CALL", "tool_calls"),
        ):
            (choice,) = read(answer(reason))["choices"]
            self.assertEqual(choice["finish_reason"], word)
            self.assertNotIn("native_finish_reason", choice)
            self.assertEqual(read_stream(text("x"), end(reason)).reasons(), [word])
        (choice,) = read(answer("NEW"))["choices"]
        self.assertEqual((choice["finish_reason"], choice["native_finish_reason"]), ("stop", "NEW"))

    def test_usage(self) -> None:
        """Numbers are whole, images a part of the prompt; what is billed is kept."""
        usage = read(answer())["usage"]
        self.assertEqual(
            usage,
            {
                "prompt_tokens": 10,
                "completion_tokens": 7,
                "total_tokens": 17,
                "prompt_tokens_details": {"cached_tokens": 10},
                "completion_tokens_details": {"reasoning_tokens": 3},
                "cohere": {"billed_units": USAGE["billed_units"]},
            },
        )
        self.assertIs(type(usage["prompt_tokens"]), int)
        seen = {**answer(), "usage": {"tokens": {"input_tokens": 1, "image_tokens": 5}}}
        usage = read(seen)["usage"]
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"]), (6, 0))
        self.assertEqual(usage["prompt_tokens_details"], {"cached_tokens": 0, "image_tokens": 5})
        billed = read({**answer(), "usage": {"billed_units": {"output_tokens": 4}}})["usage"]
        self.assertEqual(billed["completion_tokens"], 4)
        for nothing in (None, {}, {"tokens": 1}):
            self.assertNotIn(
                "prompt_tokens", read({**answer(), "usage": nothing}).get("usage") or {}
            )

    def test_logprobs(self) -> None:
        """The log probability of a text is that of all its tokens."""
        told = [{"text": "é", "token_ids": [1, 2], "logprobs": [-0.5, -1]}, {"token_ids": [3]}]
        expected = {"token": "é", "logprob": -1.5, "bytes": [195, 169], "top_logprobs": []}
        (choice,) = read({**answer(), "logprobs": told})["choices"]
        self.assertEqual(choice["logprobs"], {"content": [expected]})
        outcome = read_stream({**text("é"), "logprobs": told[0]}, end())
        found = [choice.get("logprobs") for chunk in outcome.chunks for choice in chunk["choices"]]
        self.assertEqual([one for one in found if one], [{"content": [expected]}])

    def test_errors(self) -> None:
        """What is no whole answer is an error: in words, by its reason, or by its shape."""
        for reason in ("ERROR", "TIMEOUT"):
            error = self.assertRaises(errors.UpstreamFailed, read, answer(reason))
            self.assertEqual(error.code, reason)
        told = {"id": "i", "message": "internal server error"}
        error = self.assertRaises(errors.UpstreamFailed, read, told)
        self.assertEqual(error.message, "internal server error")
        for nothing in ({}, {"id": "i"}, answer(None, content=[])):
            self.assertRaises(errors.UpstreamFailed, read, nothing)
        for body in (b"", b"[]", b"<html>"):
            self.assertRaises(errors.UpstreamFailed, CohereDialect().read_reply, body)


class ErrorTests(SynchronousTestCase):
    """How errors with a status are read."""

    def test_statuses(self) -> None:
        """Each means what Cohere's list of errors says."""
        for status, told, kind in (
            (400, {"message": "invalid request"}, errors.UpstreamRefused),
            (400, {"error_type": "TOO_MANY_TOKENS", "message": "x"}, errors.ContextTooLong),
            (401, {"message": "invalid api token"}, errors.UpstreamAuthFailed),
            (402, {"message": "pay"}, errors.UpstreamOutOfCredit),
            (404, {"message": "model 'x' was removed"}, errors.UpstreamModelNotFound),
            (422, {"message": "x"}, errors.UpstreamRefused),
            (429, {"message": "trial key"}, errors.UpstreamRateLimited),
            (498, {"data": "x"}, errors.ContentRefused),
            (499, {"message": "request cancelled"}, errors.UpstreamFailed),
            (500, {"message": "internal server error"}, errors.UpstreamFailed),
        ):
            error = CohereDialect().read_error(status, {}, dumps({"id": "i", **told}))
            self.assertIs(type(error), kind, status)
            self.assertEqual(error.upstream_status, status)


class StreamTests(SynchronousTestCase):
    """How streams are read."""

    def test_events(self) -> None:
        """Thoughts, plan, text and citations come in order, in chunks of one answer."""
        cited, also_cited = {"start": 0, "end": 1, "text": "a"}, {"start": 1, "end": 2, "text": "b"}
        outcome = read_stream(
            event("debug", prompt="secret"),
            event("content-start", {"content": {"type": "thinking", "thinking": "t"}}, index=0),
            event("content-delta", {"content": {"thinking": "u"}}, index=0),
            event("content-end", index=0),
            event("tool-plan-delta", {"tool_plan": "v"}),
            event("content-start", {"content": {"type": "text", "text": ""}}, index=1),
            text("a"),
            event("citation-start", {"citations": cited}, index=0),
            event("citation-end", index=0),
            event("new", {"content": {"text": "?"}}),
            text("b"),
            event("citation-start", {"citations": also_cited}, index=1),
            end(),
        )
        self.assertIsNone(outcome.error)
        self.assertEqual(outcome.text(), "ab")
        self.assertEqual(outcome.text("reasoning_content"), "tuv")
        self.assertEqual(outcome.reasons(), ["stop"])
        self.assertEqual({chunk["id"] for chunk in outcome.chunks}, {"i"})
        told = client_message(outcome)["extra_content"]["cohere"]["citations"]
        self.assertEqual(told, [{**cited, "index": 0}, {**also_cited, "index": 1}])
        self.assertNotIn("secret", repr(outcome))
        assert outcome.usage is not None
        self.assertEqual(outcome.usage["cohere"], {"billed_units": USAGE["billed_units"]})
        self.assertEqual(outcome.chunks[-1]["usage"], outcome.usage)

    def test_type_in_the_json(self) -> None:
        """The names of events are not needed."""
        stream = write_stream(text("a"), *call_events("{}"), end("TOOL_CALL"))
        bare = b"\n".join(line for line in stream.split(b"\n") if not line.startswith(b"event"))
        self.assertEqual(
            Outcome([bare], dialect=CohereDialect()), Outcome([stream], dialect=CohereDialect())
        )

    def test_calls(self) -> None:
        """Calls are told apart by the index that stands beside them."""
        outcome = read_stream(
            *call_events('{"a"', ": 1}"), *call_events("{", "}", index=1), end("TOOL_CALL")
        )
        self.assertEqual(
            outcome.calls(),
            [
                {**call('{"a": 1}', "c0", "f0"), "index": 0},
                {**call("{}", "c1", "f1"), "index": 1},
            ],
        )
        self.assertEqual(outcome.reasons(), ["tool_calls"])

    @given(st.sampled_from(["", "null", " null\n", '{"a": null}', "{}"]), st.data())
    def test_arguments(self, arguments: str, data: st.DataObject) -> None:
        """Arguments of nothing are an empty object, in whatever pieces they come."""
        places = data.draw(st.lists(st.integers(0, len(arguments)), max_size=4).map(sorted))
        edges = [0, *places, len(arguments)]
        first, *pieces = (arguments[begin:stop] for begin, stop in pairwise(edges))
        outcome = read_stream(*call_events(*pieces, first=first), end("TOOL_CALL"))
        (made,) = outcome.calls()
        self.assertEqual(
            json.loads(made["function"]["arguments"]), json.loads(arguments or "{}") or {}
        )

    def test_broken_off(self) -> None:
        """An end that is none is an error, with its words and what it cost."""
        for last, words in (
            (end("ERROR"), "the upstream broke its answer off: ERROR"),
            (end("TIMEOUT"), "the upstream broke its answer off: TIMEOUT"),
            (end("ERROR", error="model overloaded"), "model overloaded"),
            (end("COMPLETE", error="model overloaded"), "model overloaded"),
            (end("ERROR", error={"message": "model overloaded"}), "model overloaded"),
        ):
            outcome = read_stream(text("a"), last)
            self.assertIsInstance(outcome.error, errors.UpstreamFailed)
            assert outcome.error is not None
            self.assertEqual(outcome.error.message, words)
            self.assertEqual((outcome.text(), outcome.reasons()), ("a", []))
            assert outcome.usage is not None
            self.assertEqual(outcome.usage["prompt_tokens"], 10)

    def test_errors(self) -> None:
        """An error may come as an event, named or not, or as bare JSON."""
        told = {"id": "i", "message": "too many tokens", "error_type": "TOO_MANY_TOKENS"}
        begun = write_stream(text("a"), done=False)
        for stream in (
            begun + b"data: %s\n\n" % dumps(told),
            begun + b"event: error\ndata: %s\n\n" % dumps(told),
            dumps(told),
        ):
            outcome = Outcome([stream], dialect=CohereDialect())
            self.assertIsInstance(outcome.error, errors.ContextTooLong)

    def test_cut(self) -> None:
        """Without the last event the stream was cut; without ``[DONE]`` it was not."""
        cut = Outcome([write_stream(text("a"), done=False)], dialect=CohereDialect())
        self.assertIsInstance(cut.error, errors.StreamCut)
        whole = Outcome([write_stream(text("a"), end(), done=False)], dialect=CohereDialect())
        self.assertIsNone(whole.error)
        self.assertEqual(whole.reasons(), ["stop"])
        for shapeless in ({"type": "content-delta"}, {"type": "message-start", "delta": 1}):
            odd = read_stream(shapeless, text("a"), end())
            self.assertEqual((odd.text(), odd.error), ("a", None))


class Row18Tests(WritingTestCase):
    """What the Go proxy's Cohere adapter got wrong."""

    def test_request(self) -> None:
        """Tools, the choice among them, calls and their results are sent."""
        said = {"role": "assistant", "tool_plan": "p", "tool_calls": [call()]}
        result = {"role": "tool", "tool_call_id": "c1", "content": "r"}
        body = self.body(HI, said, result, tools=[tool()], tool_choice="required")
        self.assertEqual(body["messages"], [HI, said, result])
        self.assertEqual((body["tools"], body["tool_choice"]), ([tool()], "REQUIRED"))

    def test_plain(self) -> None:
        """Finish reason, usage and calls of a whole answer are told."""
        told = read(answer("TOOL_CALL", tool_calls=[call('{"a": 1}')]))
        (choice,) = told["choices"]
        self.assertEqual(choice["finish_reason"], "tool_calls")
        self.assertEqual(choice["message"]["tool_calls"], [call('{"a": 1}')])
        self.assertEqual(told["usage"]["total_tokens"], 17)
        (choice,) = read(answer("MAX_TOKENS"))["choices"]
        self.assertEqual(choice["finish_reason"], "length")

    def test_streamed(self) -> None:
        """The same of a stream."""
        outcome = read_stream(*call_events('{"a": 1}'), end("TOOL_CALL"))
        self.assertEqual(outcome.reasons(), ["tool_calls"])
        self.assertEqual(outcome.calls(), [{**call('{"a": 1}', "c0", "f0"), "index": 0}])
        assert outcome.usage is not None
        self.assertEqual(outcome.usage["total_tokens"], 17)
        self.assertEqual(read_stream(text("x"), end("MAX_TOKENS")).reasons(), ["length"])

"""Tests of :mod:`aiproxy.dialects.gigachat` and the modules of its request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gigachat.models
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.gigachat import GigaChatDialect, GigaChatReader
from aiproxy.dialects.gigachat_messages import find_images, with_attachments
from aiproxy.wire.json import dumps
from tests.dialects.streams import ROOMY, bytewise, split_at, write_events
from tests.golden.expected import describe_error
from tests.shown import PLAIN, STREAMED, show

GOLDEN = Path(__file__).parent.parent / "golden" / "gigachat"
STATE = "77d3fb14-457a-46ba-937e-8d856156d003"
USER = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def write(*messages: dict[str, Any], stream: bool = False, **fields: Any) -> WireRequest:
    """Write a request with these messages, or with one of the user."""
    request = {"model": "m", "messages": list(messages or [USER]), **fields}
    before = json.dumps(request)
    wire = GigaChatDialect().write_request(request, model="GigaChat", stream=stream)
    assert json.dumps(request) == before, "the caller's request was changed"
    return wire


def body_of(*messages: dict[str, Any], stream: bool = False, **fields: Any) -> dict[str, Any]:
    """Write a request; return its body."""
    body: dict[str, Any] = json.loads(write(*messages, stream=stream, **fields).body)
    return body


def messages_of(*messages: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """Write a request; return its messages."""
    return list(body_of(*messages, **fields)["messages"])


def tool_call(identity: str, name: str, arguments: str = "{}", **more: Any) -> dict[str, Any]:
    """Make a tool call."""
    function = {"name": name, "arguments": arguments}
    return {"id": identity, "type": "function", "function": function, **more}


def result_of(identity: str, content: str) -> dict[str, Any]:
    """Make the message with a tool's result."""
    return {"role": "tool", "tool_call_id": identity, "content": content}


def calling(*calls: dict[str, Any], content: str | None = None) -> dict[str, Any]:
    """Make an assistant's message with tool calls."""
    return {"role": "assistant", "content": content, "tool_calls": list(calls)}


class MessageTests(SynchronousTestCase):
    """How messages are written."""

    def refusal(self, *messages: dict[str, Any]) -> object:
        """Return the field at fault of a request that is refused."""
        return self.assertRaises(errors.InvalidRequest, write, *messages).param

    def test_system(self) -> None:
        """All that the system and the developer say stands in one message, the first."""
        told = messages_of(
            {"role": "system", "content": "one"},
            USER,
            {"role": "developer", "content": [{"type": "text", "text": "two"}]},
            {"role": "system", "content": ""},
        )
        self.assertEqual(told, [{"role": "system", "content": "one\n\ntwo"}, USER])
        self.assertEqual(messages_of(), [USER])
        show("gigachat", "system and developer messages")

    def test_parts(self) -> None:
        """Texts are joined, a refusal is what was said, and nothing is an empty text."""
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        told = messages_of(
            {"role": "user", "content": parts},
            {"role": "assistant", "content": None, "refusal": "no", "parsed": None},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "never"}]},
            {"role": "user"},
        )
        self.assertEqual([message["content"] for message in told], ["a\nb", "no", "never", ""])
        self.assertFalse(any({"refusal", "parsed"} & message.keys() for message in told))

    def test_parts_refused(self) -> None:
        """What is neither text nor an uploaded image is refused by its place."""
        for part in (
            {"type": "input_audio", "input_audio": {}},
            PICTURE,
            {"type": "text"},
            "words",
        ):
            message = {"role": "user", "content": [{"type": "text", "text": "a"}, part]}
            self.assertEqual(self.refusal(USER, message), "messages[1].content[1]")
        self.assertEqual(self.refusal({"role": "user", "content": 7}), "messages[0].content[0]")

    def test_fields(self) -> None:
        """Names are left out and told so; GigaChat's own fields pass."""
        told = {**USER, "name": "Ann", "attachments": ["f"], "extra_content": {"google": {}}}
        wire = write(told)
        self.assertEqual(json.loads(wire.body)["messages"], [{**USER, "attachments": ["f"]}])
        self.assertEqual(wire.dropped, ("messages[].name",))

    def test_call_and_result(self) -> None:
        """A call is a function's, with an object; its result has the name and is an object."""
        told = messages_of(
            calling(tool_call("call_1", "weather", '{"city": "Kazan"}'), content="well"),
            result_of("call_1", '{"degrees": 7}'),
        )
        call = {"name": "weather", "arguments": {"city": "Kazan"}}
        self.assertEqual(
            told,
            [
                {"role": "assistant", "content": "well", "function_call": call},
                {"role": "function", "name": "weather", "content": '{"degrees": 7}'},
            ],
        )
        show("gigachat", "conversations", "tool results")

    def test_results(self) -> None:
        """A result that is no object is wrapped in one."""
        for text, expected in (
            ("sunny", {"result": "sunny"}),
            ("", {"result": ""}),
            ("[1, 2]", {"result": [1, 2]}),
            ("7", {"result": 7}),
        ):
            told = messages_of(calling(tool_call("1", "f")), result_of("1", text))
            self.assertEqual(json.loads(told[1]["content"]), expected)

    def test_arguments(self) -> None:
        """No arguments are an empty object, and broken ones stay to be seen."""
        for text, expected in (
            ("", {}),
            ("null", {}),
            ('{"a": 1', {"arguments": '{"a": 1'}),
            ("[1]", {"arguments": [1]}),
        ):
            [told] = messages_of(calling(tool_call("1", "f", text)))
            self.assertEqual(told["function_call"]["arguments"], expected)

    def test_parallel_calls(self) -> None:
        """Each of several calls has a message of its own, with its result right behind it."""
        message = {**calling(tool_call("1", "a"), tool_call("2", "b"), content="x"), "name": "n"}
        message["reasoning_content"] = "hm"
        told = messages_of(message, result_of("2", '{"r": 2}'), result_of("1", '{"r": 1}'), USER)
        self.assertEqual(
            [(each["role"], each["content"]) for each in told],
            [
                ("assistant", "x"),
                ("function", '{"r": 1}'),
                ("assistant", ""),
                ("function", '{"r": 2}'),
                ("user", "hi"),
            ],
        )
        self.assertEqual([each.get("name") for each in told], [None, "a", None, "b", None])
        self.assertEqual(told[0]["reasoning_content"], "hm")
        self.assertNotIn("reasoning_content", told[2])

    def test_calls_refused(self) -> None:
        """A result without its call, and calls that are no function's, are refused."""
        self.assertEqual(self.refusal(result_of("9", "x")), "messages[0].tool_call_id")
        custom = {"id": "1", "type": "custom", "custom": {"name": "a", "input": "b"}}
        self.assertEqual(self.refusal(calling(custom)), "messages[0].tool_calls[0]")
        self.assertEqual(
            self.refusal({**calling(), "tool_calls": "x"}), "messages[0].tool_calls[0]"
        )
        nameless = {"id": "1", "type": "function", "function": {"arguments": "{}"}}
        self.assertEqual(self.refusal(calling(nameless)), "messages[0].tool_calls[0].function.name")

    def test_function_state(self) -> None:
        """The function state returns, from where it was told first or from the call's id."""
        extra: Any = {"extra_content": {"gigachat": {"functions_state_id": "other"}}}
        for call, expected in (
            (tool_call(STATE, "f"), STATE),
            (tool_call(STATE, "f", **extra), "other"),
            (tool_call("call_1", "f", **extra), "other"),
            (tool_call("call_1", "f"), None),
            (tool_call("call_1", "f", extra_content={"gigachat": "x"}), None),
        ):
            [told] = messages_of(calling(call))
            self.assertEqual(told.get("functions_state_id"), expected)

    def test_legacy(self) -> None:
        """Functions in OpenAI's old way are GigaChat's, but for the text of the arguments."""
        functions = [{"name": "web_search", "parameters": {}}]
        call = {"name": "web_search", "arguments": '{"q": 1}'}
        body = body_of(
            {"role": "assistant", "content": None, "function_call": call},
            {"role": "function", "name": "web_search", "content": "found"},
            functions=functions,
            function_call="auto",
        )
        self.assertEqual((body["functions"], body["function_call"]), (functions, "auto"))
        self.assertEqual(
            body["messages"],
            [
                {
                    "role": "assistant",
                    "content": "",
                    "function_call": {"name": "web_search", "arguments": {"q": 1}},
                },
                {"role": "function", "name": "web_search", "content": '{"result":"found"}'},
            ],
        )


class ImageTests(SynchronousTestCase):
    """Images become files."""

    def test_attached(self) -> None:
        """A file's id stands in the place of its image, beside those that were there."""
        message = {"role": "user", "content": [{"type": "text", "text": "see"}, PICTURE]}
        request = {"messages": [USER, message, {**message, "attachments": ["old"]}]}
        before = json.dumps(request)
        [url] = find_images(request)
        told = with_attachments(request, {url: "new"})
        self.assertEqual(json.dumps(request), before)
        self.assertEqual(
            messages_of(*told["messages"]),
            [
                USER,
                {"role": "user", "content": "see", "attachments": ["new"]},
                {"role": "user", "content": "see", "attachments": ["old", "new"]},
            ],
        )
        show("gigachat", "images, data URL")

    def test_detail(self) -> None:
        """How closely an image is looked at cannot be told."""
        for detail, dropped in (
            ("high", ("messages[].content[].image_url.detail",)),
            ("auto", ()),
            (None, ()),
        ):
            part = {"type": "image_url", "image_url": {"url": "data:x", "detail": detail}}
            request = {"messages": [{"role": "user", "content": [part]}]}
            wire = write(*with_attachments(request, {"data:x": "f"})["messages"])
            self.assertEqual(wire.dropped, dropped)
            [told] = json.loads(wire.body)["messages"]
            self.assertEqual(told, {"role": "user", "content": "", "attachments": ["f"]})

    def test_most(self) -> None:
        """One image a message and ten in all are taken, not one more."""
        message = {"role": "user", "content": [PICTURE]}
        self.assertEqual(len(find_images({"messages": [message] * 10})), 1)
        error = self.assertRaises(errors.InvalidRequest, find_images, {"messages": [message] * 11})
        self.assertEqual(error.param, "messages")
        two = {"role": "user", "content": [PICTURE, PICTURE]}
        error = self.assertRaises(errors.InvalidRequest, find_images, {"messages": [USER, two]})
        self.assertEqual(error.param, "messages[1].content")

    def test_wanted(self) -> None:
        """What is only named by a URL has to be fetched."""
        part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
        dialect = GigaChatDialect()
        for parts, wanted in (([part], True), ([PICTURE], False)):
            request = {"messages": [{"role": "user", "content": parts}]}
            self.assertIs(dialect.wants_images(request, model="GigaChat"), wanted)


class FieldTests(SynchronousTestCase):
    """How the other fields are written."""

    def fields(self, **fields: Any) -> dict[str, Any]:
        """Write a request with these fields; return what stands beside model and messages."""
        body = body_of(**fields)
        self.assertEqual((body.pop("model"), body.pop("messages")), ("GigaChat", [USER]))
        return body

    def test_wire(self) -> None:
        """It goes where it should, as JSON, and asks for a stream only if one is wanted."""
        wire = write(stream_options={"include_usage": True})
        self.assertEqual(wire.route, "/chat/completions")
        self.assertEqual(wire.headers, {"content-type": "application/json"})
        self.assertEqual(wire.dropped, ())
        self.assertEqual(GigaChatDialect().locate("https://x/y", wire), "https://x/y")
        self.assertNotIn("stream", json.loads(wire.body))
        self.assertIs(body_of(stream=True)["stream"], True)

    def test_passing(self) -> None:
        """What GigaChat has too, and what nobody knows, passes."""
        told: Any = {"n": 2, "repetition_penalty": 1.1, "update_interval": 0.5}
        told |= {"profanity_check": False, "temperature": 0.5, "top_p": 0.7, "odd": [1]}
        self.assertEqual(self.fields(**told), told)
        self.assertEqual(self.fields(odd=None, temperature=None), {})

    def test_renamed(self) -> None:
        """Fields with another name or other words."""
        for told, expected in (
            ({"max_tokens": 5}, {"max_tokens": 5}),
            ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_tokens": 7}),
            ({"temperature": 0, "top_p": 0.5}, {"top_p": 0}),
            ({"temperature": 0.0}, {"top_p": 0}),
            ({"reasoning_effort": "minimal"}, {"reasoning_effort": "low"}),
            ({"reasoning_effort": "medium"}, {"reasoning_effort": "medium"}),
            ({"reasoning_effort": "xhigh"}, {"reasoning_effort": "high"}),
            ({"reasoning_effort": "none"}, {}),
            ({"reasoning_effort": {"odd": 1}}, {"reasoning_effort": {"odd": 1}}),
            ({"stop": ["END"]}, {}),
        ):
            self.assertEqual(self.fields(**told), expected)
        show("gigachat", "sampling parameters", "reasoning effort")

    def test_dropped(self) -> None:
        """What GigaChat has nothing of is left out and named, each once."""
        told: Any = {"seed": 0, "logit_bias": {"1": 1}, "logprobs": True, "top_logprobs": 2}
        told |= {"frequency_penalty": 0.1, "presence_penalty": 1, "user": "u", "store": True}
        told |= {"metadata": {"a": "b"}, "modalities": ["text", "audio"], "verbosity": "low"}
        told |= {"web_search_options": {}}
        wire = write({**USER, "name": "a"}, {**USER, "name": "b"}, **told)
        self.assertEqual(json.loads(wire.body), {"model": "GigaChat", "messages": [USER, USER]})
        self.assertEqual(sorted(wire.dropped), sorted(["messages[].name", *told]))

    def test_nothing_dropped(self) -> None:
        """What asks for nothing is not named."""
        told: Any = {"seed": None, "logit_bias": {}, "logprobs": False, "frequency_penalty": 0}
        wire = write(**told, modalities=["text"], parallel_tool_calls=True)
        self.assertEqual(wire.dropped, ())
        self.assertEqual(json.loads(wire.body), {"model": "GigaChat", "messages": [USER]})

    def test_formats(self) -> None:
        """A schema has GigaChat's shape, plain JSON is asked for in words, text is nothing."""
        schema = {"type": "object", "properties": {}}
        named = {"name": "n", "schema": schema, "strict": True, "description": "d"}
        wire = write(response_format={"type": "json_schema", "json_schema": named})
        written = json.loads(wire.body)["response_format"]
        self.assertEqual(written, {"type": "json_schema", "schema": schema, "strict": True})
        self.assertEqual(wire.dropped, ("response_format.json_schema.description",))
        ready = {"type": "json_schema", "schema": schema}
        for told, expected in (
            ({"type": "text"}, {}),
            (None, {}),
            (ready, {"response_format": ready}),
            ({"type": "regex", "regex": "a"}, {"response_format": {"type": "regex", "regex": "a"}}),
        ):
            self.assertEqual(self.fields(response_format=told), expected)
        show("gigachat", "JSON schema")

    def test_json_object(self) -> None:
        """The instruction stands last in the system's message, which is made if need be."""
        told: Any = {"response_format": {"type": "json_object"}}
        self.assertNotIn("response_format", body_of(**told))
        [first, second] = messages_of(**told)
        self.assertEqual((first["role"], second), ("system", USER))
        self.assertIn("JSON", first["content"])
        [both, _] = messages_of(USER, {"role": "system", "content": "Be brief."}, **told)
        self.assertEqual(both["content"], f"Be brief.\n\n{first['content']}")
        show("gigachat", "JSON mode")


class ToolTests(SynchronousTestCase):
    """How tools are written."""

    def choice(self, choice: object, *tools: dict[str, Any]) -> object:
        """Write a request with a choice of tools; return what it is to GigaChat."""
        return body_of(tools=list(tools or [TOOL]), tool_choice=choice)["function_call"]

    def other_tool(self, name: str = "other") -> dict[str, Any]:
        """Make a tool that is like nothing else."""
        return {"type": "function", "function": {"name": name, "description": "d"}}

    def test_functions(self) -> None:
        """A tool is a function; its parameters are an object, what GigaChat adds passes."""
        more = {"strict": True, "few_shot_examples": [{"request": "r", "params": {}}]}
        tool = {"type": "function", "function": {**TOOL["function"], **more}}  # type: ignore[dict-item]
        wire = write(tools=[tool, self.other_tool()], parallel_tool_calls=True)
        body = json.loads(wire.body)
        empty = {"type": "object", "properties": {}}
        self.assertEqual(
            body["functions"],
            [
                {
                    "name": "weather",
                    "parameters": empty,
                    "few_shot_examples": [{"request": "r", "params": {}}],
                },
                {"name": "other", "description": "d", "parameters": empty},
            ],
        )
        self.assertNotIn("tools", body)
        self.assertEqual(wire.dropped, ("parallel_tool_calls", "tools[].function.strict"))
        self.assertEqual(write(tools=[TOOL], parallel_tool_calls=False).dropped, ())
        show("gigachat", "tools")

    def test_choices(self) -> None:
        """Each choice; what GigaChat cannot force is named."""
        for told, expected in (
            (None, "auto"),
            ("auto", "auto"),
            ("none", "none"),
            ("required", {"name": "weather"}),
            ({"type": "function", "function": {"name": "weather"}}, {"name": "weather"}),
        ):
            self.assertEqual(self.choice(told), expected)
        two = write(tools=[TOOL, self.other_tool()], tool_choice="required")
        self.assertEqual(json.loads(two.body)["function_call"], "auto")
        self.assertEqual(two.dropped, ("tool_choice",))
        self.assertNotIn("function_call", body_of(tools=[], tool_choice="none"))
        show("gigachat", "tool choice")

    def test_refused(self) -> None:
        """Tools and choices of another kind are refused."""
        text = {"type": "function", "function": {"name": "f", "parameters": {"type": "string"}}}
        for fields, param in (
            ({"tools": [TOOL, {"type": "custom", "custom": {"name": "c"}}]}, "tools[1]"),
            ({"tools": [{"type": "web_search"}]}, "tools[0]"),
            ({"tools": [{"type": "function", "function": {}}]}, "tools[0]"),
            ({"tools": [text]}, "tools[0].function.parameters"),
            ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
            ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
            ({"tools": [TOOL], "functions": [{"name": "f"}]}, "functions"),
        ):
            error = self.assertRaises(errors.InvalidRequest, write, **fields)
            self.assertEqual(error.param, param)

    def test_clash(self) -> None:
        """A function with a name of GigaChat's goes by another, out and back."""
        tools = [self.other_tool("web_search"), self.other_tool("web_search_tool")]
        wire = write(
            calling(tool_call("1", "web_search")),
            result_of("1", "{}"),
            tools=tools,
            tool_choice={"type": "function", "function": {"name": "web_search"}},
        )
        body = json.loads(wire.body)
        name = body["functions"][0]["name"]
        self.assertNotIn(name, ("web_search", "web_search_tool"))
        self.assertEqual(body["functions"][1]["name"], "web_search_tool")
        self.assertEqual(body["function_call"], {"name": name})
        self.assertEqual(body["messages"][0]["function_call"]["name"], name)
        self.assertEqual(body["messages"][1]["name"], name)
        assert wire.reader is not None
        answer = wire.reader.read_reply(dumps(answering({"name": name, "arguments": {}})))
        [call] = answer["choices"][0]["message"]["tool_calls"]
        self.assertEqual(call["function"]["name"], "web_search")

    def test_references(self) -> None:
        """What a schema refers to stands in its place."""
        city = {"type": "object", "properties": {"name": {"type": "string"}}}
        schema = {
            "type": "object",
            "properties": {
                "from": {"$ref": "#/$defs/City", "description": "start"},
                "via": {"type": "array", "items": {"$ref": "#/$defs/City"}},
                "more": {"type": "object"},
            },
            "$defs": {"City": {"$ref": "#/definitions/a~1b"}},
            "definitions": {"a/b": city},
        }
        self.assertEqual(
            self.written(schema),
            {
                "type": "object",
                "properties": {
                    "from": {**city, "description": "start"},
                    "via": {"type": "array", "items": city},
                    "more": {"type": "object", "properties": {}},
                },
            },
        )

    def test_named_as_keywords(self) -> None:
        """Properties that are called as keywords are none."""
        city = {"type": "object", "properties": {"type": {"type": "string"}}}
        names = ("definitions", "$defs", "properties", "type")
        schema = {
            "type": "object",
            "properties": {name: {"$ref": "#/$defs/City"} for name in names},
            "$defs": {"City": city},
        }
        properties = dict.fromkeys(names, city)
        self.assertEqual(self.written(schema), {"type": "object", "properties": properties})

    def test_endless_references(self) -> None:
        """A schema that refers to itself, to nothing or to too much is left as it is."""
        for parts in (
            {"a": {"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}}},
            {"a": {"$ref": "#/$defs/nothing"}},
            {"a": {"$ref": "#"}},
            {
                **{f"a{n}": {"anyOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(30)},
                "a": {"$ref": "#/$defs/a0"},
                "a30": {},
            },
            {
                **{f"a{n}": {"not": {"$ref": f"#/$defs/a{n + 1}"}} for n in range(500)},
                "a": {"$ref": "#/$defs/a0"},
                "a500": {},
            },
        ):
            schema = {"type": "object", "properties": {"p": {"$ref": "#/$defs/a"}}, "$defs": parts}
            self.assertEqual(self.written(schema), schema)

    def written(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Write a tool with these parameters; return them."""
        tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
        parameters: dict[str, Any] = body_of(tools=[tool])["functions"][0]["parameters"]
        return parameters


class OfficialClientTests(SynchronousTestCase):
    """The official client's type of a request."""

    def test_accepted(self) -> None:
        """It takes what is written, and loses nothing of it."""
        properties = {"city": {"type": "string", "description": "where", "enum": ["Kazan"]}}
        parameters = {"type": "object", "properties": properties, "required": ["city"]}
        function = {"name": "weather", "description": "d", "parameters": parameters}
        body = body_of(
            {"role": "system", "content": "Be brief."},
            {**USER, "attachments": ["file"]},
            calling(tool_call(STATE, "weather", '{"city": "Kazan"}')),
            result_of(STATE, "sunny"),
            stream=True,
            tools=[{"type": "function", "function": function}],
            tool_choice="required",
            max_completion_tokens=9,
            temperature=0,
            reasoning_effort="minimal",
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": parameters, "strict": False},
            },
            n=1,
            repetition_penalty=1.0,
            profanity_check=True,
            update_interval=0,
        )
        chat = gigachat.models.Chat.model_validate(body)
        told = chat.model_dump(mode="json", by_alias=True, exclude_unset=True)
        self.assertEqual(told, body)


def answering(
    call: object = None, reason: object = "function_call", **message: object
) -> dict[str, Any]:
    """Make a whole answer of GigaChat's."""
    said = {"role": "assistant", "content": "", **message}
    if call is not None:
        said["function_call"] = call
    choice = {"message": said, "index": 0, "finish_reason": reason}
    return {"choices": [choice], "created": 7, "model": "GigaChat:1", "object": "chat.completions"}


def event(reason: object = None, /, **delta: object) -> dict[str, Any]:
    """Make an event of a stream of GigaChat's."""
    choice: dict[str, object] = {"delta": delta, "index": 0}
    if reason is not None:
        choice["finish_reason"] = reason
    return {"choices": [choice], "created": 7, "model": "GigaChat:1", "object": "chat.completion"}


def read_stream(
    pieces: list[bytes], reader: GigaChatReader | None = None
) -> tuple[list[dict[str, Any]], object, object]:
    """Read a stream; give its chunks, its usage and its error."""
    source: StreamReader = (reader or GigaChatReader()).stream_reader(
        choices=1, max_event_bytes=ROOMY
    )
    chunks = [chunk for piece in pieces for chunk in source.feed(piece)]
    chunks += source.close()
    return chunks, source.usage, describe_error(source.error)


class AnswerTests(SynchronousTestCase):
    """How whole answers are read."""

    def read(self, answer: object, reader: GigaChatReader | None = None) -> dict[str, Any]:
        """Read an answer."""
        return (reader or GigaChatReader()).read_reply(dumps(answer))

    def test_call(self) -> None:
        """A call has text for arguments and an id; it ends the answer as a tool call does."""
        answer = self.read(answering({"name": "f", "arguments": {"a": "я"}}))
        [choice] = answer["choices"]
        [call] = choice["message"]["tool_calls"]
        self.assertEqual(call["function"], {"name": "f", "arguments": '{"a":"я"}'})
        self.assertTrue(call["id"].startswith("call_"))
        self.assertEqual(
            (choice["finish_reason"], choice["native_finish_reason"]),
            ("tool_calls", "function_call"),
        )
        self.assertNotIn("function_call", choice["message"])
        self.assertEqual(answer["object"], "chat.completion")

    def test_state(self) -> None:
        """The function state is the call's id, and returns whichever of both a client keeps."""
        told = answering({"name": "f", "arguments": {}}, functions_state_id=STATE)
        message = self.read(told)["choices"][0]["message"]
        [call] = message["tool_calls"]
        self.assertEqual(call["id"], STATE)
        self.assertEqual(call["extra_content"], {"gigachat": {"functions_state_id": STATE}})
        self.assertNotIn("functions_state_id", message)
        for kept in (call, tool_call(STATE, "f"), {**call, "id": "mine"}):
            [back] = messages_of(calling(kept))
            self.assertEqual(back["functions_state_id"], STATE)

    def test_own_function(self) -> None:
        """What GigaChat has done with a function of its own is no call."""
        told = answering(None, "function_call", content="<img src='1'/>", functions_state_id=STATE)
        [choice] = self.read(told)["choices"]
        self.assertEqual(choice["finish_reason"], "stop")
        self.assertEqual(choice["message"]["functions_state_id"], STATE)
        self.assertNotIn("tool_calls", choice["message"])

    def test_reasons(self) -> None:
        """Each finish reason; ``error`` is a failure."""
        for told, expected in (
            ("stop", "stop"),
            ("length", "length"),
            ("blacklist", "content_filter"),
        ):
            [choice] = self.read(answering(None, told, content="x"))["choices"]
            self.assertEqual(choice["finish_reason"], expected)
            self.assertEqual(choice.get("native_finish_reason", told), told)
        self.assertRaises(errors.UpstreamFailed, self.read, answering(None, "error", content="x"))
        show("gigachat", "end by length", "refusals and safety", way=PLAIN)

    def test_usage(self) -> None:
        """Cached tokens have OpenAI's name too; reasoning stays."""
        usage = {"prompt_tokens": 3, "completion_tokens": 1, "precached_prompt_tokens": 2}
        told = answering(None, "stop", content="x", reasoning_content="hm")
        answer = self.read({**told, "usage": usage})
        self.assertEqual(answer["usage"], {**usage, "prompt_tokens_details": {"cached_tokens": 2}})
        self.assertEqual(answer["choices"][0]["message"]["reasoning_content"], "hm")

    def test_stop(self) -> None:
        """The answer is cut at the caller's stop word."""
        wire = write(stop=["", "END"])
        assert isinstance(wire.reader, GigaChatReader)
        answer = self.read(answering(None, "length", content="one END two"), wire.reader)
        [choice] = answer["choices"]
        self.assertEqual((choice["message"]["content"], choice["finish_reason"]), ("one ", "stop"))
        show("gigachat", "stop")

    def test_legacy(self) -> None:
        """Who asks with functions is answered with a function call."""
        wire = write(functions=[{"name": "f"}])
        assert isinstance(wire.reader, GigaChatReader)
        told = answering({"name": "f", "arguments": {"a": 1}})
        [choice] = self.read(told, wire.reader)["choices"]
        self.assertEqual(choice["message"]["function_call"], {"name": "f", "arguments": '{"a":1}'})
        self.assertEqual(choice["finish_reason"], "function_call")

    def test_no_answer(self) -> None:
        """What is no answer is a failure, an error inside a 200 what it stands for."""
        for body in (b"", b"[]", b"{}", b'{"choices": [7]}', b'{"choices": 7}'):
            self.assertRaises(errors.UpstreamFailed, GigaChatDialect().read_reply, body)
        body = b'{"status": 429, "message": "Too Many Requests"}'
        self.assertRaises(errors.UpstreamRateLimited, GigaChatDialect().read_reply, body)


class StreamTests(SynchronousTestCase):
    """How streams are read."""

    def test_call(self) -> None:
        """A call comes whole; the state may come before it, and a repeat says nothing new."""
        call = {"name": "f", "arguments": {"a": "я"}}
        chunks, _, error = read_stream(
            [
                write_events(
                    event(role="assistant", functions_state_id=STATE),
                    event(function_call=call),
                    event("function_call", content="", function_call=call),
                    "[DONE]",
                )
            ]
        )
        self.assertIsNone(error)
        calls = [
            piece
            for chunk in chunks
            for choice in chunk["choices"]
            for piece in choice["delta"].get("tool_calls", ())
        ]
        self.assertEqual(
            calls,
            [
                {
                    "index": 0,
                    "id": STATE,
                    "type": "function",
                    "function": {"name": "f", "arguments": '{"a":"я"}'},
                    "extra_content": {"gigachat": {"functions_state_id": STATE}},
                }
            ],
        )
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "tool_calls")
        self.assertEqual({chunk["object"] for chunk in chunks}, {"chat.completion.chunk"})
        show("gigachat", "tool calls", way=STREAMED)

    def test_two_calls(self) -> None:
        """A second call is another one, in its own place and with an id of its own."""
        chunks, _, error = read_stream(
            [
                write_events(
                    event(function_call={"name": "f", "arguments": {}}, functions_state_id=STATE),
                    event(function_call={"name": "f", "arguments": {"a": 1}}),
                    event("function_call"),
                )
            ]
        )
        self.assertIsNone(error)
        calls = [
            (piece["index"], piece["id"], piece["function"]["arguments"])
            for chunk in chunks
            for choice in chunk["choices"]
            for piece in choice["delta"].get("tool_calls", ())
        ]
        self.assertEqual(calls, [(0, STATE, "{}"), (1, f"{STATE}-2", '{"a":1}')])

    def test_legacy_and_stop(self) -> None:
        """The request's ways hold for streams too."""
        stream = write_events(event(content="a EN"), event(content="D b"), event("length"))
        chunks, _, _ = read_stream([stream], GigaChatReader(stops=("END",)))
        text = "".join(
            choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]
        )
        self.assertEqual((text, chunks[-1]["choices"][0]["finish_reason"]), ("a ", "stop"))
        stream = write_events(
            event(function_call={"name": "x", "arguments": {}}), event("function_call")
        )
        chunks, _, _ = read_stream([stream], GigaChatReader(legacy=True, names={"x": "y"}))
        self.assertEqual(
            chunks[0]["choices"][0]["delta"]["function_call"], {"name": "y", "arguments": "{}"}
        )
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "function_call")

    def test_failures(self) -> None:
        """A finish that is an error, and an error's own event, end the stream."""
        for last in (event("error"), {"status": 500, "message": "internal"}):
            _, _, error = read_stream([write_events(event(content="x"), last)])
            assert isinstance(error, dict)
            self.assertEqual(error["class"], "UpstreamFailed")
        show("gigachat", "errors inside a stream")

    @given(
        st.lists(
            st.one_of(
                st.text(max_size=8).map(lambda text: event(content=text)),
                st.text(max_size=4).map(lambda text: event(reasoning_content=text)),
                st.dictionaries(st.text(max_size=3), st.integers(), max_size=2).map(
                    lambda told: event(function_call={"name": "f", "arguments": told})
                ),
            ),
            max_size=5,
        ),
        st.data(),
    )
    def test_any_split(self, events: list[dict[str, Any]], data: st.DataObject) -> None:
        """However a stream is split, the same comes of it."""
        stream = write_events(*events, event("stop"), "[DONE]")
        places = data.draw(st.lists(st.integers(1, len(stream) - 1), max_size=6))
        for reader in (GigaChatReader(), GigaChatReader(stops=("ab", "\n"))):
            expected, told = (
                read_stream(pieces, reader) for pieces in ([stream], split_at(stream, *places))
            )
            self.assertEqual(_joined(told[0]), _joined(expected[0]))
            self.assertEqual(told[1:], expected[1:])


def _joined(chunks: list[dict[str, Any]]) -> object:
    """Say what chunks say, whatever pieces it came in."""
    texts: dict[str, str] = {}
    others: list[object] = []
    for chunk in chunks:
        for choice in chunk["choices"]:
            for name, value in choice["delta"].items():
                if isinstance(value, str):
                    texts[name] = texts.get(name, "") + value
                else:
                    others.append(value)
            others.append(choice["finish_reason"])
    return texts, [other for other in others if other is not None]


class ErrorTests(SynchronousTestCase):
    """Answers with an error status."""

    def read(self, status: int, message: str, **headers: str) -> errors.UpstreamError:
        """Read an error."""
        body = dumps({"status": status, "message": message})
        error = GigaChatDialect().read_error(status, headers, body)
        self.assertEqual(error.upstream_status, status)
        return error

    def test_classes(self) -> None:
        """Who must act."""
        for status, message, expected in (
            (404, "No such model", errors.UpstreamModelNotFound),
            (413, "Payload too large", errors.ContextTooLong),
            (422, "Requested tokens exceed the limit", errors.ContextTooLong),
            (422, "Слишком много токенов", errors.ContextTooLong),
            (422, "invalid params: bad role", errors.UpstreamRefused),
            (400, "bad request", errors.UpstreamRefused),
            (401, "Token has expired", errors.UpstreamAuthFailed),
            (402, "Payment Required", errors.UpstreamOutOfCredit),
            (429, "Too Many Requests", errors.UpstreamRateLimited),
            (500, "Internal Server Error", errors.UpstreamFailed),
        ):
            self.assertIs(type(self.read(status, message)), expected, message)

    def test_delay(self) -> None:
        """A 429 says when to come back."""
        self.assertEqual(self.read(429, "later", **{"retry-after": "3"}).retry_after, 3)
        show("gigachat", "retry delay")


class GoldenTests(SynchronousTestCase):
    """The samples of our own."""

    def test_streams(self) -> None:
        """Each gives what is expected of it, at every split too."""
        paths = sorted(GOLDEN.glob("*.sse"))
        self.assertGreater(len(paths), 2)
        for path in paths:
            stream = path.read_bytes()
            chunks, usage, error = whole = read_stream([stream])
            expected = json.loads(path.with_suffix(".json").read_text("utf-8"))
            told = {"chunks": chunks, "usage": usage, "error": error}
            self.assertEqual(told, expected, path.stem)
            self.assertEqual(read_stream(bytewise(stream)), whole, path.stem)
            for place in range(1, len(stream)):
                self.assertEqual(read_stream(split_at(stream, place)), whole, path.stem)

    def test_answers(self) -> None:
        """Each gives what is expected of it."""
        for sample in json.loads((GOLDEN / "answers.json").read_text("utf-8")):
            answer = GigaChatDialect().read_reply(dumps(sample["body"]))
            self.assertEqual(answer, sample["answer"], sample["name"])

    def test_requests(self) -> None:
        """Each is written as expected."""
        for sample in json.loads((GOLDEN / "requests.json").read_text("utf-8")):
            wire = GigaChatDialect().write_request(
                sample["request"], model="GigaChat-2", stream=sample["stream"]
            )
            self.assertEqual(json.loads(wire.body), sample["body"], sample["name"])
            self.assertEqual(list(wire.dropped), sample["dropped"], sample["name"])

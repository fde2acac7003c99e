"""Tests of :mod:`aiproxy.dialects.gemini` and its parts."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.wire.json import dumps
from tests.dialects.streams import Outcome, client_message, write_events
from tests.shown import PLAIN, STREAMED, show

PIXEL = "data:image/png;base64,AAAA"
HI = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OLD, NEW = "gemini-2.5-flash", "gemini-3.5-flash"


def call(
    call_id: str = "c1", name: str = "f", arguments: str = "{}", **more: Any
) -> dict[str, Any]:
    """Make a tool call of an assistant's message."""
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function, **more}


def candidate(*parts: dict[str, Any], reason: str | None = "STOP", **more: Any) -> dict[str, Any]:
    """Make an answer of Gemini's with one candidate."""
    one = {"content": {"parts": list(parts), "role": "model"}, **more}
    if reason is not None:
        one["finishReason"] = reason
    usage = {"promptTokenCount": 2, "candidatesTokenCount": 3, "totalTokenCount": 5}
    return {"candidates": [one], "usageMetadata": usage, "responseId": "r"}


class WritingTestCase(SynchronousTestCase):
    """Writes requests."""

    def setUp(self) -> None:
        self.dialect = GeminiDialect()

    def write(
        self, *messages: dict[str, Any], model: str = OLD, stream: bool = False, **more: Any
    ) -> WireRequest:
        """Write a request."""
        request = {"model": "m", "messages": list(messages or (HI,)), **more}
        return self.dialect.write_request(request, model=model, stream=stream)

    def body(self, *messages: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Write a request; return its body."""
        body: dict[str, Any] = json.loads(self.write(*messages, **more).body)
        return body

    def config(self, **more: Any) -> dict[str, Any]:
        """Write a request; return its generation parameters."""
        config: dict[str, Any] = self.body(**more).get("generationConfig", {})
        return config

    def contents(self, *messages: dict[str, Any], **more: Any) -> list[tuple[str, Any]]:
        """Write messages; return roles and parts."""
        return [(one["role"], one["parts"]) for one in self.body(*messages, **more)["contents"]]

    def refused(self, param: str, *messages: dict[str, Any], **more: Any) -> None:
        """Assert that a request is refused, with the field at fault."""
        error = self.assertRaises(errors.InvalidRequest, self.write, *messages, **more)
        self.assertEqual(error.param, param)


class RouteTests(WritingTestCase):
    """Where requests go."""

    def test_routes(self) -> None:
        """The method stands in the path; a stream is asked for as events."""
        self.assertEqual(self.write().route, f"/models/{OLD}:generateContent")
        stream = self.write(stream=True, model="models/gemini-3-pro")
        self.assertEqual(stream.route, "/models/gemini-3-pro:streamGenerateContent?alt=sse")
        self.assertEqual(self.write(model="tunedModels/x").route, "/tunedModels/x:generateContent")

    def test_own_urls(self) -> None:
        """A model's own URL gets what it lacks, and its method is put right."""
        base = "https://h/v1beta"
        for url, model in (
            (base, OLD),
            (f"{base}/models", OLD),
            (f"{base}/models/", OLD),
            (f"{base}/models/gemini-pro", "gemini-pro"),
            (f"{base}/models/gemini-pro:generateContent", "gemini-pro"),
            (f"{base}/models/gemini-pro:streamGenerateContent?alt=sse", "gemini-pro"),
        ):
            for stream, method in (
                (False, "generateContent"),
                (True, "streamGenerateContent?alt=sse"),
            ):
                located = self.dialect.locate(url, self.write(stream=stream))
                self.assertEqual(located, f"{base}/models/{model}:{method}")
        kept = self.dialect.locate(f"{base}/models/x?key=k", self.write(stream=True))
        self.assertEqual(kept, f"{base}/models/x:streamGenerateContent?key=k&alt=sse")


class MessageTests(WritingTestCase):
    """From messages to contents."""

    def test_instructions(self) -> None:
        """System and developer messages stand above the conversation, wherever they stood."""
        body = self.body(
            {"role": "system", "content": "a"}, HI, {"role": "developer", "content": "b"}
        )
        self.assertEqual(body["systemInstruction"], {"parts": [{"text": "a"}, {"text": "b"}]})
        self.assertEqual(body["contents"], [{"role": "user", "parts": [{"text": "Hi"}]}])

    def test_instructions_only(self) -> None:
        """There is always something to answer."""
        body = self.body({"role": "system", "content": "a"})
        self.assertEqual(body["contents"], [{"role": "user", "parts": [{"text": "a"}]}])
        self.assertNotIn("systemInstruction", body)
        self.assertEqual(
            self.contents({"role": "user", "content": None}), [("user", [{"text": ""}])]
        )

    def test_neighbors(self) -> None:
        """Messages of one role in a row are one content."""
        assistant = {"role": "assistant", "content": "x"}
        contents = self.contents(HI, HI, assistant, assistant, HI)
        self.assertEqual([role for role, _ in contents], ["user", "model", "user"])
        self.assertEqual([len(parts) for _, parts in contents], [2, 2, 1])

    def test_parts(self) -> None:
        """Text, images, sound and files are parts; links are left to Google."""
        for part, expected in (
            ({"type": "text", "text": "t"}, {"text": "t"}),
            (
                {"type": "image_url", "image_url": {"url": PIXEL}},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
            ),
            (
                {"type": "image_url", "image_url": {"url": "https://h/a.jpg?x", "detail": "auto"}},
                {"fileData": {"fileUri": "https://h/a.jpg?x", "mimeType": "image/jpeg"}},
            ),
            (
                {"type": "image_url", "image_url": "gs://bucket/a"},
                {"fileData": {"fileUri": "gs://bucket/a"}},
            ),
            (
                {"type": "input_audio", "input_audio": {"data": "BB", "format": "mp3"}},
                {"inlineData": {"mimeType": "audio/mp3", "data": "BB"}},
            ),
            (
                {"type": "file", "file": {"file_data": "CC", "filename": "a.txt"}},
                {"inlineData": {"mimeType": "text/plain", "data": "CC"}},
            ),
            (
                {"type": "file", "file": {"file_id": "https://h/files/x"}},
                {"fileData": {"fileUri": "https://h/files/x"}},
            ),
        ):
            self.assertEqual(
                self.contents({"role": "user", "content": [part]}), [("user", [expected])]
            )
        show("google", "images, data URL", "images, http URL", "files and sound")

    def test_refused_parts(self) -> None:
        """What Gemini has no words for is refused, with its place."""
        for part in (
            {"type": "hologram", "hologram": {}},
            {"type": "image_url", "image_url": {}},
            {"type": "image_url", "image_url": {"url": "data:image/png,raw"}},
            {"type": "image_url", "image_url": {"url": "ftp://h/x.png"}},
            {"type": "input_audio", "input_audio": {}},
            "text",
        ):
            self.refused("messages[0].content[0]", {"role": "user", "content": [part]})
        self.refused("messages[0].content", {"role": "user", "content": 7})
        self.refused("messages[0].role", {"role": "oracle", "content": "x"})

    def test_tool_turn(self) -> None:
        """Calls go back with names, ids and signatures; all results are one content."""
        signed = call(
            "c1", arguments='{"a":1}', extra_content={"google": {"thought_signature": "S"}}
        )
        contents = self.contents(
            HI,
            {"role": "assistant", "content": None, "tool_calls": [signed, call("c2", "g", "")]},
            {"role": "tool", "tool_call_id": "c1", "content": '{"b":2}'},
            {"role": "tool", "tool_call_id": "c2", "content": "warm"},
        )
        self.assertEqual(
            contents[1:],
            [
                (
                    "model",
                    [
                        {
                            "functionCall": {"name": "f", "args": {"a": 1}, "id": "c1"},
                            "thoughtSignature": "S",
                        },
                        {"functionCall": {"name": "g", "args": {}, "id": "c2"}},
                    ],
                ),
                (
                    "user",
                    [
                        {"functionResponse": {"name": "f", "response": {"b": 2}, "id": "c1"}},
                        {
                            "functionResponse": {
                                "name": "g",
                                "response": {"output": "warm"},
                                "id": "c2",
                            }
                        },
                    ],
                ),
            ],
        )

    def test_result_with_a_file(self) -> None:
        """A picture in a result stands beside it."""
        parts = [
            {"type": "text", "text": "see"},
            {"type": "image_url", "image_url": {"url": PIXEL}},
        ]
        (_, _, (_, written)) = self.contents(
            HI,
            {"role": "assistant", "tool_calls": [call()]},
            {"role": "tool", "tool_call_id": "c1", "content": parts},
        )
        self.assertEqual(written[0]["functionResponse"]["response"], {"output": "see"})
        self.assertEqual(written[1], {"inlineData": {"mimeType": "image/png", "data": "AAAA"}})

    def test_odd_calls(self) -> None:
        """Garbled arguments are kept as a text; results of unknown calls are refused."""
        contents = self.contents(HI, {"role": "assistant", "tool_calls": [call(arguments="{oh")]})
        self.assertEqual(contents[1][1][0]["functionCall"]["args"], {"arguments": "{oh"})
        lost = {"role": "tool", "tool_call_id": "c9", "content": "x"}
        self.refused("messages[1].tool_call_id", HI, lost)
        custom = {"id": "c", "type": "custom", "custom": {"name": "x", "input": "y"}}
        where = "messages[1].tool_calls[0]"
        self.refused(where, HI, {"role": "assistant", "tool_calls": [custom]})

    def test_legacy_call(self) -> None:
        """OpenAI's older form of a call and its result is understood."""
        contents = self.contents(
            HI,
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "ok"},
        )
        self.assertEqual(contents[1], ("model", [{"functionCall": {"name": "f", "args": {}}}]))
        response = {"name": "f", "response": {"output": "ok"}}
        self.assertEqual(contents[2], ("user", [{"functionResponse": response}]))

    def test_dropped(self) -> None:
        """What is left out of messages is named."""
        wire = self.write(
            {"role": "user", "name": "n", "content": [
                {"type": "image_url", "image_url": {"url": PIXEL, "detail": "high"}}
            ]},
            {"role": "assistant", "content": "a", "reasoning_content": "r", "audio": {"id": "x"}},
            HI,
        )  # fmt: skip
        self.assertEqual(
            wire.dropped,
            (
                "image_url.detail",
                "messages[].audio",
                "messages[].name",
                "messages[].reasoning_content",
            ),
        )


class SignatureTests(WritingTestCase):
    """Signatures that the next turn needs."""

    def answered(self, *, stream: bool) -> dict[str, Any]:
        """Let the model call a function; return the call."""
        told = candidate(
            {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "S"},
            {"functionCall": {"name": "f", "args": {}}},
        )
        if stream:
            return Outcome([write_events(told)], dialect=self.dialect).calls()[0]
        answer = self.dialect.read_reply(dumps(told))
        found: dict[str, Any] = answer["choices"][0]["message"]["tool_calls"][0]
        return found

    def test_remembered(self) -> None:
        """A client that sends the call back without it loses nothing, plain or streamed."""
        for stream in (False, True):
            made = self.answered(stream=stream)
            self.assertEqual(made["extra_content"], {"google": {"thought_signature": "S"}})
            del made["extra_content"]
            contents = self.contents(HI, {"role": "assistant", "tool_calls": [made]}, model=NEW)
            expected = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "S"}
            self.assertEqual(contents[1][1], [expected])
        show("google", "signatures of thoughts")

    def test_unknown(self) -> None:
        """Where the model insists, the first call of a set gets a stand-in."""
        turn = {"role": "assistant", "tool_calls": [call("toolu_1"), call("toolu_2")]}
        for model in (NEW, "gemini-flash-latest"):
            first, second = self.contents(HI, turn, model=model)[1][1]
            self.assertEqual(first["thoughtSignature"], "skip_thought_signature_validator")
            self.assertNotIn("thoughtSignature", second)
        self.assertNotIn("thoughtSignature", self.contents(HI, turn, model=OLD)[1][1][0])

    def test_text(self) -> None:
        """The signature of a text goes back with it; what ran at Google goes back as it came."""
        # A stream's parts have their places.
        google = {"thought_signature": "S", "parts": [{"toolCall": {"id": "x"}, "index": 0}]}
        turn = {"role": "assistant", "content": "a", "extra_content": {"google": google}}
        parts = self.contents(HI, turn)[1][1]
        expected = [{"toolCall": {"id": "x"}}, {"text": "a", "thoughtSignature": "S"}]
        self.assertEqual(parts, expected)
        alone = {**turn, "content": None, "extra_content": {"google": {"thought_signature": "S"}}}
        parts = self.contents(HI, alone)[1][1]
        self.assertEqual(parts, [{"text": "", "thoughtSignature": "S"}])


class ParameterTests(WritingTestCase):
    """Generation parameters."""

    def test_sampling(self) -> None:
        """Parameters have Gemini's names; null is as good as absent."""
        config = self.config(
            temperature=0, top_p=0.5, seed=7, presence_penalty=1, frequency_penalty=-1,
            max_tokens=9, max_completion_tokens=8, stop="x", n=2, logprobs=True, top_logprobs=3,
            top_k=None,
        )  # fmt: skip
        self.assertEqual(
            config,
            {
                "temperature": 0,
                "topP": 0.5,
                "seed": 7,
                "presencePenalty": 1,
                "frequencyPenalty": -1,
                "maxOutputTokens": 8,
                "stopSequences": ["x"],
                "candidateCount": 2,
                "responseLogprobs": True,
                "logprobs": 3,
            },
        )
        self.assertEqual(self.config(max_tokens=9, stop=["a", "b"], n=1), {
            "maxOutputTokens": 9, "stopSequences": ["a", "b"],
        })  # fmt: skip
        show("google", "sampling parameters", "stop", "seed", "n")

    def test_dropped(self) -> None:
        """What only OpenAI has is left out, and named; what nobody knows passes."""
        wire = self.write(user="u", logit_bias={"1": 2}, store=None, safetySettings=[1])
        self.assertEqual(wire.dropped, ("logit_bias", "user"))
        body = json.loads(wire.body)
        self.assertEqual(set(body), {"contents", "safetySettings"})

    def test_own_fields(self) -> None:
        """Gemini's own fields are laid over ours, as are those for its compatible endpoint."""
        body = self.body(
            temperature=1,
            generationConfig={"temperature": 2, "topK": 3},
            extra_body={"google": {"cached_content": "c", "thinking_config": {"x": 1}}},
        )
        self.assertEqual(
            body["generationConfig"], {"temperature": 2, "topK": 3, "thinkingConfig": {"x": 1}}
        )
        self.assertEqual(body["cached_content"], "c")

    def test_json(self) -> None:
        """JSON mode, with a schema and without."""
        self.assertEqual(self.config(response_format={"type": "text"}), {})
        mime = {"responseMimeType": "application/json"}
        self.assertEqual(self.config(response_format={"type": "json_object"}), mime)
        schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}}
        told = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        self.assertEqual(self.config(response_format=told), {**mime, "responseJsonSchema": schema})
        show("google", "JSON mode", "JSON schema")

    def test_json_beside_tools(self) -> None:
        """Older models take JSON mode or functions: there it is asked for in words."""
        told = {"type": "json_object"}
        wire = self.write(response_format=told, tools=[TOOL], model=OLD)
        body = json.loads(wire.body)
        self.assertEqual(wire.dropped, ("response_format",))
        self.assertIn("JSON", body["systemInstruction"]["parts"][0]["text"])
        self.assertNotIn("generationConfig", body)
        self.assertIn(
            "responseMimeType", self.config(response_format=told, tools=[TOOL], model=NEW)
        )

    def test_effort(self) -> None:
        """Newer models have levels of thought, 2.5 has budgets, older ones do not think."""
        for model, effort, expected in (
            (NEW, "low", {"thinkingLevel": "low", "includeThoughts": True}),
            (NEW, "xhigh", {"thinkingLevel": "high", "includeThoughts": True}),
            (NEW, "none", {"thinkingLevel": "minimal"}),
            (OLD, "none", {"thinkingBudget": 0}),
            (OLD, "low", {"thinkingBudget": 1024, "includeThoughts": True}),
            (OLD, "medium", {"thinkingBudget": 8192, "includeThoughts": True}),
            (OLD, "high", {"thinkingBudget": 24576, "includeThoughts": True}),
            ("gemini-2.5-pro", "none", {"thinkingBudget": 128}),
        ):
            config = self.config(model=model, reasoning_effort=effort)
            self.assertEqual(config, {"thinkingConfig": expected}, (model, effort))
        wire = self.write(model="gemini-2.0-flash", reasoning_effort="low")
        self.assertEqual(wire.dropped, ("reasoning_effort",))
        show("google", "reasoning effort")

    def test_levels(self) -> None:
        """Each model is told a level that it knows: all have low and high, few minimal."""
        flash, pro = "gemini-3-flash-preview", "gemini-3.1-pro-preview"
        old_pro, newest, named = "gemini-3-pro-preview", "gemini-3.7-flash", "gemini-flash-latest"
        for models, effort, level in (
            ((flash, NEW, "gemini-3.6-flash-lite"), "minimal", "minimal"),
            ((pro, old_pro, newest, named), "minimal", "low"),
            ((pro, old_pro, newest, named), "none", "low"),
            ((flash, pro, newest, named), "medium", "medium"),
            ((old_pro, "gemini-3-pro-image"), "medium", "high"),
            ((flash, pro, old_pro, newest, named), "low", "low"),
        ):
            for model in models:
                config = self.config(model=model, reasoning_effort=effort)["thinkingConfig"]
                self.assertEqual(config["thinkingLevel"], level, (model, effort))

    def test_reasoning(self) -> None:
        """OpenRouter's object is understood too."""
        for told, expected in (
            ({"max_tokens": 5}, {"thinkingBudget": 5, "includeThoughts": True}),
            ({"effort": "low", "exclude": True}, {"thinkingBudget": 1024}),
            ({"enabled": True}, {"includeThoughts": True}),
            ({"enabled": False}, {"thinkingBudget": 0}),
        ):
            self.assertEqual(self.config(reasoning=told), {"thinkingConfig": expected})
        self.assertEqual(self.config(reasoning={}), {})

    def test_modalities(self) -> None:
        """Pictures can be asked for."""
        config = self.config(modalities=["text", "image"])
        self.assertEqual(config, {"responseModalities": ["TEXT", "IMAGE"]})
        self.assertEqual(self.config(modalities=["text"]), {})

    def test_wants_images(self) -> None:
        """Only models before 2.5 fetch nothing themselves."""
        part = {"type": "image_url", "image_url": {"url": "https://h/a.png"}}
        request = {"messages": [{"role": "user", "content": [part]}]}
        self.assertTrue(self.dialect.wants_images(request, model="gemini-2.0-flash"))
        self.assertFalse(self.dialect.wants_images(request, model=OLD))
        self.assertFalse(self.dialect.wants_images({"messages": [HI]}, model="gemini-2.0-flash"))


class ToolTests(WritingTestCase):
    """Tools and how they are chosen."""

    def test_functions(self) -> None:
        """A function is declared with its JSON schema as it is."""
        schema = {"type": "object", "properties": {"a": {"type": ["string", "null"]}}}
        function = {"name": "f", "description": "d", "parameters": schema, "strict": True}
        wire = self.write(tools=[{"type": "function", "function": function}])
        declared = {"name": "f", "description": "d", "parametersJsonSchema": schema}
        expected = [{"functionDeclarations": [declared]}]
        self.assertEqual(json.loads(wire.body)["tools"], expected)
        self.assertEqual(wire.dropped, ("tools[].function.strict",))

    def test_server_tools(self) -> None:
        """Google's own tools stand apart, and newer models are told so."""
        for tool, expected in (
            ({"googleSearch": {}}, {"googleSearch": {}}),
            ({"type": "google_search"}, {"googleSearch": {}}),
            ({"type": "code_execution"}, {"codeExecution": {}}),
        ):
            body = self.body(tools=[tool, TOOL], model=NEW)
            self.assertEqual(body["tools"][0], expected)
            self.assertEqual(body["toolConfig"], {"includeServerSideToolInvocations": True})
        self.assertEqual(self.body(web_search_options={})["tools"], [{"googleSearch": {}}])

    def test_choice(self) -> None:
        """Each way to choose."""
        other = {"type": "function", "function": {"name": "g"}}
        named = {"type": "function", "function": {"name": "g"}}
        for choice, expected in (
            ("none", {"mode": "NONE"}),
            ("auto", {"mode": "AUTO"}),
            ("required", {"mode": "ANY"}),
            (named, {"mode": "ANY", "allowedFunctionNames": ["g"]}),
        ):
            body = self.body(tools=[TOOL, other], tool_choice=choice)
            self.assertEqual(body["toolConfig"], {"functionCallingConfig": expected})
        allowed = {"mode": "required", "tools": [named]}
        body = self.body(
            tools=[TOOL, other], tool_choice={"type": "allowed_tools", "allowed_tools": allowed}
        )
        self.assertEqual(body["tools"], [{"functionDeclarations": [{"name": "g"}]}])
        self.assertEqual(body["toolConfig"], {"functionCallingConfig": {"mode": "ANY"}})
        for none in ({"tools": True, "mode": ["x"]}, {"tools": [5]}, {}):
            body = self.body(tools=[TOOL], tool_choice={"allowed_tools": none})
            self.assertNotIn("tools", body)
        self.assertNotIn("toolConfig", self.body(tool_choice="none"))
        show("google", "tool choice")

    def test_refused(self) -> None:
        """What cannot be done is refused with the field's name."""
        self.refused("tools[0]", tools=[{"type": "custom", "custom": {"name": "x"}}])
        self.refused("tool_choice", tools=[TOOL], tool_choice="sometimes")
        self.refused("functions", functions=[{"name": "f"}])

    def test_no_parallel_calls(self) -> None:
        """Where only one call is wanted, only the first is told, plain and streamed."""
        wire = self.write(tools=[TOOL], parallel_tool_calls=False)
        reader = wire.reader
        assert reader is not None
        calls: list[dict[str, Any]] = [
            {"functionCall": {"name": name, "args": {}}} for name in ("f", "g")
        ]
        (choice,) = reader.read_reply(dumps(candidate(*calls)))["choices"]
        self.assertEqual(
            [one["function"]["name"] for one in choice["message"]["tool_calls"]], ["f"]
        )
        events = [candidate(calls[0], reason=None), candidate(calls[1])]
        told = Outcome([write_events(*events)], dialect=reader).calls()
        self.assertEqual([one["function"]["name"] for one in told], ["f"])
        show("google", "parallel calls off")


class AnswerTests(SynchronousTestCase):
    """From Gemini's answers to OpenAI's."""

    def read(self, document: dict[str, Any]) -> dict[str, Any]:
        """Read an answer; return its only choice."""
        (choice,) = GeminiDialect().read_reply(dumps(document))["choices"]
        found: dict[str, Any] = choice
        return found

    def test_finish_reasons(self) -> None:
        """Each has its word; what was blocked says why."""
        for told, expected, native in (
            ("STOP", "stop", None),
            ("MAX_TOKENS", "length", None),
            ("SAFETY", "content_filter", "SAFETY"),
            ("IMAGE_SAFETY", "content_filter", "IMAGE_SAFETY"),
            ("RECITATION", "content_filter", "RECITATION"),
        ):
            choice = self.read(candidate({"text": "x"}, reason=told))
            self.assertEqual(choice["finish_reason"], expected)
            self.assertEqual(choice.get("native_finish_reason"), native)

    def test_failures(self) -> None:
        """A finish reason that is a failure is an error, plain and streamed."""
        for reason in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER"):
            told = candidate(reason=reason)
            error = self.assertRaises(errors.UpstreamFailed, self.read, told)
            self.assertEqual(error.code, reason)
            outcome = Outcome([write_events(told)], dialect=GeminiDialect())
            self.assertIsInstance(outcome.error, errors.UpstreamFailed)

    def test_blocked(self) -> None:
        """A prompt that is blocked is an answer without content, plain and streamed."""
        told = {
            "promptFeedback": {"blockReason": "SAFETY"},
            "usageMetadata": {"promptTokenCount": 4},
        }
        choice = self.read(told)
        self.assertIsNone(choice["message"]["content"])
        self.assertEqual(choice["finish_reason"], "content_filter")
        self.assertIn("promptFeedback", choice["message"]["extra_content"]["google"])
        outcome = Outcome([write_events(told)], dialect=GeminiDialect())
        self.assertEqual(outcome.reasons(), ["content_filter"])
        assert outcome.usage is not None
        self.assertEqual(outcome.usage["prompt_tokens"], 4)
        show("google", "refusals and safety", way=PLAIN)
        show("google", "refusals and safety", way=STREAMED)

    def test_empty(self) -> None:
        """An answer without a candidate is none."""
        self.assertRaises(errors.UpstreamFailed, self.read, {"usageMetadata": {}})
        self.assertRaises(errors.UpstreamFailed, self.read, candidate(reason=None))

    def test_parts_missing(self) -> None:
        """A candidate may lack its parts, even its content."""
        for content in ({"role": "model"}, None):
            choice = self.read({"candidates": [{"content": content, "finishReason": "STOP"}]})
            self.assertEqual(choice["message"], {"role": "assistant", "content": None})

    def test_extras(self) -> None:
        """Thoughts, grounding and what ran at Google are told apart from the text."""
        ran = {"executableCode": {"code": "1"}}
        choice = self.read(
            candidate(
                {"text": "t", "thought": True}, ran, {"text": "x"}, groundingMetadata={"a": 1}
            )
        )
        message = choice["message"]
        self.assertEqual((message["reasoning_content"], message["content"]), ("t", "x"))
        self.assertEqual(
            message["extra_content"], {"google": {"parts": [ran], "groundingMetadata": {"a": 1}}}
        )

    def test_extras_of_several_events(self) -> None:
        """What comes again with each event is told once, so that OpenAI's client can join it."""
        rated = [[{"category": "HARM", "probability": word}] for word in ("LOW", "HIGH")]
        ran, out = {"executableCode": {"code": "1"}}, {"codeExecutionResult": {"output": "1"}}
        events = [
            candidate({"text": "a", "thoughtSignature": "S"}, reason=None, safetyRatings=rated[0]),
            candidate(ran, reason=None, safetyRatings=rated[0], groundingMetadata={"a": "b"}),
            candidate(out, {"text": "b"}, reason=None, safetyRatings=rated[1]),
            candidate({"text": "", "thoughtSignature": "T"}),
            {"candidates": [{"citationMetadata": {"citationSources": [{"uri": "u"}]}}]},
        ]
        outcome = Outcome([write_events(*events)], dialect=GeminiDialect())
        kept = {
            "thought_signature": "T",
            "safetyRatings": rated[1],
            "groundingMetadata": {"a": "b"},
            "citationMetadata": {"citationSources": [{"uri": "u"}]},
        }
        self.assertEqual(outcome.deltas()[-1], {"extra_content": {"google": kept}})
        self.assertEqual(outcome.reasons(), ["stop"])
        joined = client_message(outcome)
        parts = [{**ran, "index": 0}, {**out, "index": 1}]
        self.assertEqual(joined["extra_content"], {"google": {"parts": parts, **kept}})
        self.assertEqual(joined["content"], "ab")

    def test_bounded_extras(self) -> None:
        """What is kept for the end is bounded."""
        events = [candidate(reason=None, **{f"new{number}": 1}) for number in range(99)]
        outcome = Outcome([write_events(*events)], dialect=GeminiDialect())
        self.assertIsInstance(outcome.error, errors.AnswerTooLarge)

    def test_logprobs(self) -> None:
        """Log probabilities have OpenAI's shape."""
        one, two = {"token": "x", "logProbability": -0.5}, {"token": "é", "logProbability": -2}
        result = {"chosenCandidates": [one], "topCandidates": [{"candidates": [one, two]}]}
        choice = self.read(candidate({"text": "x"}, logprobsResult=result))
        (token,) = choice["logprobs"]["content"]
        self.assertEqual((token["token"], token["logprob"], token["bytes"]), ("x", -0.5, [120]))
        self.assertEqual([top["bytes"] for top in token["top_logprobs"]], [[120], [195, 169]])
        show("google", "log probabilities", way=PLAIN)

    def test_usage(self) -> None:
        """Thoughts count as completion, tools' results as prompt; a chunk's gaps are filled."""
        first = {"promptTokenCount": 10, "toolUsePromptTokenCount": 5, "thoughtsTokenCount": 7}
        last = {
            "promptTokenCount": 10,
            "candidatesTokenCount": 2,
            "totalTokenCount": 24,
            "cachedContentTokenCount": 99,
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1}],
        }
        events = [
            {**candidate({"text": "x"}, reason=None), "usageMetadata": first},
            {**candidate(), "usageMetadata": last},
        ]
        outcome = Outcome([write_events(*events)], dialect=GeminiDialect())
        self.assertEqual(
            outcome.usage,
            {
                "prompt_tokens": 15,
                "completion_tokens": 9,
                "total_tokens": 24,
                "prompt_tokens_details": {"cached_tokens": 15},
                "completion_tokens_details": {"reasoning_tokens": 7, "image_tokens": 1},
            },
        )

    def test_drafts(self) -> None:
        """An image that is a thought is a draft, and no image of the answer."""
        draft, own = ({"inlineData": {"mimeType": "image/png", "data": data}} for data in "DO")
        parts = ({**draft, "thought": True}, {"text": "x", "thought": True}, own)
        message = self.read(candidate(*parts))["message"]
        (image,) = message["images"]
        self.assertEqual(image["image_url"]["url"], "data:image/png;base64,O")
        self.assertEqual(message["reasoning_content"], "x")
        stream = write_events(*(candidate(part, reason=None) for part in parts), candidate())
        images = [
            image["image_url"]["url"]
            for delta in Outcome([stream], dialect=GeminiDialect()).deltas()
            for image in delta.get("images", ())
        ]
        self.assertEqual(images, ["data:image/png;base64,O"])

    def test_images_of_several_events(self) -> None:
        """Images are counted through, for a client joins those with the same index."""
        events = [
            candidate({"inlineData": {"mimeType": "image/png", "data": data}}, reason=reason)
            for data, reason in (("AAAA", None), ("BBBB", "STOP"))
        ]
        outcome = Outcome([write_events(*events)], dialect=GeminiDialect())
        told = [
            image
            for chunk in outcome.chunks
            for choice in chunk["choices"]
            for image in choice["delta"].get("images", ())
        ]
        self.assertEqual([image["index"] for image in told], [0, 1])

    def test_two_candidates(self) -> None:
        """Several candidates are several choices."""
        told = candidate({"text": "a"}, index=0)
        told["candidates"] += candidate({"text": "b"}, index=1)["candidates"]
        outcome = Outcome([write_events(told)], choices=2, dialect=GeminiDialect())
        self.assertEqual((outcome.text(), outcome.text(index=1)), ("a", "b"))
        self.assertEqual(outcome.reasons(1), ["stop"])

    def test_error_in_an_array(self) -> None:
        """An error is one wherever it stands in the array that a stream came as."""
        error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
        body = dumps([candidate({"text": "a"}, reason=None), error])
        raised = self.assertRaises(errors.UpstreamFailed, GeminiDialect().read_reply, body)
        self.assertEqual(raised.upstream_status, 503)

    def test_error_lines_in_a_stream(self) -> None:
        """An error may come as bare lines of JSON in the middle of a stream."""
        told = write_events(candidate({"text": "a"}, reason=None), end=b"\r\n\r\n")
        error = b'{\n  "error": {\n    "code": 503,\n    "message": "overloaded"\n  }\n}\n'
        outcome = Outcome([told + error], dialect=GeminiDialect())
        self.assertEqual(outcome.text(), "a")
        self.assertIsInstance(outcome.error, errors.UpstreamFailed)
        assert outcome.error is not None
        self.assertIn("overloaded", outcome.error.message)

    def test_cut(self) -> None:
        """Without a finish reason the stream was cut."""
        told = write_events(candidate({"text": "a"}, reason=None))
        outcome = Outcome([told], dialect=GeminiDialect())
        self.assertIsInstance(outcome.error, errors.StreamCut)


class Row11Tests(WritingTestCase):
    """What the Go proxy's Gemini adapter got wrong."""

    def test_request(self) -> None:
        """Content type, instructions, parameters and all parts are sent."""
        content = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        wire = self.write(
            {"role": "system", "content": "s"}, {"role": "user", "content": content}, temperature=1
        )
        self.assertEqual(wire.headers["content-type"], "application/json")
        body = json.loads(wire.body)
        self.assertEqual(body["systemInstruction"]["parts"], [{"text": "s"}])
        self.assertEqual(
            body["contents"], [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]
        )
        self.assertEqual(body["generationConfig"], {"temperature": 1})

    def test_answer(self) -> None:
        """A SAFETY candidate without parts is an answer, with the fields that clients need."""
        told = {"candidates": [{"finishReason": "SAFETY"}], "responseId": "r"}
        answer = self.dialect.read_reply(dumps(told))
        self.assertEqual((answer["id"], answer["object"]), ("r", "chat.completion"))
        self.assertEqual(answer["choices"][0]["finish_reason"], "content_filter")

"""
Tests of what callers and upstreams might send to hold everybody up: what comes of it.

That it takes its time once, and not by the square, ``python -m bench.growth`` shows.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any, TypeAlias

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.cohere import CohereDialect
from aiproxy.dialects.dialect import Dialect
from aiproxy.dialects.embeddings_gemini import GeminiEmbeddings
from aiproxy.dialects.fold import ChatFold
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.gigachat import GigaChatDialect
from aiproxy.dialects.multipart import MultipartForm
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.openai_face import OpenAIStreamWriter
from aiproxy.dialects.operations import COMPLETIONS, MESSAGES
from aiproxy.dialects.raw import RawDialect
from aiproxy.errors import InvalidRequest, UpstreamFailed
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import write_event

Json: TypeAlias = dict[str, Any]
#: The events that are told at one time, by its number.
Told: TypeAlias = Callable[[int], list[Json]]


class RequestTests(SynchronousTestCase):
    """Requests."""

    def test_allowed_tools(self) -> None:
        """Of many tools one that is allowed stands in the request once, among many that are not."""
        tools = [tool(f"f{number}") for number in range(100)]
        listed = [*(tool(f"g{number}") for number in range(100)), *tools[:2]]
        allowed = {"mode": "auto", "tools": listed}
        request = {
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": tools,
            "tool_choice": {"type": "allowed_tools", "allowed_tools": allowed},
        }
        dialects: tuple[Dialect, ...] = (AnthropicDialect(), CohereDialect(), GeminiDialect())
        for dialect in dialects:
            body = dialect.write_request(request, model="m", stream=False).body
            self.assertEqual(body.count(b'"f1"'), 1)

    def test_forms(self) -> None:
        """The heads of a form's parts may be long neither by themselves nor together."""

        def read(piece: bytes, size: int, parts: int) -> MultipartForm:
            head = b'--b\r\ncontent-disposition: form-data; name="a"'
            head += piece * (size // len(piece)) + b"\r\n\r\nx\r\n"
            return MultipartForm(head * parts + b"--b--\r\n", "multipart/form-data; boundary=b")

        for piece in (b";", b';a="', b";a=b", b"\r\na: b"):
            with self.assertRaises(InvalidRequest):
                read(piece, 5_000, 1)
        line = b"\r\na: " + b"b" * 994
        self.assertEqual(read(line, 1_000, 200).field("a"), b"x")
        with self.assertRaises(InvalidRequest):
            read(line, 1_000, 300)

    def test_repetitions(self) -> None:
        """What is told once, and stands in the provider's request again and again."""
        places = {f"p{number}": {"$ref": "#/$defs/x"} for number in range(1_000)}
        long = "y" * 100_000
        schema: Json = {"$defs": {}, "properties": places}
        function = {"name": "f", "parameters": schema}
        chat = {
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": [{"type": "function", "function": function}],
        }
        repetitions: tuple[Json, ...] = (
            {"description": long},
            {"enum": [long]},
            {"properties": {long: {}}},
            {"$defs": {"z": long}},
        )
        for repeated in repetitions:
            schema["$defs"] = {"x": {"type": "object", **repeated}}
            body = GigaChatDialect().write_request(chat, model="m", stream=False).body
            self.assertLess(len(body), 1_000_000, list(repeated))
        for request in (
            {"input": ["a"] * 1_000, "title": long},
            {"input": ["a"] * 3_000},
        ):
            with self.assertRaises(InvalidRequest):
                GeminiEmbeddings().write_request(request, model="m", stream=False)

    def test_references(self) -> None:
        """Schemas whose references lead to others, beside much, or are long, stay as they are."""
        chain = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(190)}
        wide = {
            "$ref": "#/$defs/d0",
            "$defs": {**chain, "d190": {"type": "object"}},
            **{f"k{number}": 1 for number in range(1_000)},
        }
        places = {f"p{number}": {"$ref": "#/$defs/x"} for number in range(1_000)}
        long = {
            "$defs": {"x": {"$ref": "#/$defs/" + "%61" * 1_000}, "a" * 1_000: {}},
            "properties": places,
        }
        for schema in (wide, long):
            function = {"name": "f", "parameters": {"type": "object", **schema}}
            request = {
                "messages": [{"role": "user", "content": "Hi"}],
                "tools": [{"type": "function", "function": function}],
            }
            body = GigaChatDialect().write_request(request, model="m", stream=False).body
            self.assertIn(b'"$ref"', body)


class AnswerTests(SynchronousTestCase):
    """Answers."""

    def test_many_texts(self) -> None:
        """Whole answers in many small texts, thoughts among them, are one text and one thought."""
        text, thought = "a" * 40, "b" * 40
        anthropic = [
            {"type": "text", "text": text},
            {"type": "thinking", "thinking": thought, "signature": "s"},
        ]
        cohere = [{"type": "text", "text": text}, {"type": "thinking", "thinking": thought}]
        gemini = [{"text": text}, {"text": thought, "thought": True}]
        for dialect, answer in (
            (AnthropicDialect(), {"content": anthropic * 100, "stop_reason": "end_turn"}),
            (
                CohereDialect(),
                {"message": {"content": cohere * 100}, "finish_reason": "COMPLETE"},
            ),
            (
                GeminiDialect(),
                {"candidates": [{"content": {"parts": gemini * 100}, "finishReason": "STOP"}]},
            ),
        ):
            message = dialect.read_reply(dumps(answer))["choices"][0]["message"]
            self.assertEqual(message["content"], text * 100)
            self.assertEqual(message["reasoning_content"], thought * 100)

    def test_folded_lists(self) -> None:
        """Lists of many entries, and objects of many fields, are folded entry by entry."""
        entries = [{"index": number, "text": "a"} for number in range(300)]
        deltas: list[dict[str, Any]] = [{"reasoning_details": entries}]
        deltas += [{"reasoning_details": [entry]} for entry in entries]
        fold = ChatFold()
        for delta in deltas:
            fold.add({"choices": [{"index": 0, "delta": delta}]})
        [choice] = fold.answer(None)["choices"]
        details = choice["message"]["reasoning_details"]
        self.assertEqual(details, [{**entry, "text": "aa"} for entry in entries])
        fold = ChatFold()
        for number in range(300):
            fold.add({"x": {f"k{number}": 1}, "choices": []})
        self.assertEqual(fold.answer(None)["x"], {f"k{number}": 1 for number in range(300)})


class StreamTests(SynchronousTestCase):
    """Streams without an end."""

    def test_memory(self) -> None:
        """What is kept of them has a bound, whatever it is that they tell more and more of."""

        def block(number: int, **told: Any) -> list[Json]:
            return [{"type": "content_block_start", "index": number, "content_block": told}]

        end = {"type": "content_block_stop", "index": 0}
        thought = {"type": "thinking", "signature": "s", "thinking": "t"}
        anthropic: tuple[Told, ...] = (
            lambda number: block(number, type="text", text="a"),
            lambda number: [*block(0, type="server_tool_use", name="n"), end],
            lambda number: [*block(0, **thought), end],
            lambda number: [
                *block(0, type="text"),
                {"type": "content_block_delta", "index": 0, "delta": {f"k{number}": [number]}},
            ],
            lambda number: [{"type": "message_delta", "delta": {}, "usage": {f"k{number}": 1}}],
        )
        gemini: Told = lambda number: [{"usageMetadata": {f"k{number}": 1}}]  # noqa: E731
        names = {0: {"name": "f"}}

        def openai(number: int) -> list[Json]:
            function = {"arguments": "a", **names.get(number, {})}
            call = {"index": 0, "id": f"c{number}", "function": function}
            return [{"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}]

        streams: tuple[tuple[Dialect, Told], ...] = (
            *((AnthropicDialect(), told) for told in anthropic),
            (GeminiDialect(), gemini),
            (OpenAIDialect(), openai),
            (RawDialect(MESSAGES), anthropic[-1]),
        )
        for dialect, told in streams:
            reader = dialect.stream_reader(choices=1, max_event_bytes=100_000)
            tracemalloc.start()
            for number in range(10_000):
                reader.feed(b"".join(write_event(dumps(one)) for one in told(number)))
            kept, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.assertLess(kept, 600_000, (dialect, told(1)))

    def test_long_ids(self) -> None:
        """What is told once, and belongs to each chunk, may not be long."""
        long = "x" * 100_000
        call = {"index": 0, "delta": {"message": {"tool_calls": {"function": {"name": "f"}}}}}
        cohere: list[Json] = [{"type": "message-start", "id": long}]
        cohere += [{"type": "tool-call-start", **call, "index": n} for n in range(100)]
        gigachat: list[Json] = [{"choices": [{"delta": {"functions_state_id": long}}]}]
        for number in range(100):
            function = {"name": "f", "arguments": {"a": number}}
            gigachat += [{"choices": [{"delta": {"function_call": function}}]}]
        anthropic: list[Json] = [{"type": "message_start", "message": {"id": long}}]
        anthropic += [
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": "a"},
            }
        ] * 100
        openai: list[Json] = [{"id": long, "choices": [{"delta": {"content": "a"}}]}]
        openai += [{"choices": [{"delta": {"content": "a"}}]}] * 100
        streams: tuple[tuple[Dialect, list[Json]], ...] = (
            (OpenAIDialect(), openai),
            (AnthropicDialect(), anthropic),
            (CohereDialect(), cohere),
            (GigaChatDialect(), gigachat),
        )
        for dialect, events in streams:
            reader = dialect.stream_reader(choices=1, max_event_bytes=2**20)
            writer = OpenAIStreamWriter(identity="i", created=1, model="m", tells_usage=False)
            written = b""
            for event in events:
                for chunk in reader.feed(write_event(dumps(event))):
                    self.assertLess(len(dumps(chunk)), 200_000)
                    written += writer.write(chunk)
            self.assertGreater(written.count(b"data: "), 90, dialect)
            self.assertLess(len(written), 250_000, dialect)

    def test_ends(self) -> None:
        """An end that comes again and again is an end, and no mistake."""
        reader = AnthropicDialect().stream_reader(choices=1, max_event_bytes=2**25)
        told: list[Json] = []
        for _ in range(100):
            start = {"type": "content_block_start", "index": 0, "content_block": {"type": "x"}}
            told += [start, {"type": "content_block_stop", "index": 0}]
        told += [{"type": "message_delta", "delta": {"stop_reason": "end_turn"}}] * 100
        for one in told:
            reader.feed(write_event(dumps(one)))
        self.assertIsNone(reader.error)
        self.assertTrue(reader.finished)

    def test_blanks(self) -> None:
        """A body that may still become anything, blank after blank."""
        reader = RawDialect(MESSAGES).stream_reader(choices=1, max_event_bytes=2**25)
        for _ in range(100):
            reader.feed(b" " * 1_000)
        reader.feed(b"\nda")
        reader.feed(b'ta: {"type":"message_stop"}\n\n')
        self.assertTrue(reader.ended)
        self.assertIsNone(reader.error)

    def test_choices(self) -> None:
        """There is an end of the choices of completions."""
        reader = RawDialect(COMPLETIONS).stream_reader(choices=1, max_event_bytes=2**25)
        for number in range(1_000):
            choice = {"index": number, "text": "a", "finish_reason": None}
            reader.feed(write_event(dumps({"choices": [choice]})))
        self.assertIsInstance(reader.error, UpstreamFailed)


def tool(name: str) -> dict[str, Any]:
    """Make a tool."""
    return {"type": "function", "function": {"name": name}}

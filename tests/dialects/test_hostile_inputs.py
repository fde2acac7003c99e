"""Tests of what callers and upstreams might send to hold everybody up: it takes its time, once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import process_time
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.anthropic import AnthropicDialect
from aiproxy.dialects.cohere import CohereDialect
from aiproxy.dialects.dialect import Dialect
from aiproxy.dialects.fold import ChatFold
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.gigachat import GigaChatDialect
from aiproxy.dialects.multipart import MultipartForm
from aiproxy.errors import InvalidRequest
from aiproxy.wire.json import dumps

#: What takes time by the square of its size takes several times as long.
SECONDS = 1.0


class HostileTestCase(SynchronousTestCase):
    """Looks at the clock."""

    @contextmanager
    def quick(self, what: str) -> Iterator[None]:
        """Assert that something does not take long."""
        begin = process_time()
        yield
        self.assertLess(process_time() - begin, SECONDS, what)


class RequestTests(HostileTestCase):
    """Requests."""

    def test_allowed_tools(self) -> None:
        """Many tools, of which many are allowed."""
        tools = [tool(f"f{number}") for number in range(25_000)]
        allowed = {"mode": "auto", "tools": [tool(f"g{number}") for number in range(25_000)]}
        allowed["tools"] += tools[:2]
        request = {
            "messages": [{"role": "user", "content": "Hi"}],
            "tools": tools,
            "tool_choice": {"type": "allowed_tools", "allowed_tools": allowed},
        }
        dialects: tuple[Dialect, ...] = (AnthropicDialect(), CohereDialect(), GeminiDialect())
        for dialect in dialects:
            with self.quick(repr(dialect)):
                body = dialect.write_request(request, model="m", stream=False).body
            self.assertEqual(body.count(b'"f1"'), 1)

    def test_forms(self) -> None:
        """Forms of many parts, each with many parameters."""
        for piece in (b";", b';a="', b";a=b", b"\r\na: b"):
            for size in (4_000, 15_000):
                head = b"--b\r\ncontent-disposition: form-data" + piece * (size // len(piece))
                body = (head + b"\r\n\r\nx\r\n") * 500 + b"--b--\r\n"
                with self.quick(repr((piece, size))), self.assertRaises(InvalidRequest):
                    MultipartForm(body, "multipart/form-data; boundary=b")

    def test_references(self) -> None:
        """Schemas whose references lead to others, beside much, or are long themselves."""
        chain = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(190)}
        wide = {
            "$ref": "#/$defs/d0",
            "$defs": {**chain, "d190": {"type": "object"}},
            **{f"k{number}": 1 for number in range(100_000)},
        }
        places = {f"p{number}": {"$ref": "#/$defs/x"} for number in range(1_000)}
        long = {
            "$defs": {"x": {"$ref": "#/$defs/" + "%61" * 30_000}, "a" * 30_000: {}},
            "properties": places,
        }
        for schema in (wide, long):
            function = {"name": "f", "parameters": {"type": "object", **schema}}
            request = {
                "messages": [{"role": "user", "content": "Hi"}],
                "tools": [{"type": "function", "function": function}],
            }
            with self.quick(str(schema)[:40]):
                body = GigaChatDialect().write_request(request, model="m", stream=False).body
            self.assertIn(b'"$ref"', body)


class AnswerTests(HostileTestCase):
    """Answers."""

    def test_many_texts(self) -> None:
        """Whole answers in many small texts, thoughts among them."""
        text, thought = "a" * 40, "b" * 40
        anthropic = [
            {"type": "text", "text": text},
            {"type": "thinking", "thinking": thought, "signature": "s"},
        ]
        cohere = [{"type": "text", "text": text}, {"type": "thinking", "thinking": thought}]
        gemini = [{"text": text}, {"text": thought, "thought": True}]
        for dialect, answer in (
            (AnthropicDialect(), {"content": anthropic * 50_000, "stop_reason": "end_turn"}),
            (
                CohereDialect(),
                {"message": {"content": cohere * 50_000}, "finish_reason": "COMPLETE"},
            ),
            (
                GeminiDialect(),
                {"candidates": [{"content": {"parts": gemini * 50_000}, "finishReason": "STOP"}]},
            ),
        ):
            body = dumps(answer)
            with self.quick(repr(dialect)):
                message = dialect.read_reply(body)["choices"][0]["message"]
            self.assertEqual(message["content"], text * 50_000)
            self.assertEqual(message["reasoning_content"], thought * 50_000)

    def test_folded_lists(self) -> None:
        """Lists of many entries, and objects of many fields, in streams that are folded."""
        entries = [{"index": number, "text": "a"} for number in range(30_000)]
        deltas: list[dict[str, Any]] = [{"reasoning_details": entries}]
        deltas += [{"reasoning_details": [entry]} for entry in entries]
        fold = ChatFold()
        with self.quick("lists"):
            for delta in deltas:
                fold.add({"choices": [{"index": 0, "delta": delta}]})
        [choice] = fold.answer(None)["choices"]
        details = choice["message"]["reasoning_details"]
        self.assertEqual(details, [{**entry, "text": "aa"} for entry in entries])
        fold = ChatFold()
        with self.quick("fields"):
            for number in range(30_000):
                fold.add({"x": {f"k{number}": 1}, "choices": []})
        self.assertEqual(len(fold.answer(None)["x"]), 30_000)


def tool(name: str) -> dict[str, Any]:
    """Make a tool."""
    return {"type": "function", "function": {"name": name}}

"""
What the original Go proxy got wrong, as it must be here: rows 6, 7, 8 and 12.

Each provider stands behind a real server, which is asked over a real socket.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from tests.integration.servers import Connection, Server, ServersTestCase, write_request
from tests.transport.upstreams import SocketConnection

#: For each type: the route that it is asked at.
COMPATIBLE = ("openai", "openrouter", "groq", "arliai", "github", "cloudflare", "together", "glama")
HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: %s\r\n\r\n"


def gemini(text: str, reason: str | None = "STOP") -> dict[str, Any]:
    """Make an answer or event of Gemini's."""
    one: dict[str, Any] = {"content": {"parts": [{"text": text}], "role": "model"}}
    if reason:
        one["finishReason"] = reason
    return {"candidates": [one], "responseId": "r"}


def completion(**message: Any) -> dict[str, Any]:
    """Make an answer of OpenAI's."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "choices": [choice]}


def write_events(*documents: object) -> bytes:
    """Write events."""
    return b"".join(b"data: %s\n\n" % json.dumps(document).encode() for document in documents)


class SeedRowsTestCase(ServersTestCase):
    """One server with a model ``TYPE/m`` for each type of provider, all at one upstream."""

    async def serve_types(
        self, respond: Callable[[SocketConnection], object], *types: str
    ) -> tuple[Server, list[bytes]]:
        """Start it; return it and the requests that the upstream gets."""
        upstream, port = self.upstream(respond)
        providers = "".join(
            f"  {one}: {{base_url: 'http://127.0.0.1:{port}/{one}', token: sk-{one}}}\n"
            for one in types
        )
        models = "".join(f"  - {{name: {one}/m, provider: {one}}}\n" for one in types)
        self.write(f"providers:\n{providers}models:\n{models}")
        return await self.serve(), upstream.requests

    async def chat(self, server: Server, model: str, **more: Any) -> Connection:
        """Ask; return the connection when the answer is whole."""
        body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **more}
        return await self.ask(server.port, write_request("POST", "/v1/chat/completions", body))


def answer(document: object) -> Callable[[SocketConnection], None]:
    """Answer every request with this, plain."""

    def respond(connection: SocketConnection) -> None:
        connection.write(HEAD % b"application/json" + json.dumps(document).encode())
        connection.close()

    return respond


def read_body(connection: Connection) -> Any:
    """Return a plain answer's JSON."""
    return json.loads(connection.received.partition(b"\r\n\r\n")[2])


class Row6Tests(SeedRowsTestCase):
    """Any valid message is an answer, also one without content."""

    async def test_messages(self) -> None:
        """Tool calls, thoughts alone, a refusal; but an error in a 200 is an error."""
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        told: list[dict[str, Any]] = []

        def respond(connection: SocketConnection) -> None:
            answer(told[-1])(connection)

        server, _ = await self.serve_types(respond, "openrouter")
        for message in (
            {"content": None, "tool_calls": [call]},
            {"content": None, "reasoning": "hm"},
            {"content": None, "refusal": "no"},
        ):
            told.append(completion(**message))
            answered = await self.chat(server, "openrouter/m")
            self.assertEqual(answered.status, 200)
            found = read_body(answered)["choices"][0]["message"]
            self.assertEqual({**found, **message}, found)
        told.append({"error": {"code": 502, "message": "provider is down"}})
        failed = await self.chat(server, "openrouter/m")
        self.assertEqual(failed.status, 502)
        self.assertIn("provider is down", read_body(failed)["error"]["message"])


class Row7Tests(SeedRowsTestCase):
    """Every provider streams, and one that cannot is told as a stream."""

    async def test_streams(self) -> None:
        """Events go through as they come, whatever the type of the provider."""

        def respond(connection: SocketConnection) -> None:
            request = connection.upstream.requests[-1]
            if b"streamGenerateContent" in request:
                events = write_events(gemini("a", None), gemini("b"))
            else:
                assert json.loads(request.partition(b"\r\n\r\n")[2])["stream"] is True
                first = {"choices": [{"index": 0, "delta": {"content": "a"}}]}
                last = {"choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]}
                events = write_events(first, last) + b"data: [DONE]\n\n"
            connection.write(HEAD % b"text/event-stream" + events)
            connection.close()

        server, _ = await self.serve_types(respond, *COMPATIBLE, "google")
        for name in (*COMPATIBLE, "google"):
            answered = await self.chat(server, f"{name}/m", stream=True)
            self.assertEqual(answered.status, 200, name)
            for part in (b'"content":"a"', b'"content":"b"', b"data: [DONE]"):
                self.assertIn(part, answered.received, name)

    async def test_plain_answers_as_streams(self) -> None:
        """A provider that answers a stream's request with plain JSON is told as a stream."""
        server, _ = await self.serve_types(answer(completion(content="whole")), "groq")
        answered = await self.chat(server, "groq/m", stream=True)
        self.assertIn(b"text/event-stream", answered.received)
        self.assertIn(b'"content":"whole"', answered.received)
        self.assertIn(b"data: [DONE]", answered.received)


class Row8Tests(SeedRowsTestCase):
    """Streams are written event by event."""

    async def test_at_once(self) -> None:
        """An event is with the client before the next one is sent, in a translated stream too."""
        for name, event in (
            ("openai", lambda text: {"choices": [{"index": 0, "delta": {"content": text}}]}),
            ("google", lambda text: gemini(text, None)),
        ):
            asked: Deferred[SocketConnection] = Deferred()
            server, _ = await self.serve_types(asked.callback, name)
            body = {"model": f"{name}/m", "messages": [{"role": "user", "content": "Hi"}]}
            request = write_request("POST", "/v1/chat/completions", {**body, "stream": True})
            client = await self.connect(server.port, request)
            upstream = await asked
            upstream.write(HEAD % b"text/event-stream")
            for number in range(5):
                upstream.write(write_events(event(f"word{number}.")))
                await client.until_bytes(f"word{number}.".encode(), 5)


class Row12Tests(SeedRowsTestCase):
    """The model's name is written once, and everything else is sent as it came."""

    async def test_requests(self) -> None:
        """No prefix, no SMALL; fields and content parts arrive; a status is looked at."""
        server, requests = await self.serve_types(answer(completion(content="x")), *COMPATIBLE)
        parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
        asked = {"messages": [{"role": "user", "content": parts}], "temperature": 0, "odd": [1]}
        for name in COMPATIBLE:
            answered = await self.chat(server, f"{name}/m", **asked)
            self.assertEqual(read_body(answered)["model"], f"{name}/m")
            head, _, body = requests[-1].partition(b"\r\n\r\n")
            self.assertIn(f"/{name}/chat/completions ".encode(), head)
            self.assertIn(f"bearer sk-{name}".encode(), head.lower())
            self.assertEqual(json.loads(body), {**asked, "model": "m", "stream": False}, name)

    async def test_alias(self) -> None:
        """SMALL is ours alone: the upstream is asked for the model that was chosen."""
        upstream, port = self.upstream(answer(completion(content="x")))
        self.write(
            f"""
            models:
              - name: groq/llama-3
                provider: groq
                model_size: SMALL
                token: sk-groq
                url: http://127.0.0.1:{port}/openai/v1/chat/completions
            """
        )
        server = await self.serve()
        answered = await self.chat(server, "SMALL")
        self.assertEqual(read_body(answered)["model"], "groq/llama-3")
        body = json.loads(upstream.requests[-1].partition(b"\r\n\r\n")[2])
        self.assertEqual(body["model"], "llama-3")

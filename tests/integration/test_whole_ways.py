"""Whole servers with providers of each kind behind them, asked by OpenAI's own client."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from tests.integration.servers import TOKEN, ServersTestCase, write_request
from tests.integration.test_clients import PRELUDE
from tests.transport.upstreams import SocketConnection

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
JSON, EVENTS = (
    "200 OK\r\nContent-Type: application/json",
    "200 OK\r\nContent-Type: text/event-stream",
)


def write_events(*documents: object) -> str:
    """Write events; a text is a comment."""
    return "".join(
        f": {one}\n\n" if isinstance(one, str) else f"data: {json.dumps(one)}\n\n"
        for one in documents
    )


class WholeWayTestCase(ServersTestCase):
    """Runs a client against a server against an upstream."""

    async def run_client(
        self, config: str, program: str, respond: Callable[[str, bytes], tuple[str, str]]
    ) -> tuple[dict[str, Any], list[bytes]]:
        """
        Run some lines; return what they put into ``out``, and the upstream's requests.

        :param config: with ``PORT`` for the upstream's.
        :param respond: gives status and headers, and the body, for a path and a body.
        """

        def answer(connection: SocketConnection) -> None:
            head, _, body = connection.upstream.requests[-1].partition(b"\r\n\r\n")
            status, text = respond(head.split(b" ")[1].decode(), body)
            connection.write(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n{text}".encode())
            connection.close()

        upstream, port = self.upstream(answer)
        self.write(config.replace("PORT", str(port)))
        server = await self.serve()
        script = PRELUDE + program + "\nprint(json.dumps(out))\n"
        client = self.spawn([sys.executable, "-c", script, f"{server.url}/v1", TOKEN])
        self.assertEqual(await client.ended(30), 0, client.output)
        self.output = server.output
        found: dict[str, Any] = json.loads(client.output.splitlines()[-1])
        return found, upstream.requests


class GigaChatTests(WholeWayTestCase):
    """GigaChat."""

    async def test_conversation(self) -> None:
        """A token is asked for once; tools, an image and a stream mean what OpenAI's mean."""

        def respond(path: str, body: bytes) -> tuple[str, str]:
            if path == "/oauth":
                return JSON, json.dumps({"access_token": "tok", "expires_at": 4e12})
            if path.startswith("/v1/files"):
                return JSON, json.dumps({"id": "file-1"})
            request = json.loads(body)
            usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
            if request.get("functions"):
                call = {"name": "f", "arguments": {"a": 1}}
                message: dict[str, Any] = {
                    "role": "assistant",
                    "content": "",
                    "function_call": call,
                }
                choice = {"index": 0, "message": message, "finish_reason": "function_call"}
                return JSON, json.dumps({"choices": [choice], "usage": usage})
            if request.get("stream"):
                first = {"choices": [{"delta": {"role": "assistant", "content": "o"}, "index": 0}]}
                last = {
                    "choices": [{"delta": {"content": "k"}, "index": 0, "finish_reason": "stop"}]
                }
                return EVENTS, write_events(first, {**last, "usage": usage}) + "data: [DONE]\n\n"
            seen = request["messages"][0].get("attachments")
            message = {"role": "assistant", "content": f"saw {seen}"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return JSON, json.dumps({"choices": [choice], "usage": usage})

        out, requests = await self.run_client(
            """
            providers:
              gigachat: {base_url: "http://127.0.0.1:PORT/v1", auth_url: "http://127.0.0.1:PORT/oauth",
                         token: "id:secret"}
            models: [{name: up/one, provider: gigachat, upstream_model: GigaChat-2}]
            """,
            f"""
choice = chat("hi", tools={[TOOL]!r}).choices[0]
out["call"] = choice.finish_reason, choice.message.tool_calls[0].function.arguments
chunks = list(chat("hi", stream=True, stream_options={{"include_usage": True}}))
out["stream"] = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
out["usage"] = chunks[-1].usage.total_tokens
part = {{"type": "image_url", "image_url": {{"url": "data:image/png;base64,AAAA"}}}}
out["image"] = client.chat.completions.create(
    model="up/one", messages=[{{"role": "user", "content": [part]}}]
).choices[0].message.content
""",
            respond,
        )
        self.assertEqual(out["call"], ["tool_calls", '{"a":1}'])
        self.assertEqual((out["stream"], out["usage"]), ("ok", 4))
        self.assertEqual(out["image"], "saw ['file-1']")
        self.assertEqual(sum(one.startswith(b"POST /oauth ") for one in requests), 1)
        self.assertNotIn("secret", self.output)


class OpenRouterTests(WholeWayTestCase):
    """OpenRouter."""

    CONFIG = """
    retry: {max_retries: 0}
    providers:
      openrouter: {base_url: "http://127.0.0.1:PORT/v1", token: sk-or}
    models: [{provider: openrouter, name: up/one}]
    """

    async def test_stream(self) -> None:
        """Comments are no deltas, thoughts have their field; an error in the stream is raised."""
        delta = {"role": "assistant", "content": "a"}
        chunk = {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        thought = {"choices": [{"index": 0, "delta": {"content": "", "reasoning": "hm"}}]}
        finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        error = {"error": {"code": 502, "message": "provider is down"}, "choices": []}
        comment = "OPENROUTER PROCESSING"

        def respond(path: str, body: bytes) -> tuple[str, str]:
            if b"broken" in body:
                return EVENTS, write_events(comment, chunk, error) + "data: [DONE]\n\n"
            events = write_events(comment, thought, comment, chunk, chunk, finish, comment)
            return EVENTS, events + "data: [DONE]\n\n"

        out, requests = await self.run_client(
            self.CONFIG,
            """
chunks = list(chat("hi", stream=True, reasoning_effort="low"))
out["text"] = "".join(c.choices[0].delta.content or "" for c in chunks)
out["thoughts"] = "".join(getattr(c.choices[0].delta, "reasoning_content", "") for c in chunks)
said = []
try:
    for chunk in chat("broken", stream=True):
        said.append(chunk.choices[0].delta.content)
except openai.APIError as error:
    out["error"] = [error.message, said]
""",
            respond,
        )
        self.assertEqual((out["text"], out["thoughts"]), ("aa", "hm"))
        # It came in one piece, so nothing was told before it.
        self.assertEqual(out["error"], ["Error code: 502 - provider is down", []])
        self.assertIn(b'"reasoning":{"effort":"low"}', requests[0])

    async def test_limits(self) -> None:
        """The upstream's own delay, in its header or behind OpenRouter, is the Retry-After."""

        def respond(path: str, body: bytes) -> tuple[str, str]:
            status = "429 Too Many Requests\r\nContent-Type: application/json"
            told: dict[str, Any] = {"code": 429, "message": "Provider returned error"}
            if b"header" in body:
                return f"{status}\r\nRetry-After: 9", json.dumps({"error": told})
            told["metadata"] = {"headers": {"Retry-After": "8"}, "provider_name": "x"}
            return status, json.dumps({"error": told})

        out, _ = await self.run_client(
            # One that names a delay is left alone until then, so there are two.
            self.CONFIG.replace("up/one}", "up/one}, {provider: openrouter, name: up/two}"),
            """
def fails(text, model):
    try:
        chat(text, model)
    except openai.RateLimitError as error:
        return error.response.headers["retry-after"]
out["header"] = fails("header", "up/one")
out["metadata"] = fails("metadata", "up/two")
""",
            respond,
        )
        self.assertEqual(out, {"header": "9", "metadata": "8"})


class ImageTests(WholeWayTestCase):
    """Images that the provider does not fetch."""

    async def test_refused(self) -> None:
        """A private address is a 400 that says so, and nobody is asked."""
        upstream, port = self.upstream(lambda connection: connection.close())
        self.write(
            f"""
            providers:
              cloudflare: {{base_url: "http://127.0.0.1:{port}/ai/run", token: t}}
            models: [{{name: up/one, provider: cloudflare, upstream_model: "@cf/x/y"}}]
            """
        )
        server = await self.serve()
        for url in (
            f"http://127.0.0.1:{port}/x.png",
            "http://169.254.169.254/latest",
            "http://localhost/",
        ):
            part = {"type": "image_url", "image_url": {"url": url}}
            body = {"model": "up/one", "messages": [{"role": "user", "content": [part]}]}
            answered = await self.ask(
                server.port, write_request("POST", "/v1/chat/completions", body)
            )
            self.assertEqual(answered.status, 400)
            self.assertIn(b'"code":"invalid_image_url"', answered.received)
        self.assertEqual(upstream.requests, [])

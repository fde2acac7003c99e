"""Gemini behind a whole server, asked by OpenAI's own client."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.integration.servers import TOKEN, ServersTestCase
from tests.integration.test_clients import PRELUDE
from tests.transport.upstreams import SocketConnection

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALL = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "SIGNED"}
USAGE = {
    "promptTokenCount": 3,
    "candidatesTokenCount": 2,
    "thoughtsTokenCount": 4,
    "totalTokenCount": 9,
}


def event(*parts: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    """Make an event."""
    one: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
    if reason:
        one["finishReason"] = reason
    return {"candidates": [one], "usageMetadata": USAGE, "responseId": "resp"}


def answer_to(path: str, body: dict[str, Any]) -> tuple[str, bytes]:
    """Answer as the last message says; return the status and content type, and the body."""
    last = body["contents"][-1]["parts"][-1]
    wish = last.get("text")
    json_type = "200 OK\r\nContent-Type: application/json"
    if wish == "limit":
        details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}]
        error = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow", "details": details}
        return json_type.replace("200 OK", "429 X"), json.dumps({"error": error}).encode()
    if wish == "inside":
        error = {"code": 503, "status": "UNAVAILABLE", "message": "overloaded"}
        return json_type, json.dumps({"error": error}).encode()
    if wish == "call":
        documents = [event(CALL, reason="STOP")]
    elif "functionResponse" in last:
        signed = body["contents"][-2]["parts"][0].get("thoughtSignature")
        documents = [event({"text": str(signed)}, reason="STOP")]
    else:
        documents = [
            event({"text": "hm", "thought": True}),
            event({"text": "hel"}),
            event({"text": "lo"}, reason="STOP"),
        ]
    if "alt=sse" not in path:
        parts = [part for one in documents for part in one["candidates"][0]["content"]["parts"]]
        return json_type, json.dumps(event(*parts, reason="STOP")).encode()
    events = b"".join(b"data: %s\r\n\r\n" % json.dumps(one).encode() for one in documents)
    return "200 OK\r\nContent-Type: text/event-stream", events


def respond(connection: SocketConnection) -> None:
    """Answer a request."""
    head, _, body = connection.upstream.requests[-1].partition(b"\r\n\r\n")
    status, answer = answer_to(head.split(b" ")[1].decode(), json.loads(body))
    connection.write(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode() + answer)
    connection.close()


class GeminiTests(ServersTestCase):
    """What people do with it."""

    async def run_client(self, program: str) -> tuple[dict[str, Any], list[bytes]]:
        """Run some lines; return what they put into ``out``, and the upstream's requests."""
        upstream, port = self.upstream(respond)
        self.write(
            f"""
            retry: {{max_retries: 0}}
            breaker: {{failures: 100}}
            providers:
              google: {{base_url: "http://127.0.0.1:{port}/v1beta", token: sk-google}}
            models:
              - {{name: up/one, provider: google, upstream_model: gemini-3-pro}}
            """
        )
        server = await self.serve()
        script = PRELUDE + program + "\nprint(json.dumps(out))\n"
        client = self.spawn([sys.executable, "-c", script, f"{server.url}/v1", TOKEN])
        self.assertEqual(await client.ended(30), 0, client.output)
        self.assertNotIn("sk-google", server.output)
        found: dict[str, Any] = json.loads(client.output.splitlines()[-1])
        return found, upstream.requests

    async def test_answers(self) -> None:
        """Plain and streamed, with thoughts and usage; what is left out is named."""
        out, requests = await self.run_client(
            """
plain = chat("hi")
out["plain"] = plain.choices[0].message.content
out["thoughts"] = plain.choices[0].message.reasoning_content
out["usage"] = plain.usage.completion_tokens, plain.usage.completion_tokens_details.reasoning_tokens
chunks = list(chat("hi", stream=True, stream_options={"include_usage": True}))
out["stream"] = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
out["stream_usage"] = chunks[-1].usage.total_tokens
raw = client.chat.completions.with_raw_response.create(
    model="up/one", messages=[{"role": "user", "content": "hi"}], user="u", logit_bias={"1": 1})
out["dropped"] = raw.headers["x-aiproxy-dropped"]
with client.chat.completions.with_streaming_response.create(
    model="up/one", messages=[{"role": "user", "content": "hi"}], user="u", stream=True) as raw:
    out["dropped_stream"] = raw.headers["x-aiproxy-dropped"]
"""
        )
        self.assertEqual((out["plain"], out["thoughts"]), ("hello", "hm"))
        self.assertEqual(out["usage"], [6, 4])
        self.assertEqual((out["stream"], out["stream_usage"]), ("hello", 9))
        self.assertEqual((out["dropped"], out["dropped_stream"]), ("logit_bias, user", "user"))
        self.assertTrue(
            requests[0].startswith(b"POST /v1beta/models/gemini-3-pro:generateContent ")
        )
        self.assertIn(b"x-goog-api-key: sk-google", requests[0].lower())
        self.assertNotIn(b"authorization", requests[0].lower())

    async def test_signatures(self) -> None:
        """A call goes back with its signature, though the client forgets it; plain and streamed."""
        out, _ = await self.run_client(
            f"""
tools = {[TOOL]!r}
def result(call_id):
    call = {{"id": call_id, "type": "function", "function": {{"name": "f", "arguments": "{{}}"}}}}
    return client.chat.completions.create(model="up/one", tools=tools, messages=[
        {{"role": "user", "content": "call"}},
        {{"role": "assistant", "tool_calls": [call]}},
        {{"role": "tool", "tool_call_id": call_id, "content": "done"}},
    ]).choices[0].message.content
choice = chat("call", tools=tools).choices[0]
out["reason"] = choice.finish_reason
out["arguments"] = choice.message.tool_calls[0].function.arguments
out["plain"] = result(choice.message.tool_calls[0].id)
chunks = list(chat("call", tools=tools, stream=True))
(piece,) = [c.choices[0].delta.tool_calls[0] for c in chunks if c.choices[0].delta.tool_calls]
out["streamed"] = result(piece.id)
out["unknown"] = result("call_of_another")
"""
        )
        self.assertEqual((out["reason"], json.loads(out["arguments"])), ("tool_calls", {"a": 1}))
        self.assertEqual((out["plain"], out["streamed"]), ("SIGNED", "SIGNED"))
        self.assertEqual(out["unknown"], "skip_thought_signature_validator")

    async def test_errors(self) -> None:
        """A limit has its delay; an error inside a 200 is one, also where a stream was asked."""
        out, _ = await self.run_client(
            """
def fails(**more):
    try:
        chat(**more)
    except openai.APIStatusError as error:
        return [error.status_code, error.response.headers.get("retry-after"), error.message]
out["inside"] = fails(text="inside")
out["inside_stream"] = fails(text="inside", stream=True)
out["limit"] = fails(text="limit")
"""
        )
        self.assertEqual(out["limit"][:2], [429, "7"])
        for name in ("inside", "inside_stream"):
            self.assertEqual(out[name][0], 502)
            self.assertIn("overloaded", out[name][2])

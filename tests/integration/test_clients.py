"""OpenAI's own Python client against a whole server."""

from __future__ import annotations

import json
import sys
from typing import Any

from tests.integration.servers import TOKEN, ServersTestCase, config_for
from tests.transport.upstreams import SocketConnection

CALL: dict[str, Any] = {
    "index": 0,
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object"}},
}

HEAD = b"HTTP/1.1 %s\r\nConnection: close\r\nContent-Type: %s\r\n%s\r\n"


def whole(status: str, document: object, *headers: str) -> bytes:
    """Write a whole answer."""
    more = "".join(f"{header}\r\n" for header in headers).encode()
    return HEAD % (status.encode(), b"application/json", more) + json.dumps(document).encode()


def events(*deltas: dict[str, Any], reason: str = "stop", whole: bool = True) -> bytes:
    """Write a stream."""
    choices: list[list[dict[str, Any]]] = [[{"index": 0, "delta": delta}] for delta in deltas]
    documents: list[dict[str, Any]] = [
        {"id": "c1", "object": "chat.completion.chunk", "choices": c} for c in choices
    ]
    if whole:
        last: dict[str, Any] = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
        documents += [last, {"choices": [], "usage": USAGE}]
    data = b"".join(b"data: %s\n\n" % json.dumps(document).encode() for document in documents)
    return HEAD % (b"200 OK", b"text/event-stream", b"") + data + b"data: [DONE]\n\n" * whole


def completion(message: dict[str, Any], reason: str = "stop") -> bytes:
    """Write a whole completion."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return whole("200 OK", {"id": "c1", "choices": [choice], "usage": USAGE})


def answer_to(request: dict[str, Any]) -> bytes:
    """Answer as the last message says."""
    wish = request["messages"][-1]["content"]
    if wish == "429":
        error = {"error": {"message": "slow down", "type": "x", "code": "rate_limit_exceeded"}}
        return whole("429 Too Many Requests", error, "Retry-After: 7")
    if wish == "400":
        error = {"error": {"message": "no such thing", "type": "x", "code": "bad_thing"}}
        return whole("400 Bad Request", error)
    if wish == "cut":
        return events({"content": "be"}, whole=False)
    if wish == "call" and request.get("stream"):
        function = {"name": "weather", "arguments": ""}
        parts = ['{"city"', ': "Oslo"}']
        pieces = [{"index": 0, "function": {"arguments": part}} for part in parts]
        calls = [{**CALL, "function": function}, *pieces]
        return events(*({"tool_calls": [call]} for call in calls), reason="tool_calls")
    if wish == "call":
        return completion({"content": None, "tool_calls": [CALL]}, "tool_calls")
    if request.get("stream"):
        return events({"role": "assistant", "content": "hel"}, {"content": "lo"})
    return completion({"content": "hello"})


def respond(connection: SocketConnection) -> None:
    """Answer a request to the upstream."""
    body = connection.upstream.requests[-1].partition(b"\r\n\r\n")[2]
    connection.write(answer_to(json.loads(body)))
    connection.close()


class ClientTests(ServersTestCase):
    """Everything that people do first."""

    async def run_client(self, program: str, token: str = TOKEN) -> dict[str, Any]:
        """Run some lines with ``client`` and ``chat``; return what they put into ``out``."""
        _, port = self.upstream(respond)
        self.write(config_for(port))
        server = await self.serve()
        script = PRELUDE + program + "\nprint(json.dumps(out))\n"
        client = self.spawn([sys.executable, "-c", script, f"{server.url}/v1", token])
        self.assertEqual(await client.ended(30), 0, client.output)
        found: dict[str, Any] = json.loads(client.output.splitlines()[-1])
        return found

    async def test_answers(self) -> None:
        """Plain and streamed, with usage where it is asked for and not elsewhere."""
        out = await self.run_client(
            """
plain = chat("hi")
out["plain"] = plain.choices[0].message.content
out["model"] = plain.model
chunks = list(chat("hi", stream=True))
out["stream"] = "".join(c.choices[0].delta.content or "" for c in chunks)
out["unasked"] = [c.usage for c in chunks if c.usage]
chunks = list(chat("hi", stream=True, stream_options={"include_usage": True}))
out["usage"] = [c.usage.total_tokens for c in chunks if c.usage]
out["last"] = len(chunks[-1].choices)
"""
        )
        self.assertEqual(
            out,
            {
                "plain": "hello",
                "model": "up/one",
                "stream": "hello",
                "unasked": [],
                "usage": [5],
                "last": 0,
            },
        )

    async def test_tool_calls(self) -> None:
        """A call of a tool comes whole, plain and streamed."""
        out = await self.run_client(
            f"""
tools = {[TOOL]!r}
choice = chat("call", tools=tools).choices[0]
call = choice.message.tool_calls[0]
out["plain"] = [choice.message.content, call.id, call.function.name, call.function.arguments]
out["reason"] = choice.finish_reason
pieces = []
for chunk in chat("call", tools=tools, stream=True):
    for choice in chunk.choices:
        pieces += choice.delta.tool_calls or []
        reason = choice.finish_reason
out["stream"] = [pieces[0].id, pieces[0].function.name]
out["arguments"] = "".join(piece.function.arguments or "" for piece in pieces)
out["stream_reason"] = reason
"""
        )
        arguments = '{"city": "Oslo"}'
        self.assertEqual(out["plain"], [None, "call_1", "weather", arguments])
        self.assertEqual((out["reason"], out["stream_reason"]), ("tool_calls", "tool_calls"))
        self.assertEqual((out["stream"], out["arguments"]), (["call_1", "weather"], arguments))

    async def test_models(self) -> None:
        """Models are listed, and each is found by its name."""
        out = await self.run_client(
            """
out["list"] = [model.id for model in client.models.list()]
out["one"] = client.models.retrieve("up/one").id
"""
        )
        self.assertIn("up/one", out["list"])
        self.assertEqual(out["one"], "up/one")

    async def test_errors(self) -> None:
        """Each mistake is the client's own exception for it."""
        out = await self.run_client(
            """
def fails(call):
    try:
        call()
    except openai.APIError as error:
        return [type(error).__name__, error.code, error]
    raise AssertionError("it did not fail")

out["model"] = fails(lambda: chat("hi", model="nobody/nothing"))[:2]
out["bad"] = fails(lambda: chat("400"))[:2]
out["bad_stream"] = fails(lambda: chat("400", stream=True))[:2]
said = []
def cut():
    for chunk in chat("cut", stream=True):
        said.append(chunk.choices[0].delta.content)
out["cut"] = fails(cut)[0]
out["said"] = "".join(word for word in said if word)
limited = fails(lambda: chat("429"))
out["limit"] = limited[0], limited[2].response.headers["retry-after"]
client = client.with_options(api_key="wrong")
out["key"] = fails(lambda: client.models.list())[0]
"""
        )
        self.assertEqual(out["model"], ["NotFoundError", "model_not_found"])
        self.assertEqual(out["limit"], ["RateLimitError", "7"])
        self.assertEqual(out["bad"], ["BadRequestError", "bad_thing"])
        self.assertEqual(out["bad_stream"], ["BadRequestError", "bad_thing"])
        self.assertEqual((out["cut"], out["said"]), ("APIError", "be"))
        self.assertEqual(out["key"], "AuthenticationError")


PRELUDE = """
import json, sys
import openai
client = openai.OpenAI(base_url=sys.argv[1], api_key=sys.argv[2], max_retries=0)
out = {}
def chat(text, model="up/one", **more):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=model, messages=messages, **more)
"""

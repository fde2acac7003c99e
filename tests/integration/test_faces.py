"""The official clients of other interfaces than chat completions against a whole server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from tests.integration.servers import TOKEN, Server, ServersTestCase, write_request
from tests.shown import PLAIN, STREAMED, show
from tests.transport.upstreams import SocketConnection

Respond = Callable[[str, bytes, bytes], bytes]

CONFIG = """
breaker: {failures: 100}
providers:
  claude: {type: anthropic, base_url: "http://127.0.0.1:PORT/v1", token: sk-upstream}
  gpt: {type: openai, base_url: "http://127.0.0.1:PORT/v1", token: sk-upstream}
  plain: {base_url: "http://127.0.0.1:PORT/v1", token: sk-upstream}
models:
  - {name: my-claude, provider: claude, upstream_model: claude-x}
  - {name: locked, provider: claude, upstream_model: claude-x}
  - {name: my-gpt, provider: gpt, upstream_model: gpt-x}
  - {name: my-plain, provider: plain, upstream_model: plain-x}
  - {name: demo/echo, provider: demo}
groups:
  both: {models: [my-claude, my-gpt]}
retry: {max_retries: 0}
"""

PRELUDE = """
import io, json, sys
import anthropic, openai
url, token = sys.argv[1:]
claude = anthropic.Anthropic(base_url=url, api_key=token, max_retries=0)
gpt = openai.OpenAI(base_url=url + "/v1", api_key=token, max_retries=0)
hello = [{"role": "user", "content": "hello"}]
out = {}
def fault(call):
    try:
        call()
    except (anthropic.APIError, openai.APIError) as error:
        return [type(error).__name__, getattr(error, "status_code", None), error.message]
"""

MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
RESPONSE: dict[str, Any] = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-x",
    "status": "completed",
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hi", "annotations": []}],
        }
    ],
    "usage": {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    },
}


def answer(body: bytes, content_type: str = "application/json", status: str = "200 OK") -> bytes:
    """Write an upstream's answer."""
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {content_type}\r\n\r\n"
    return head.encode() + body


def answer_json(document: object, status: str = "200 OK") -> bytes:
    """Write a whole answer."""
    return answer(json.dumps(document).encode(), status=status)


def answer_events(*events: dict[str, Any]) -> bytes:
    """Write a stream of named events."""
    told = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)
    return answer(told.encode(), "text/event-stream")


def message_events(*, whole: bool = True) -> list[dict[str, Any]]:
    """Return the events of a message."""
    start = {**MESSAGE, "content": [], "usage": {"input_tokens": 3, "output_tokens": 1}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": start},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "hi"},
        },
    ]
    ends: list[dict[str, Any]] = [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 2},
        },
        {"type": "message_stop"},
    ]
    return events + ends if whole else events


def response_events(*, whole: bool = True) -> list[dict[str, Any]]:
    """Return the events of a response."""
    begun = {**RESPONSE, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    item = {**RESPONSE["output"][0], "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "item": item, "output_index": 0},
        {**place, "type": "response.content_part.added", "part": part},
        {**place, "type": "response.output_text.delta", "delta": "hi", "logprobs": []},
    ]
    if whole:
        events.append({"type": "response.completed", "response": RESPONSE})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


class FacesTestCase(ServersTestCase):
    """Runs a client against a server against an upstream."""

    async def begin(self, respond: Respond) -> tuple[Server, list[bytes]]:
        """
        Start a server and its upstream; return the upstream's requests with it.

        :param respond: answers a path, a head and a body.
        """

        def take(connection: SocketConnection) -> None:
            head, _, body = connection.upstream.requests[-1].partition(b"\r\n\r\n")
            connection.write(respond(head.split(b" ")[1].decode(), head, body))
            connection.close()

        upstream, port = self.upstream(take)
        self.write(CONFIG.replace("PORT", str(port)))
        return await self.serve(), upstream.requests

    async def run_client(
        self, program: str, respond: Respond
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Run some lines; return what they put into ``out``, and the upstream's requests."""
        server, requests = await self.begin(respond)
        script = PRELUDE + program + "\nprint(json.dumps(out))\n"
        client = self.spawn([sys.executable, "-c", script, server.url, TOKEN])
        self.assertEqual(await client.ended(45), 0, client.output)
        found: dict[str, Any] = json.loads(client.output.splitlines()[-1])
        return found, requests


class MessagesTests(FacesTestCase):
    """Anthropic's own client."""

    async def test_answers(self) -> None:
        """Plain, streamed and counted; under the configured name, with the client's headers."""

        def respond(path: str, head: bytes, body: bytes) -> bytes:
            request = json.loads(body)
            assert request["model"] == "claude-x", request
            if path.endswith("/count_tokens"):
                return answer_json({"input_tokens": 36})
            if request.get("stream"):
                return answer_events(*message_events())
            return answer_json(MESSAGE)

        out, requests = await self.run_client(
            """
ask = dict(model="my-claude", max_tokens=9, messages=hello)
plain = claude.messages.create(**ask)
out["plain"] = plain.content[0].text, plain.model, plain.usage.input_tokens
named = claude.messages.create(extra_headers={"x-request-id": "mine"}, **ask)
out["request"] = named._request_id
with claude.messages.stream(**ask) as stream:
    out["stream"] = "".join(stream.text_stream)
    last = stream.get_final_message()
out["last"] = last.model, last.stop_reason, last.usage.output_tokens
out["events"] = [event.type for event in claude.messages.create(stream=True, **ask)]
out["count"] = claude.messages.count_tokens(model="my-claude", messages=hello).input_tokens
out["beta"] = claude.beta.messages.create(betas=["one-2025", "two-2025"], **ask).id
bearer = anthropic.Anthropic(base_url=url, auth_token=token, max_retries=0)
out["bearer"] = bearer.messages.create(**ask).id
out["group"] = claude.messages.create(**{**ask, "model": "both"}).model
""",
            respond,
        )
        self.assertEqual(out["plain"], ["hi", "my-claude", 3])
        self.assertEqual((out["stream"], out["request"]), ("hi", "mine"))
        # The client keeps pings to itself.
        kinds = [one["type"] for one in message_events() if one["type"] != "ping"]
        self.assertEqual(out["last"], ["my-claude", "end_turn", 2])
        self.assertEqual(out["events"], kinds)
        self.assertEqual((out["count"], out["beta"]), (36, "msg_1"))
        self.assertEqual((out["bearer"], out["group"]), ("msg_1", "my-claude"))
        heads = [request.partition(b"\r\n\r\n")[0].lower() for request in requests]
        for head in heads:
            self.assertIn(b"anthropic-version: 2023-06-01", head)
            self.assertIn(b"x-api-key: sk-upstream", head)
            self.assertNotIn(TOKEN.encode(), head)
        beta = next(head for head in heads if b"anthropic-beta: one-2025,two-2025" in head)
        self.assertTrue(beta.startswith(b"post /v1/messages?beta=true "), beta)
        show("anthropic", "messages", way=PLAIN)
        show("anthropic", "messages", way=STREAMED)
        show("anthropic", "count_tokens")

    async def test_errors(self) -> None:
        """Each is of the client's own kind, before a stream and in the middle of one."""

        def respond(path: str, head: bytes, body: bytes) -> bytes:
            wish = json.loads(body)["messages"][-1]["content"]
            error: dict[str, Any] = {"type": "overloaded_error", "message": "Overloaded"}
            if wish == "cut":
                return answer_events(*message_events(whole=False))
            if wish == "at once":
                return answer_events({"type": "error", "error": error})
            status, kind = {
                "400": ("400 Bad Request", "invalid_request_error"),
                "401": ("401 Unauthorized", "authentication_error"),
                "429": ("429 Too Many Requests", "rate_limit_error"),
                "529": ("529 Overloaded", "overloaded_error"),
            }[wish]
            told = {"type": kind, "message": f"it is {wish}"}
            return answer_json({"type": "error", "error": told}, status)

        out, _ = await self.run_client(
            """
def ask(text, client=claude, model="my-claude", **more):
    messages = [{"role": "user", "content": text}]
    return client.messages.create(model=model, max_tokens=9, messages=messages, **more)
for wish in ("400", "429", "529"):
    out[wish] = fault(lambda: ask(wish))
out["401"] = fault(lambda: ask("401", model="locked"))
for wish in ("cut", "at once"):
    out[wish] = fault(lambda: list(ask(wish, stream=True)))
stranger = anthropic.Anthropic(base_url=url, api_key="wrong", max_retries=0)
out["key"] = fault(lambda: ask("400", stranger))
for model in ("my-gpt", "demo/echo", "nowhere"):
    out[model] = fault(lambda: ask("400", model=model))
try:
    ask("400", model="my-gpt")
except anthropic.APIStatusError as error:
    out["body"] = error.body
""",
            respond,
        )
        kinds = {wish: out[wish][:2] for wish in out if wish != "body"}
        self.assertEqual(
            kinds,
            {
                "400": ["BadRequestError", 400],
                "401": ["InternalServerError", 502],
                "429": ["RateLimitError", 429],
                "529": ["InternalServerError", 502],
                # It comes after the status.
                "cut": ["APIStatusError", 200],
                "at once": ["InternalServerError", 502],
                "key": ["AuthenticationError", 401],
                "my-gpt": ["BadRequestError", 400],
                "demo/echo": ["BadRequestError", 400],
                "nowhere": ["NotFoundError", 404],
            },
        )
        self.assertIn("it is 400", out["400"][2])
        self.assertIn("cut before its end", out["cut"][2])
        error = out["body"]["error"]
        self.assertEqual((out["body"]["type"], error["type"]), ("error", "invalid_request_error"))
        self.assertIn("has no messages; of those configured these have: claude", error["message"])


class ResponsesTests(FacesTestCase):
    """OpenAI's client and its responses."""

    async def test_answers(self) -> None:
        """Plain and streamed, under the configured name."""

        def respond(path: str, head: bytes, body: bytes) -> bytes:
            request = json.loads(body)
            assert (path, request["model"]) == ("/v1/responses", "gpt-x"), request
            if request.get("stream"):
                return answer_events(*response_events(whole=request["input"] != "cut"))
            return answer_json(RESPONSE)

        out, _ = await self.run_client(
            """
plain = gpt.responses.create(model="my-gpt", input="hello")
out["plain"] = plain.output_text, plain.model, plain.usage.total_tokens
events = list(gpt.responses.create(model="my-gpt", input="hello", stream=True))
out["stream"] = [event.type for event in events]
out["models"] = [event.response.model for event in events if hasattr(event, "response")]
with gpt.responses.stream(model="both", input="hello") as stream:
    for event in stream:
        pass
    out["final"] = stream.get_final_response().output_text
out["cut"] = fault(lambda: list(gpt.responses.create(model="my-gpt", input="cut", stream=True)))
for model in ("my-claude", "my-plain"):
    out[model] = fault(lambda: gpt.responses.create(model=model, input="hello"))
raw = gpt.responses.with_streaming_response.create(model="my-gpt", input="cut", stream=True)
with raw as response:
    out["raw"] = response.read().decode()
""",
            respond,
        )
        self.assertEqual(out["plain"], ["hi", "my-gpt", 5])
        self.assertEqual(out["stream"], [one["type"] for one in response_events()])
        self.assertEqual(out["models"], ["my-gpt", "my-gpt"])
        self.assertEqual(out["final"], "hi")
        self.assertEqual(out["cut"][0], "APIError")
        self.assertIn("cut before its end", out["cut"][2])
        for model in ("my-claude", "my-plain"):
            self.assertEqual(out[model][:2], ["BadRequestError", 400])
            self.assertIn("has no responses; of those configured these have: gpt", out[model][2])
        lines = out["raw"].splitlines()
        last = json.loads(next(line for line in reversed(lines) if line)[6:])
        self.assertIn("event: error", lines)
        self.assertEqual((last["type"], last["sequence_number"]), ("response.failed", 5))
        self.assertEqual(last["response"]["id"], "resp_1")
        self.assertEqual(last["response"]["error"]["code"], "stream_cut")
        show("openai", "responses", way=PLAIN)
        show("openai", "responses", way=STREAMED)


class RawTests(FacesTestCase):
    """OpenAI's client and all that has no interface of its own here."""

    async def test_raw(self) -> None:
        """Completions, moderations, speech, transcriptions and reranking, by any such provider."""
        sound = bytes(range(256)) * 40

        def respond(path: str, head: bytes, body: bytes) -> bytes:
            if path.endswith("/audio/transcriptions"):
                assert b'name="model"\r\n\r\nplain-x\r\n' in body, body[:500]
                assert sound in body
                if b'name="stream"' in body:
                    done = {"type": "transcript.text.done", "text": "hello"}
                    delta = {"type": "transcript.text.delta", "delta": "hello"}
                    return answer_events(delta, done)
                if b"\r\nsrt\r\n" in body:
                    return answer(b"1\nhello\n", "text/plain; charset=utf-8")
                return answer_json({"text": "hello"})
            request = json.loads(body)
            assert request["model"] == "plain-x", request
            if path.endswith("/audio/speech"):
                return answer(sound, "audio/mpeg")
            if path.endswith("/moderations"):
                return answer_json({"id": "m", "model": "plain-x", "results": []})
            if path.endswith("/rerank"):
                return answer_json({"results": [{"index": 0, "relevance_score": 0.5}]})
            choice = {"text": "hi", "index": 0, "finish_reason": "stop", "logprobs": None}
            whole: dict[str, object] = {"id": "c", "object": "text_completion", "created": 1}
            whole["choices"] = [choice]
            if request.get("stream"):
                told = f"data: {json.dumps(whole)}\n\ndata: [DONE]\n\n".encode()
                return answer(told, "text/event-stream")
            return answer_json(whole)

        out, requests = await self.run_client(
            """
ask = dict(model="my-plain", prompt="hello")
out["plain"] = gpt.completions.create(**ask).choices[0].text
out["stream"] = [c.choices[0].text for c in gpt.completions.create(stream=True, **ask)]
out["moderation"] = gpt.moderations.create(model="my-plain", input="hello").id
speech = gpt.audio.speech.create(model="my-plain", voice="alloy", input="hello")
out["kind"] = speech.response.headers["content-type"]
sound = bytes(range(256)) * 40
out["speech"] = speech.content == sound
def hear(**more):
    file = ("a.mp3", io.BytesIO(sound), "audio/mpeg")
    return gpt.audio.transcriptions.create(model="my-plain", file=file, **more)
out["heard"] = hear().text
out["srt"] = hear(response_format="srt")
out["events"] = [event.type for event in hear(stream=True)]
body = {"model": "my-plain", "query": "q", "documents": ["d"]}
out["rank"] = gpt.post("/rerank", body=body, cast_to=object)["results"][0]["index"]
for model in ("my-claude", "demo/echo"):
    out[model] = fault(lambda: gpt.completions.create(model=model, prompt="hello"))
out["model"] = fault(lambda: gpt.moderations.create(input="hello"))
""",
            respond,
        )
        self.assertEqual((out["plain"], out["stream"], out["moderation"]), ("hi", ["hi"], "m"))
        self.assertEqual((out["kind"], out["speech"]), ("audio/mpeg", True))
        self.assertEqual((out["heard"], out["srt"]), ("hello", "1\nhello\n"))
        self.assertEqual(out["events"], ["transcript.text.delta", "transcript.text.done"])
        self.assertEqual(out["rank"], 0)
        for model in ("my-claude", "demo/echo"):
            self.assertEqual(out[model][:2], ["BadRequestError", 400])
            self.assertIn(
                "has no completions; of those configured these have: gpt, plain", out[model][2]
            )
        self.assertEqual(out["model"][:2], ["BadRequestError", 400])
        self.assertEqual(len(requests), 8)

    async def test_speech_cut(self) -> None:
        """Sound that breaks off ends without its framing, so that the client knows."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nContent-Length: 1000\r\n\r\n"
        upstream, port = self.upstream(lambda connection: connection.write(head + b"sound"))
        self.write(CONFIG.replace("PORT", str(port)))
        server = await self.serve()
        body = {"model": "my-gpt", "input": "hello", "voice": "alloy"}
        request = write_request("POST", "/v1/audio/speech", body)
        connection = await self.connect(server.port, request)
        await connection.until_bytes(b"sound")
        self.assertIsNone(connection.reason)
        upstream.connections[-1].close()
        await connection.until(lambda: connection.reason is not None)
        self.assertFalse(connection.received.endswith(b"0\r\n\r\n"), connection.received)

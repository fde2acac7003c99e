"""OpenAI's and Mistral's own clients against whole servers, for what is no chat with OpenAI."""

from __future__ import annotations

import json
import re
from typing import Any

from tests.integration.test_whole_ways import EVENTS, JSON, WholeWayTestCase, write_events

CONFIG = """
providers:
  gpt: {type: openai, base_url: "http://127.0.0.1:PORT/v1", token: sk-upstream}
  mistral: {base_url: "http://127.0.0.1:PORT/mistral/v1", token: sk-upstream}
models:
  - {name: my-gpt, provider: gpt, upstream_model: gpt-x}
  - {name: my-image, provider: gpt, upstream_model: dall-e-2, kind: image}
  - {name: my-mistral, provider: mistral, upstream_model: mistral-x}
retry: {max_retries: 0}
"""
PIXEL = "iVBORw0KGgoAAAANSUhEUgAA" + "A" * 700
SOUND = "ID3" + "sound" * 5_000
CHOICE: dict[str, Any] = {"index": 0, "text": "hi", "logprobs": None, "finish_reason": "stop"}
COMPLETION: dict[str, Any] = {
    "id": "c",
    "object": "text_completion",
    "created": 1,
    "model": "gpt-x",
    "choices": [CHOICE],
}
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def fields(body: bytes) -> list[tuple[str, str]]:
    """Return the fields of a form that are no files, in their order."""
    found = re.findall(rb'; name="([^"]+)"\r\n\r\n(.*?)\r\n--', body, re.DOTALL)
    return [(name.decode(), value.decode()) for name, value in found]


class OpenAITests(WholeWayTestCase):
    """OpenAI's client."""

    async def test_images(self) -> None:
        """Several images, in base64 and by their URL, with what is told of them."""

        def respond(path: str, body: bytes) -> tuple[str, str]:
            request = json.loads(body)
            assert (path, request["model"]) == ("/v1/images/generations", "dall-e-2"), request
            told = {"b64_json": PIXEL, "revised_prompt": "a black cat"}
            if request.get("response_format") == "url":
                told = {"url": "https://img.example/1.png"}
            return JSON, json.dumps({"created": 5, "data": [told] * request["n"]})

        out, _ = await self.run_client(
            CONFIG,
            """
make = lambda **more: client.images.generate(model="my-image", prompt="a cat", n=2, **more)
base64 = make(response_format="b64_json")
out["created"] = base64.created
out["base64"] = [[image.b64_json, image.url, image.revised_prompt] for image in base64.data]
out["url"] = [[image.b64_json, image.url] for image in make(response_format="url").data]
""",
            respond,
        )
        self.assertEqual(out["created"], 5)
        self.assertEqual(out["base64"], [[PIXEL, None, "a black cat"]] * 2)
        self.assertEqual(out["url"], [[None, "https://img.example/1.png"]] * 2)

    async def test_embeddings(self) -> None:
        """One text and a batch, floats and base64 by default, from a provider with floats only."""

        def respond(path: str, body: bytes) -> tuple[str, str]:
            request = json.loads(body)
            count = len(request["input"]) if isinstance(request["input"], list) else 1
            size = request.get("dimensions", 3)
            data = [
                {"object": "embedding", "index": place, "embedding": [place + 0.5] * size}
                for place in range(count)
            ]
            return JSON, json.dumps({"object": "list", "data": data, "usage": {"prompt_tokens": 4}})

        out, _ = await self.run_client(
            CONFIG,
            """
def embed(told, **more):
    answer = client.embeddings.create(model="my-gpt", input=told, **more)
    return [one.embedding for one in answer.data]
out["one"] = embed("a")
out["batch"] = embed(["a", "b"], encoding_format="float")
out["tokens"] = embed([[1, 2], [3]])
out["short"] = embed(["a"], dimensions=2)
raw = client.embeddings.with_raw_response.create(
    model="my-gpt", input="a", encoding_format="base64"
)
out["base64"] = json.loads(raw.text)["data"][0]["embedding"]
""",
            respond,
        )
        one, two = [0.5] * 3, [1.5] * 3
        self.assertEqual((out["one"], out["batch"], out["tokens"]), ([one], [one, two], [one, two]))
        self.assertEqual(out["short"], [[0.5, 0.5]])
        self.assertEqual(out["base64"], "AAAAPwAAAD8AAAA/")

    async def test_audio(self) -> None:
        """A form keeps its repeated fields and their order, but for the model; sound is whole."""

        def respond(path: str, body: bytes) -> tuple[str, str]:
            if path == "/v1/audio/speech":
                return "200 OK\r\nContent-Type: audio/mpeg", SOUND
            assert path in ("/v1/audio/transcriptions", "/v1/audio/translations"), path
            whole: dict[str, Any] = {"text": "hello", "language": "english", "duration": 1.5}
            words = [{"word": "hello", "start": 0.0, "end": 0.5}]
            return JSON, json.dumps({**whole, "words": words, "task": path.rpartition("/")[2]})

        out, requests = await self.run_client(
            CONFIG,
            f"""
file = ("a.mp3", {SOUND!r}.encode(), "audio/mpeg")
heard = client.audio.transcriptions.create(
    model="my-gpt", file=file, response_format="verbose_json",
    timestamp_granularities=["word", "segment"], temperature=0.5,
)
out["heard"] = [heard.text, heard.duration, heard.words[0].word]
out["meant"] = client.audio.translations.create(model="my-gpt", file=file).text
ask = dict(model="my-gpt", voice="alloy", input="hello", response_format="mp3")
out["spoken"] = client.audio.speech.create(**ask).content.decode()
with client.audio.speech.with_streaming_response.create(**ask) as answer:
    out["pieces"] = "".join(piece.decode() for piece in answer.iter_bytes())
    out["kind"] = answer.headers["content-type"]
""",
            respond,
        )
        self.assertEqual((out["heard"], out["meant"]), (["hello", 1.5, "hello"], "hello"))
        self.assertEqual((out["spoken"] == SOUND, out["pieces"] == SOUND), (True, True))
        self.assertEqual(out["kind"], "audio/mpeg")
        body = requests[0].partition(b"\r\n\r\n")[2]
        told = fields(body)
        self.assertIn(("model", "gpt-x"), told)
        self.assertEqual(
            [value for name, value in told if name == "timestamp_granularities[]"],
            ["word", "segment"],
        )
        self.assertIn(SOUND.encode(), body)

    async def test_moderations(self) -> None:
        """The verdicts on several texts come with their scores."""
        scores = {"violence": 0.9}
        verdict = {"flagged": True, "categories": {"violence": True}, "category_scores": scores}

        def respond(path: str, body: bytes) -> tuple[str, str]:
            count = len(json.loads(body)["input"])
            return JSON, json.dumps({"id": "m", "model": "gpt-x", "results": [verdict] * count})

        out, _ = await self.run_client(
            CONFIG,
            """
answer = client.moderations.create(model="my-gpt", input=["a", "b"])
out["told"] = [[one.flagged, one.category_scores.violence] for one in answer.results]
""",
            respond,
        )
        self.assertEqual(out["told"], [[True, 0.9]] * 2)

    async def test_completions(self) -> None:
        """A stream has its usage where it is asked for; one that breaks off is an error."""

        def respond(path: str, body: bytes) -> tuple[str, str]:
            request = json.loads(body)
            piece = {**COMPLETION, "choices": [{**CHOICE, "finish_reason": None}]}
            if request["prompt"] == "cut":
                return EVENTS, write_events(piece)
            usage = [{**COMPLETION, "choices": [], "usage": USAGE}]
            asked = (request.get("stream_options") or {}).get("include_usage")
            told = write_events(piece, COMPLETION, *(usage if asked else ()))
            return EVENTS, told + "data: [DONE]\n\n"

        out, _ = await self.run_client(
            CONFIG,
            """
def complete(prompt, **more):
    return client.completions.create(model="my-gpt", prompt=prompt, stream=True, **more)
chunks = list(complete("a"))
out["said"] = [[chunk.choices[0].text, chunk.choices[0].finish_reason] for chunk in chunks]
out["unasked"] = [chunk.usage for chunk in chunks if chunk.usage]
chunks = list(complete("a", stream_options={"include_usage": True}))
out["usage"] = [chunk.usage.total_tokens for chunk in chunks if chunk.usage]
heard = []
try:
    for chunk in complete("cut"):
        heard.append(chunk.choices[0].text)
except openai.APIError as error:
    out["cut"] = [type(error).__name__, error.code, heard]
""",
            respond,
        )
        self.assertEqual(out["said"], [["hi", None], ["hi", "stop"]])
        self.assertEqual((out["unasked"], out["usage"]), ([], [5]))
        self.assertEqual(out["cut"], ["APIError", "stream_cut", ["hi"]])


class MistralTests(WholeWayTestCase):
    """Mistral's client, which asks the proxy as it asks Mistral."""

    async def test_chat(self) -> None:
        """Plain, streamed, with a tool, and embeddings."""

        def respond(path: str, body: bytes) -> tuple[str, str]:
            request = json.loads(body)
            if path == "/mistral/v1/embeddings":
                entry = {"object": "embedding", "index": 0, "embedding": [0.5, 1.5]}
                return JSON, json.dumps(
                    {"id": "e", "object": "list", "data": [entry], "usage": USAGE}
                )
            assert path == "/mistral/v1/chat/completions", path
            frame = {"id": "c", "created": 1, "model": "mistral-x"}
            if request.get("stream"):
                deltas: list[dict[str, Any]] = [{"content": "h"}, {"content": "i"}]
                events = [
                    {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
                    for delta, reason in zip(deltas, (None, "stop"), strict=True)
                ]
                return EVENTS, write_events(*events, {**frame, "choices": [], "usage": USAGE}) + (
                    "data: [DONE]\n\n"
                )
            message: dict[str, Any] = {"role": "assistant", "content": "hi"}
            reason = "stop"
            if request.get("tools"):
                call = {"id": "aB3456789", "function": {"name": "f", "arguments": '{"a": 1}'}}
                message, reason = {"role": "assistant", "tool_calls": [call]}, "tool_calls"
            choice = {"index": 0, "message": message, "finish_reason": reason}
            return JSON, json.dumps({**frame, "choices": [choice], "usage": USAGE})

        out, _ = await self.run_client(
            CONFIG,
            """
from mistralai.client import Mistral
mistral = Mistral(api_key=sys.argv[2], server_url=sys.argv[1].removesuffix("/v1"))
hello = [{"role": "user", "content": "hello"}]
ask = dict(model="my-mistral", messages=hello)
plain = mistral.chat.complete(**ask)
out["plain"] = [plain.choices[0].message.content, plain.model, plain.usage.total_tokens]
tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
call = mistral.chat.complete(tools=[tool], **ask).choices[0]
function = call.message.tool_calls[0].function
out["call"] = [call.finish_reason, function.name, json.loads(function.arguments)]
events = [event.data for event in mistral.chat.stream(**ask)]
deltas = [event.choices[0].delta.content for event in events if event.choices]
out["stream"] = "".join(delta for delta in deltas if delta)
out["embedding"] = mistral.embeddings.create(model="my-mistral", inputs=["a"]).data[0].embedding
""",
            respond,
        )
        self.assertEqual(out["plain"], ["hi", "my-mistral", 5])
        self.assertEqual(out["call"], ["tool_calls", "f", {"a": 1}])
        self.assertEqual((out["stream"], out["embedding"]), ("hi", [0.5, 1.5]))

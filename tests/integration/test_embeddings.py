"""Whole servers that are asked for embeddings by OpenAI's own client."""

from __future__ import annotations

import json
from typing import Any

from tests.integration.servers import TOKEN
from tests.integration.test_whole_ways import JSON, WholeWayTestCase
from tests.shown import show

CONFIG = """
providers:
  openai: {base_url: "http://127.0.0.1:PORT/v1", token: sk-upstream}
  mistral: {base_url: "http://127.0.0.1:PORT/v1", token: sk-upstream}
  cohere: {base_url: "http://127.0.0.1:PORT/v2", token: sk-upstream}
  gemini: {base_url: "http://127.0.0.1:PORT/v1beta", token: sk-upstream}
  cloudflare: {base_url: "http://127.0.0.1:PORT/ai/run", token: sk-upstream}
  huggingface: {base_url: "http://127.0.0.1:PORT/v1", token: sk-upstream}
  gigachat: {base_url: "http://127.0.0.1:PORT/giga", auth_url: "http://127.0.0.1:PORT/oauth",
             token: "id:secret"}
  groq: {base_url: "http://127.0.0.1:PORT/v1", token: sk-upstream}
models:
  - {name: openai/one, provider: openai, upstream_model: text-embedding-3-small}
  - {name: mistral/one, provider: mistral, upstream_model: mistral-embed}
  - {name: cohere/one, provider: cohere, upstream_model: embed-v4.0}
  - {name: gemini/one, provider: gemini, upstream_model: gemini-embedding-001}
  - {name: cloudflare/one, provider: cloudflare, upstream_model: "@cf/baai/bge-m3"}
  - {name: huggingface/one, provider: huggingface, upstream_model: BAAI/bge-m3}
  - {name: gigachat/one, provider: gigachat, upstream_model: Embeddings}
  - {name: groq/one, provider: groq, upstream_model: x}
  - {name: demo/echo, provider: demo}
groups:
  both: {models: [demo/echo, groq/one, openai/one]}
retry: {max_retries: 0}
"""
#: The whole answer of each provider, and where it is asked.
ANSWERS: dict[str, Any] = {
    # In the wrong order, and in base64: [3.0, -1.0] is the second.
    "/v1/embeddings": {
        "data": [
            {"index": 1, "embedding": "AABAQAAAgL8="},
            {"index": 0, "embedding": [1.0, 0.1]},
        ],
        "usage": {"prompt_tokens": 5, "total_tokens": 5},
    },
    "/v2/embed": {
        "embeddings": {"float": [[1.0, 0.1], [3.0, -1.0]]},
        "meta": {"billed_units": {"input_tokens": 5}},
    },
    "/v1beta/models/gemini-embedding-001:batchEmbedContents": {
        "embeddings": [{"values": [1.0, 0.1]}, {"values": [3.0, -1.0]}],
        "usageMetadata": {"promptTokenCount": 5},
    },
    "/ai/run/@cf/baai/bge-m3": {
        "result": {"shape": [2, 2], "data": [[1.0, 0.1], [3.0, -1.0]]},
        "success": True,
        "errors": [],
    },
    "/hf-inference/models/BAAI/bge-m3/pipeline/feature-extraction": [[1.0, 0.1], [3.0, -1.0]],
    "/oauth": {"access_token": "tok", "expires_at": 4e12},
    "/giga/embeddings": {
        "data": [
            {"index": 0, "embedding": [1.0, 0.1], "usage": {"prompt_tokens": 2}},
            {"index": 1, "embedding": [3.0, -1.0], "usage": {"prompt_tokens": 3}},
        ]
    },
}
NOT_FOUND = "404 Not Found\r\nContent-Type: application/json"


def respond(path: str, body: bytes) -> tuple[str, str]:
    """Answer for all providers."""
    if path not in ANSWERS:
        return NOT_FOUND, "{}"
    if b"too much" in body:
        status = "400 Bad Request\r\nContent-Type: application/json"
        error = {"message": "no such thing", "param": "input", "code": "bad_thing"}
        return status, json.dumps({"error": error})
    return JSON, json.dumps(ANSWERS[path])


class EmbeddingsTests(WholeWayTestCase):
    """Each provider's, and what is refused."""

    async def test_providers(self) -> None:
        """By default, which is base64, and in floats, the vectors are the provider's, in order."""
        names = ["openai", "mistral", "cohere", "gemini", "cloudflare", "huggingface", "gigachat"]
        out, requests = await self.run_client(
            CONFIG,
            f"""
for name in {names!r}:
    for more in ({{}}, {{"encoding_format": "float"}}):
        answer = client.embeddings.create(model=name + "/one", input=["a", "b"], **more)
        vectors = [[round(number, 6) for number in one.embedding] for one in answer.data]
        told = [answer.model, answer.object, answer.usage.total_tokens, vectors]
        out.setdefault(name, []).append(told)
""",
            respond,
        )
        for name in names:
            tokens = 0 if name in ("cloudflare", "huggingface") else 5
            told = [f"{name}/one", "list", tokens, [[1.0, 0.1], [3.0, -1.0]]]
            self.assertEqual((name, out[name]), (name, [told, told]))
            show(
                {"gemini": "google", "cloudflare": "cloudflare native"}.get(name, name),
                "embeddings",
            )
        asked = [json.loads(one.partition(b"\r\n\r\n")[2]) for one in requests if b"/v1/emb" in one]
        self.assertEqual(
            [one.get("encoding_format") for one in asked], ["base64", None, None, None]
        )

    async def test_dimensions(self) -> None:
        """They go by the provider's own name, or are named as dropped."""
        out, requests = await self.run_client(
            CONFIG,
            """
for name in ("openai", "gemini", "cloudflare"):
    answer = client.embeddings.with_raw_response.create(
        model=name + "/one", input=["a", "b"], dimensions=2, user="u"
    )
    out[name] = answer.headers.get("x-aiproxy-dropped")
""",
            respond,
        )
        self.assertEqual(out, {"openai": None, "gemini": "user", "cloudflare": "dimensions, user"})
        self.assertIn(b'"dimensions":2', requests[0])
        self.assertIn(b'"outputDimensionality":2', requests[1])
        show("openai", "dimensions")
        show("google", "dimensions")

    async def test_errors(self) -> None:
        """What is wrong is told with the field at fault, in OpenAI's way."""
        out, requests = await self.run_client(
            CONFIG,
            """
def fails(model, told, **more):
    try:
        client.embeddings.create(model=model, input=told, **more)
    except openai.APIStatusError as error:
        return [error.status_code, error.param, error.code]
out["empty"] = fails("openai/one", [])
out["tokens"] = fails("cohere/one", [[1, 2]])
out["encoding"] = fails("openai/one", "a", encoding_format="int8")
out["count"] = fails("openai/one", ["a", "b", "c"])
out["refused"] = fails("openai/one", "too much")
out["none"] = fails("groq/one", "a")
out["demo"] = fails("demo/echo", "a")
out["group"] = client.embeddings.create(model="both", input=["a", "b"]).model
out["model"] = fails("nobody/one", "a")
""",
            respond,
        )
        self.assertEqual(out["empty"], [400, "input", "empty_input"])
        self.assertEqual(out["tokens"], [400, "input", "invalid_type"])
        self.assertEqual(out["encoding"], [400, "encoding_format", "invalid_value"])
        self.assertEqual(out["count"], [502, None, "upstream_error"])
        self.assertEqual(out["refused"], [400, "input", "bad_thing"])
        self.assertEqual(out["none"], [400, "model", "model_not_supported"])
        self.assertEqual(out["demo"], out["none"])
        self.assertEqual(out["group"], "openai/one")
        self.assertEqual(out["model"], [404, "model", "model_not_found"])
        self.assertEqual(len(requests), 3)
        self.assertNotIn(TOKEN, self.output)

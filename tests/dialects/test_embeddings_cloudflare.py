"""Tests of :mod:`aiproxy.dialects.embeddings_cloudflare`."""

from __future__ import annotations

from typing import Any

from aiproxy import errors
from aiproxy.dialects.embeddings_cloudflare import CloudflareEmbeddings
from aiproxy.wire.json import dumps
from tests.dialects.test_embeddings import PACKED, VECTOR, EmbeddingsTestCase

MODEL = "@cf/baai/bge-m3"


def envelope(result: object, *told: dict[str, Any]) -> dict[str, Any]:
    """Make an answer."""
    return {"result": result, "success": not told, "errors": [*told], "messages": []}


class CloudflareEmbeddingsTests(EmbeddingsTestCase):
    """Requests and answers of Cloudflare's own way."""

    dialect = CloudflareEmbeddings()

    def test_request(self) -> None:
        """The URL names the model; fields of Cloudflare's own pass."""
        wire, body = self.write("a", MODEL, dimensions=5, user="u", pooling="cls")
        self.assertEqual((wire.route, wire.dropped), (f"/{MODEL}", ("dimensions", "user")))
        self.assertEqual(body, {"text": ["a"], "pooling": "cls"})
        self.assert_texts_only()

    def test_names(self) -> None:
        """A name that would lead elsewhere is refused."""
        for model in ("", "a//b", "../b", "a/."):
            with self.assertRaises(errors.InvalidRequest) as caught:
                self.write(model=model)
            self.assertEqual(caught.exception.param, "model")

    def test_answer(self) -> None:
        """Vectors are taken out of the envelope; usage is none unless it is told."""
        result = {"shape": [1, 2], "data": [VECTOR]}
        self.assertEqual(self.vectors(envelope(result)), [VECTOR])
        self.assertEqual(self.vectors(envelope(result), encoding_format="base64"), [PACKED])
        self.assertEqual(self.ask(envelope(result))["usage"]["total_tokens"], 0)
        told = {**result, "usage": {"prompt_tokens": 4, "total_tokens": 4}}
        self.assertEqual(self.ask(envelope(told))["usage"]["total_tokens"], 4)
        bad: list[Any] = [envelope(None), envelope({}), envelope({"data": 5}), {}, []]
        for answer in bad:
            self.assertRaises(errors.UpstreamFailed, self.ask, answer)

    def test_errors(self) -> None:
        """An error's code says more than its status, and counts inside a 200 too."""
        quota = {"code": 3036, "message": "you have used up your daily allocation"}
        body = dumps(envelope(None, quota))
        found = self.dialect.read_error(403, {}, body)
        self.assertIsInstance(found, errors.UpstreamRateLimited)
        self.assertRaises(errors.UpstreamRateLimited, self.dialect.read_reply, body)

    def test_locate(self) -> None:
        """The model is appended where the URL does not name it yet."""
        wire, _ = self.write(model=MODEL)
        for url in ("http://a/ai/run", f"http://a/ai/run/{MODEL}"):
            self.assertEqual(self.dialect.locate(url, wire), f"http://a/ai/run/{MODEL}")

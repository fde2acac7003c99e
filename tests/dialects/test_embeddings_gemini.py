"""Tests of :mod:`aiproxy.dialects.embeddings_gemini`."""

from __future__ import annotations

from typing import Any

from aiproxy import errors
from aiproxy.dialects.embeddings_gemini import GeminiEmbeddings
from aiproxy.wire.json import dumps
from tests.dialects.test_embeddings import PACKED, VECTOR, EmbeddingsTestCase

WHERE = "/models/up:batchEmbedContents"


class GeminiEmbeddingsTests(EmbeddingsTestCase):
    """Requests and answers of Gemini's."""

    dialect = GeminiEmbeddings()

    def test_request(self) -> None:
        """Each text is a request, with the model and Gemini's own fields in it."""
        wire, body = self.write(["a", "b"], dimensions=5, user="u", taskType="RETRIEVAL_QUERY")
        self.assertEqual((wire.route, wire.dropped), (WHERE, ("user",)))
        more = {"model": "models/up", "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 5}
        wanted = [{**more, "content": {"parts": [{"text": text}]}} for text in ("a", "b")]
        self.assertEqual(body, {"requests": wanted})
        self.assert_texts_only()

    def test_models(self) -> None:
        """A name may have its prefix already, and what a URL cannot hold is escaped."""
        for model, name, route in (
            ("models/up", "models/up", WHERE),
            ("tunedModels/up", "tunedModels/up", "/tunedModels/up:batchEmbedContents"),
            ("u p?", "models/u p?", "/models/u%20p%3F:batchEmbedContents"),
        ):
            wire, body = self.write(model=model)
            self.assertEqual((wire.route, body["requests"][0]["model"]), (route, name))

    def test_own_dimensions(self) -> None:
        """Gemini's own name goes before OpenAI's."""
        wire, body = self.write(dimensions=5, outputDimensionality=6)
        self.assertEqual(body["requests"][0]["outputDimensionality"], 6)
        self.assertEqual(wire.dropped, ("dimensions",))

    def test_answer(self) -> None:
        """Vectors are in the order of the texts; usage may be missing."""
        answer = {"embeddings": [{"values": VECTOR}, {"values": [2]}]}
        self.assertEqual(self.vectors(answer, ["a", "b"]), [VECTOR, [2]])
        packed = self.vectors(answer, ["a", "b"], encoding_format="base64")
        self.assertEqual(packed[0], PACKED)
        found = self.ask({**answer, "usageMetadata": {"promptTokenCount": 4}}, ["a", "b"])
        self.assertEqual(found["usage"], {"prompt_tokens": 4, "total_tokens": 4})

    def test_no_answers(self) -> None:
        """Too few vectors, or none, are a failed attempt."""
        bad: list[Any] = [{}, [], {"embeddings": None}, {"embeddings": [1]}, {"embeddings": [{}]}]
        for answer in bad:
            self.assertRaises(errors.UpstreamFailed, self.ask, answer)
        self.assertRaises(
            errors.UpstreamFailed, self.ask, {"embeddings": [{"values": [1]}]}, ["a", "b"]
        )

    def test_errors(self) -> None:
        """A bad key is a 400 here, and the operator's matter."""
        details = [{"reason": "API_KEY_INVALID"}]
        error = {"code": 400, "message": "API key not valid.", "details": details}
        found = self.dialect.read_error(400, {}, dumps({"error": error}))
        self.assertIsInstance(found, errors.UpstreamAuthFailed)

    def test_locate(self) -> None:
        """What a URL lacks is appended, and another method replaced."""
        wire, _ = self.write()
        for url in (
            "http://a/v1beta",
            "http://a/v1beta/models",
            "http://a/v1beta/models/up",
            "http://a/v1beta/models/up:generateContent",
            "http://a/v1beta/models/up:streamGenerateContent?alt=sse",
            "http://a/v1beta/models/up:embedContent",
            f"http://a/v1beta{WHERE}",
        ):
            self.assertEqual(self.dialect.locate(url, wire), f"http://a/v1beta{WHERE}")

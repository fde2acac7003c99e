"""Tests of :mod:`aiproxy.dialects.embeddings_huggingface`."""

from __future__ import annotations

from typing import Any

from aiproxy import errors
from aiproxy.dialects.embeddings_huggingface import HuggingFaceEmbeddings
from aiproxy.wire.json import dumps
from aiproxy.wire.urls import join_url
from tests.dialects.test_embeddings import PACKED, VECTOR, EmbeddingsTestCase

WHERE = "/hf-inference/models/org/m/pipeline/feature-extraction"


class HuggingFaceEmbeddingsTests(EmbeddingsTestCase):
    """Requests and answers of HuggingFace's pipeline."""

    dialect = HuggingFaceEmbeddings()

    def test_request(self) -> None:
        """The URL names the model; fields of the pipeline's own pass."""
        for model in ("org/m", "org/m:hf-inference"):
            wire, body = self.write("a", model, dimensions=5, user="u", normalize=True)
            self.assertEqual((wire.route, wire.dropped), (WHERE, ("dimensions", "user")))
            self.assertEqual(body, {"inputs": ["a"], "normalize": True})
        self.assert_texts_only()

    def test_names(self) -> None:
        """A name that would lead elsewhere is refused."""
        for model in ("", "a//b", "../b"):
            with self.assertRaises(errors.InvalidRequest) as caught:
                self.write(model=model)
            self.assertEqual(caught.exception.param, "model")

    def test_answer(self) -> None:
        """Vectors are bare, and the only one may stand alone."""
        self.assertEqual(self.vectors([VECTOR]), [VECTOR])
        self.assertEqual(self.vectors(VECTOR), [VECTOR])
        self.assertEqual(self.vectors([VECTOR, [2]], ["a", "b"]), [VECTOR, [2]])
        self.assertEqual(self.vectors([VECTOR], encoding_format="base64"), [PACKED])
        self.assertEqual(self.ask([VECTOR])["usage"], {"prompt_tokens": 0, "total_tokens": 0})

    def test_no_answers(self) -> None:
        """A vector for each token is none for the text, and one is not two."""
        bad: list[Any] = [[[VECTOR, VECTOR]], [], [None], {}, {"data": 5}]
        for answer in bad:
            self.assertRaises(errors.UpstreamFailed, self.ask, answer)
        for one in (VECTOR, [VECTOR]):
            self.assertRaises(errors.UpstreamFailed, self.ask, one, ["a", "b"])

    def test_errors(self) -> None:
        """A model that is still loading is the provider's trouble."""
        body = dumps({"error": "Model is loading", "estimated_time": 20.0})
        error = self.dialect.read_error(503, {}, body)
        self.assertIsInstance(error, errors.UpstreamFailed)
        self.assertRaises(errors.UpstreamFailed, self.dialect.read_reply, body)

    def test_locate(self) -> None:
        """The pipeline stands beside the compatible API; a URL of one's own stays."""
        wire, _ = self.write(model="org/m")
        joined = join_url("https://router.huggingface.co/v1", wire.route)
        self.assertEqual(self.dialect.locate(joined, wire), f"https://router.huggingface.co{WHERE}")
        for url in (f"https://a{WHERE}", "https://a/v1/models/x"):
            self.assertEqual(self.dialect.locate(url, wire), url)

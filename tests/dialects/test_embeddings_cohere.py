"""Tests of :mod:`aiproxy.dialects.embeddings_cohere`."""

from __future__ import annotations

from typing import Any

from aiproxy import errors
from aiproxy.dialects.embeddings_cohere import CohereEmbeddings
from aiproxy.wire.json import dumps
from tests.dialects.test_embeddings import PACKED, VECTOR, EmbeddingsTestCase
from tests.shown import show


class CohereEmbeddingsTests(EmbeddingsTestCase):
    """Requests and answers of Cohere's."""

    dialect = CohereEmbeddings()

    def test_request(self) -> None:
        """What Cohere requires is there, and OpenAI's names are its own."""
        wire, body = self.write("a", dimensions=5, user="u", truncate="END")
        self.assertEqual((wire.route, wire.dropped), ("/embed", ("user",)))
        wanted: dict[str, Any] = {"model": "up", "texts": ["a"], "output_dimension": 5}
        wanted |= {"input_type": "search_document", "embedding_types": ["float"]}
        self.assertEqual(body, {**wanted, "truncate": "END"})
        show("cohere", "dimensions")
        self.assert_texts_only()

    def test_own_fields(self) -> None:
        """The caller may say what the texts are for, and which numbers there shall be."""
        _, body = self.write(["a"], input_type="search_query", embedding_types=["int8"])
        self.assertEqual((body["input_type"], body["embedding_types"]), ("search_query", ["int8"]))
        vectors = self.vectors({"embeddings": {"int8": [[-5]]}}, embedding_types=["int8"])
        self.assertEqual(vectors, [[-5]])

    def test_many_types(self) -> None:
        """An answer of OpenAI's has room for one type of numbers only."""
        bad: list[Any] = [[], ["float", "int8"], ["base64"], "float", 5, [[]]]
        for told in bad:
            with self.assertRaises(errors.InvalidRequest) as caught:
                self.write(embedding_types=told)
            self.assertEqual(caught.exception.param, "embedding_types")

    def test_answer(self) -> None:
        """Vectors are as the caller asked; what is billed is the usage."""
        answer: dict[str, Any] = {"id": "e", "embeddings": {"float": [VECTOR]}, "texts": ["a"]}
        self.assertEqual(self.vectors(answer), [VECTOR])
        self.assertEqual(self.vectors(answer, encoding_format="base64"), [PACKED])
        found = self.ask({**answer, "meta": {"billed_units": {"input_tokens": 2.0}}})
        self.assertEqual(found["usage"], {"prompt_tokens": 2, "total_tokens": 2})
        self.assertEqual(found["id"], "e")
        bad: list[Any] = [
            {},
            [],
            *({"embeddings": told} for told in ([VECTOR], {"int8": [VECTOR]})),
        ]
        for one in bad:
            self.assertRaises(errors.UpstreamFailed, self.ask, one)

    def test_errors(self) -> None:
        """A model that is gone is the operator's matter, as for chat."""
        error = self.dialect.read_error(404, {}, dumps({"id": "x", "message": "it was removed"}))
        self.assertIsInstance(error, errors.UpstreamModelNotFound)

    def test_locate(self) -> None:
        """A whole URL for chat is one for embeddings too."""
        wire, _ = self.write()
        self.assertEqual(self.dialect.locate("http://a/v2/chat", wire), "http://a/v2/embed")
        self.assertEqual(self.dialect.locate("http://a/v2/embed", wire), "http://a/v2/embed")

"""Tests of :mod:`aiproxy.dialects.embeddings_gigachat`."""

from __future__ import annotations

from typing import Any

from aiproxy import errors
from aiproxy.dialects.embeddings_gigachat import GigaChatEmbeddings
from tests.dialects.test_embeddings import PACKED, VECTOR, EmbeddingsTestCase


def entry(index: int, tokens: Any) -> dict[str, Any]:
    """Make an entry of an answer."""
    return {"index": index, "embedding": VECTOR, "usage": {"prompt_tokens": tokens}}


class GigaChatEmbeddingsTests(EmbeddingsTestCase):
    """Requests and answers of GigaChat's."""

    dialect = GigaChatEmbeddings()

    def test_request(self) -> None:
        """Texts are a list; what GigaChat has no word for is named."""
        wire, body = self.write("a", dimensions=5, user="u", encoding_format="base64", more=1)
        self.assertEqual((wire.route, wire.dropped), ("/embeddings", ("dimensions", "user")))
        self.assertEqual(body, {"model": "up", "input": ["a"], "more": 1})
        self.assert_texts_only()

    def test_usage(self) -> None:
        """The usage of all vectors is summed; one for all goes before it."""
        answer: dict[str, Any] = {"data": [entry(0, 7), entry(1, 5)]}
        found = self.ask(answer, ["a", "b"])
        self.assertEqual(found["usage"], {"prompt_tokens": 12, "total_tokens": 12})
        told = {"prompt_tokens": 3, "total_tokens": 4}
        self.assertEqual(self.ask({**answer, "usage": told}, ["a", "b"])["usage"], told)
        odd = [entry(0, "x"), {**entry(1, 5), "usage": None}]
        self.assertEqual(self.ask({"data": odd}, ["a", "b"])["usage"]["total_tokens"], 0)

    def test_answer(self) -> None:
        """Vectors are as the caller asked."""
        answer = {"data": [entry(0, 1)]}
        self.assertEqual(self.vectors(answer), [VECTOR])
        self.assertEqual(self.vectors(answer, encoding_format="base64"), [PACKED])
        bad: list[Any] = [{}, {"data": None}, {"data": [1]}, []]
        for one in bad:
            self.assertRaises(errors.UpstreamFailed, self.ask, one)

    def test_errors(self) -> None:
        """A 422 about the length is one of the length, as for chat."""
        body = '{"status": 422, "message": "слишком много токенов"}'.encode()
        error = self.dialect.read_error(422, {}, body)
        self.assertIsInstance(error, errors.ContextTooLong)

    def test_locate(self) -> None:
        """A whole URL for chat is one for embeddings too."""
        wire, _ = self.write()
        url = self.dialect.locate("http://a/api/v1/chat/completions", wire)
        self.assertEqual(url, "http://a/api/v1/embeddings")

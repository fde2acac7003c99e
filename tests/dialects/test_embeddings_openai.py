"""Tests of :mod:`aiproxy.dialects.embeddings_openai`."""

from __future__ import annotations

from aiproxy.dialects.embeddings_openai import OpenAIEmbeddings, openai_embeddings, swap_route
from aiproxy.dialects.quirks import quirks_of
from tests.dialects.test_embeddings import PACKED, VECTOR, EmbeddingsTestCase, of
from tests.shown import show


class OpenAIEmbeddingsTests(EmbeddingsTestCase):
    """Requests and answers of OpenAI's family."""

    dialect = OpenAIEmbeddings()

    def use(self, provider_type: str) -> None:
        """Speak as a type of provider wants it."""
        dialect = openai_embeddings(provider_type)
        assert dialect is not None
        self.dialect = dialect

    def test_request(self) -> None:
        """All that the caller asks for passes, token ids too."""
        for told in ("a", ["a", "b"], [1, 2], [[1], [2]]):
            wire, body = self.write(told, dimensions=5, user="u", input_type="query", stream=False)
            self.assertEqual((wire.method, wire.route), ("POST", "/embeddings"))
            self.assertEqual(wire.dropped, ())
            wanted = {"model": "up", "input": told, "dimensions": 5, "user": "u"}
            self.assertEqual(body, {**wanted, "input_type": "query"})

    def test_encoding(self) -> None:
        """Only OpenAI is asked for base64, and only when the caller wants it."""
        for provider_type, asked in (("openai", True), ("azure", False), ("mine", False)):
            self.use(provider_type)
            for encoding in ("base64", "float", None):
                _, body = self.write(encoding_format=encoding)
                wanted = "base64" if asked and encoding == "base64" else None
                self.assertEqual(body.get("encoding_format"), wanted)

    def test_answer(self) -> None:
        """Vectors are as the caller asked, whichever way the provider wrote them."""
        for vector in (VECTOR, PACKED):
            self.assertEqual(self.vectors(of(vector)), [VECTOR])
            self.assertEqual(self.vectors(of(vector), encoding_format="float"), [VECTOR])
            self.assertEqual(self.vectors(of(vector), encoding_format="base64"), [PACKED])

    def test_token_ids(self) -> None:
        """A list of token ids is one input."""
        self.assertEqual(self.vectors(of([1]), [5, 6, 7]), [[1]])

    def test_mistral(self) -> None:
        """Mistral's name of the dimensions; it knows no user and no token ids."""
        self.use("mistral")
        wire, body = self.write(["a"], dimensions=5, user="u", output_dtype="int8")
        self.assertEqual(wire.dropped, ("user",))
        wanted = {"model": "up", "input": ["a"], "output_dimension": 5, "output_dtype": "int8"}
        self.assertEqual(body, wanted)
        show("mistral", "dimensions")
        self.assert_texts_only()

    def test_bare(self) -> None:
        """Those that know less are asked for less, and the caller is told."""
        for provider_type in ("together", "cohere", "cloudflare"):
            self.use(provider_type)
            wire, body = self.write(["a"], dimensions=5, user="u")
            self.assertEqual(wire.dropped, ("dimensions", "user"))
            self.assertEqual(body, {"model": "up", "input": ["a"]})
            self.assert_texts_only()

    def test_none(self) -> None:
        """Providers without embeddings have no dialect, and all of them are known types."""
        for provider_type in ("groq", "deepseek", "cerebras", "perplexity"):
            self.assertIsNone(openai_embeddings(provider_type))
            self.assertNotEqual(quirks_of(provider_type), quirks_of("nobody's"))

    def test_locate(self) -> None:
        """A whole URL for chat is one for embeddings too; another stays."""
        wire, _ = self.write()
        for url, wanted in (
            ("http://a/v1/chat/completions?api-version=1", "http://a/v1/embeddings?api-version=1"),
            ("http://a/v1/chat/completions/", "http://a/v1/embeddings"),
            ("http://a/v1/embeddings?x=1", "http://a/v1/embeddings?x=1"),
            ("http://a/odd", "http://a/odd"),
        ):
            self.assertEqual(self.dialect.locate(url, wire), wanted)
        self.assertEqual(swap_route("http://a/chatter", "/chat", "/embed"), "http://a/chatter")

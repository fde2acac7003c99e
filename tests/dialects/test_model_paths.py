"""Tests of :mod:`aiproxy.dialects.model_paths`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.azure import AzureDialect
from aiproxy.dialects.cloudflare import CloudflareDialect
from aiproxy.dialects.embeddings_cloudflare import CloudflareEmbeddings
from aiproxy.dialects.embeddings_gemini import GeminiEmbeddings
from aiproxy.dialects.embeddings_huggingface import HuggingFaceEmbeddings
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.huggingface import HuggingFaceDialect
from aiproxy.dialects.images_cloudflare import CloudflareImages
from aiproxy.dialects.images_gemini import GeminiImages
from aiproxy.dialects.images_huggingface import HuggingFaceImages
from aiproxy.dialects.model_paths import quote_model
from aiproxy.errors import InvalidRequest

#: All that have a model's name in the URL.
DIALECTS: tuple[Any, ...] = (
    HuggingFaceDialect().at("https://router.huggingface.co/hf-inference"),
    *(CloudflareDialect(), CloudflareEmbeddings(), CloudflareImages()),
    *(GeminiDialect(), GeminiEmbeddings(), GeminiImages()),
    *(HuggingFaceEmbeddings(), HuggingFaceImages()),
)
REQUEST = {"messages": [{"role": "user", "content": "Hi"}], "input": "Hi", "prompt": "Hi"}


class QuoteModelTests(SynchronousTestCase):
    """Names in paths."""

    def test_plain(self) -> None:
        """Slashes part folders; what has a meaning in a URL is escaped."""
        self.assertEqual(quote_model("a/b@c:d?e#f%2f g"), "a/b%40c%3Ad%3Fe%23f%252f%20g")
        self.assertEqual(quote_model("@cf/a:b", safe="/@:"), "@cf/a:b")
        self.assertEqual(quote_model("a/../b", safe=""), "a%2F..%2Fb")

    def test_elsewhere(self) -> None:
        """No name leads out of its folder, with any provider that has it in a URL."""
        azure = AzureDialect().at("https://res.openai.azure.com")
        for name in ("..", "", "\ud800"):
            with self.assertRaises(InvalidRequest):
                azure.write_request(REQUEST, model=name, stream=False)
        for dialect in DIALECTS:
            for name in ("..", "../../other", "a/..", "a/../../b", "a//b", "a/./b", "\ud800"):
                with self.assertRaises(InvalidRequest) as caught:
                    dialect.write_request(REQUEST, model=name, stream=False)
                self.assertEqual(caught.exception.param, "model")
            dialect.write_request(REQUEST, model="a..b", stream=False)

    def test_suffix(self) -> None:
        """Neither does one that has its provider behind it."""
        for name in ("..:hf-inference", "a/..:hf-inference", ":hf-inference"):
            with self.assertRaises(InvalidRequest):
                HuggingFaceEmbeddings().write_request(REQUEST, model=name, stream=False)

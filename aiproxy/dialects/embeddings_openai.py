"""
OpenAI's embeddings, as OpenAI and the compatible providers write them.

Vectors are asked for in base64 of OpenAI only, which is then passed on as it
is: other servers refuse the question, or answer with floats all the same.

Sources: OpenAI API reference, "Create embeddings"; the providers' own
references; Azure's, Mistral's and OpenRouter's answers are recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from attrs import frozen

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.embeddings import (
    BASE64,
    EmbeddingsDialect,
    drop_fields,
    other_fields,
    read_texts,
    rename_field,
)
from aiproxy.dialects.shapes import ChatRequest

__all__ = ["OpenAIEmbeddings", "openai_embeddings", "swap_route"]


@frozen
class OpenAIEmbeddings(EmbeddingsDialect):
    """
    See :class:`aiproxy.dialects.dialect.Dialect`.

    :param packs: vectors are had in base64.
    :param texts_only: it takes no token ids.
    :param drops: fields that it does not know: left out, and named.
    :param dimensions: its name for the field.
    """

    packs: bool = False
    texts_only: bool = False
    drops: tuple[str, ...] = ()
    dimensions: str = "dimensions"

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write the caller's request with the upstream's model name."""
        if self.texts_only:
            read_texts(request)
        fields = other_fields(request)
        dropped = drop_fields(fields, *self.drops)
        dropped += rename_field(fields, "dimensions", self.dimensions)
        body = {**fields, "model": model, "input": request["input"]}
        if self.packs and request.get("encoding_format") == BASE64:
            body["encoding_format"] = BASE64
        return self.wire(request, "/embeddings", body, dropped)

    def locate(self, url: str, wire: WireRequest) -> str:
        """Put the route in the place of the one for chat, where the URL has that."""
        return swap_route(url, "/chat/completions", wire.route)


def swap_route(url: str, chat_route: str, route: str) -> str:
    """
    Put a route in the place of another one at the end of a URL's path.

    >>> swap_route("https://example.com/v1/chat?version=1", "/chat", "/embed")
    'https://example.com/v1/embed?version=1'
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if not path.endswith(chat_route):
        return url
    return parts._replace(path=path.removesuffix(chat_route) + route).geturl()


#: What is in no reference of these but OpenAI's: who asks.
_USER: Final = ("user",)
_BARE: Final = OpenAIEmbeddings(texts_only=True, drops=("dimensions", "user"))

_ROWS: Final[Mapping[str, OpenAIEmbeddings | None]] = {
    "openai": OpenAIEmbeddings(packs=True),
    # It refuses fields that it does not know.
    "mistral": OpenAIEmbeddings(texts_only=True, drops=_USER, dimensions="output_dimension"),
    # Compatible endpoints of providers with another way of their own.
    "google": OpenAIEmbeddings(texts_only=True, drops=_USER),
    "cohere": _BARE,
    "cloudflare": _BARE,
    "gigachat": _BARE,
    "together": _BARE,
    # No embeddings, or none that OpenAI's clients can read (Perplexity's: base64 of bytes).
    **dict.fromkeys(("anthropic", "cerebras", "deepseek", "groq", "moonshot", "perplexity")),
}


def openai_embeddings(provider_type: str) -> OpenAIEmbeddings | None:
    """
    Give the dialect of a type of provider; ``None`` where it has no embeddings.

    :param provider_type: canonical, as :class:`aiproxy.config.schema.Model` has it.
    """
    return _ROWS.get(provider_type, OpenAIEmbeddings())

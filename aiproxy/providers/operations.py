"""What providers do beside chat: for each type the dialects, by operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

from aiproxy.dialects.dialect import Dialect
from aiproxy.dialects.embeddings_cloudflare import CloudflareEmbeddings
from aiproxy.dialects.embeddings_cohere import CohereEmbeddings
from aiproxy.dialects.embeddings_gemini import GeminiEmbeddings
from aiproxy.dialects.embeddings_gigachat import GigaChatEmbeddings
from aiproxy.dialects.embeddings_huggingface import HuggingFaceEmbeddings
from aiproxy.dialects.embeddings_openai import openai_embeddings
from aiproxy.dialects.images_airforce import AirforceImages
from aiproxy.dialects.images_cloudflare import CloudflareImages, run_base
from aiproxy.dialects.images_gemini import GeminiImages
from aiproxy.dialects.images_huggingface import HuggingFaceImages, inference_base
from aiproxy.dialects.images_openai import images_of
from aiproxy.dialects.images_openrouter import OpenRouterImages
from aiproxy.dialects.operations import EMBEDDINGS, IMAGES, MESSAGES, RAW, RESPONSES
from aiproxy.dialects.raw import RawDialect

__all__ = ["NATIVE", "Operations", "compatible_operations"]

_NO_BASES: Final[Mapping[str, Callable[[str], str]]] = MappingProxyType({})


@frozen
class Operations:
    """
    What one type of provider does beside chat.

    :param dialects: by operation.
    :param bases: for operations that are elsewhere: from the chat's base URL to theirs.
    """

    dialects: Mapping[str, Dialect]
    bases: Mapping[str, Callable[[str], str]] = _NO_BASES


def _without_version(base_url: str) -> str:
    return base_url.rstrip("/").removesuffix("/v1")


#: Of providers that are spoken to in a language of their own, by its name.
NATIVE: Final[Mapping[str, Operations]] = {
    # Whose version is told even where the client tells none (API reference, "Versions").
    "anthropic": Operations(
        {MESSAGES: RawDialect(MESSAGES, headers={"anthropic-version": "2023-06-01"})}
    ),
    "cloudflare": Operations(
        {EMBEDDINGS: CloudflareEmbeddings(), IMAGES: CloudflareImages()}, {IMAGES: run_base}
    ),
    "cohere": Operations({EMBEDDINGS: CohereEmbeddings()}),
    "gigachat": Operations({EMBEDDINGS: GigaChatEmbeddings()}),
    "google": Operations({EMBEDDINGS: GeminiEmbeddings(), IMAGES: GeminiImages()}),
}

#: Image dialects that are not OpenAI's, of types that otherwise speak it.
_IMAGES: Final[Mapping[str, Dialect]] = {
    "airforce": AirforceImages(),
    "cloudflare": CloudflareImages(),
    "huggingface": HuggingFaceImages(),
    "openrouter": OpenRouterImages(),
}
_BASES: Final[Mapping[str, Mapping[str, Callable[[str], str]]]] = {
    "cloudflare": {IMAGES: run_base},
    "huggingface": {IMAGES: inference_base, EMBEDDINGS: _without_version},
}
#: The types that have OpenAI's responses too.
_HAVE_RESPONSES: Final = frozenset({"openai", "openrouter", "xai"})


def compatible_operations(provider_type: str) -> Operations:
    """Return what a type of provider that speaks OpenAI's API does beside chat."""
    dialects: dict[str, Dialect] = {operation: RawDialect(operation) for operation in RAW}
    dialects[IMAGES] = _IMAGES.get(provider_type) or images_of(provider_type)
    embeddings: Dialect | None = openai_embeddings(provider_type)
    if provider_type == "huggingface":
        embeddings = HuggingFaceEmbeddings()
    if embeddings is not None:
        dialects[EMBEDDINGS] = embeddings
    if provider_type in _HAVE_RESPONSES:
        dialects[RESPONSES] = RawDialect(RESPONSES)
    return Operations(dialects, _BASES.get(provider_type, _NO_BASES))

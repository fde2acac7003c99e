"""
Cohere's embeddings, as it speaks itself: ``/v2/embed``.

Source: Cohere API reference, v2, "Embed"; an answer of the first version,
whose vectors and usage stand in the same places, is recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import evolve, frozen

from aiproxy.dialects.cohere import CohereDialect
from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.embeddings import (
    FLOAT,
    EmbeddingsDialect,
    drop_fields,
    other_fields,
    read_texts,
    rename_field,
    write_entries,
)
from aiproxy.dialects.embeddings_openai import swap_route
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import InvalidRequest, UpstreamError

__all__ = ["CohereEmbeddings"]

#: Types of vectors that are numbers.
_NUMBERS: Final = (FLOAT, "int8", "uint8", "binary", "ubinary")


@frozen
class CohereEmbeddings(EmbeddingsDialect):
    """
    See :class:`aiproxy.dialects.dialect.Dialect`.

    :param kind: the type of the vectors.
    """

    kind: str = FLOAT

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """
        Write a request, for texts that will be searched where the caller does
        not say otherwise (``input_type``, which is required).
        """
        fields = other_fields(request)
        dropped = drop_fields(fields, "user")
        dropped += rename_field(fields, "dimensions", "output_dimension")
        kind = _read_kind(fields.get("embedding_types", [FLOAT]))
        body = {
            "input_type": "search_document",
            **fields,
            "model": model,
            "texts": read_texts(request),
            "embedding_types": [kind],
        }
        return evolve(self, kind=kind).wire(request, "/embed", body, dropped)

    def translate(self, answer: Any) -> Any:
        """Turn ``{"embeddings": {TYPE: […]}, "meta": {"billed_units"}}`` into OpenAI's shape."""
        if not isinstance(answer, dict):
            return answer
        translated: dict[str, Any] = {"id": answer["id"]} if answer.get("id") else {}
        translated["data"] = write_entries(_dig(answer, "embeddings", self.kind))
        counted = _dig(answer, "meta", "billed_units", "input_tokens")
        return {**translated, "usage": {"prompt_tokens": counted}}

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status, as for chat."""
        return CohereDialect().read_error(status, headers, body)

    def locate(self, url: str, wire: WireRequest) -> str:
        """Put the route in the place of the one for chat, where the URL has that."""
        return swap_route(url, "/chat", wire.route)


def _read_kind(told: object) -> str:
    """Read ``embedding_types``: OpenAI's answer has room for one vector a text."""
    if not isinstance(told, list) or len(told) != 1 or told[0] not in _NUMBERS:
        raise InvalidRequest(
            f"embedding_types must be a list with one of {', '.join(_NUMBERS)}",
            param="embedding_types",
            code="invalid_value",
        )
    return str(told[0])


def _dig(document: Any, *names: str) -> Any:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document

"""
Gemini's embeddings, as it speaks itself: ``batchEmbedContents``, a request for each text.

Source: Gemini API reference, v1beta, "Embeddings"; recorded, usage and the 404 too.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.embeddings import (
    EmbeddingsDialect,
    drop_fields,
    other_fields,
    read_texts,
    rename_field,
    write_entries,
)
from aiproxy.dialects.gemini import GeminiDialect
from aiproxy.dialects.model_paths import quote_model
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import InvalidRequest
from aiproxy.wire.json import dumps

__all__ = ["GeminiEmbeddings"]

_METHOD: Final = ":batchEmbedContents"
_SINGLE: Final = ":embedContent"
#: Each text is a request of its own; Google itself takes fewer.
_MOST_TEXTS: Final = 2_048
#: Bytes of what is told with each text, for all of them.
_MOST_REPEATED: Final = 4 * 1024 * 1024


@frozen
class GeminiEmbeddings(EmbeddingsDialect):
    """See :class:`aiproxy.dialects.dialect.Dialect`."""

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write a request; fields of Gemini's own, as ``taskType``, go with each text."""
        fields = other_fields(request)
        dropped = drop_fields(fields, "user")
        dropped += rename_field(fields, "dimensions", "outputDimensionality")
        name = model if "/" in model else f"models/{model}"
        texts = read_texts(request)
        if len(texts) > _MOST_TEXTS or len(dumps(fields)) * len(texts) > _MOST_REPEATED:
            raise InvalidRequest(
                f"google takes {_MOST_TEXTS:,} texts at most, and other fields with each of them",
                param="input",
                code="invalid_value",
            )
        body = {
            "requests": [
                {**fields, "model": name, "content": {"parts": [{"text": text}]}} for text in texts
            ]
        }
        return self.wire(request, f"/{quote_model(name, safe='/@:')}{_METHOD}", body, dropped)

    def translate(self, answer: Any) -> Any:
        """Turn ``{"embeddings": [{"values"}], "usageMetadata"}`` into OpenAI's shape."""
        if not isinstance(answer, dict):
            return answer
        told = answer.get("embeddings")
        vectors = [
            one.get("values") if isinstance(one, dict) else None
            for one in (told if isinstance(told, list) else ())
        ]
        usage = answer.get("usageMetadata")
        counted = usage.get("promptTokenCount") if isinstance(usage, dict) else None
        return {"data": write_entries(vectors), "usage": {"prompt_tokens": counted}}

    def locate(self, url: str, wire: WireRequest) -> str:
        """Append what a URL lacks of ``/models/MODEL:METHOD``, and put its method right."""
        parts = urlsplit(url)
        path = parts.path.removesuffix(_METHOD).removesuffix(_SINGLE)
        return GeminiDialect().locate(parts._replace(path=path).geturl(), wire)

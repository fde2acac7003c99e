"""
HuggingFace's own inference of embeddings: the pipeline ``feature-extraction``.

Its router speaks OpenAI's API for chat only.  What is asked here stands beside
that: ``https://router.huggingface.co/hf-inference/models/MODEL/pipeline/feature-extraction``.
An answer is bare vectors, without usage.

Source: HuggingFace, "Inference Providers", "Feature Extraction".
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
    write_entries,
)
from aiproxy.dialects.model_paths import quote_model
from aiproxy.dialects.shapes import ChatRequest

__all__ = ["HuggingFaceEmbeddings"]

_FOLDER: Final = "/hf-inference/"


@frozen
class HuggingFaceEmbeddings(EmbeddingsDialect):
    """See :class:`aiproxy.dialects.dialect.Dialect`."""

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write a request; ``normalize``, ``truncate`` and the like pass."""
        # ``:PROVIDER`` behind a name chooses one of others for chat.
        name = quote_model(model.removesuffix(":hf-inference"))
        fields = other_fields(request)
        dropped = drop_fields(fields, "dimensions", "user")
        route = f"{_FOLDER}models/{name}/pipeline/feature-extraction"
        return self.wire(request, route, {**fields, "inputs": read_texts(request)}, dropped)

    def translate(self, answer: Any) -> Any:
        """Turn bare vectors, or the only one, into OpenAI's shape."""
        if not isinstance(answer, list):
            return answer
        alone = self.inputs == 1 and not any(isinstance(one, list) for one in answer)
        return {"data": write_entries([answer] if alone else answer)}

    def locate(self, url: str, wire: WireRequest) -> str:
        """Leave the version out, which belongs to the compatible API."""
        parts = urlsplit(url)
        return parts._replace(path=parts.path.replace("/v1" + _FOLDER, _FOLDER, 1)).geturl()

"""
Embeddings by Cloudflare's own way to run a model: ``{"text": […]}`` in, ``result.data`` out.

The compatible route (``…/ai/v1``) is :mod:`aiproxy.dialects.embeddings_openai`'s.

Source: Cloudflare's documentation of Workers AI: the models' schemas.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from aiproxy.dialects.cloudflare import CloudflareDialect
from aiproxy.dialects.cloudflare_errors import judge_envelope
from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.embeddings import (
    EmbeddingsDialect,
    drop_fields,
    other_fields,
    read_texts,
    write_entries,
)
from aiproxy.dialects.model_paths import quote_model
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest
from aiproxy.errors import UpstreamError

__all__ = ["CloudflareEmbeddings"]


@frozen
class CloudflareEmbeddings(EmbeddingsDialect):
    """See :class:`aiproxy.dialects.dialect.Dialect`."""

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write a request; the URL names the model."""
        path = quote_model(model, safe="/@:")
        fields = other_fields(request)
        dropped = drop_fields(fields, "dimensions", "user")
        body = {**fields, "text": read_texts(request)}
        return self.wire(request, "/" + path, body, dropped)

    def translate(self, answer: Any) -> Any:
        """Take the vectors out of the envelope; most models tell no usage."""
        result = answer.get("result") if isinstance(answer, dict) else None
        if not isinstance(result, dict):
            return answer
        return {"data": write_entries(result.get("data")), "usage": result.get("usage")}

    def read_reply(self, body: bytes) -> ChatAnswer:
        """Read an answer, whose envelope may say that it is an error."""
        error = judge_envelope(None, body)
        if error is not None:
            raise error
        return super().read_reply(body)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status, as for chat."""
        return CloudflareDialect().read_error(status, headers, body)

    def locate(self, url: str, wire: WireRequest) -> str:
        """Append the model, where the URL does not name it yet."""
        return CloudflareDialect().locate(url, wire)

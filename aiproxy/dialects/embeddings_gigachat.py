"""
GigaChat's embeddings: OpenAI's shape, but each vector has a usage of its own (recorded).

Source: GigaChat API reference, "POST /embeddings".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from aiproxy.dialects.dialect import WireRequest
from aiproxy.dialects.embeddings import EmbeddingsDialect, drop_fields, other_fields, read_texts
from aiproxy.dialects.embeddings_openai import swap_route
from aiproxy.dialects.gigachat import GigaChatReader
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import UpstreamError

__all__ = ["GigaChatEmbeddings"]


@frozen
class GigaChatEmbeddings(EmbeddingsDialect):
    """See :class:`aiproxy.dialects.dialect.Dialect`."""

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write a request."""
        fields = other_fields(request)
        dropped = drop_fields(fields, "dimensions", "user")
        body = {**fields, "model": model, "input": read_texts(request)}
        return self.wire(request, "/embeddings", body, dropped)

    def translate(self, answer: Any) -> Any:
        """Sum the usage of the vectors, where the answer has none."""
        if isinstance(answer, dict) and not answer.get("usage"):
            answer["usage"] = {"prompt_tokens": _sum_tokens(answer.get("data"))}
        return answer

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status, as for chat."""
        return GigaChatReader().read_error(status, headers, body)

    def locate(self, url: str, wire: WireRequest) -> str:
        """Put the route in the place of the one for chat, where the URL has that."""
        return swap_route(url, "/chat/completions", wire.route)


def _sum_tokens(data: object) -> int:
    counted = 0
    for entry in data if isinstance(data, list) else ():
        usage = entry.get("usage") if isinstance(entry, dict) else None
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        counted += tokens if type(tokens) is int else 0
    return counted

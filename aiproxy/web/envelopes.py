"""Errors as clients of other dialects than OpenAI's know them."""

from __future__ import annotations

from aiproxy.dialects.messages_face import describe_error
from aiproxy.errors import AIProxyError
from aiproxy.wire.json import dumps

__all__ = ["anthropic_envelope"]


def anthropic_envelope(error: AIProxyError) -> bytes:
    """Write an error as Anthropic does."""
    return dumps(describe_error(error))

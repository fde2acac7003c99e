"""Errors as clients know them, by the dialect that they speak."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from aiproxy.dialects.messages_face import describe_error
from aiproxy.errors import AIProxyError
from aiproxy.wire.json import dumps

__all__ = ["Envelope", "anthropic_envelope", "openai_envelope"]

#: Writes an error's body.
Envelope: TypeAlias = Callable[[AIProxyError], bytes]


def openai_envelope(error: AIProxyError) -> bytes:
    """Write an error as OpenAI does."""
    return dumps(error.envelope())


def anthropic_envelope(error: AIProxyError) -> bytes:
    """Write an error as Anthropic does."""
    return dumps(describe_error(error))

"""
Our words in those of the conventions for generative AI.

https://github.com/open-telemetry/semantic-conventions-genai has them.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

from aiproxy.dialects.operations import COMPLETIONS, MESSAGES, RESPONSES
from aiproxy.policy.routing import Candidate

__all__ = ["SECONDS", "TOKENS", "describe", "name_operation"]

#: The bounds of their buckets.
SECONDS: Final = tuple(0.01 * 2**power for power in range(14))
TOKENS: Final = tuple(4**power for power in range(14))

#: Where a word applies it is the one to use; others are ours.
_OPERATIONS: Final = {COMPLETIONS: "text_completion", MESSAGES: "chat", RESPONSES: "chat"}
_PROVIDERS: Final = {
    "azure": "azure.ai.openai",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "xai": "x_ai",
}
_PORTS: Final = {"http": 80, "https": 443}


def name_operation(operation: str) -> str:
    """Return the name of an operation, of :mod:`aiproxy.dialects.operations`."""
    return _OPERATIONS.get(operation, operation)


def describe(candidate: Candidate, operation: str) -> dict[str, Any]:
    """
    Return the attributes that metrics have of whom is asked.

    They are configured names: a wildcard stands for the models that callers think up.
    """
    model = candidate.model
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _PROVIDERS.get(model.provider_type, model.provider_type),
        "gen_ai.request.model": model.upstream_model,
    }
    where = urlsplit(model.url or model.base_url or "")
    if where.hostname:
        attributes["server.address"] = where.hostname
        attributes["server.port"] = where.port or _PORTS.get(where.scheme, 443)
    return attributes

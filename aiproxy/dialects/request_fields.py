"""Fields of OpenAI's request that only OpenAI's own service has a meaning for."""

from __future__ import annotations

from typing import Final

__all__ = ["OPENAI_ONLY"]

#: Left out, and named, where a provider of another dialect is asked.
#: Source: OpenAI API reference, "Create chat completion".
OPENAI_ONLY: Final = frozenset(
    {
        *("audio", "logit_bias", "metadata", "moderation", "prediction", "prompt_cache_key"),
        *("prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier"),
        *("store", "user", "verbosity"),
    }
)

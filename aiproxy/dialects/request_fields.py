"""What fields of OpenAI's request ask for, and those that only its own service knows."""

from __future__ import annotations

from typing import Final

__all__ = ["OPENAI_ONLY", "asks"]

#: Left out, and named, where a provider of another dialect is asked.
#: Source: OpenAI API reference, "Create chat completion".
OPENAI_ONLY: Final = frozenset(
    {
        *("audio", "logit_bias", "metadata", "moderation", "prediction", "prompt_cache_key"),
        *("prompt_cache_options", "prompt_cache_retention", "safety_identifier", "service_tier"),
        *("store", "user", "verbosity"),
    }
)


def asks(name: str, value: object) -> bool:
    """
    Whether a field asks for anything: null, false, 0 and the like ask for nothing.

    But an empty object of options asks for a search of the web (OpenAI API reference).
    """
    return bool(value) or (name == "web_search_options" and value == {})

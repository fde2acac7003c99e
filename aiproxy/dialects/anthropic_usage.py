"""
Anthropic's usage in OpenAI's words.

Source: Anthropic API reference, "Messages", "Prompt caching"; recorded traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiproxy.dialects.shapes import Usage

__all__ = ["write_usage"]


def write_usage(told: Mapping[str, Any]) -> Usage:
    """Write usage, in tokens: Anthropic's input is what no cache has held or now holds."""
    written, read = (_count(told, f"cache_{way}_input_tokens") for way in ("creation", "read"))
    prompt = _count(told, "input_tokens") + written + read
    completion = _count(told, "output_tokens")
    usage: Usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written},
    }
    details = told.get("output_tokens_details")
    if isinstance(details, Mapping) and "thinking_tokens" in details:
        thoughts = _count(details, "thinking_tokens")
        usage["completion_tokens_details"] = {"reasoning_tokens": thoughts}
    if told.get("server_tool_use"):
        usage["server_tool_use"] = told["server_tool_use"]
    return usage


def _count(holder: Mapping[str, Any], name: str) -> int:
    value = holder.get(name)
    return value if isinstance(value, int) else 0

"""Usage as the interfaces that pass through tell it, in the hub's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiproxy.dialects.shapes import Usage

__all__ = ["find_raw_usage"]

#: What a call has cost: it is told in the same way wherever tokens are counted.
_COST: Final = ("cost", "cost_in_usd_ticks")


def find_raw_usage(document: Mapping[str, Any]) -> Usage | None:
    """
    Find what an answer or an event tells of its usage.

    ``prompt_tokens`` are completions', ``input_tokens`` the others'; reranking
    has only a sum (recorded).
    """
    told = document.get("usage")
    if not isinstance(told, Mapping):
        return None
    if "prompt_tokens" in told:
        return dict(told)
    cost = {name: told[name] for name in _COST if name in told}
    if "input_tokens" not in told and "output_tokens" not in told:
        total = _count(told, "total_tokens")
        return {"prompt_tokens": total, "completion_tokens": 0, "total_tokens": total, **cost}
    # Anthropic counts apart what was cached; the others have it within the input.
    read = _count(told, "cache_read_input_tokens")
    prompt = _count(told, "input_tokens") + read + _count(told, "cache_creation_input_tokens")
    completion = _count(told, "output_tokens")
    cached = read or _count(_details(told, "input_tokens_details"), "cached_tokens")
    spent = _details(told, "output_tokens_details")
    reasoning = _count(spent, "reasoning_tokens") or _count(spent, "thinking_tokens")
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": max(prompt + completion, _count(told, "total_tokens")),
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
        **cost,
    }


def _count(usage: Mapping[str, Any], name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = usage.get(name)
    return value if isinstance(value, Mapping) else {}

"""What a caller wants of thoughts: OpenAI's ``reasoning_effort``, OpenRouter's ``reasoning``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

__all__ = ["ThoughtWish", "read_thought_wish"]


@frozen
class ThoughtWish:
    """
    How an answer is to be thought over.

    :param field: the field of the request that says so.
    :param effort: as the caller writes it; ``none`` for no thoughts at all, ``None``
        where it is not told.
    :param budget: tokens, where they are told.
    :param is_told: whether anything is asked for.
    :param hides: the caller wants to see no thoughts.
    """

    field: str
    effort: Any
    budget: Any
    is_told: bool
    hides: bool


def read_thought_wish(asked: Mapping[str, Any]) -> ThoughtWish:
    """Read what a request asks for; its effort counts more than the one in ``reasoning``."""
    told = asked.get("reasoning")
    reasoning: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    effort = asked.get("reasoning_effort", reasoning.get("effort"))
    budget = reasoning.get("max_tokens")
    enabled = reasoning.get("enabled")
    if enabled is False:
        effort, budget = "none", None
    return ThoughtWish(
        field="reasoning_effort" if "reasoning_effort" in asked else "reasoning",
        effort=effort,
        budget=budget,
        is_told=effort is not None or budget is not None or bool(enabled),
        hides=bool(reasoning.get("exclude")),
    )

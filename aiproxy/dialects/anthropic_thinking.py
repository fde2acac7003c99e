"""
From OpenAI's ``reasoning_effort``, or OpenRouter's ``reasoning``, to Anthropic's thinking.

Source: Anthropic API reference, "Extended thinking", "Adaptive thinking", "Effort".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

from aiproxy.dialects.anthropic_models import ClaudeModel
from aiproxy.dialects.thought_wish import read_thought_wish

__all__ = ["Thinking", "limit_of"]

#: Effort -> tokens of thought, for models that have a budget; higher ones think the most.
_BUDGETS: Final = {"minimal": 1_024, "low": 1_024, "medium": 4_096, "high": 16_384}
_MOST_BUDGET: Final = 24_576
#: The least that there is.
_LEAST_BUDGET: Final = 1_024


@define
class Thinking:
    """
    How the model thinks.

    :param model: the one that is asked.
    :param dropped: takes the names of what cannot be done.
    :ivar body: the fields of the request that say it.
    """

    model: ClaudeModel
    dropped: set[str]
    body: dict[str, Any] = field(init=False, factory=dict)

    @property
    def is_on(self) -> bool:
        """Whether the model is told to think."""
        told = self.body.get("thinking")
        return isinstance(told, Mapping) and told.get("type") in ("enabled", "adaptive")

    @property
    def budget(self) -> int:
        """Tokens that it may think."""
        told = self.body.get("thinking")
        tokens = told.get("budget_tokens") if isinstance(told, Mapping) else None
        return tokens if isinstance(tokens, int) else 0

    def read(self, asked: Mapping[str, Any], *, forgotten: bool) -> None:
        """
        Write what is asked; the caller's own ``thinking`` goes as it is.

        :param forgotten: what was thought before the last calls is not known any
            more: then a model with a budget may not think now.
        """
        if "thinking" in asked:
            self.body["thinking"] = asked["thinking"]
            return
        wish = read_thought_wish(asked)
        effort, budget = wish.effort, wish.budget
        if effort == "none":
            self._stop(wish.field)
            return
        if not wish.is_told:
            return
        thinking: dict[str, Any]
        if self.model.adapts and not (self.model.has_budget and isinstance(budget, int)):
            thinking = {"type": "adaptive", "display": "summarized"}
            if budget is not None:
                self.dropped.add("reasoning.max_tokens")
            if effort is not None:
                self.body["output_config"] = {"effort": self._effort(effort)}
        else:
            tokens = self._tokens(budget, effort, limit_of(asked))
            if forgotten or not tokens:
                self.dropped.add(wish.field)
                return
            thinking = {"type": "enabled", "budget_tokens": tokens}
        if wish.hides:
            if self.model.can_omit_thoughts:
                thinking["display"] = "omitted"
            else:
                self.dropped.add("reasoning.exclude")
        self.body["thinking"] = thinking

    def make_room(self, choice: dict[str, Any]) -> None:
        """Let a tool be forced, in place: a model that thinks refuses that."""
        if choice.get("type") not in ("any", "tool"):
            return
        if self.model.thinks_always or self.is_on:
            choice.pop("name", None)
            choice["type"] = "auto"
            self.dropped.add("tool_choice")
        elif self.model.thinks_unasked:
            self.body["thinking"] = {"type": "disabled"}

    def _stop(self, name: str) -> None:
        if self.model.thinks_always:
            self.body["output_config"] = {"effort": "low"}
            self.dropped.add(name)
        elif self.model.thinks_unasked:
            self.body["thinking"] = {"type": "disabled"}

    def _effort(self, effort: Any) -> Any:
        if effort == "xhigh" and not self.model.takes_xhigh:
            return "high"
        return "low" if effort == "minimal" else effort

    def _tokens(self, budget: Any, effort: Any, most: Any) -> int:
        """Return how many tokens it may think, fewer than the whole answer has; 0 for none."""
        effort = effort or "medium"
        tokens = budget if isinstance(budget, int) else _BUDGETS.get(str(effort), _MOST_BUDGET)
        tokens = max(tokens, _LEAST_BUDGET)
        if isinstance(most, int):
            tokens = min(tokens, most - 1)
        return tokens if self.model.has_budget and tokens >= _LEAST_BUDGET else 0


def limit_of(asked: Mapping[str, Any]) -> Any:
    """Return how many tokens the caller wants at most, thoughts and all."""
    return asked.get("max_completion_tokens", asked.get("max_tokens"))

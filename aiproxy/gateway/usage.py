"""What a call came to: one record for each, and sums for each model."""

from __future__ import annotations

from attrs import Factory, define

from aiproxy.dialects.shapes import Usage

__all__ = ["CallRecord", "Tokens", "UsageLedger"]


@define
class Tokens:
    """Tokens of one call, or of many."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    def add(self, more: Tokens) -> None:
        """Add others to these."""
        self.prompt += more.prompt
        self.completion += more.completion
        self.cached += more.cached
        self.reasoning += more.reasoning


@define
class CallRecord:
    """
    One call, as it goes on; times are the clock's seconds.

    :param id: the request's id.
    :param key: whose token it came with.
    :param model: the configured name that was asked for; never a text that
        only the caller knows.
    """

    id: str
    key: str
    started: float
    model: str | None = None
    stream: bool = False
    served_by: str | None = None
    provider: str | None = None
    attempts: int = 0
    error: str | None = None
    first_token: float | None = None
    ended: float | None = None
    tokens: Tokens = Factory(Tokens)

    def read_usage(self, usage: Usage | None) -> None:
        """Note what an upstream told, as far as it makes sense."""
        if not usage:
            return
        prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
        # Some sums leave the reasoning out, and only the total has it (xAI, recorded).
        completion = max(completion, _count(usage, "total_tokens") - prompt)
        cached = _count(_details(usage, "prompt_tokens_details"), "cached_tokens")
        reasoning = _count(_details(usage, "completion_tokens_details"), "reasoning_tokens")
        self.tokens = Tokens(prompt, completion, min(cached, prompt), min(reasoning, completion))


class UsageLedger:
    """Sums, by the configured name of the model that answered."""

    def __init__(self) -> None:
        self.by_model: dict[str, Tokens] = {}

    def add(self, record: CallRecord) -> None:
        """Add a call that is over."""
        if record.served_by is not None:
            self.by_model.setdefault(record.served_by, Tokens()).add(record.tokens)


def _count(usage: Usage, name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _details(usage: Usage, name: str) -> Usage:
    value = usage.get(name)
    return value if isinstance(value, dict) else {}

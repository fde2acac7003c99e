"""What a call came to: one record for each, and sums for each model."""

from __future__ import annotations

from attrs import Factory, define, frozen

from aiproxy.dialects.shapes import Usage

__all__ = ["CallRecord", "Spent", "Tokens", "UsageLedger", "read_tokens"]


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


@frozen
class Spent:
    """
    One attempt.

    :param model: the configured name of who was asked.
    :param outcome: ``answered``, ``failed``, ``cut``, ``late`` where another was faster, or
        ``left`` where the caller was.
    """

    model: str
    provider: str
    outcome: str
    tokens: Tokens


@define
class CallRecord:
    """
    One call, as it goes on; times are the clock's seconds.

    :param id: the request's id.
    :param key: whose token it came with.
    :param model: the configured name that was asked for; never a text that
        only the caller knows.
    :param attempts: how many were begun.
    :param takeovers: how many went on where another was cut.
    :param rescued: the answer is whole, and would not be without them.
    :param tokens: as the caller is told.
    :param spent: each attempt that is over, with what it really used.
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
    takeovers: int = 0
    rescued: bool = False
    tokens: Tokens = Factory(Tokens)
    spent: list[Spent] = Factory(list)

    def account(self, model: str, provider: str, outcome: str, usage: Usage | None) -> None:
        """Note that an attempt is over."""
        self.spent.append(Spent(model, provider, outcome, read_tokens(usage)))

    def read_usage(self, usage: Usage | None) -> None:
        """Note what the caller is told; ``None``: nothing, so what was spent stands."""
        if usage is not None:
            self.tokens = read_tokens(usage)
            return
        self.tokens = Tokens()
        for attempt in self.spent:
            self.tokens.add(attempt.tokens)


class UsageLedger:
    """Sums, by the configured name of the model that was asked."""

    def __init__(self) -> None:
        self.by_model: dict[str, Tokens] = {}

    def add(self, record: CallRecord) -> None:
        """Add a call that is over: each attempt's tokens to who was asked."""
        for spent in record.spent:
            if spent.tokens != Tokens():
                self.by_model.setdefault(spent.model, Tokens()).add(spent.tokens)


def read_tokens(usage: Usage | None) -> Tokens:
    """Return what an upstream has told, as far as it makes sense."""
    if not usage:
        return Tokens()
    prompt, completion = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    # Some sums leave the reasoning out, and only the total has it (xAI, recorded).
    completion = max(completion, _count(usage, "total_tokens") - prompt)
    cached = _count(_details(usage, "prompt_tokens_details"), "cached_tokens")
    reasoning = _count(_details(usage, "completion_tokens_details"), "reasoning_tokens")
    return Tokens(prompt, completion, min(cached, prompt), min(reasoning, completion))


def _count(usage: Usage, name: str) -> int:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def _details(usage: Usage, name: str) -> Usage:
    value = usage.get(name)
    return value if isinstance(value, dict) else {}

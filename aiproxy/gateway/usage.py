"""What a call came to: one record for each, and sums for each model."""

from __future__ import annotations

import math
from typing import Final

from attrs import Factory, define
from twisted.internet.defer import CancelledError

from aiproxy.dialects.shapes import Usage
from aiproxy.errors import AIProxyError
from aiproxy.transport.relay import ClientStalled

__all__ = ["SAID", "CallRecord", "Spent", "Tokens", "read_cost", "read_tokens", "reckon_usage"]

#: Of texts whose tokens nobody has counted.
_CHARACTERS_PER_TOKEN: Final = 4
_MICRO: Final = 1e6
#: xAI counts in ticks, ten billion to a dollar: so many micro-dollars are one.
_TICK: Final = 1e-4


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


#: Outcomes of attempts that the caller has had something of.
SAID: Final = ("answered", "cut", "left")

#: What nothing is added to.
_NO_TOKENS: Final = Tokens()


@define
class Spent:
    """
    One attempt.

    :param model: the configured name of who was asked.
    :param outcome: ``answered``, ``failed``, ``cut``, ``late`` where another was faster, or
        ``left`` where the caller was.
    :param cost: in micro-dollars; ``None``: the upstream has not told.
    """

    model: str
    provider: str
    outcome: str
    tokens: Tokens
    cost: float | None = None


@define
class CallRecord:
    """
    One request and its call, as it goes on; times are the clock's seconds.

    A request that never became a call has one too: who was refused has no key,
    and most of it is unknown.

    :param id: the request's id.
    :param key: whose token it came with.
    :param model: the configured name that was asked for; never a text that
        only the caller knows.
    :param attempts: how many were begun.
    :param error: the error's code, or its type where that could be an upstream's own text.
    :param takeovers: how many went on where another was cut.
    :param rescued: the answer is whole, and would not be without them.
    :param tokens: as the caller is told.
    :param spent: each attempt that is over, with what it really used.
    :param client: the caller's address.
    :param route: the path as it is declared, not as it came.
    :param status: of the answer's head; ``None``: there was none.
    :param error_type: the error's type, one of a few words.
    :param failed_provider: the configured name of the provider that the error came from.
    :param waited: seconds in which only upstreams were waited for.
    """

    id: str
    key: str | None
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
    tokens: Tokens = _NO_TOKENS
    spent: list[Spent] = Factory(list)
    client: str | None = None
    route: str | None = None
    status: int | None = None
    error_type: str | None = None
    failed_provider: str | None = None
    waited: float = 0.0
    #: How many upstreams are waited for, and since when.
    _asked: int = 0
    _since: float = 0.0

    @property
    def cost(self) -> float | None:
        """What all attempts cost in micro-dollars; ``None``: no upstream has told."""
        told: float | None = None
        for one in self.spent:
            if one.cost is not None:
                told = one.cost if told is None else told + one.cost
        return told

    @property
    def went_on(self) -> list[str]:
        """Who went on where another was cut, in order; the first is :attr:`served_by`."""
        if not self.takeovers:
            return []
        return [one.model for one in self.spent if one.outcome in SAID][1:]

    def asked(self, now: float) -> None:
        """
        From now on an upstream is waited for.

        An attempt calls it when its request is handed to the transport, a
        stream again when the answer's first bytes have gone to the caller.
        """
        if not self._asked:
            self._since = now
        self._asked += 1

    def heard(self, now: float) -> None:
        """
        The upstream has answered, or is given up; more often than asked is harmless.

        An attempt calls it when the whole body or the first content is there,
        before anything is made of it, and when it is over; a stream at its end.
        """
        if self._asked:
            self._asked -= 1
            if not self._asked:
                self.waited += now - self._since

    def end(self, now: float, error: BaseException | None = None) -> None:
        """
        The call is over.

        :param error: why there is no whole answer.
        """
        if self._asked:
            self._asked = 1
            self.heard(now)
        self.ended = now
        if error is None:
            if self.status is None:
                self.status = 200
            return
        if isinstance(error, AIProxyError):
            self.error, self.error_type = error.word, error.type
            self.failed_provider = error.provider
        elif isinstance(error, (CancelledError, ClientStalled)):
            self.error = self.error_type = "client_left"
        else:
            self.error = self.error_type = "internal_error"
        if self.status is None:
            self.status = self._settled_status(error)

    def _settled_status(self, error: BaseException) -> int | None:
        if self.first_token is not None:
            return 200  # The head of a stream is out before its error.
        if isinstance(error, AIProxyError):
            return error.status
        return None if self.error == "client_left" else 500

    def account(self, model: str, provider: str, outcome: str, usage: Usage | None) -> None:
        """Note that an attempt is over."""
        self.spent.append(Spent(model, provider, outcome, read_tokens(usage), read_cost(usage)))

    def answered(self, usage: Usage | None) -> None:
        """Note what the caller is told: what the last attempt has used, if that is known."""
        if usage is None:
            self.read_usage(None)
        else:
            self.tokens = self.spent[-1].tokens

    def read_usage(self, usage: Usage | None) -> None:
        """Note what the caller is told; ``None``: nothing, so what was spent stands."""
        if usage is not None:
            self.tokens = read_tokens(usage)
            return
        self.tokens = Tokens()
        for attempt in self.spent:
            self.tokens.add(attempt.tokens)


def read_tokens(usage: Usage | None) -> Tokens:
    """Return what an upstream has told, as far as it makes sense."""
    if not usage:
        return Tokens()
    prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if type(prompt) is not int or prompt < 0:
        prompt = 0
    if type(completion) is not int or completion < 0:
        completion = 0
    total = usage.get("total_tokens")
    if type(total) is int and total - prompt > completion:
        # Some sums leave the reasoning out, and only the total has it (xAI, recorded).
        completion = total - prompt
    details = usage.get("prompt_tokens_details")
    if isinstance(details, dict):
        cached = details.get("cached_tokens")
    else:
        # Mistral (recorded) and DeepSeek may tell it beside the counts only.
        cached = usage.get("num_cached_tokens", usage.get("prompt_cache_hit_tokens"))
    if type(cached) is not int or cached < 0:
        cached = 0
    details = usage.get("completion_tokens_details")
    reasoning = details.get("reasoning_tokens") if isinstance(details, dict) else 0
    if type(reasoning) is not int or reasoning < 0:
        reasoning = 0
    return Tokens(prompt, completion, min(cached, prompt), min(reasoning, completion))


def reckon_usage(told: Usage, characters: int) -> Usage:
    """
    Say what a stream that broke off has used: its completion is mostly told at the end only.

    :param told: so far.
    :param characters: what came of it; four are a token.
    """
    if told.get("completion_tokens") or not characters:
        return told
    completion = -(-characters // _CHARACTERS_PER_TOKEN)
    prompt = told.get("prompt_tokens")
    total = (prompt if isinstance(prompt, int) else 0) + completion
    return {**told, "completion_tokens": completion, "total_tokens": total}


def read_cost(usage: Usage | None) -> float | None:
    """
    Return what an upstream says that a call costs, in micro-dollars, fractions kept.

    OpenRouter does, in dollars, as ``usage.cost``; Perplexity does so in parts
    and their sum; xAI does in ticks of its own (all recorded).
    """
    if not usage:
        return None
    told, unit = usage.get("cost"), _MICRO
    if told is None:
        told, unit = usage.get("cost_in_usd_ticks"), _TICK
    elif isinstance(told, dict):
        told = told.get("total_cost")
    if isinstance(told, (int, float)) and not isinstance(told, bool) and 0 <= told < math.inf:
        return told * unit
    return None

"""What the caller of an answer that was taken over is told of its usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from attrs import define

from aiproxy.dialects.shapes import ChatRequest, Usage
from aiproxy.gateway.continuation import Continuation, Target

__all__ = ["Part", "sum_usage"]

#: Where nobody tells the tokens of a text, so many characters are one.
_CHARACTERS_PER_TOKEN: Final = 4


@define
class Part:
    """
    One upstream's part.

    :ivar received: characters that it told.
    :ivar brought: those that were new.
    :ivar barren: not one word was.
    """

    target: Target
    continuation: Continuation | None = None
    received: int = 0
    brought: int = 0
    barren: bool = True
    usage: Usage | None = None


def sum_usage(parts: Sequence[Part]) -> Usage | None:
    """Count the prompt once, and of the completions what was delivered of them."""
    known = [attempt for attempt in parts if attempt.usage]
    if not known:
        return None
    # Before its end one may have told its prompt only.
    counted = [attempt for attempt in known if _count(attempt.usage, "completion_tokens")]
    completion = sum(_share(attempt, (counted or known)[-1]) for attempt in parts)
    prompt = next(
        (_count(attempt.usage, "prompt_tokens") for attempt in known if not _added(attempt)),
        None,
    )
    if prompt is None:
        prompt = _own_prompt(known[0])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _share(attempt: Part, known: Part) -> int:
    """Count the tokens of what an upstream brought, by its own usage or by another's."""
    own = _count(attempt.usage, "completion_tokens")
    source = attempt if own else known
    tokens = own or _count(known.usage, "completion_tokens")
    received = source.received if source.continuation else source.brought
    if source is attempt and attempt.brought == received:
        return tokens
    if not tokens or not received:
        return round(attempt.brought / _CHARACTERS_PER_TOKEN)
    return round(tokens * attempt.brought / received)


def _own_prompt(attempt: Part) -> int:
    """
    Count the tokens of the caller's prompt in the longer one of a continuation.

    What was added is taken off by its characters, but the caller's share of all
    the text stays, rounded up: the upstream's tokens may be longer than we reckon.
    """
    assert attempt.continuation is not None  # Something was added.
    longer, added = _count(attempt.usage, "prompt_tokens"), _added(attempt)
    text = max(_count_text(attempt.continuation.request), added)
    share = -(-longer * (text - added) // text)
    return max(longer - added // _CHARACTERS_PER_TOKEN, share)


def _count_text(request: ChatRequest) -> int:
    """Count the characters of the texts in a request's messages."""
    contents = [message.get("content") for message in request["messages"]]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    texts = contents + [part.get("text") for part in parts if isinstance(part, Mapping)]
    return sum(len(text) for text in texts if isinstance(text, str))


def _added(attempt: Part) -> int:
    return attempt.continuation.added_characters if attempt.continuation else 0


def _count(usage: Usage | None, name: str) -> int:
    value = (usage or {}).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0

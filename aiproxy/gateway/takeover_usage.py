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
    What one upstream has sent of an answer that others went on with.

    :ivar received: characters that came from it.
    :ivar brought: those of them that were new to the caller.
    :ivar barren: nothing but blanks was new.
    """

    target: Target
    continuation: Continuation | None = None
    received: int = 0
    brought: int = 0
    barren: bool = True
    usage: Usage | None = None


def sum_usage(parts: Sequence[Part]) -> Usage | None:
    """Count the prompt once, and of the completions what was delivered of them."""
    known = [part for part in parts if part.usage]
    if not known:
        return None
    # Before its end one may have told its prompt only.
    counted = [part for part in known if _count(part.usage, "completion_tokens")]
    completion = sum(_count_completion(part, (counted or known)[-1]) for part in parts)
    prompt = next(
        (_count(part.usage, "prompt_tokens") for part in known if not _added_characters(part)),
        None,
    )
    if prompt is None:
        prompt = _count_prompt(known[0])
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _count_completion(part: Part, known: Part) -> int:
    """Count the tokens of what an upstream brought, by its own usage or by another's."""
    own = _count(part.usage, "completion_tokens")
    source = part if own else known
    tokens = own or _count(known.usage, "completion_tokens")
    received = source.received if source.continuation else source.brought
    if source is part and part.brought == received:
        return tokens
    if not tokens or not received:
        return round(part.brought / _CHARACTERS_PER_TOKEN)
    return round(tokens * part.brought / received)


def _count_prompt(part: Part) -> int:
    """
    Count the tokens of the caller's prompt in the longer one of a continuation.

    What was added is taken off by its characters, but the caller's share of all
    the text stays, rounded up: the upstream's tokens may be longer than we reckon.
    """
    assert part.continuation is not None  # Something was added.
    longer, added = _count(part.usage, "prompt_tokens"), _added_characters(part)
    text = max(_count_text(part.continuation.request), added)
    share = -(-longer * (text - added) // text)
    return max(longer - added // _CHARACTERS_PER_TOKEN, share)


def _count_text(request: ChatRequest) -> int:
    """Count the characters of the texts in a request's messages."""
    contents = [message.get("content") for message in request["messages"]]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    texts = contents + [part.get("text") for part in parts if isinstance(part, Mapping)]
    return sum(len(text) for text in texts if isinstance(text, str))


def _added_characters(part: Part) -> int:
    return part.continuation.added_characters if part.continuation else 0


def _count(usage: Usage | None, name: str) -> int:
    value = (usage or {}).get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0

"""
The order of an answer's blocks, which OpenAI's shape cannot hold.

OpenAI's messages are one text, then calls.  Anthropic's models think, search
and speak by turns, and want their thoughts back in their place.  An answer in
any but the usual order (thoughts, what ran at Anthropic, one text, calls)
tells its layout: for every block its ``type``; for a text also its ``length``
in characters and how many of the ``citations`` are its own.

Source: Anthropic's documentation, "Extended thinking", "Preserving thinking blocks".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from aiproxy.dialects.anthropic_parts import Block, is_blank

__all__ = ["THOUGHTS", "lay_out", "tell_layout"]

#: Types of the blocks that hold thoughts.
THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})

#: Types of blocks -> their place in the usual order; all others ran at Anthropic.
_USUAL: Final = {**dict.fromkeys(THOUGHTS, 0), "text": 2, "tool_use": 3}
_RAN: Final = 1


def tell_layout(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries of a layout, or none where the usual order is the right one."""
    places = [_USUAL.get(entry["type"], _RAN) for entry in entries]
    texts = [entry for entry in entries if entry["type"] == "text"]
    plain = len(texts) < 2 and not any(entry.get("citations") for entry in texts)
    return [] if plain and places == sorted(places) else entries


def lay_out(
    layout: Any,
    *,
    thoughts: list[Block],
    ran: list[Block],
    text: str,
    citations: list[dict[str, Any]],
    calls: list[Block],
) -> list[Block] | None:
    """
    Put an answer that comes back into the order in which it came.

    :param layout: what the caller has kept of the layout, if anything.
    :param ran: blocks of what ran at Anthropic.
    :param text: all texts as one; those that are blank, Anthropic refuses.
    :return: ``None`` if the answer isn't the one whose layout this is.
    """
    if not isinstance(layout, list):
        return None
    left = {0: deque(thoughts), _RAN: deque(ran), 3: deque(calls)}
    cited = deque(citations)
    blocks: list[Block] = []
    start = 0
    for entry in layout:
        kind = entry.get("type") if isinstance(entry, Mapping) else None
        if not isinstance(kind, str):
            return None
        if kind == "text":
            length, count = _count(entry, "length"), _count(entry, "citations")
            block: Block = {"type": "text", "text": text[start : start + length]}
            start += length
            if count:
                block["citations"] = [cited.popleft() for _ in range(min(count, len(cited)))]
            if not is_blank(block["text"]):
                blocks.append(block)
            continue
        kin = left[_USUAL.get(kind, _RAN)]
        if not kin or kin[0]["type"] != kind:
            return None
        blocks.append(kin.popleft())
    changed = start != len(text) or cited or any(left.values())
    return None if changed else blocks


def _count(entry: Mapping[str, Any], name: str) -> int:
    told = entry.get(name, 0)
    return told if isinstance(told, int) and told > 0 else 0

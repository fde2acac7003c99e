"""
What is known of Anthropic's models by their names: how they think, and what they refuse.

Sources: Anthropic API reference, "Extended thinking", "Adaptive thinking",
"Effort"; the migration guides to Opus 4.7, Sonnet 5 and Opus 5.5; recorded
traffic.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["ClaudeModel"]

#: ``claude-3-5-haiku-20241022``, ``claude-opus-4-1``, ``claude-sonnet-4-5@20250929``, …
_VERSION: Final = re.compile(
    r"claude-(?:[a-z]+-)*([0-9]{1,2})(?![0-9])(?:[.-]([0-9]{1,2})(?![0-9]))?"
)
#: Those that others make, and newer ones whose name tells no number.
_FOREIGN: Final = (4, 0)
_NEWEST: Final = (99, 0)

#: Up to this version -> tokens of an answer where the caller names no limit, for Anthropic
#: wants one: as many as every model up to there can give.
_ANSWER_TOKENS: Final = (((3, 0), 4_096), ((3, 5), 8_192), (_NEWEST, 32_000))


class ClaudeModel:
    """One model, by its name on any of the platforms that serve it."""

    def __init__(self, name: str) -> None:
        found = _VERSION.search(name.lower())
        if found is not None:
            version = int(found[1]), int(found[2] or 0)
        else:
            version = _NEWEST if "claude" in name.lower() else _FOREIGN
        always = re.search("fable|mythos", name.lower()) is not None
        #: It thinks as long as it sees fit, and takes an effort.
        self.adapts = always or version >= (4, 6)
        #: It can be made to think, within a budget of tokens.
        self.has_budget = not always and (3, 7) <= version < (4, 7)
        #: It thinks if nothing is said of it.
        self.thinks_unasked = always or version >= (5, 0)
        #: Nothing makes it stop thinking, and no tool can be forced on it.
        self.thinks_always = always or (version >= (5, 5) and "haiku" not in name.lower())
        #: It takes ``temperature``, ``top_p`` and ``top_k``.
        self.samples = not always and version < (4, 7)
        #: It takes only one of ``temperature`` and ``top_p``.
        self.samples_one_way = version >= (4, 1)
        #: It answers by a schema, and knows strict tools.
        self.follows_schemas = always or version >= (4, 5)
        #: Its thoughts can be left out of the answer.
        self.can_omit_thoughts = always or version >= (4, 5)
        #: It takes the effort ``xhigh``.
        self.takes_xhigh = always or version >= (4, 7)
        self.answer_tokens = next(most for last, most in _ANSWER_TOKENS if version <= last)

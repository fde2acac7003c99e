"""
The hub: OpenAI's own JSON, as plain dicts.

Everything inside the gateway speaks these shapes.  They are documentation for
readers and for the type checker, never a filter: fields that are not named
here travel along untouched.  Extensions follow what the providers' own
compatible endpoints do: ``reasoning_content`` for thoughts in clear text and
``extra_content.<provider>`` for what only that provider understands.

Source: OpenAI API reference, "Chat Completions".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

__all__ = [
    "LONGEST_ID",
    "ChatAnswer",
    "ChatChunk",
    "ChatRequest",
    "Usage",
    "add_usage",
    "is_short",
    "says_something",
]

#: A request body: ``model``, ``messages``, ``stream``, ``stream_options``, ``tools``, …
ChatRequest: TypeAlias = dict[str, Any]

#: A whole answer: ``id``, ``object: chat.completion``, ``created``, ``model``, ``choices``,
#: ``usage``.
ChatAnswer: TypeAlias = dict[str, Any]

#: A piece of a streamed answer: as the answer, with ``object: chat.completion.chunk``
#: and a ``delta`` in place of each choice's ``message``.
ChatChunk: TypeAlias = dict[str, Any]

#: ``prompt_tokens``, ``completion_tokens``, ``total_tokens`` and their ``…_details``.
Usage: TypeAlias = dict[str, Any]

#: What says who speaks, not what: ``name`` is HuggingFace's, ``channel`` Groq's (recorded).
_ABOUT: Final = frozenset({"role", "name", "channel"})


#: Usages have a dozen fields, or two.
_MOST_FIELDS: Final = 100

#: Characters of what is told once and repeated with each chunk: an id, a fingerprint.
LONGEST_ID: Final = 512

#: What can say anything.
_SAYING: Final = (str, list, dict)


def is_short(value: object) -> bool:
    """Whether a text is one that may be repeated with each chunk of an answer."""
    return isinstance(value, str) and 0 < len(value) <= LONGEST_ID


def add_usage(known: Usage, told: Mapping[str, Any]) -> None:
    """Add what an event tells of its stream's usage, in place; there is no end of events."""
    for name, value in told.items():
        if value is not None and (name in known or len(known) < _MOST_FIELDS):
            known[name] = value


def says_something(delta: Mapping[str, Any]) -> bool:
    """
    Whether a delta or a message holds some content, reasoning, refusal or call.

    Which fields these are, providers decide; bare numbers (Together's
    ``token_id``, recorded) are never what is said.
    """
    for name, value in delta.items():
        if value and name not in _ABOUT and isinstance(value, _SAYING):
            return True
    return False

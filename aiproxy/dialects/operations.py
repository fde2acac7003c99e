"""
What a caller can ask a provider for.

Each operation has faces that read it from clients and dialects that write it
to providers; all else (who is asked, what a failure means, what it has cost)
is the same for all of them.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALL_IMAGES",
    "AUDIO",
    "CHAT",
    "COMPLETIONS",
    "EMBEDDINGS",
    "IMAGES",
    "MESSAGES",
    "MODERATIONS",
    "PASSED",
    "RAW",
    "RERANK",
    "RESPONSES",
]

CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
IMAGES: Final = "images"
#: In the place of an image model's name: every one, in turn.
ALL_IMAGES: Final = "all"

# --- whose bodies pass through, to providers that speak the client's dialect ---------

COMPLETIONS: Final = "completions"
MODERATIONS: Final = "moderations"
AUDIO: Final = "audio"
RERANK: Final = "rerank"
#: Anthropic's, with the counting of their tokens.
MESSAGES: Final = "messages"
#: OpenAI's other way to chat.
RESPONSES: Final = "responses"

#: Those of every provider that speaks OpenAI's API.
RAW: Final = (COMPLETIONS, MODERATIONS, AUDIO, RERANK)
PASSED: Final = frozenset({*RAW, MESSAGES, RESPONSES})

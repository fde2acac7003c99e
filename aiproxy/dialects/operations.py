"""
What a caller can ask a provider for.

Each operation has faces that read it from clients and dialects that write it
to providers; all else (who is asked, what a failure means, what it has cost)
is the same for all of them.
"""

from __future__ import annotations

from typing import Final

__all__ = ["CHAT", "EMBEDDINGS", "IMAGES"]

CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"
IMAGES: Final = "images"

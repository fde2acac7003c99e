"""What the upstream of the mixed soak says: each request's answer is its own, word by word."""

from __future__ import annotations

import re

from attrs import frozen

_PROMPT = re.compile(rb"Recite ([\w.-]+) (\d+)")


@frozen
class Recital:
    """
    An answer that can be told from all others, and checked to the last character.

    :param id: of the request that asks for it.
    :param words: how long it is.
    """

    id: str
    words: int

    @property
    def prompt(self) -> str:
        """What a client says to get it."""
        return f"Recite {self.id} {self.words}"

    @property
    def text(self) -> str:
        """The answer.  No word comes twice, so a wrong seam shows."""
        return " ".join(f"{self.id}:{number}" for number in range(self.words))

    def after(self, shown: str) -> str | None:
        """What comes behind the beginning that was shown; ``None``: it is no beginning of it."""
        text = self.text
        return text[len(shown) :] if text.startswith(shown) else None

    def again_from(self, words: str) -> str | None:
        """The answer from these words on, which it repeats; ``None``: it has no such words."""
        start = self.text.find(words)
        return self.text[start:] if start >= 0 else None


def find_recital(body: bytes) -> Recital | None:
    """Find what a request's body asks for."""
    found = _PROMPT.search(body)
    return Recital(found[1].decode(), int(found[2])) if found else None

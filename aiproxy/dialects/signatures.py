"""
Thought signatures that providers want back with a tool call, by the call's id.

Gemini 3 refuses a conversation whose calls come back without the signature
that it gave them.  The caller gets them in ``extra_content``, and most clients
leave that out when they send the conversation on: so they are kept here too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

__all__ = ["SignatureMemory"]

#: Signatures that are kept, and the characters that all of them may have with their calls.
_MOST: Final = 10_000
_MOST_CHARACTERS: Final = 16 * 1024 * 1024


class SignatureMemory:
    """
    Remembers the latest signatures, within bounds.

    :param most: how many are kept.
    :param most_characters: of all that are kept, with the ids and names that find them.
    :ivar tell: called with what is noted, for others who serve the same clients.
    """

    def __init__(self, *, most: int = _MOST, most_characters: int = _MOST_CHARACTERS) -> None:
        self.tell: Callable[[str, str, str], None] | None = None
        self._most = most
        self._most_characters = most_characters
        self._characters = 0
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()

    def note(self, call_id: str, name: str, signature: str) -> None:
        """Remember the signature of a call of the function ``name``."""
        self.keep(call_id, name, signature)
        if self.tell is not None:
            self.tell(call_id, name, signature)

    def keep(self, call_id: str, name: str, signature: str) -> None:
        """Remember what somebody else has noted."""
        self._forget((call_id, name))
        self._kept[call_id, name] = signature
        self._characters += len(call_id) + len(name) + len(signature)
        while len(self._kept) > self._most or self._characters > self._most_characters:
            self._forget(next(iter(self._kept)))

    def find(self, call_id: str, name: str) -> str | None:
        """Return the signature of a call, if it is still known."""
        signature = self._kept.get((call_id, name))
        if signature is not None:
            self._kept.move_to_end((call_id, name))
        return signature

    def _forget(self, key: tuple[str, str]) -> None:
        signature = self._kept.pop(key, None)
        if signature is not None:
            self._characters -= sum(map(len, (*key, signature)))

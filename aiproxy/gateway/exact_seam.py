"""The seam of what has to be repeated exactly: the arguments of calls, and JSON."""

from __future__ import annotations

from aiproxy.gateway.delivered import join_halves
from aiproxy.gateway.seam_text import split_halves

__all__ = ["ExactSeam"]


class ExactSeam:
    """
    Joins what starts over to what was delivered, character by character.

    It is for the arguments of calls, and for answers that have to be JSON.

    :param json: it may be laid out anew: blanks between its parts do not count.
    """

    def __init__(self, delivered: str, *, json: bool = True) -> None:
        self.disagrees = False
        self._text = split_halves(delivered)
        self._json = json
        self._place = 0
        self._in_string = False
        self._escaped = False

    @property
    def joined(self) -> bool:
        """All that was delivered has been repeated: what comes now is new."""
        return self._place >= len(self._text)

    def feed(self, text: str) -> str:
        """Take some of it; give what of it is new."""
        if self.joined or self.disagrees:
            return "" if self.disagrees else text
        text = split_halves(text)
        for place, character in enumerate(text):
            if self._json and not (self._in_string or character.isspace()):
                while not self.joined and self._text[self._place].isspace():
                    self._place += 1
            if self.joined:
                return join_halves(text[place:])
            if not self._take(character):
                self.disagrees = True
                return ""
        return ""

    def close(self, *, silence_agrees: bool = False) -> str:
        """It is whole: disagree if it is shorter than what was delivered."""
        self.disagrees = self.disagrees or not (self.joined or (silence_agrees and not self._place))
        return ""

    def _take(self, character: str) -> bool:
        """Pass over a character that was delivered; whether it was."""
        if character != self._text[self._place]:
            return self._json and not self._in_string and character.isspace()
        self._place += 1
        if self._escaped:
            self._escaped = False
        elif character == "\\":
            self._escaped = self._in_string
        elif character == '"':
            self._in_string = not self._in_string
        return True

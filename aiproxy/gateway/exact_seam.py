"""The seam of what has to be repeated exactly: the arguments of calls, and JSON."""

from __future__ import annotations

import re
from typing import Final

from aiproxy.gateway.delivered import join_halves
from aiproxy.gateway.seam_text import split_halves

__all__ = ["ExactSeam"]

_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{4}|[^u])", re.DOTALL)
_FIRST_HALF: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")
_LONGEST_ESCAPE: Final = 6
_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
#: What ends a string, which a quote within it does not.
_STRING_END: Final = "end"


class ExactSeam:
    """
    Joins what starts over to what was delivered, character by character.

    It is for the arguments of calls, and for answers that have to be JSON.

    :param json: it may be laid out anew: blanks between its parts do not count,
        nor whether a character is written as it is or as an escape.
    """

    def __init__(self, delivered: str, *, json: bool = True) -> None:
        self.disagrees = False
        self._text = split_halves(delivered)
        self._json = json
        self._place = 0
        self._in_string = False
        #: The beginning of an escape.
        self._held = ""

    @property
    def joined(self) -> bool:
        """All that was delivered has been repeated: what comes now is new."""
        return self._place >= len(self._text)

    def feed(self, text: str) -> str:
        """Take some of it; give what of it is new."""
        if self.joined or self.disagrees:
            return "" if self.disagrees else text
        text, self._held = self._held + split_halves(text), ""
        place = 0
        while place < len(text):
            if self._json and not (self._in_string or text[place].isspace()):
                while not self.joined and self._text[self._place].isspace():
                    self._place += 1
            if self.joined:
                return self._join("", text[place:])
            told = self._read(text, place)
            if not told:
                self._held = text[place:]
                break
            place += len(told)
            rest = self._take(told)
            if rest is None:
                self.disagrees = True
                break
            if rest:
                return self._join(rest, text[place:])
        return ""

    def close(self, *, silence_agrees: bool = False) -> str:
        """It is whole: disagree if it is shorter than what was delivered."""
        self.disagrees = self.disagrees or not (self.joined or (silence_agrees and not self._place))
        return ""

    def _join(self, rest: str, new: str) -> str:
        """Give what is new, behind the rest of an escape."""
        before = (self._text[-_LONGEST_ESCAPE:] + rest)[-_LONGEST_ESCAPE:]
        in_string = self._json and self._in_string
        if in_string and "\udc00" <= new[:1] <= "\udfff" and _FIRST_HALF.fullmatch(before):
            new = f"\\u{ord(new[0]):04x}{new[1:]}"  # As the other half of this character.
        return join_halves(rest + new)

    def _read(self, text: str, place: int) -> str:
        """Read a character, or all of an escape; nothing, if that is not all here."""
        if not (self._in_string and text[place] == "\\" and self._json):
            return text[place]
        escape = _ESCAPE.match(text, place)
        if escape is not None:
            return escape[0]
        return "" if len(text) - place < _LONGEST_ESCAPE else text[place]

    def _take(self, told: str) -> str | None:
        """
        Pass over a character that was delivered.

        :return: what of it was not, for an escape may be cut; ``None``: it is another one.
        """
        mine = self._read(self._text, self._place)
        if not mine:
            return self._end_escape(told)
        if mine != told and not (self._in_string and _meaning(mine) == _meaning(told)):
            blank = self._json and not self._in_string and told.isspace()
            return "" if blank else None
        self._place += len(mine)
        if told == '"':
            self._in_string = not self._in_string
        return ""

    def _end_escape(self, told: str) -> str | None:
        """Go on with an escape that was cut, however the same character is told now."""
        begun = self._text[self._place :]
        meaning = _meaning(told)
        for written in (told, "" if meaning == _STRING_END else f"\\u{ord(meaning):04x}"):
            if written.lower().startswith(begun.lower()):
                self._place = len(self._text)
                return written[len(begun) :]
        return None


def _meaning(written: str) -> str:
    """Return the character that stands in a string so, or as an escape."""
    if written == '"':
        return _STRING_END
    if len(written) == 1:
        return written
    if written[1] == "u":
        return chr(int(written[2:], 16))
    return _SHORT.get(written[1], written[1])

"""
How the texts at a seam are compared, and what models say around a continuation.

Texts are compared without what models change when they repeat: blanks, quotes
and the marks of Markdown; if that finds nothing, by letters and digits alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from attrs import define

__all__ = [
    "ABOUT",
    "BOUNDARY",
    "HELD_CHARACTERS",
    "LEAST_OVERLAP",
    "QUOTES",
    "REMARK",
    "Repetition",
    "count_agreeing",
    "ends_once",
    "find_anchor",
    "find_hard",
    "find_marks",
    "find_overlap",
    "find_remark_end",
    "find_repetition",
    "find_soft_end",
    "fold",
    "fold_loosely",
    "is_loose",
    "is_periodic",
    "is_soft",
    "last_words",
    "split_halves",
]

#: Characters; a shorter overlap proves nothing: "he had" + " had enough".
LEAST_OVERLAP: Final = 12
#: What betrays the end of the delivered text anywhere in another one: some five words.
_ANCHOR_CHARACTERS: Final = 24
#: What is asked to be repeated.
_REPEATED_WORDS: Final = 8
_REPEATED_CHARACTERS: Final = 160
#: A remark before a continuation is no longer, in characters.
REMARK: Final = 200
#: Beside one and a half of the delivered text half of this is held back at most.
HELD_CHARACTERS: Final = 4096

#: The straight ones, and Unicode's from single to double, from low to angled.
QUOTES: Final = "\"'\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2039\u203a"
_SOFT: Final = frozenset(QUOTES + "*_` \t\r\n\x0b\x0c\x85\xa0\u2028\u2029\u202f\u3000\ufeff")
_WITHOUT_SOFT: Final = {ord(character): None for character in _SOFT}

#: How remarks about a continuation begin, and what they speak of.
_OPENINGS: Final = (
    *("sure", "certainly", "of course", "okay", "ok,", "continuing", "here", "sorry", "i apolog"),
    *("i'll", "i will", "i\u2019ll", "understood", "let me", "natürlich", "klar", "gerne", "hier"),
    *("fortsetzung", "entschuldig", "好的", "当然", "继续", "接着", "抱歉", "конечно", "продолж"),
)
ABOUT: Final = re.compile(
    r"continu|resum|left off|cut off|broke off|interrupt|carry(?:ing)? on|pick(?:ing)? up"
    r"|fortsetz|fortfahr|weiter|abgebrochen|继续|接着|续|中断|продолж",
    re.IGNORECASE,
)
BOUNDARY: Final = re.compile(r"[:\uff1a\n]\s*")


def last_words(text: str) -> str:
    """Give the words at the end of a text that a continuation repeats: about eight."""
    start = len(text)
    for count, word in enumerate(re.finditer(r"\S+", text[::-1]), 1):
        start = len(text) - word.end()
        if word.end() >= _REPEATED_CHARACTERS:
            break
        if count >= _REPEATED_WORDS and len(fold(text[start:])) >= LEAST_OVERLAP:
            break
    # Where words are not parted by blanks eight of them are no measure.
    start = max(start, len(text) - _REPEATED_CHARACTERS)
    return text[start:] if len(fold(text[start:])) >= LEAST_OVERLAP else text


def fold(text: str) -> str:
    """Leave out what models change when they repeat."""
    return text.translate(_WITHOUT_SOFT)


def fold_loosely(text: str) -> str:
    """Leave letters and digits only, in lower case."""
    return "".join(c.lower() for c in text if not is_loose(c))


def is_soft(character: str) -> bool:
    """Whether :func:`fold` leaves a character out."""
    return character in _SOFT


def is_loose(character: str) -> bool:
    """Whether :func:`fold_loosely` leaves a character out."""
    # Some letters are two in lower case, which would be counted as such.
    return not character.isalnum() or len(character.lower()) != 1


def find_anchor(whole: str) -> str:
    """Find the shortest end of a text that stands in it once and tells enough."""
    size = _ANCHOR_CHARACTERS
    while size < min(len(whole), HELD_CHARACTERS):
        anchor = whole[-size:]
        if ends_once(whole, anchor):
            return anchor
        size += size // 2
    return whole if LEAST_OVERLAP <= len(whole) <= HELD_CHARACTERS else ""


def ends_once(whole: str, end: str) -> bool:
    """Whether the end of a text stands nowhere else in it."""
    return whole.find(end) == len(whole) - len(end)


def find_overlap(text: str, new: str, final: bool, *, least: int = LEAST_OVERLAP) -> int | None:
    """
    Find how much of the end of a text a new one begins with; ``None``: cannot
    be said yet.  What only repeats itself can be new as well, and indentation
    tells little: they do not count.

    :param least: less is none.
    """
    if len(new) < least:
        return None if not final and new in text else 0
    place = text.find(new[:least])
    if place < 0:
        return 0
    if not final and not text.startswith(new, place):
        place = text.find(new, place + 1)
    if not final and 0 <= place < len(text) - len(new):
        return None  # It may go on so.
    end = new[: _count_overlap(text, new)]
    if len(end) < least:
        return 0
    counted = len(end.lstrip()) + end[0].isspace()
    return 0 if counted < least or is_periodic(end) else len(end)


def _count_overlap(text: str, new: str) -> int:
    """Find how long the longest end of a text is that a new one begins with."""
    # By Knuth, Morris and Pratt: where all repeats itself, any place is one to begin at.
    new = new[: len(text)]
    borders = [0]
    length = 0
    for character in new[1:]:
        while length and character != new[length]:
            length = borders[length - 1]
        length += character == new[length]
        borders.append(length)
    length = 0
    for character in text[len(text) - len(new) :]:
        while length and character != new[length]:
            length = borders[length - 1]
        length += character == new[length]
    return length


def is_periodic(text: str) -> bool:
    """Whether a text is one piece again and again: a line of dashes, "ha ha ha"."""
    return all(
        any(part[size:] == part[:-size] for size in range(1, len(part) // 2 + 1))
        for part in (text[:256], text[-256:])
    )


def find_remark_end(text: str, final: bool) -> int | None:
    """Find the end of a remark about the continuation: 0 for none, ``None``: not known yet."""
    told = text.lstrip()
    begins = told[:REMARK].lower()
    if not begins.startswith(_OPENINGS):
        may = not final and any(opening.startswith(begins) for opening in _OPENINGS)
        return None if may else 0
    boundary = BOUNDARY.search(text, len(text) - len(told))
    if boundary is None or boundary.start() > REMARK:
        return None if not final and len(text) <= REMARK else 0
    if boundary.end() == len(text) and not final:
        return None
    return boundary.end() if ABOUT.search(text, 0, boundary.end()) else 0


def count_agreeing(delivered: str, told: str) -> int:
    """
    Find how many of the soft characters behind a repetition were delivered.

    Quotes of any form agree.  A blank that was not delivered is one, unless
    another one stands in its place already.
    """
    if told.startswith(delivered):
        return len(delivered)
    marks = delivered.rstrip()
    agreed = 0
    for mark in marks.split():
        for character in mark:
            place = len(told) - len(told[agreed:].lstrip())
            if place < len(told) and _kind(told[place]) == _kind(character):
                agreed = place + 1
    blanks, rest = delivered[len(marks) :], told[agreed:]
    same = 0
    for character in blanks:
        if rest[same : same + 1] == character:
            same += 1
    if blanks and not same:
        same = len(rest) - len(rest.lstrip(" "))
    return agreed + same


def _kind(character: str) -> str:
    return '"' if character in QUOTES else character


def find_marks(soft: str) -> str:
    """Give the marks at the end of what does not count, quotes of any form alike."""
    return "".join(map(_kind, soft.strip()))


def find_hard(text: str, number: int, soft: Callable[[str], bool]) -> int:
    """Find the place of the n-th character that counts, from 0."""
    for place, character in enumerate(text):
        if not soft(character):
            if not number:
                return place
            number -= 1
    return len(text)


def find_soft_end(text: str, soft: Callable[[str], bool]) -> str:
    """Give the characters at the end that do not count."""
    for place in range(len(text), 0, -1):
        if not soft(text[place - 1]):
            return text[place:]
    return text


@define
class Repetition:
    """
    Where a repetition stands.

    :param before: what does not count before the same in what was delivered.
    :param after: and behind it.
    :ivar run: what does not count behind it goes on to here, or further.
    """

    begin: int
    end: int
    before: str
    after: str
    run: int


def find_repetition(
    text: str, held: str, first: int, length: int, start: int, soft: Callable[[str], bool]
) -> Repetition:
    """Find a repetition of a text's end; see :meth:`TextSeam._after`."""
    begin = end = start
    mine = len(text) - 1
    if length:
        begin = find_hard(held, first, soft)
        end = find_hard(held, first + length - 1, soft) + 1
        mine = find_hard(text[::-1], length - 1, soft)
    before = find_soft_end(text[: len(text) - 1 - mine], soft)
    return Repetition(begin, end, before, find_soft_end(text, soft), run=end)


def split_halves(text: str) -> str:
    """Write characters outside of the basic plane as their two halves."""
    if not text or max(text) <= "\uffff":
        return text
    units = text.encode("utf-16-le", "surrogatepass")
    return "".join(chr(units[at] | units[at + 1] << 8) for at in range(0, len(units), 2))

"""
Where a continuation begins to be new: nothing is told twice, nothing is missed.

A continuation rarely begins where the delivered text ends.  It may repeat the
last words, as it was asked to, or everything from the start; it may say a
sentence of its own before.  A seam holds back what it says until it is clear
where the new begins, and lets everything pass from there on.

Texts are compared without what models change when they repeat: blanks, quotes
and the marks of Markdown; if that finds nothing, by letters and digits alone.
Inside, a character outside of the basic plane is its two halves (UTF-16), for
a stream may be cut between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

from aiproxy.gateway.delivered import join_halves, without_half

__all__ = ["LEAST_OVERLAP", "ExactSeam", "TextSeam", "Way", "last_words"]

#: How a continuation is asked for: the target goes on with an assistant's
#: message; it repeats the last words and goes on; it starts over.
Way = Literal["prefill", "instruct", "restart"]

#: Characters; a shorter overlap proves nothing: "he had" + " had enough".
LEAST_OVERLAP: Final = 12
#: The same where some words were to be repeated, and none would be a fault.
_LEAST_REPEATED: Final = 6
#: What betrays the end of the delivered text anywhere in another one: some five words.
_ANCHOR_CHARACTERS: Final = 24
#: What is asked to be repeated.
_REPEATED_WORDS: Final = 8
_REPEATED_CHARACTERS: Final = 160
#: A remark before a continuation is no longer, in characters.
_REMARK: Final = 200
#: Beside one and a half of the delivered text half of this is held back at most.
_HELD_CHARACTERS: Final = 4096

#: The straight ones, and Unicode's from single to double, from low to angled.
_QUOTES: Final = "\"'\u201c\u201d\u201e\u201f\u2018\u2019\u201a\u201b\u00ab\u00bb\u2039\u203a"
_SOFT: Final = frozenset(_QUOTES + "*_` \t\r\n\x0b\x0c\x85\xa0\u2028\u2029\u202f\u3000\ufeff")
_WITHOUT_SOFT: Final = {ord(character): None for character in _SOFT}

#: How remarks about a continuation begin, and what they speak of.
_OPENINGS: Final = (
    *("sure", "certainly", "of course", "okay", "ok,", "continuing", "here", "sorry", "i apolog"),
    *("i'll", "i will", "i\u2019ll", "understood", "let me", "natürlich", "klar", "gerne", "hier"),
    *("fortsetzung", "entschuldig", "好的", "当然", "继续", "接着", "抱歉", "конечно", "продолж"),
)
_ABOUT: Final = re.compile(
    r"continu|resum|left off|cut off|broke off|interrupt|carry(?:ing)? on|pick(?:ing)? up"
    r"|fortsetz|fortfahr|weiter|abgebrochen|继续|接着|续|中断|продолж",
    re.IGNORECASE,
)
_BOUNDARY: Final = re.compile(r"[:\uff1a\n]\s*")
#: What may stand between the words that a remark quotes and the same words in earnest.
_BETWEEN: Final = re.compile(rf"[\s{_QUOTES}*_`:\uff1a\u2026.,\u2013\u2014-]*")


def last_words(text: str) -> str:
    """Give the words at the end of a text that a continuation repeats: about eight."""
    start = len(text)
    for count, word in enumerate(re.finditer(r"\S+", text[::-1]), 1):
        start = len(text) - word.end()
        if count >= _REPEATED_WORDS and len(_fold(text[start:])) >= LEAST_OVERLAP:
            break
    # Where words are not parted by blanks eight of them are no measure.
    start = max(start, len(text) - _REPEATED_CHARACTERS)
    return text[start:] if len(_fold(text[start:])) >= LEAST_OVERLAP else text


class TextSeam:
    """
    Joins one continuation to what was delivered.

    :param delivered: all of it.
    :param way: how the continuation was asked for.
    :param unseen: the end of ``delivered`` that was not sent with a prefill.
    :ivar joined: what comes now is new.
    :ivar disagrees: it is not a continuation of what was delivered.
    """

    def __init__(self, delivered: str, way: Way, *, unseen: str = "") -> None:
        self.joined = not delivered
        self.disagrees = False
        self._way = way
        self._text = _split_halves(delivered)
        self._unseen = _split_halves(unseen)
        self._held = ""
        if self.joined or way == "prefill":
            return
        self._folded = _fold(self._text)
        shown = without_half(delivered)
        self._repeated = _fold(_split_halves(last_words(shown) + delivered[len(shown) :]))
        self._repeats_once = _ends_once(self._folded, self._repeated)
        self._periodic = _is_periodic(self._folded)
        #: It does not begin with a repetition.
        self._diverged = False
        #: Where a repetition may begin, in what counts; ``None``: it does not.
        self._starts: dict[int, int | None] = {}
        self._new = ""
        self._loose = ""
        #: How far it was searched for the anchors: in characters, and in what counts.
        self._searched = 0
        self._search_from = [0, 0]
        self._anchor = _find_anchor(self._folded)
        self._loose_anchor = _find_anchor(_fold_loosely(self._text))

    def feed(self, text: str) -> str:
        """Take some of the continuation; give what of it is new."""
        if self.joined or self.disagrees:
            return text if self.joined else ""
        text = _split_halves(text)
        self._held += text
        return self._look(text, final=False)

    def close(self, *, silence_agrees: bool = False) -> str:
        """
        The continuation is whole: give what was held back, or disagree.

        :param silence_agrees: nothing at all may stand for nothing more to say.
        """
        if silence_agrees and not (self._held or self.disagrees):
            self.joined = True
        if self.joined or self.disagrees:
            return ""
        return self._look("", final=True)

    def _look(self, text: str, *, final: bool) -> str:
        if self._way == "prefill":
            place = self._find_prefilled(final)
        else:
            self._new += _fold(text)
            place = self._find_repeated(final)
        if place is None:
            if final or 2 * len(self._held) > 3 * len(self._text) + _HELD_CHARACTERS:
                self.disagrees = True
            if self.disagrees:
                self._held = ""
            return ""
        self.joined = True
        new, self._held = self._held[place:], ""
        return join_halves(new)

    # --- after a prefill ----------------------------------------------------------

    def _find_prefilled(self, final: bool) -> int | None:
        """Find where the new begins: at once, unless it clearly repeats something."""
        seen = self._text[: len(self._text) - len(self._unseen)]
        held = self._held
        start = _remark_end(held, final)
        if start is None:
            return None
        if start:
            overlap = _overlap(seen, held[start:], final)
            if overlap is None:
                return None
            if overlap:
                return self._skip_unseen(start + overlap, final)
        overlap = _overlap(seen, held, final)
        return None if overlap is None else self._skip_unseen(overlap, final)

    def _skip_unseen(self, place: int, final: bool) -> int | None:
        """Pass over what the caller has and the target was not shown."""
        unseen, rest = self._unseen, self._held[place:]
        if rest.startswith(unseen):
            return place + len(unseen)
        if unseen.startswith(rest) and not final:
            return None
        if not unseen.isspace():
            self.disagrees = True  # The other half of a character is somebody else's.
            return None
        blanks = len(rest) - len(rest.lstrip())
        if blanks == len(rest) and not final:
            return None
        return place + _agreement(unseen, rest[:blanks])

    # --- after a repetition ---------------------------------------------------------

    def _find_repeated(self, final: bool) -> int | None:
        """Find where the repetition of what was delivered ends."""
        if len(self._folded) < LEAST_OVERLAP:
            return self._find_short(final)
        if not self._diverged:
            place = self._find_at_once(final)
            if place is not None or not self._diverged:
                return place
        found = self._find_after_remark(final)
        if found is not None:
            start, length = found
            return self._after(start, length, final) if length else None
        return self._find_anchored(final)

    def _find_at_once(self, final: bool) -> int | None:
        """Find a repetition at the very beginning, or see that there is none."""
        new, whole = self._new, self._folded
        instructed = self._way == "instruct"
        repeats = instructed and new.startswith(self._repeated)
        if new.startswith(whole) and not (repeats and self._periodic):
            return self._after(0, len(whole), final)
        starting_over = whole.startswith(new)
        if repeats and (final or self._periodic or not starting_over):
            return self._after(0, len(self._repeated), final)
        if not final and (starting_over or (instructed and self._repeated.startswith(new))):
            return None
        if instructed:
            overlap = _overlap(whole, new, final, least=_LEAST_REPEATED)
            if overlap is None:
                return None
            if overlap:
                return self._after(0, overlap, final)
            # In much indentation few characters count: then each blank must be the same.
            literal = _overlap(self._text, self._held, final)
            if literal is None or literal:
                return literal
        self._diverged = True
        return None

    def _find_short(self, final: bool) -> int | None:
        """Find little: only at the beginning, or after a remark that is clearly one."""
        whole = self._folded
        remark = _remark_end(self._held, final)
        if remark is None:
            return None
        for start in dict.fromkeys((remark, 0)):
            new = _fold(self._held[start:])
            if new.startswith(whole):
                hard = len(self._new) - len(new)
                return self._after(hard, len(whole), final, start=start)
            if whole.startswith(new) and not final:
                return None
        self.disagrees = True
        return None

    def _find_after_remark(self, final: bool) -> tuple[int, int] | None:
        """
        Find what is repeated behind the end of a line or a colon near the beginning.

        :return: where it begins and how long it is, 0 if that is not yet clear.
        """
        for boundary in _BOUNDARY.finditer(self._held[:_REMARK]):
            if boundary.end() not in self._starts:
                self._starts[boundary.end()] = len(_fold(self._held[: boundary.end()]))
        for place, start in self._starts.items():
            if start is None:
                continue
            wanted = [self._folded]
            if self._way == "instruct" and (
                self._repeats_once or _ABOUT.search(self._held, 0, place)
            ):
                wanted.append(self._repeated)
            for words in wanted:
                if self._new.startswith(words, start):
                    return start, len(words)
            if not any(words.startswith(self._new[start:]) for words in wanted):
                self._starts[place] = None
            elif not final:
                return start, 0
        return None

    def _find_anchored(self, final: bool) -> int | None:
        """Find the last of the delivered words anywhere in what came."""
        self._loose += _fold_loosely(self._held[self._searched :])
        self._searched = len(self._held)
        for number, (anchor, new, fold) in enumerate(
            (
                (self._anchor, self._new, _fold),
                (self._loose_anchor, self._loose, _fold_loosely),
            )
        ):
            start = new.find(anchor, self._search_from[number]) if anchor else -1
            if start < 0:
                self._search_from[number] = max(0, len(new) - len(anchor))
                continue
            place = self._after(start, len(anchor), final, fold=fold)
            if place is None or not start:
                return place
            # A remark may quote the very words that it is about to repeat.
            again = _BETWEEN.match(self._held, place)
            behind = fold(self._held[again.end() :]) if again else ""
            if behind.startswith(anchor):
                return self._after(len(new) - len(behind), len(anchor), final, fold=fold)
            return None if anchor.startswith(behind) and not final else place
        return None

    def _after(
        self,
        first: int,
        length: int,
        final: bool,
        *,
        fold: Callable[[str], str] | None = None,
        start: int = 0,
    ) -> int | None:
        """
        Find the place behind a repetition, to the very blank.

        :param first: how many characters that count are before it.
        :param length: how many belong to it.
        :param start: where it begins, if none belongs to it.
        """
        soft = _is_loose if fold is _fold_loosely else _is_soft
        held, text = self._held, self._text
        begin = _nth_hard(held, first, soft) if length else start
        end = _nth_hard(held, first + length - 1, soft) + 1 if length else start
        mine = _nth_hard(text[::-1], length - 1, soft) if length else len(text) - 1
        before = _soft_end(text[: len(text) - 1 - mine], soft)
        after = _soft_end(text, soft)
        run = len(held)
        for place in range(end, len(held)):
            if not soft(held[place]):
                run = place
                break
        told = held[end:run]
        # Marks that were put around the repetition end behind it.
        around = _marks(_soft_end(held[:begin], soft))
        own = _marks(before)
        around = "" if own.endswith(around) else around.removesuffix(own)
        open_end = run == len(held) and not final
        if open_end and (around or not told.startswith(after)):
            return None
        agreed = _agreement(after, told)
        if around and _marks(told[agreed:]).startswith(around[::-1]):
            agreed += len(around)
        return end + agreed


class ExactSeam:
    """
    Joins what starts over to what was delivered, character by character.

    It is for the arguments of calls, and for answers that have to be JSON.

    :param json: it may be laid out anew: blanks between its parts do not count.
    """

    def __init__(self, delivered: str, *, json: bool = True) -> None:
        self.disagrees = False
        self._text = _split_halves(delivered)
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
        text = _split_halves(text)
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


# --- how texts are compared --------------------------------------------------------


def _fold(text: str) -> str:
    return text.translate(_WITHOUT_SOFT)


def _fold_loosely(text: str) -> str:
    return "".join(c.lower() for c in text if not _is_loose(c))


def _is_soft(character: str) -> bool:
    return character in _SOFT


def _is_loose(character: str) -> bool:
    # Some letters are two in lower case, which would be counted as such.
    return not character.isalnum() or len(character.lower()) != 1


def _find_anchor(whole: str) -> str:
    """Find the shortest end of a text that stands in it once and tells enough."""
    size = _ANCHOR_CHARACTERS
    while size < min(len(whole), _HELD_CHARACTERS):
        anchor = whole[-size:]
        if _ends_once(whole, anchor):
            return anchor
        size += size // 2
    return whole if LEAST_OVERLAP <= len(whole) <= _HELD_CHARACTERS else ""


def _ends_once(whole: str, end: str) -> bool:
    """Whether the end of a text stands nowhere else in it."""
    return whole.find(end) == len(whole) - len(end)


def _overlap(text: str, new: str, final: bool, *, least: int = LEAST_OVERLAP) -> int | None:
    """
    Find how much of the end of a text a new one begins with; ``None``: cannot
    be said yet.  What only repeats itself can be new as well, and indentation
    tells little: they do not count.

    :param least: less is none.
    """
    if len(new) < least:
        return None if not final and new in text else 0
    place = text.find(new[:least])
    while place >= 0:
        end = text[place:]
        if new.startswith(end):
            counted = len(end.lstrip()) + end[0].isspace()
            return 0 if counted < least or _is_periodic(end) else len(end)
        if not final and end.startswith(new):
            return None
        place = text.find(new[:least], place + 1)
    return 0


def _is_periodic(text: str) -> bool:
    """Whether a text is one piece again and again: a line of dashes, "ha ha ha"."""
    return all(
        any(part[size:] == part[:-size] for size in range(1, len(part) // 2 + 1))
        for part in (text[:256], text[-256:])
    )


def _remark_end(text: str, final: bool) -> int | None:
    """Find the end of a remark about the continuation: 0 for none, ``None``: not known yet."""
    begins = text.lstrip().lower()
    if not begins.startswith(_OPENINGS):
        may = not final and any(opening.startswith(begins) for opening in _OPENINGS)
        return None if may else 0
    boundary = _BOUNDARY.search(text, len(text) - len(begins))
    if boundary is None or boundary.start() > _REMARK:
        return None if not final and len(text) <= _REMARK else 0
    if boundary.end() == len(text) and not final:
        return None
    return boundary.end() if _ABOUT.search(text, 0, boundary.end()) else 0


def _agreement(delivered: str, told: str) -> int:
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
    return '"' if character in _QUOTES else character


def _marks(soft: str) -> str:
    """Give the marks at the end of what does not count, quotes of any form alike."""
    return "".join(map(_kind, soft.strip()))


def _nth_hard(text: str, number: int, soft: Callable[[str], bool]) -> int:
    """Find the place of the n-th character that counts, from 0."""
    for place, character in enumerate(text):
        if not soft(character):
            if not number:
                return place
            number -= 1
    return len(text)


def _soft_end(text: str, soft: Callable[[str], bool]) -> str:
    """Give the characters at the end that do not count."""
    for place in range(len(text), 0, -1):
        if not soft(text[place - 1]):
            return text[place:]
    return text


def _split_halves(text: str) -> str:
    """Write characters outside of the basic plane as their two halves."""
    if not text or max(text) <= "\uffff":
        return text
    units = text.encode("utf-16-le", "surrogatepass")
    return "".join(chr(units[at] | units[at + 1] << 8) for at in range(0, len(units), 2))

"""
Where a continuation begins to be new: nothing is told twice, nothing is missed.

A continuation rarely begins where the delivered text ends.  It may repeat the
last words, as it was asked to, or everything from the start; it may say a
sentence of its own before.  A seam holds back what it says until it is clear
where the new begins, and lets everything pass from there on.

Inside, a character outside of the basic plane is its two halves (UTF-16), for
a stream may be cut between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, Literal

from aiproxy.gateway.delivered import join_halves, without_half
from aiproxy.gateway.seam_text import (
    ABOUT,
    BOUNDARY,
    HELD_CHARACTERS,
    LEAST_OVERLAP,
    QUOTES,
    REMARK,
    Repetition,
    count_agreeing,
    ends_once,
    find_anchor,
    find_marks,
    find_overlap,
    find_remark_end,
    find_repetition,
    find_soft_end,
    fold,
    fold_loosely,
    is_loose,
    is_periodic,
    is_soft,
    last_words,
    split_halves,
)

__all__ = ["TextSeam", "Way"]

#: How a continuation is asked for: the target goes on with an assistant's
#: message; it repeats the last words and goes on; it starts over.
Way = Literal["prefill", "instruct", "restart"]

#: As :data:`LEAST_OVERLAP`, where some words were to be repeated and none would be a fault.
_LEAST_REPEATED: Final = 6
#: What may stand between the words that a remark quotes and the same words in earnest.
_BETWEEN: Final = re.compile(rf"[\s{QUOTES}*_`:\uff1a\u2026.,\u2013\u2014-]*")


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
        self._text = split_halves(delivered)
        self._unseen = split_halves(unseen)
        self._held = ""
        if self.joined or way == "prefill":
            return
        self._folded = fold(self._text)
        shown = without_half(delivered)
        self._repeated = fold(split_halves(last_words(shown) + delivered[len(shown) :]))
        self._repeats_once = ends_once(self._folded, self._repeated)
        self._periodic = is_periodic(self._folded)
        #: It does not begin with a repetition.
        self._diverged = False
        #: Where a repetition may begin, in what counts; ``None``: it does not.
        self._starts: dict[int, int | None] = {}
        self._new = ""
        self._loose = ""
        #: How far it was searched for the anchors: in characters, and in what counts.
        self._searched = 0
        self._search_from = [0, 0]
        #: Repetitions whose end is open: blanks may follow.
        self._places: dict[tuple[int, int, int, Callable[[str], bool]], Repetition] = {}
        self._anchor = find_anchor(self._folded)
        self._loose_anchor = find_anchor(fold_loosely(self._text))

    def feed(self, text: str) -> str:
        """Take some of the continuation; give what of it is new."""
        if self.joined or self.disagrees:
            return text if self.joined else ""
        text = split_halves(text)
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
            self._new += fold(text)
            place = self._find_repeated(final)
        if place is None:
            if final or 2 * len(self._held) > 3 * len(self._text) + HELD_CHARACTERS:
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
        start = find_remark_end(held, final)
        if start is None:
            return None
        if start:
            overlap = find_overlap(seen, held[start:], final)
            if overlap is None:
                return None
            if overlap:
                return self._skip_unseen(start + overlap, final)
        overlap = find_overlap(seen, held, final)
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
        return place + count_agreeing(unseen, rest[:blanks])

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
            overlap = find_overlap(whole, new, final, least=_LEAST_REPEATED)
            if overlap is None:
                return None
            if overlap:
                return self._after(0, overlap, final)
            # In much indentation few characters count: then each blank must be the same.
            literal = find_overlap(self._text, self._held, final)
            if literal is None or literal:
                return literal
        self._diverged = True
        return None

    def _find_short(self, final: bool) -> int | None:
        """Find little: only at the beginning, or after a remark that is clearly one."""
        whole = self._folded
        remark = find_remark_end(self._held, final)
        if remark is None:
            return None
        for start in dict.fromkeys((remark, 0)):
            new = fold(self._held[start:])
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
        for boundary in BOUNDARY.finditer(self._held[:REMARK]):
            if boundary.end() not in self._starts:
                self._starts[boundary.end()] = len(fold(self._held[: boundary.end()]))
        for place, start in self._starts.items():
            if start is None:
                continue
            wanted = [self._folded]
            if self._way == "instruct" and (
                self._repeats_once or ABOUT.search(self._held, 0, place)
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
        self._loose += fold_loosely(self._held[self._searched :])
        self._searched = len(self._held)
        for number, (anchor, new, folded) in enumerate(
            (
                (self._anchor, self._new, fold),
                (self._loose_anchor, self._loose, fold_loosely),
            )
        ):
            start = new.find(anchor, self._search_from[number]) if anchor else -1
            if start < 0:
                self._search_from[number] = max(0, len(new) - len(anchor))
                continue
            place = self._after(start, len(anchor), final, fold=folded)
            if place is None or not start:
                return place
            # A remark may quote the very words that it is about to repeat.
            again = _BETWEEN.match(self._held, place)
            behind = folded(self._held[again.end() :]) if again else ""
            if behind.startswith(anchor):
                return self._after(len(new) - len(behind), len(anchor), final, fold=folded)
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
        soft = is_loose if fold is fold_loosely else is_soft
        held = self._held
        place = self._places.get((first, length, start, soft))
        if place is None:
            place = find_repetition(self._text, held, first, length, start, soft)
            self._places[first, length, start, soft] = place
        end, after = place.end, place.after
        if not final and len(held) - end < len(after) and after.startswith(held[end:]):
            return None
        while place.run < len(held) and soft(held[place.run]):
            place.run += 1
        run = place.run
        told = held[end:run]
        # Marks that were put around the repetition end behind it.
        around = find_marks(find_soft_end(held[: place.begin], soft))
        own = find_marks(place.before)
        around = "" if own.endswith(around) else around.removesuffix(own)
        open_end = run == len(held) and not final
        if open_end and (around or not told.startswith(after)):
            return None
        agreed = count_agreeing(after, told)
        if around and find_marks(told[agreed:]).startswith(around[::-1]):
            agreed += len(around)
        return end + agreed

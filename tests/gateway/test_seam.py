"""Tests of :mod:`aiproxy.gateway.seam`: where a continuation begins to be new."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise, permutations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.gateway.delivered import join_halves
from aiproxy.gateway.exact_seam import ExactSeam
from aiproxy.gateway.seam import TextSeam, Way
from aiproxy.gateway.seam_text import last_words
from aiproxy.wire.json import dumps, loads

#: What is cut at every character: repetitions, lists, code, quotes, emoji, no blanks.
CANONICAL = (
    "Sure thing! 🎉 She said that she had had had enough of “that that” — really, really.\n\n"
    "1. **Erstens:** Die Straße war naß, sehr naß; 'naß' schreibt man heute \"nass\".\n"
    "2. *Zweitens:* ha ha ha ha ha ha ha ha ha ha ha ha ha!  Two  blanks,\ttab.\n"
    "   - nested — item 👩‍👩‍👧 and 👍🏽\n\n"
    "```python\ndef f(x):\n    if x:\n        return x\n    return x\n\n"
    'print("__init__", f(1), f(1))  # **not bold**\n```\n\n'
    "------------------------------------\n"
    "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n"
    "中文:今天天气很好,我们去公园散步。今天天气很好,我们去爬山。\n"
    "The end, the end of the end: that is the end. Sure thing! 🎉 She said it all.\n"
)

#: What answers are made of at random: much of it repeats, and little of it tells.
WORDS = ("a", "bb", "ccc", "dddd.", "ha,", "\n", "**", "`e`", '"f"', "中文", "🎉", "had", "—")

REPEATING: tuple[Way, ...] = ("instruct", "restart")

REMARKS = (
    "Sure, continuing: ",
    "Certainly! I will continue from where I left off:\n\n",
    "Natürlich, hier geht es weiter:\n",
    "好的,继续:",
    "Here is the continuation of my message:\n\n",
)


def run(seam: TextSeam | ExactSeam, pieces: Iterable[str]) -> str:
    """Feed a continuation; give what is new."""
    new = "".join([seam.feed(piece) for piece in pieces])
    return new + seam.close() if isinstance(seam, TextSeam) else new


def bits(text: str, size: int) -> list[str]:
    """Return a text in pieces of this size."""
    return [text[place : place + size] for place in range(0, len(text), size)]


def join(delivered: str, continuation: str, way: Way, size: int, *, unseen: str = "") -> str:
    """Give what the caller has seen in the end."""
    seam = TextSeam(delivered, way, unseen=unseen)
    new = run(seam, bits(continuation, size))
    return join_halves(delivered + new) if seam.joined else f"disagrees after {delivered!r}"


class EveryCutTests(SynchronousTestCase):
    """The canonical text, cut at every character."""

    def assert_whole(self, way: Way, continuation: str, place: int, **more: str) -> None:
        """Whatever the pieces, the caller sees the canonical text."""
        for size in (1, 7, len(continuation) + 1):
            seen = join(CANONICAL[:place], continuation, way, size, **more)
            self.assertEqual(seen, CANONICAL, (way, place, size, continuation[:60]))

    def test_goes_on(self) -> None:
        """A prefill that is gone on with exactly."""
        for place in range(len(CANONICAL)):
            self.assert_whole("prefill", CANONICAL[place:], place)

    def test_goes_on_behind_unseen_blanks(self) -> None:
        """The blanks that were held back from the target come from it, and are told once."""
        for place in range(1, len(CANONICAL)):
            shown = CANONICAL[:place].rstrip()
            unseen = CANONICAL[len(shown) : place]
            self.assert_whole("prefill", CANONICAL[len(shown) :], place, unseen=unseen)

    def test_prefill_that_overlaps(self) -> None:
        """A prefill whose target repeats the last words, if they are telling."""
        checked = 0
        for place in range(40, len(CANONICAL)):
            for back in (15, 30):
                end = CANONICAL[place - back : place]
                if len(end.lstrip()) < 12 or any(
                    end[n:] == end[:-n] for n in range(1, back // 2 + 1)
                ):
                    continue
                checked += 1
                self.assert_whole("prefill", CANONICAL[place - back :], place)
        self.assertGreater(checked, 2 * (len(CANONICAL) - 100))

    def test_prefill_that_starts_over(self) -> None:
        """A prefill whose target starts over, once that can be told."""
        for place in range(12, len(CANONICAL)):
            self.assert_whole("prefill", CANONICAL, place)

    def test_prefill_with_remark(self) -> None:
        """A remark before the last words is left out."""
        for place in range(40, len(CANONICAL), 3):
            words = last_words(CANONICAL[:place])
            if len(set(words)) > 5:
                for remark in REMARKS:
                    self.assert_whole("prefill", remark + words + CANONICAL[place:], place)

    def test_instructed(self) -> None:
        """The last words are repeated as they were asked for."""
        for place in range(1, len(CANONICAL) + 1):
            words = last_words(CANONICAL[:place])
            self.assert_whole("instruct", words + CANONICAL[place:], place)

    def test_instructed_with_remark(self) -> None:
        """A remark comes before them."""
        for place in range(1, len(CANONICAL) + 1):
            words = last_words(CANONICAL[:place])
            remark = REMARKS[place % len(REMARKS)]
            self.assert_whole("instruct", remark + words + CANONICAL[place:], place)

    def test_instructed_but_starts_over(self) -> None:
        """Everything is repeated from the start, with a remark or without."""
        for place in range(1, len(CANONICAL) + 1):
            self.assert_whole("instruct", CANONICAL, place)
            self.assert_whole("instruct", REMARKS[0] + CANONICAL, place)

    def test_instructed_but_repeats_more(self) -> None:
        """More words are repeated than it was asked for."""
        for place in range(120, len(CANONICAL), 2):
            start = CANONICAL.rindex(" ", 0, place - 80)
            self.assert_whole("instruct", CANONICAL[start:], place)

    def test_starts_over(self) -> None:
        """The answer starts over."""
        for place in range(1, len(CANONICAL) + 1):
            self.assert_whole("restart", CANONICAL, place)

    def test_starts_over_with_remark(self) -> None:
        """The answer starts over, with a remark before."""
        for place in range(1, len(CANONICAL) + 1):
            self.assert_whole("restart", REMARKS[place % len(REMARKS)] + CANONICAL, place)

    def test_cut_inside_of_a_character(self) -> None:
        """A stream is cut between the two halves of an emoji."""
        place = CANONICAL.index("🎉")
        cut = CANONICAL[:place] + "\ud83c"
        cases: tuple[tuple[Way, str, str], ...] = (
            ("prefill", CANONICAL[place:], "\ud83c"),
            ("instruct", CANONICAL, ""),
            ("instruct", last_words(CANONICAL[:place]) + CANONICAL[place:], ""),
            ("restart", CANONICAL, ""),
        )
        for way, told, unseen in cases:
            for size in (1, 100):
                self.assertEqual(join(cut, told, way, size, unseen=unseen), CANONICAL)


class SeamTests(SynchronousTestCase):
    """Single cases."""

    def test_short_overlap_survives(self) -> None:
        """Fewer than twelve characters are never trimmed on suspicion."""
        self.assertEqual(
            join("Everybody knew that he had", " had enough.", "prefill", 3),
            "Everybody knew that he had had enough.",
        )
        self.assertEqual(
            join("I said that he knew it", "he knew it all", "prefill", 99),
            "I said that he knew ithe knew it all",
        )

    def test_repetition_that_is_mostly_indentation(self) -> None:
        """Of what is repeated little counts, but each blank is the same."""
        begun, repeated = "def f(x):\n    while True:\n        ", ":\n        "
        for first in ("    if x:\n        ", ":\n    if x:\n        r"):
            delivered = begun + first
            for size in (1, 4, 40):
                told = join(delivered, first + "eturn x\n", "instruct", size)
                self.assertEqual(told, delivered + "eturn x\n")
        # So little is no proof.
        told = join(begun, repeated + "return x\n", "instruct", 4)
        self.assertIn("disagrees", told)

    def test_twelve_characters_are_trimmed(self) -> None:
        """An overlap of twelve characters is one."""
        told = join("Now the quick brown", "quick brown fox", "prefill", 2)
        self.assertEqual(told, "Now the quick brownquick brown fox")
        self.assertEqual(
            join("Now the quick brown", " quick brown fox", "prefill", 2), "Now the quick brown fox"
        )

    def test_passes_at_once_what_cannot_repeat(self) -> None:
        """A prefill's continuation is not held back longer than it is alike."""
        seam = TextSeam("All that glitters is", "prefill")
        self.assertEqual(seam.feed(" not"), " not")
        self.assertTrue(seam.joined)

    def test_blank_in_place_of_an_unseen_one(self) -> None:
        """Whatever blank the target begins with, the caller sees the one that he has."""
        for told in ("two", " two", "  two"):
            seen = join("This is the number ", told, "prefill", 1, unseen=" ")
            self.assertIn(seen, ("This is the number two", "This is the number  two"))
        self.assertEqual(join("The lines:\n", " two", "prefill", 1, unseen="\n"), "The lines:\ntwo")
        self.assertEqual(
            join("The lines: ", "\n\ntwo", "prefill", 1, unseen=" "), "The lines: \n\ntwo"
        )

    def test_quoted_repetition(self) -> None:
        """The quotes around the repeated words are no part of the answer."""
        cut = "It was the best of times, it was the worst of times"
        for left, right in (('"', '"'), ("“", "”"), ("**", "**"), ("…", ""), ("...", "")):
            told = f"{left}{last_words(cut)}{right}, it was the age of wisdom"
            self.assertEqual(
                join(cut, told, "instruct", 3), cut + ", it was the age of wisdom", (left, right)
            )

    def test_repetition_in_other_dress(self) -> None:
        """Quotes, blanks, capitals, punctuation and Markdown may differ in what is repeated."""
        cut = "He said: “It was the best of *times*, it was the worst of times,"
        for words in (
            'He said: "It was the best of times,  it was\nthe worst of times, it was the age.',
            "It was the Best of Times; it was the Worst of Times, it was the age.",
            "He said: 'It was the best of **times**, it was the worst of times it was the age.",
        ):
            for way in REPEATING:
                seen = join(cut, words, way, 4)
                self.assertEqual(seen, cut + " it was the age.", words)

    def test_remark_that_quotes(self) -> None:
        """A remark quotes the last words, then they are repeated in earnest."""
        cut = "It was the best of times, it was the worst of times"
        words = last_words(cut)
        told = f"Continuing from “{words}”:\n\n{words}, it was the age of wisdom"
        self.assertEqual(join(cut, told, "instruct", 5), cut + ", it was the age of wisdom")

    def test_paraphrase_with_an_anchor(self) -> None:
        """An answer that starts over in other words comes back to the delivered ones."""
        cut = "Paris is the capital. It lies on the river Seine and has two million"
        told = "The capital is Paris! It lies on the river Seine and has two million people."
        for way in REPEATING:
            self.assertEqual(join(cut, told, way, 3), cut + " people.")

    def test_other_words_before_what_repeats_itself(self) -> None:
        """Behind other words, words that repeat themselves do not tell where it goes on."""
        cut = "He laughed: " + "ha " * 20
        told = "Then he laughed: " + "ha " * 30 + "and left."
        for way in REPEATING:
            seam = TextSeam(cut, way)
            self.assertEqual(run(seam, bits(told, 4)), "ha " * 10 + "and left.")
        seam = TextSeam(cut, "instruct")
        self.assertEqual(run(seam, bits("He says: " + "ha " * 30 + "and left.", 4)), "")
        self.assertTrue(seam.disagrees)

    def test_blanks_elsewhere(self) -> None:
        """Blanks around marks may differ between what was delivered and what is repeated."""
        cut = "It is a list of words:\n\n**"
        told = "It is a list of words: **bold**"
        self.assertEqual(join(cut, told, "restart", 3), cut + "bold**")

    def test_remark_or_answer(self) -> None:
        """A prefill that goes on like a remark is none without the words it would repeat."""
        cut = "I asked him whether he could do it."
        told = " Sure, continuing: he said, and went on."
        self.assertEqual(join(cut, told, "prefill", 3), cut + told)

    def test_half_that_is_not_completed(self) -> None:
        """A target that does not bring the other half of a character is left."""
        seam = TextSeam("What a party \ud83c", "prefill", unseen="\ud83c")
        self.assertEqual(seam.feed("🎈 it"), "\udf88 it")
        seam = TextSeam("What a party \ud83c", "prefill", unseen="\ud83c")
        self.assertEqual(seam.feed("that was"), "")
        self.assertTrue(seam.disagrees)

    def test_paraphrase_without_one(self) -> None:
        """Nothing shows where it would go on: it is left."""
        cut = "Paris is the capital. It lies on the river Seine and has two million"
        told = "The French capital, Paris, is a city of two million people at the Seine."
        for way in REPEATING:
            seam = TextSeam(cut, way)
            self.assertEqual(run(seam, bits(told, 3)), "")
            self.assertTrue(seam.disagrees)
            self.assertFalse(seam.joined)

    def test_short_paraphrase(self) -> None:
        """Little was delivered, and the new answer begins otherwise: that is said at once."""
        seam = TextSeam("Hello", "restart")
        self.assertEqual(seam.feed("Good day to you"), "")
        self.assertTrue(seam.disagrees)

    def test_shorter_answer(self) -> None:
        """An answer that ends within what was delivered is no continuation of it."""
        seam = TextSeam("The whole story is long and sad.", "restart")
        self.assertEqual(run(seam, ["The whole story"]), "")
        self.assertTrue(seam.disagrees)

    def test_nothing_more(self) -> None:
        """All was delivered: a continuation may have nothing to add."""
        cut = "The whole story is long and sad."
        cases: tuple[tuple[Way, str], ...] = (
            ("prefill", ""),
            ("instruct", last_words(cut)),
            ("restart", cut),
        )
        for way, told in cases:
            self.assertEqual(join(cut, told, way, 5), cut)

    def test_held_back_within_bounds(self) -> None:
        """A continuation that never joins is left after some thousand characters."""
        seam = TextSeam("The whole story is long and sad, they say.", "instruct")
        for count in range(1, 10_000):
            seam.feed(f"No. {count:05}")
            if seam.disagrees:
                break
        self.assertLess(count * 9, 5_000)
        self.assertEqual(seam.feed("they say."), "")

    def test_long_answer_starts_over_in_small_pieces(self) -> None:
        """Holding back costs no time that grows with the square."""
        text = "".join(
            [f"Line {number} of a long answer, {number * number}.\n" for number in range(3000)]
        )
        seam = TextSeam(text[:-50], "restart")
        self.assertEqual(run(seam, bits(text, 20)), text[-50:])

    def test_eight_words_of_any_length(self) -> None:
        """Eight words are repeated as a program counts them, blanks put in order."""
        for place in range(1, len(CANONICAL)):
            words = CANONICAL[:place].split()[-8:]
            hard = sum(map(len, words))
            if hard < 12 < place or "ha" in words:
                continue  # "| --- | ---": what was repeated cannot be told.
            told = " ".join(words) + CANONICAL[len(CANONICAL[:place].rstrip()) :]
            self.assertEqual(join(CANONICAL[:place], told, "instruct", 6), CANONICAL, place)

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(st.sampled_from(WORDS), min_size=5, max_size=60)
        .map(" ".join)
        .flatmap(lambda text: st.tuples(st.just(text), st.integers(1, len(text)))),
        st.integers(1, 20),
    )
    def test_any_answer(self, case: tuple[str, int], size: int) -> None:
        """Whatever the answer: what does as it was asked to is joined to the blank."""
        text, place = case
        cut = text[:place]
        self.assertEqual(join(cut, last_words(cut) + text[place:], "instruct", size), text)
        self.assertEqual(join(cut, text, "restart", size), text)

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_any_pieces(self, data: st.DataObject) -> None:
        """Whatever pieces a continuation comes in, what is new is the same."""
        place = data.draw(st.integers(1, len(CANONICAL)), "place")
        cut = CANONICAL[:place]
        cases: list[tuple[Way, str]] = [
            ("instruct", last_words(cut) + CANONICAL[place:]),
            ("instruct", REMARKS[1] + last_words(cut) + CANONICAL[place:]),
            ("restart", CANONICAL),
            ("restart", REMARKS[0] + CANONICAL),
        ]
        way, told = data.draw(st.sampled_from(cases))
        places = data.draw(st.lists(st.integers(0, len(told)), max_size=8).map(sorted))
        edges = [0, *places, len(told)]
        pieces = [told[a:b] for a, b in pairwise(edges)]
        self.assertEqual(cut + run(TextSeam(cut, way), pieces), CANONICAL)

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(["prefill", "instruct"]))
    def test_any_text(self, delivered: str, told: str, way: Way) -> None:
        """Whatever is told, in two pieces or at once, it is joined alike or left alike."""
        whole, split = TextSeam(delivered, way), TextSeam(delivered, way)
        half = len(told) // 2
        self.assertEqual(run(whole, [told]), run(split, [told[:half], told[half:]]))
        self.assertEqual(whole.joined, split.joined)


class ArgumentTests(SynchronousTestCase):
    """Tool calls that start over."""

    arguments = '{"city": "M\\"ün\\\\chen 👍", "days": [1, 22, 3],\n  "deep": {"a b": null}}'

    def test_every_cut(self) -> None:
        """The same arguments go on where they were cut."""
        for place in range(len(self.arguments) + 1):
            for size in (1, 5, 100):
                seam = ExactSeam(self.arguments[:place])
                new = run(seam, bits(self.arguments, size))
                self.assertEqual(self.arguments[:place] + new, self.arguments)
                self.assertTrue(seam.joined)

    def test_other_layout(self) -> None:
        """Blanks between the parts of JSON do not count; those in strings do."""
        other = '{ "city":"M\\"ün\\\\chen 👍","days":[1,22,3],"deep":{"a b":null}}'
        meant = loads(self.arguments)
        for place in range(len(self.arguments) + 1):
            seam = ExactSeam(self.arguments[:place])
            new = run(seam, bits(other, 3))
            self.assertEqual(loads(self.arguments[:place] + new), meant, place)
        seam = ExactSeam('{"a b')
        seam.feed('{"ab"')
        self.assertTrue(seam.disagrees)

    def test_escapes(self) -> None:
        """Nor does it count whether a character is written as it is or as an escape."""
        meant = {"ключ": 'M"ü\\ 👍/\n', "é": ["\u2028", "a/b"]}
        plain = dumps(meant).decode()
        escaped = json.dumps(meant)
        written = (plain, escaped, escaped.replace("/", "\\/"), re.sub(
            r"\\u....", lambda found: found[0].upper().replace("\\U", "\\u"), escaped
        ))  # fmt: skip
        for first, other in permutations(written, 2):
            for place in range(len(first) + 1):
                for size in (1, 4, 100):
                    seam = ExactSeam(first[:place])
                    new = run(seam, bits(other, size))
                    self.assertEqual(loads(first[:place] + new), meant, (first[:place], other))

    def test_other_escapes(self) -> None:
        """Other characters are others, however they are written."""
        for delivered, other in (
            ('{"a": "\\u00e9', '{"a": "e"}'),
            ('{"a": "\\u00', '{"a": "\u0416"}'),
            ('{"a": "\\u00', '{"a": ""}'),
            ('{"a": "\\"', '{"a": ""}'),
            ('{"a": "b"', '{"a": "b\\""}'),
            ('{"a": "n', '{"a": "\\n"}'),
        ):
            seam = ExactSeam(delivered)
            self.assertEqual(run(seam, bits(other, 2)), "")
            self.assertTrue(seam.disagrees, delivered)

    def test_disagreement(self) -> None:
        """Other arguments give nothing."""
        seam = ExactSeam('{"city": "Par')
        self.assertEqual(run(seam, bits('{"city": "Berlin"}', 4)), "")
        self.assertTrue(seam.disagrees)
        self.assertFalse(seam.joined)

    def test_free_text(self) -> None:
        """The input of a custom tool is compared to the blank."""
        self.assertEqual(run(ExactSeam("a  b", json=False), ["a  b c"]), " c")
        seam = ExactSeam("a  b", json=False)
        seam.feed("a b c")
        self.assertTrue(seam.disagrees)

    def test_cut_inside_of_a_character(self) -> None:
        """The second half of an emoji follows its first."""
        seam = ExactSeam('{"a": "\ud83c')
        self.assertEqual(run(seam, ['{"a": "🎉"}']), '\udf89"}')


class LastWordsTests(SynchronousTestCase):
    """What is asked to be repeated."""

    def test_eight_words(self) -> None:
        """They are eight, blanks behind them included."""
        self.assertEqual(
            last_words("one two three four five six seven eight nine "),
            ("two three four five six seven eight nine "),
        )

    def test_bounds(self) -> None:
        """Short words are more, long ones fewer, and a short text is all."""
        self.assertEqual(last_words("Hello, wor"), "Hello, wor")
        self.assertEqual(last_words("a b c d e f g h i j k l m n"), "c d e f g h i j k l m n")
        self.assertEqual(len(last_words("今天天气很好" * 100)), 160)


class LongTextTests(SynchronousTestCase):
    """Long answers, of a model that has got stuck before the cut."""

    beginning = "".join(f"word {number} of many. " for number in range(200))

    def test_repeating_texts(self) -> None:
        """What repeats itself to the end is joined, where all of it is told again."""
        for unit in ("a", "ha ", "- ", "* ", "\n", "----\n"):
            for way in (*REPEATING, "prefill"):
                cut = self.beginning + unit * (3_000 // len(unit))
                seam = TextSeam(cut, way)
                new = run(seam, bits(f"{cut} at last", 20))
                self.assertEqual((new, seam.joined), (" at last", True), (unit, way))

"""Tests of :mod:`aiproxy.dialects.words`."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.words import WORDS_LIMIT, fit_words, read_words

PAGE = "the upstream answered with an HTML page"


class FitWordsTests(SynchronousTestCase):
    """What of a provider's text is shown."""

    def test_ordinary_words(self) -> None:
        """What explains a mistake is not touched."""
        for text in (
            "Unsupported parameter: 'stop' is not supported with this model.",
            "expected 3 < 4 but got <tool_call> in the key-value store (api key rotation)",
            "temperature must be <= 2: see https://example.com/docs?page=2#keys",
            "Rate limit reached: Limit 6000, Used 5324. Please try again in 329.9ms.",
            "**Important**: the tokens are too many; monkey=banana",
        ):
            self.assertEqual(fit_words(text), text)

    def test_keys(self) -> None:
        """Whatever is a key, or looks like one, is masked, whoever wrote it how."""
        secrets = ("q8w7e6r5t4y3u2i1", "made-*****2345", "s3cr3tpassword")
        for text in (
            "Incorrect API key provided: made-*****2345. You can find your key elsewhere.",
            "Your api key: q8w7e6r5t4y3u2i1 is invalid",
            'the header "api_key": "q8w7e6r5t4y3u2i1" is not right',
            "Team: blue, API key ID: q8w7e6r5t4y3u2i1, Model: m",
            "rejected: Authorization: Bearer q8w7e6r5t4y3u2i1q8w7",
            "key sk-proj-q8w7e6r5t4y3u2i1 is not known",
            "gsk_q8w7e6r5t4y3u2i1 has no access",
            "xai-q8w7e6r5t4y3u2i1q8w7e6r5t4y3u2i1 is blocked",
            "AIzaq8w7e6r5t4y3u2i1q8w7e6r5t4 has expired",
            "token eyJq8w7e6r5t4y3u2i1.q8w7e6r5t4y3u2i1.q8w7e6r5t4y3u2i1 is stale",
            "cannot POST https://me:s3cr3tpassword@api.example.com/v1",
            "cannot POST https://api.example.com/v1?a=1&api_key=q8w7e6r5t4y3u2i1&b=2",
            "sorry, made-*****2345 does not work",
        ):
            fit = fit_words(text)
            self.assertIn("***", fit)
            for secret in secrets:
                self.assertNotIn(secret, fit)

    def test_pages(self) -> None:
        """Of a page nothing is shown, wherever in the text it begins."""
        for text in (
            "<!DOCTYPE html><title>secret</title>",
            "<html>secret</html>",
            "<?xml version='1.0'?><Error>secret</Error>",
            "Bad gateway:\n <center><h1>502 Bad Gateway</h1></center>",
            "oops</body>",
        ):
            self.assertEqual(fit_words(text), PAGE)

    def test_cut_behind_keys(self) -> None:
        """A key at the end of what is looked at is not shown, when others have become short."""
        for shift in range(124):
            words = fit_words("." * shift + f"sk-{'b2' * 60} " * 100)
            self.assertNotRegex(words, "sk-|b2b2")
            self.assertTrue(words.startswith("." * shift + "*** "))

    def test_length(self) -> None:
        """A text is cut at the bound, and a key that stands on the bound is still masked."""
        self.assertEqual(fit_words("x" * WORDS_LIMIT), "x" * WORDS_LIMIT)
        self.assertEqual(fit_words("x" * (WORDS_LIMIT + 1)), "x" * (WORDS_LIMIT - 1) + "…")
        fit = fit_words("y" * (WORDS_LIMIT - 12) + " sk-q8w7e6r5t4y3u2i1" + "z" * 9_000)
        self.assertNotIn("q8w7", fit)
        self.assertLessEqual(len(fit), WORDS_LIMIT)

    def test_cut_within_a_word(self) -> None:
        """A key that only its owner knows for one is there as a whole, for him to find, or not."""
        key = "c0here/key+1234"
        for shift in range(40):
            for before in ("y" * (WORDS_LIMIT - shift), "." * shift + f" sk-{'b2' * 60}" * 18):
                fit = fit_words(f"{before} {key} " + "z " * 2_000)
                self.assertNotRegex(fit.replace(key, ""), "c0|he|key")

    @given(st.text(max_size=40) | st.text("<*-: skapieyJ.", max_size=80))
    def test_any_text(self, text: str) -> None:
        """Any text becomes one within the bound."""
        fit = fit_words(text * 60)
        self.assertLessEqual(len(fit), WORDS_LIMIT)

    def test_much_of_the_same(self) -> None:
        """However much more of the same there is, what is shown stays the same."""
        for piece in ("<", "a", "***", "eyJ.", "?key", "api key", "://", "sk-", "bearer ", "x-"):
            fit = fit_words(piece * 3_000)
            self.assertLessEqual(len(fit), WORDS_LIMIT, piece)
            self.assertEqual(fit, fit_words(piece * 6_000))


class ReadWordsTests(SynchronousTestCase):
    """Where a message is found."""

    def test_places(self) -> None:
        """In a text, in an object, in the first of a list, in what is nested."""
        for value in (
            "told",
            ["told", "other"],
            {"message": "told", "error": "other"},
            {"error": "told"},
            {"detail": [{"msg": "told", "loc": ["body"]}]},
            {"errors": [{"code": 7, "message": "told"}]},
            {"error": {"message": {"detail": ["told"]}}},
            {"title": "told", "status": 400},
        ):
            self.assertEqual(read_words(value), "told", value)

    def test_nothing(self) -> None:
        """Where there are no words, there are none; what is nested without end too."""
        endless: list[object] = []
        for _ in range(900):
            endless = [endless]
        nothing: list[object] = [None, 7, True, "", [], {}, [[]], {"message": None}, {"x": "y"}]
        for value in (*nothing, endless):
            self.assertEqual(read_words(value), "", value)

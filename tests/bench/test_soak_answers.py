"""The answers by which the mixed soak tells one request from the other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.gateway.seam_text import last_words
from bench.soak_answers import Recital, find_recital

recitals = st.builds(
    Recital, st.from_regex(r"u[0-9]{1,3}\.[0-9]{1,5}", fullmatch=True), st.just(40)
)


class RecitalTests(SynchronousTestCase):
    """Each is a request's own."""

    @given(recitals)
    def test_found(self, recital: Recital) -> None:
        """The upstream reads out of the body what the client asked for."""
        body = b'{"messages": [{"content": "%s"}]}' % recital.prompt.encode()
        self.assertEqual(find_recital(body), recital)

    def test_not_found(self) -> None:
        """Another body asks for nothing."""
        self.assertIsNone(find_recital(b'{"messages": [{"content": "hello"}]}'))

    @given(recitals, st.data())
    def test_goes_on(self, recital: Recital, data: st.DataObject) -> None:
        """Wherever it was cut, both ways to ask for the rest get the rest and nothing else."""
        text = recital.text
        cut = data.draw(st.integers(1, len(text) - 1))
        shown = text[:cut]
        self.assertEqual(recital.after(shown), text[cut:])
        words = last_words(shown)
        self.assertEqual(recital.again_from(words), words + text[cut:])

    @given(recitals, recitals)
    def test_of_another(self, one: Recital, other: Recital) -> None:
        """Nobody goes on with the answer to another request."""
        if one != other:
            shown = other.text[:200]
            self.assertIsNone(one.after(shown))
            self.assertIsNone(one.again_from(shown))

"""Tests of :mod:`aiproxy.config.secret`."""

from __future__ import annotations

import copy
import hashlib
import pickle
import traceback

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.secret import Secret


class SecretTests(SynchronousTestCase):
    """A secret shows itself on demand only."""

    @given(st.text(min_size=4).filter(lambda text: text not in "<secret>"))
    def test_never_shown(self, text: str) -> None:
        """No way of printing shows the text."""
        secret = Secret(text)
        for shown in (repr(secret), str(secret), f"{secret}", f"{secret:>40}", f"{secret!r}"):
            self.assertNotIn(text, shown)
        self.assertEqual(secret.reveal(), text)

    def test_not_pickled(self) -> None:
        """A pickle would hold the text."""
        with self.assertRaisesRegex(TypeError, "not pickled") as caught:
            pickle.dumps(Secret("sk-word"))
        self.assertNotIn("sk-word", "".join(traceback.format_exception(caught.exception)))

    def test_copied(self) -> None:
        """A copy is the secret itself."""
        secret = Secret("sk-word")
        self.assertIs(copy.copy(secret), secret)
        self.assertIs(copy.deepcopy([secret])[0], secret)

    def test_equality(self) -> None:
        """Secrets are equal by their text, and equal to nothing else."""
        self.assertEqual(Secret("a"), Secret("a"))
        self.assertEqual(hash(Secret("a")), hash(Secret("a")))
        self.assertNotEqual(Secret("a"), Secret("b"))
        self.assertNotEqual(Secret("a"), "a")
        self.assertNotEqual(Secret("\udc80"), Secret("\udc81"))

    def test_truth(self) -> None:
        """Only the empty text is false."""
        self.assertTrue(Secret("a"))
        self.assertFalse(Secret(""))

    def test_fingerprint(self) -> None:
        """The fingerprint is short, stable, and not the start of the plain digest."""
        secret = Secret("sk-word")
        self.assertEqual(secret.digest, hashlib.sha256(b"sk-word").digest())
        self.assertRegex(secret.fingerprint, "^[0-9a-f]{8}$")
        self.assertEqual(secret.fingerprint, Secret("sk-word").fingerprint)
        self.assertNotEqual(secret.fingerprint, Secret("sk-worse").fingerprint)
        self.assertFalse(secret.digest.hex().startswith(secret.fingerprint))

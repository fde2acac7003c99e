"""Tests of :mod:`aiproxy.transport.pem`."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.pem import Unusable, check_key, read_certificates, read_file, read_key
from tests.transport.upstreams import Authority, pem, write_file

AUTHORITY: Final = Authority()
CERTIFICATE, KEY = AUTHORITY.issue("localhost")
BOTH: Final = pem(CERTIFICATE, AUTHORITY.certificate, KEY)


class PEMTests(SynchronousTestCase):
    """What is read, and what is said of what is not."""

    def test_file(self) -> None:
        """A file is read, or it is said why not."""
        self.assertEqual(read_file(write_file(self.mktemp(), BOTH)), BOTH)
        error = self.assertRaises(Unusable, read_file, "/no/file.pem")
        self.assertEqual(str(error), "No such file or directory")
        self.assertRaises(Unusable, read_file, "/")

    def test_both(self) -> None:
        """Certificates keep their order, and a key may stand anywhere among them."""
        for parts in ((CERTIFICATE, AUTHORITY.certificate, KEY), (KEY, CERTIFICATE)):
            data = pem(*parts)
            self.assertEqual(read_certificates(data), [one for one in parts if one is not KEY])
            check_key(read_key(data), CERTIFICATE)

    def test_other_key(self) -> None:
        """A key is told from another certificate's."""
        self.assertRaises(Unusable, check_key, KEY, AUTHORITY.certificate)

    def test_encrypted(self) -> None:
        """An encrypted key is not for us."""
        error = self.assertRaises(Unusable, read_key, pem(KEY, password=b"secret"))
        self.assertIn("is encrypted", str(error))

    @given(st.integers(0, len(BOTH) - 1), st.binary(max_size=3), st.integers(0, 40))
    def test_damage(self, place: int, put: bytes, taken: int) -> None:
        """Whatever is damaged, nothing else is raised, and no line of the key is told."""
        data = BOTH[:place] + put + BOTH[place + taken :]
        for read in (read_certificates, read_key):
            try:
                read(data)
            except Unusable as unusable:
                for line in pem(KEY).decode().splitlines()[1:-1]:
                    self.assertNotIn(line, str(unusable))

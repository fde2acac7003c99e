"""Tests of :mod:`aiproxy.dialects.redact`."""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64encode
from typing import Any
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.dialects.redact import TEXT_LIMIT, make_redactor, redact

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class RedactTests(SynchronousTestCase):
    """What is taken out, and what stays."""

    def test_texts(self) -> None:
        """Keys, addresses and card numbers go, the words around them stay."""
        for text, expected in {
            "use sk-proj-abcdefghijklmnop1234 for it": "use *** for it",
            "Bearer abcdef.ghijkl": "Bearer ***",
            "key AKIAIOSFODNN7EXAMPLE!": "key ***!",
            "write to ann.lee+ai@mail.example.org today": "write to *** today",
            "card 4111 1111 1111 1111, please": "card ***, please",
            "order 4111 1111 1111 1112": "order 4111 1111 1111 1112",
            "pi is 3.14159265358979": "pi is 3.14159265358979",
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b": "*** b",
            "-----BEGIN PRIVATE KEY-----\nMIIE": "***",
            "Hello, wie geht's? 你好": "Hello, wie geht's? 你好",
        }.items():
            self.assertEqual(redact(text), expected)

    def test_names(self) -> None:
        """The text of a field whose name says that it is secret goes; a number stays."""
        said = {"password": "x", "db_password": "y", "max_tokens": 5, "Authorization": "z", "a": 1}
        self.assertEqual(
            redact([said]),
            [
                {"password": "***", "db_password": "***", "max_tokens": 5, "Authorization": "***"}
                | {"a": 1}
            ],
        )

    def test_data(self) -> None:
        """A picture is its size."""
        url = "see data:image/png;base64," + "iVBORw0K" * 200 + "== here"
        self.assertEqual(redact(url), "see data:image/png;base64,[1,602 characters] here")
        self.assertEqual(redact("QUJD" * 1000), "[4,000 characters]")

    def test_key_without_end(self) -> None:
        """A private key whose end is nowhere near is masked as far as one may go."""
        begin = "-----BEGIN PRIVATE KEY-----"
        self.assertEqual(redact(f"a {begin}{'x ' * 8_192}b"), "a ***b")

    def test_long(self) -> None:
        """A long text is cut, and says how long it was."""
        cut = redact("word " * TEXT_LIMIT)
        self.assertEqual(cut, ("word " * TEXT_LIMIT)[:TEXT_LIMIT] + "… [of 327,680 characters]")

    def test_cut_within_a_key(self) -> None:
        """A key at the place of the cut is known for one."""
        key = "sk-" + "a1" * 40
        cut = redact("word " * ((TEXT_LIMIT - 10) // 5) + key + " more" * 1000)
        self.assertNotIn("sk-a1", cut)

    def test_cut_behind_keys(self) -> None:
        """So is one at the end of what is looked at, when others before it have become short."""
        for shift in range(124):
            text = "." * shift + f"sk-{'b2' * 60} " * 600
            self.assertNotRegex(redact(text), "sk-|b2b2")

    def test_deep(self) -> None:
        """What is nested beyond all sense is left out."""
        value: Any = "sk-proj-abcdefghijklmnop1234"
        for _ in range(200):
            value = [value]
        self.assertNotIn("sk-", json.dumps(redact(value)))

    def test_known_secrets(self) -> None:
        """The very tokens of a configuration go, whatever they look like; short words stay."""
        mask = make_redactor(["open sesame", "open sesame street", "cat", ""])
        self.assertEqual(redact("open sesame street, cat", mask), "***, cat")
        self.assertEqual(make_redactor([])("cat"), "cat")

    def test_codings(self) -> None:
        """So they do where they are percent-encoded or in base64, at the beginning of more too."""
        for secret in ("open/ses?me=", "abc123", "\xff~~>>>??\u20ac"):
            mask = make_redactor([secret])
            raw = secret.encode()
            for told in (
                *(quote(secret, safe=""), quote(secret, safe="").lower()),
                *(b64encode(raw).decode(), urlsafe_b64encode(raw + b":x").decode().rstrip("=")),
            ):
                self.assertEqual(mask(f"<{told}>, {told[:5]}"), f"<***>, {told[:5]}")

    @given(JSON)
    def test_shape(self, value: Any) -> None:
        """Whatever comes, the shape stays, and doing it again changes nothing."""
        once = redact(value)
        self.assertEqual(type(once), type(value))
        self.assertEqual(redact(once), once)

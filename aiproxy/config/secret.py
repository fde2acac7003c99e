"""A text that must not be seen: keys, tokens, credentials."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import NoReturn

__all__ = ["Secret", "read_secret"]

_HIDDEN = "<secret>"


class Secret:
    """
    Holds a secret so that no accident shows it.

    ``repr``, ``str`` and ``format`` give a placeholder; pickling is refused;
    equality takes the same time for every pair of the same length.  Only
    :meth:`reveal` gives the text.
    """

    __slots__ = ("_digest", "_fingerprint", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        # They are asked for with each request.
        self._digest: bytes | None = None
        self._fingerprint: str | None = None

    def reveal(self) -> str:
        """Return the text, for the one place that must send or compare it."""
        return self._text

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the text: 32 bytes."""
        if self._digest is None:
            self._digest = hashlib.sha256(self._bytes()).digest()
        return self._digest

    @property
    def fingerprint(self) -> str:
        """Eight hex digits that name the secret in logs and states, the same in every run."""
        if self._fingerprint is None:
            salted = b"aiproxy fingerprint\0" + self._bytes()
            self._fingerprint = hashlib.sha256(salted).hexdigest()[:8]
        return self._fingerprint

    def _bytes(self) -> bytes:
        # Surrogates stand for undecodable bytes of the environment (PEP 383).
        return self._text.encode("utf-8", "surrogatepass")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._bytes(), other._bytes())

    def __hash__(self) -> int:
        return hash(self.digest)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return _HIDDEN

    def __format__(self, format_spec: str) -> str:
        return _HIDDEN

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def read_secret(text: str) -> Secret:
    """
    Return ``text`` as a secret that can be sent in a header.

    :raises ValueError: where it cannot; the text is not in the message.
    """
    text = text.strip()
    if text.lower().startswith("bearer "):
        raise ValueError("must be the token alone, without `Bearer`")
    if not re.fullmatch("[!-~]+", text):
        raise ValueError("must be one word of ASCII letters, digits and signs")
    return Secret(text)

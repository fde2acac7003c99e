"""Secrets in files of their own: ``file:/run/secrets/openai`` in the place of a token."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from attrs import frozen

from aiproxy.config.sources import Sources

__all__ = ["SecretFiles"]

_PREFIX: Final = "file:"
_MOST_BYTES: Final = 64 * 1024


@frozen
class SecretFiles:
    """
    Puts what a file holds in the place of its name.

    :param folder: what relative names are relative to.
    """

    sources: Sources
    folder: Path

    def resolve(self, text: str) -> str:
        """
        Return the text, or of ``file:NAME`` what is in the file, without space around it.

        :raises ValueError: with the file's name, and why it is no good.
        """
        text = text.strip()
        if not text.startswith(_PREFIX):
            return text
        name = text.removeprefix(_PREFIX)
        try:
            data = self.sources.take(self.folder / name, _MOST_BYTES)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            reason = getattr(error, "strerror", None) or "not a file name"
            raise ValueError(f"the file {name} cannot be read: {reason}") from None
        if len(data) > _MOST_BYTES:
            raise ValueError(f"the file {name} is too long for a secret")
        try:
            secret = data.decode("utf-8-sig").strip()
        except UnicodeDecodeError:
            raise ValueError(f"the file {name} is not text") from None
        if not secret:
            raise ValueError(f"the file {name} is empty")
        return secret

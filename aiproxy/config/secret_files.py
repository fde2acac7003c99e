"""Secrets in files of their own: ``file:/run/secrets/openai`` in the place of a token."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from attrs import frozen

from aiproxy.config.secret import Secret, read_secret
from aiproxy.config.sources import Sources, file_trouble

__all__ = ["SecretFiles"]

_PREFIX: Final = "file:"
_MOST_BYTES: Final = 64 * 1024


@frozen
class SecretFiles:
    """
    Reads secrets: the text itself, or what is in the file that it names.

    :param folder: what relative names are relative to.
    """

    sources: Sources
    folder: Path

    def read(self, text: str) -> Secret:
        """
        Return the secret that is written, or of ``file:NAME`` the one in that file.

        :raises ValueError: with what is wrong, and the file's name; never with what it holds.
        """
        [secret] = self._read(text, lambda content: [content])
        return secret

    def read_all(self, text: str) -> tuple[Secret, ...]:
        """
        Return all that are written with commas between, each once.

        A file may hold several, one a line or with commas too.

        :raises ValueError: as :meth:`read`.
        """
        parts = (part for part in text.split(",") if part.strip())
        secrets = (secret for part in parts for secret in self._read(part, _split))
        return tuple(dict.fromkeys(secrets))

    def _read(self, text: str, split: Callable[[str], list[str]]) -> list[Secret]:
        text = text.strip()
        if not text.startswith(_PREFIX):
            return [read_secret(text)]
        name = text.removeprefix(_PREFIX)
        if not name:
            raise ValueError(f"needs the name of a file after `{_PREFIX}`")
        try:
            secrets = [read_secret(part) for part in split(self._take(name)) if part.strip()]
            if not secrets:
                raise ValueError("is empty")
        except ValueError as error:
            raise ValueError(f"the file {name} {error}") from None
        return secrets

    def _take(self, name: str) -> str:
        try:
            data = self.sources.take(self.folder / name, _MOST_BYTES)
        except (OSError, ValueError) as error:
            raise ValueError(f"cannot be read: {file_trouble(error)}") from None
        if len(data) > _MOST_BYTES:
            raise ValueError("is too long for a secret")
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ValueError("is not text") from None


def _split(content: str) -> list[str]:
    return re.split(r"[,\r\n]", content)

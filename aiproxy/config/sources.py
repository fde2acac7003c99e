"""
The files that a configuration is made of: read once, and the same again for others.

A supervisor hands what it has checked to its workers, also to one that starts
when the files say something else.
"""

from __future__ import annotations

import base64
import errno
import json
import os
from pathlib import Path

__all__ = ["Sources", "file_trouble"]


def file_trouble(error: OSError | ValueError) -> str:
    """Say why a file cannot be used: a ``ValueError`` is of a name with a NUL in it."""
    return getattr(error, "strerror", None) or "not a file name"


class Sources:
    """
    Reads files, and remembers what they were.

    :param files: what they were, by path, ``None`` for those that were missing:
        nothing else is looked at then.
    """

    def __init__(self, files: dict[str, bytes | None] | None = None) -> None:
        self._is_frozen = files is not None
        self._files: dict[str, bytes | None] = files or {}

    @classmethod
    def read(cls, text: str) -> Sources:
        """Return what was written by :meth:`write`."""
        told = json.loads(text)
        return cls(
            {path: None if data is None else base64.b64decode(data) for path, data in told.items()}
        )

    def write(self) -> str:
        """Write all of it as one text, secrets too."""
        return json.dumps(
            {
                path: None if data is None else base64.b64encode(data).decode("ascii")
                for path, data in self._files.items()
            }
        )

    def is_file(self, path: Path) -> bool:
        """Whether there is a file; there is none in a folder that is closed to us."""
        name = str(path)
        if not self._is_frozen:
            # Empty until it is read.
            self._files[name] = (self._files.get(name) or b"") if os.path.isfile(path) else None
        return self._files.get(name) is not None

    def take(self, path: Path, most: int) -> bytes:
        """
        Return what is in a file, and a byte more than ``most`` if it is longer.

        It is read once: all that a configuration takes from it is of one moment.

        :raises OSError: it cannot be read.
        :raises ValueError: that is no name of a file.
        """
        name = str(path)
        if not self._is_frozen and not self._files.get(name):
            with path.open("rb") as stream:
                self._files[name] = stream.read(most + 1)
        data = self._files.get(name)
        if data is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return data

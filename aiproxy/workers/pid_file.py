"""twistd's pid file, at a hand-over: it is the old process's first, then the new one's."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen

__all__ = ["PidFile"]


@frozen
class PidFile:
    """
    See the module.

    :param path: absolute; ``None``: there is none.
    """

    path: str | None

    @classmethod
    def of(cls, twistd: Mapping[str, Any] | None) -> PidFile:
        """Return the one that twistd's options name."""
        if not twistd or not twistd["pidfile"]:
            return cls(None)
        return cls(os.path.join(os.path.abspath(twistd["rundir"] or "."), twistd["pidfile"]))

    def put_aside(self, begins: bool) -> None:
        """Make room for another process's; if that has failed, take the old one back."""
        if self.path is None:
            return
        with suppress(FileNotFoundError):
            if begins:
                os.replace(self.path, self._aside)
            else:
                os.replace(self._aside, self.path)

    def leave(self) -> None:
        """End this process, and leave the file to the other one."""
        if self.path is not None:
            with suppress(FileNotFoundError):
                os.remove(self._aside)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    @property
    def _aside(self) -> str:
        return f"{self.path}.old"

"""twistd's log file, at a hand-over: two processes write it, and none over the other's lines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from fcntl import F_GETFL, F_SETFL, fcntl
from typing import Any

from attrs import frozen
from twisted.logger import ILogObserver, LogEvent
from zope.interface import implementer

__all__ = ["SharedLogFile"]


@implementer(ILogObserver)
@frozen
class SharedLogFile:
    """
    Lets this process write at the file's end, whoever has written there meanwhile.

    Twistd opens the file with a position of its own, and anew when it is
    rotated.  So this is an observer that comes before twistd's own: it sees to
    the file before each line.

    :param path: absolute.
    """

    path: str

    @classmethod
    def of(cls, twistd: Mapping[str, Any] | None) -> SharedLogFile | None:
        """Return the one that twistd's options name, before twistd changes its folder."""
        if not twistd:
            return None
        return cls(os.path.abspath(twistd["logfile"] or "twistd.log"))

    def __call__(self, event: LogEvent) -> None:
        """A line is to be written; if it goes somewhere else nothing happens."""
        with suppress(OSError):
            file = os.stat(self.path)
            for name in os.listdir("/dev/fd"):
                _append(int(name), file)


def _append(number: int, file: os.stat_result) -> None:
    """Write at the end, if that descriptor is the file's."""
    with suppress(OSError):  # Another thread has closed it.
        if os.path.samestat(os.fstat(number), file):
            fcntl(number, F_SETFL, fcntl(number, F_GETFL) | os.O_APPEND)

"""
A sink for lines that costs next to nothing on the way of a request.

Lines are gathered in a list, and written together.  Nothing waits for them:
what is not taken in time is dropped, counted and told of.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from aiproxy.transport.line_targets import LineTarget

__all__ = ["LineSink", "PlacedSink"]

#: Seconds until a line is written, and how many bytes are written sooner.
_FLUSH_SECONDS: Final = 0.1
_FLUSH_BYTES: Final = 64 * 2**10
#: Seconds until a reader that is slow is tried again: a pipe holds 64 KiB.
_AGAIN_SECONDS: Final = 0.02
#: How many bytes may wait for it.
_MOST_BYTES: Final = 2**20
#: Seconds between two complaints.
_TOLD_SECONDS: Final = 60.0
_NOBODY: Final = "nobody reads them"


class LineSink:
    """
    See the module.

    :param name: what complaints call it.
    :ivar dropped: how many lines were lost so far.
    """

    _log = Logger()

    def __init__(
        self, target: LineTarget, clock: IReactorTime, name: str = "the access log"
    ) -> None:
        self._name = name
        self.dropped = 0
        self._target = target
        self._clock = clock
        self._lines: list[bytes] = []
        self._bytes = 0
        #: At how many bytes the next write is due.
        self._due = _FLUSH_BYTES
        self._timer: IDelayedCall | None = None
        #: What was written last was not the end of a line.
        self._within_line = False
        self._untold = 0
        self._told = -math.inf
        self._why = ""

    def write(self, line: bytes) -> None:
        """
        Take a line.

        :param line: with its line feed at the end, and no other.
        """
        if self._bytes >= _MOST_BYTES:
            self._drop(1, _NOBODY)
            return
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes >= self._due:
            self.flush()
        elif self._timer is None:
            self._timer = self._clock.callLater(_FLUSH_SECONDS, self._flush_later)

    def flush(self) -> None:
        """Write what there is, as far as it is taken now."""
        if self._untold:
            self._tell()
        if not self._lines:
            return
        data = b"".join(self._lines)
        try:
            taken = self._target.write(data)
        except OSError as error:
            # A line whose beginning is out still needs its end.
            self._keep(b"\n" if self._within_line else b"")
            self._drop(data.count(b"\n") - data.startswith(b"\n"), error.strerror or str(error))
            return
        if taken:
            self._within_line = data[taken - 1 : taken] != b"\n"
        self._keep(data[taken:])
        if self._lines and self._timer is None:
            self._timer = self._clock.callLater(_AGAIN_SECONDS, self._flush_later)

    def reopen(self) -> None:
        """
        Open the target anew: its file was moved, or it could not be opened before.

        What was taken so far goes where it was meant to go.
        """
        self.flush()
        try:
            self._target.reopen()
        except OSError as error:
            why = error.strerror or str(error)
            self._log.error("{name} cannot be opened: {why}", name=self._name, why=why)

    def close(self) -> None:
        """Write what is taken now, and give all back."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left = b"".join(self._lines)
        self._keep(b"")
        self._told = -math.inf  # The last chance to tell.
        self._drop(left.count(b"\n") - left.startswith(b"\n"), _NOBODY)
        self._target.close()

    def _flush_later(self) -> None:
        self._timer = None
        self.flush()

    def _keep(self, rest: bytes) -> None:
        """Keep this of what was to be written, and no more."""
        self._lines = [rest] if rest else []
        self._bytes = len(rest)
        # What waits is not tried again with each line.
        self._due = self._bytes + _FLUSH_BYTES

    def _drop(self, count: int, why: str) -> None:
        self.dropped += count
        self._untold += count
        if count:
            self._why = why
        if self._untold:
            self._tell()

    def _tell(self) -> None:
        """Say what was dropped, but not too often."""
        now = self._clock.seconds()
        if now - self._told >= _TOLD_SECONDS:
            self._log.error(
                "lines of {name} that were dropped: {count} ({why})",
                name=self._name,
                count=self._untold,
                why=self._why,
            )
            self._told, self._untold = now, 0


class PlacedSink:
    """
    A sink at a place that may change; false where the place is nowhere.

    Making one opens nothing.

    :ivar sink: of the place of now; ``None`` where that is nowhere.
    :param make: returns the target of a place, ``None`` for nowhere.
    :raises ConfigurationError: there is no such place.
    """

    def __init__(
        self, place: str, make: Callable[[str], LineTarget | None], clock: IReactorTime, name: str
    ) -> None:
        self._make = make
        self._clock = clock
        self._name = name
        self._place = place
        self.sink = self._make_sink(place)

    def __bool__(self) -> bool:
        return self.sink is not None

    def change(self, place: str) -> None:
        """
        Go to another place, if it is another.

        :raises ConfigurationError: there is no such place; nothing has changed.
        """
        if place != self._place:
            before, self.sink = self.sink, self._make_sink(place)
            self._place = place
            if before is not None:
                before.close()
            self.reopen()

    def write(self, line: bytes) -> None:
        """Take a line; see :class:`LineSink`."""
        if self.sink is not None:
            self.sink.write(line)

    def reopen(self) -> None:
        """Open it, or open it anew: its file was moved."""
        if self.sink is not None:
            self.sink.reopen()

    def close(self) -> None:
        """Write what there is, and give all back."""
        if self.sink is not None:
            self.sink.close()

    def _make_sink(self, place: str) -> LineSink | None:
        target = self._make(place)
        return None if target is None else LineSink(target, self._clock, self._name)

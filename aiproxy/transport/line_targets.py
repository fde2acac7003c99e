"""
Where lines go: a file, a pipe or terminal, syslog.

None of them blocks: each takes what it can take now, and says how much.
"""

from __future__ import annotations

import os
import select
import socket
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

from aiproxy.errors import ConfigurationError, Problem

__all__ = [
    "FileTarget",
    "LineTarget",
    "StreamTarget",
    "SyslogTarget",
    "make_private_file",
    "make_target",
]

_SYSLOG: Final = "/dev/log"

#: What is logged of requests is for the owner and the group, what was said for the owner.
_MODE: Final = 0o640
_PRIVATE_MODE: Final = 0o600
#: A pipe that is ready takes so many bytes at once without a wait (POSIX: at least 512).
_PIPE_BYTES: Final = select.PIPE_BUF
#: The facility ``user``, as ``twistd --syslog``, and the severity ``info``: 8 * 1 + 6.
_PRIORITY: Final = 14
_MONTHS: Final = [
    "Jan",
    "Feb",
    "Mar",
    "Apr",
    "May",
    "Jun",
    "Jul",
    "Aug",
    "Sep",
    "Oct",
    "Nov",
    "Dec",
]


class LineTarget(Protocol):
    """What lines are written to."""

    def reopen(self) -> None:
        """
        Open it, again if it is open: a file may have been moved.

        :raises OSError: it cannot be opened; it is closed then.
        """

    def write(self, lines: bytes) -> int:
        """
        Write whole lines, or the rest of some, as far as it is possible now.

        Opens what is closed.

        :return: how many bytes were taken.
        :raises OSError: none was, and waiting helps nobody.
        """

    def close(self) -> None:
        """Give back what is held.  Harmless when repeated."""


def make_target(
    where: str, wall: Callable[[], float], *, syslog: str = _SYSLOG
) -> LineTarget | None:
    """
    Return the target of a value of ``server.access_log``; nothing is opened yet.

    :param wall: seconds since the epoch, for syslog.
    :param syslog: the socket of the system's log.
    :return: ``None`` for ``none``.
    :raises ConfigurationError: there is no such place.
    """
    if where == "none":
        return None
    if where == "-":
        return StreamTarget(1)
    if where == "syslog":
        if not os.path.exists(syslog):
            raise _refusal("access_log", f"syslog is not possible, for there is no {syslog}")
        return SyslogTarget(syslog, wall)
    return FileTarget(_find_place("access_log", where))


def make_private_file(where: str) -> LineTarget | None:
    """
    Return the target of a value of ``server.body_log``; nothing is opened yet.

    :return: ``None`` for ``none``.
    :raises ConfigurationError: there is no such place.
    """
    return None if where == "none" else FileTarget(_find_place("body_log", where), _PRIVATE_MODE)


def _find_place(key: str, where: str) -> str:
    path = os.path.abspath(where)
    if os.path.isdir(path) or not os.path.isdir(os.path.dirname(path)):
        raise _refusal(key, f"{where} is no place for a file")
    return path


class FileTarget:
    """
    A file, to whose end is written.

    :param mode: who may read it, where it is created: its owner and its group.
    """

    def __init__(self, path: str, mode: int = _MODE) -> None:
        self._path = path
        self._mode = mode
        self._descriptor: int | None = None

    def reopen(self) -> None:
        """See :class:`LineTarget`."""
        self.close()
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK
        self._descriptor = os.open(self._path, flags, self._mode)

    def write(self, lines: bytes) -> int:
        """See :class:`LineTarget`."""
        if self._descriptor is None:
            self.reopen()
        assert self._descriptor is not None
        return _write_now(self._descriptor, lines)

    def close(self) -> None:
        """See :class:`LineTarget`."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


class StreamTarget:
    """
    A descriptor that others use too, such as standard output.

    Into a pipe lines are written whole, or else those of several processes
    would mix: the kernel takes up to 4 KiB in one piece, see pipe(7).

    It is not made non-blocking, for that would hold for all who share it.  A
    pipe or a terminal is opened once more by its name; where that is impossible
    (a socket, another system, another user's terminal), it is asked each time
    whether it is ready.  A file is shared with its position, or one would write
    over the other; it makes nobody wait.
    """

    def __init__(self, shared: int) -> None:
        self._shared = shared
        self._descriptor: int | None = None
        self._ready: select.poll | None = None
        self._is_pipe = False

    def reopen(self) -> None:
        """See :class:`LineTarget`."""
        self.close()
        kind = os.fstat(self._shared).st_mode
        self._is_pipe = stat.S_ISFIFO(kind)
        if stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            with suppress(OSError):
                flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK
                self._descriptor = os.open(f"/proc/self/fd/{self._shared}", flags)
                return
        self._descriptor = os.dup(self._shared)
        if not stat.S_ISREG(kind):
            self._ready = select.poll()
            self._ready.register(self._descriptor, select.POLLOUT)

    def write(self, lines: bytes) -> int:
        """See :class:`LineTarget`."""
        if self._descriptor is None:
            self.reopen()
        assert self._descriptor is not None
        return _write_now(self._descriptor, lines, self._ready, whole_lines=self._is_pipe)

    def close(self) -> None:
        """See :class:`LineTarget`."""
        descriptor, self._descriptor, self._ready = self._descriptor, None, None
        if descriptor is not None:
            os.close(descriptor)


class SyslogTarget:
    """
    The system's log, a datagram for each line by RFC 3164, 4.1.

    As glibc's ``syslog()`` writes it: local time, no host, and no waiting.
    """

    def __init__(self, path: str, wall: Callable[[], float]) -> None:
        self._path = path
        self._wall = wall
        self._socket: socket.socket | None = None

    def reopen(self) -> None:
        """See :class:`LineTarget`."""
        self.close()
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            opened.setblocking(False)
            opened.connect(self._path)
        except OSError:
            opened.close()
            raise
        self._socket = opened

    def write(self, lines: bytes) -> int:
        """See :class:`LineTarget`."""
        head = self._head()
        taken = 0
        for line in lines.splitlines(keepends=True):
            try:
                self._send(head + line.rstrip(b"\n"))
            except BlockingIOError:
                break
            except OSError:
                if taken:
                    break  # It is told when the rest is tried.
                raise
            taken += len(line)
        return taken

    def close(self) -> None:
        """See :class:`LineTarget`."""
        closing, self._socket = self._socket, None
        if closing is not None:
            closing.close()

    def _send(self, datagram: bytes) -> None:
        if self._socket is not None:
            try:
                self._socket.send(datagram)
                return
            except ConnectionError:
                pass  # Its reader was restarted.
        self.reopen()
        assert self._socket is not None
        self._socket.send(datagram)

    def _head(self) -> bytes:
        now = time.localtime(self._wall())
        when = f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2d} {time.strftime('%H:%M:%S', now)}"
        return f"<{_PRIORITY}>{when} aiproxy[{os.getpid()}]: ".encode()


def _refusal(key: str, why: str) -> ConfigurationError:
    return ConfigurationError([Problem(f"server.{key}: {why}")])


def _write_now(
    descriptor: int, data: bytes, ready: select.poll | None = None, *, whole_lines: bool = False
) -> int:
    """
    Write as much as is taken without a wait.

    :param ready: says so, where the descriptor itself would wait.
    :param whole_lines: in pieces that are taken whole, of whole lines where they fit.
    :raises OSError: nothing was taken.
    """
    taken = 0
    pieces = whole_lines or ready is not None
    with memoryview(data) as view:
        while taken < len(data) and (ready is None or ready.poll(0)):
            end = taken + _PIPE_BYTES if pieces else len(data)
            if whole_lines and end < len(data):
                end = data.rfind(b"\n", taken, end) + 1 or end
            try:
                taken += os.write(descriptor, view[taken:end])
            except BlockingIOError:
                break
            except OSError:
                if not taken:
                    raise
                break  # It is told when the rest is tried.
    return taken

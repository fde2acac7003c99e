"""
Small writes to TCP: at once while little goes on, else together at the end of the reactor's turn.

A process that waits for its socket has to be woken for each write to it, which
costs the writer an interrupt of another core, some 10 µs in a virtual machine.
If the writes of a turn follow right after one another, the first of them wakes
it, and the others find it awake.  With few of them the timer for the end of the
turn costs more than is saved.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet import tcp
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["BatchedWriter", "WriteBatch"]

_log = Logger()

#: What is longer is written at once: there the wake-up is a small part.
_SMALL_BYTES: Final = 16 * 1024
#: So many wait for each other at most, for the first of them must not wait long.
_MOST_WRITES: Final = 16
#: A turn with fewer was not worth its timer: so many writes pass by before the next try.
_WORTH_WRITES: Final = 2
_PASSED_BY: Final = 32


class WriteBatch:
    """
    The writes of the reactor's present turn that wait for its end.

    :param clock: what is called later by 0 s comes at the end of the turn.
    """

    __slots__ = ("_clock", "_count", "_passing_by", "_timer", "_waiting")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: list[BatchedWriter] = []
        self._timer: IDelayedCall | None = None
        self._count = 0
        self._passing_by = 0

    def add(self, writer: BatchedWriter) -> bool:
        """
        Let a writer wait for the end of the turn.

        :return: ``False``: it is not worth it now, write at once.
        """
        if self._passing_by:
            self._passing_by -= 1
            return False
        waiting = self._waiting
        if len(waiting) >= _MOST_WRITES:
            self.flush()
            waiting = self._waiting
        elif self._timer is None:
            self._timer = self._clock.callLater(0, self._end_turn)
        self._count += 1
        waiting.append(writer)
        return True

    def flush(self) -> None:
        """Write now what waits."""
        waiting, self._waiting = self._waiting, []
        for writer in waiting:
            try:
                writer.flush()
            except Exception:
                # A bug of one that it has paused: it is not for the others to bear.
                _log.failure("a write failed")

    def _end_turn(self) -> None:
        self._timer = None
        if self._count < _WORTH_WRITES:
            self._passing_by = _PASSED_BY
        self._count = 0
        self.flush()


class BatchedWriter:
    """
    Writes to one transport; if that is TCP, past its buffer while nothing is in there.

    That saves the reactor a turn and the kernel three calls.  Everything for the
    transport has to come this way, or after :meth:`flush`.

    :ivar unsent: what waits for the end of the turn.
    """

    __slots__ = ("_batch", "_is_tcp", "_transport", "unsent")

    def __init__(self, batch: WriteBatch, transport: Any) -> None:
        self._batch = batch
        self._transport = transport
        self._is_tcp = isinstance(transport, tcp.Connection) and not transport.TLS
        self.unsent = b""

    def write(self, data: bytes) -> None:
        """Write, now or at the end of the turn."""
        if not self._is_tcp:
            self._transport.write(data)
        elif len(data) > _SMALL_BYTES:
            self._batch.flush()  # This takes its time, and they have waited.
            self.flush()  # Which it is not yet if that is going on already.
            self._send(data)
        elif self.unsent:
            self.unsent += data
            if len(self.unsent) > _SMALL_BYTES:
                self.flush()  # Whoever writes on and on has to learn that the peer is full.
        elif self._batch.add(self):
            self.unsent = data
        else:
            self._send(data)

    def flush(self) -> None:
        """Write now what waits."""
        data = self.unsent
        if data:
            self.unsent = b""
            self._send(data)

    def drop(self) -> None:
        """Forget what waits: the connection is gone, or shall be."""
        self.unsent = b""

    def _send(self, data: bytes) -> None:
        transport = self._transport
        if transport.connected and not (transport._tempDataLen or transport.dataBuffer):
            taken = transport.writeSomeData(data)
            if taken == len(data):
                return
            if isinstance(taken, int):
                data = data[taken:]
        transport.write(data)  # The transport tells of a connection that is lost.

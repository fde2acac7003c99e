"""
Small writes to TCP: at once, or in a busy turn of the reactor together at the end of a stage.

A process that waits for its socket has to be woken for each write to it, which
costs the writer an interrupt of another core, some 10 µs in a virtual machine.
If those of a stage follow right after one another, the first of them wakes
it, and the others find it awake.
"""

from __future__ import annotations

from typing import Any, Final

from twisted.internet import tcp
from twisted.logger import Logger

__all__ = ["BatchedWriter", "WriteBatch"]

_log = Logger()

#: What is longer is written at once: there the wake-up is a small part.
_SMALL_BYTES: Final = 16 * 1024


class WriteBatch:
    """
    The writes that wait for each other; see :mod:`aiproxy.transport.stages`.

    Whoever knows when turns begin and end says so; until then nothing waits.
    """

    __slots__ = ("_waiting", "_waits")

    def __init__(self) -> None:
        self._waits = False
        self._waiting: list[BatchedWriter] = []

    def begin(self) -> None:
        """A turn begins."""
        self._waits = True

    def end(self) -> None:
        """It is over: write what waits."""
        self._waits = False
        self.flush()

    def add(self, writer: BatchedWriter) -> bool:
        """
        Let a writer wait for the end of the stage.

        :return: ``False``: it is not worth it now, write at once.
        """
        if self._waits:
            self._waiting.append(writer)
        return self._waits

    def flush(self) -> None:
        """Write now what waits."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        for writer in waiting:
            try:
                writer.flush()
            except Exception:
                # A bug of one that it has paused: it is not for the others to bear.
                _log.failure("a write failed")


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

    @property
    def waits(self) -> bool:
        """Whether something waits, here or in the transport, which the peer has not taken."""
        beneath = getattr(self._transport, "transport", self._transport)  # Of TLS.
        kept = isinstance(beneath, tcp.Connection) and (beneath._tempDataLen or beneath.dataBuffer)
        return bool(self.unsent or kept)

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
            try:
                taken = transport.socket.send(data)
            except OSError:
                taken = 0
            if taken == len(data):
                return
            data = data[taken:]
        transport.write(data)  # The transport tells of a connection that is lost.

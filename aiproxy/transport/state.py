"""
The counts of hours and days in a file, so that they survive a restart.

What has changed is written once a second, in a thread.  A crash loses what was
counted since; so that it is never too little, the file holds a headroom for
each key in use, which counts as new after a crash: as much again as was counted
last, at least one.  :meth:`StateStore.cover` makes a request that is beyond it
wait until it is stored.  A clean stop stores exact counts.
"""

from __future__ import annotations

import errno
import math
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from aiproxy.errors import ConfigurationError, Problem
from aiproxy.policy.limit_book import LimitBook, SavedCount
from aiproxy.transport.state_file import CountFile, Counts, Gone, Key, MovedAside

__all__ = ["StateStore"]

#: Seconds between two batches; a write that takes longer makes no request wait.
_INTERVAL: Final = 1.0
#: Seconds between two complaints, and between two removals of what is over.
_MINUTE: Final = 60.0
#: Seconds without a request after which a key is no longer in use.
_IN_USE: Final = 3_600.0

#: What a disk may say that is no mistake of the configuration.
_DISK_ERRORS: Final = {errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO}


class StateStore:
    """
    Keeps a :class:`LimitBook` in a folder: :meth:`open`, :meth:`start`, :meth:`close`.

    A disk that is full, read-only or slow is logged once a minute, and counting
    goes on in memory.  A file that is no good is moved aside.

    :param folder: ``server.state``; made if it is missing.
    :param wall: seconds since the epoch.
    :param in_thread: calls a function with arguments off the reactor's thread,
        as ``deferToThread`` does; one at a time.
    :param has_counts: the book has all that is stored, and perhaps more.
    """

    _log = Logger()

    def __init__(
        self,
        folder: str | Path,
        book: LimitBook,
        clock: IReactorTime,
        wall: Callable[[], float],
        in_thread: Callable[..., Deferred[Any]],
        *,
        has_counts: bool = False,
    ) -> None:
        self._folder = folder
        self._file = CountFile(Path(folder), wall)
        self._book = book
        self._clock: Any = clock
        self._wall = wall
        self._in_thread = in_thread
        self._timer: IDelayedCall | None = None
        #: Fires when the batch that is being written is over.
        self._writing: Deferred[None] | None = None
        #: The stored counts are in the book.
        self._restored = has_counts
        #: The file has to be written anew.
        self._whole = True
        #: What is stored is what it should be, and requests may wait for it.
        self._reliable = False
        #: Counts that have changed and are not stored.
        self._changed: dict[Key, Counts] = {}
        self._ahead: dict[Key, _Ahead] = {}
        #: Requests since the last snapshot that went at once.
        self._gone: Counter[Key] = Counter()
        #: Who waits for the batch that is written, and for the next one.
        self._written: list[Deferred[None]] = []
        self._waiting: list[Deferred[None]] = []
        self._complained = -math.inf
        #: A complaint was logged, and not yet that it is over.
        self._told = False
        self._began = self._tidied = clock.seconds()

    def open(self) -> None:
        """
        Take the folder and restore the book.  It blocks: call it before serving.

        After :meth:`close` it goes on with what the book has.

        :raises ConfigurationError: another server uses the folder, or it
            cannot be used.
        """
        try:
            try:
                saved = self._file.read()
            except MovedAside as moved:
                self._complain(moved)
                saved = self._file.read()
            if not self._restored:
                self._restore(saved)
            self._whole = False
            self._ahead.clear()  # Of what the file held before it was closed.
            self._changed.clear()
            self._gone.clear()
            self._file.replace(self._book.snapshot())
        except OSError as error:
            if error.errno not in _DISK_ERRORS:
                raise self._unusable(error.strerror or str(error)) from error
            self._complain(error)
        except (sqlite3.Error, MovedAside) as error:
            self._complain(error)
        else:
            self._reliable = True

    def start(self) -> None:
        """Write what changes, from now on."""
        self._timer = self._clock.callLater(_INTERVAL, self._tick)

    def cover(self, key: Key) -> Deferred[None] | None:
        """
        Note that a request was admitted, in the same turn and before it is sent.

        :return: ``None`` if it may be sent: a crash would not lose it.  Else
            fires, without an error, when that is so: after milliseconds, or two
            seconds if the disk is slow.  Who no longer waits may cancel it.
        """
        ahead = self._ahead.get(key)
        if not self._reliable or (ahead is not None and ahead.spare > 0):
            self._gone[key] += 1
            if ahead is not None:
                ahead.spare -= 1
            return None
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        if self._writing is None:
            self._write()
        return waiting

    def close(self) -> Deferred[None]:
        """Store the exact counts and leave the folder to others; fires when that is done."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._reliable = False
        closed: Deferred[None] = Deferred()
        finishing = Deferred.fromCoroutine(self._finish())
        finishing.addErrback(self._bug).addCallback(lambda _: closed.callback(None))
        return closed

    def _tick(self) -> None:
        self._timer = self._clock.callLater(_INTERVAL, self._tick)
        if self._writing is None:
            self._write()
        elif self._clock.seconds() - self._began >= _INTERVAL:
            self._complain(TimeoutError("the disk is slow"))
            self._release()

    def _write(self) -> None:
        """Write a batch; there is none in progress."""
        writing = self._writing = Deferred()
        self._began = self._clock.seconds()

        def over(_: None) -> None:
            _fire(self._written)
            self._writing = None
            if self._waiting and self._reliable:
                self._write()
            else:
                self._release()
            writing.callback(None)

        Deferred.fromCoroutine(self._write_batch()).addErrback(self._bug).addCallback(over)

    async def _write_batch(self) -> None:
        try:
            if self._whole:
                saved = await self._in_thread(self._file.read)
                if not self._restored:
                    self._restore(saved)
                self._ahead.clear()
                self._changed.clear()
                self._begin_batch()
                await self._in_thread(self._file.replace, self._book.snapshot())
                self._whole = False
            else:
                await self._tidy()
                self._begin_batch()
                await self._write_changed()
        except (OSError, sqlite3.Error, MovedAside) as error:
            self._complain(error)
        else:
            self._recover()

    def _begin_batch(self) -> None:
        """The snapshot is taken now."""
        self._written, self._waiting = self._waiting, []
        self._gone.clear()

    async def _write_changed(self) -> None:
        changed = self._changed
        new: dict[Key, Counts] = {}
        for key, limit, start, requests in self._book.snapshot(changed=True):
            new.setdefault(key, {})[limit, start] = requests
        changed |= new
        floors = dict.fromkeys(changed, 1)
        for key, ahead in self._ahead.items():
            if key in changed or ahead.headroom > 1:
                floors[key] = max(ahead.headroom // 2, 1)
                # It may be no more by the time that it is stored.
                ahead.spare = min(ahead.spare, floors[key])
        if not floors:
            return
        headrooms = await self._in_thread(self._file.update, dict(changed), floors)
        for key, headroom in headrooms.items():
            used = self._clock.seconds() if key in changed else self._ahead[key].used
            self._ahead[key] = _Ahead(headroom, headroom - self._gone[key], used)
        changed.clear()

    async def _tidy(self) -> None:
        """Once a minute, remove what is over and the headroom of what is not in use."""
        now = self._clock.seconds()
        if now - self._tidied < _MINUTE:
            return
        self._tidied = now
        unused = [key for key, ahead in self._ahead.items() if now - ahead.used >= _IN_USE]
        for key in unused:
            del self._ahead[key]
        await self._in_thread(self._file.tidy, unused)

    async def _finish(self) -> None:
        if self._writing is not None:
            await self._writing
        try:
            if self._restored:
                await self._in_thread(self._file.replace, self._book.snapshot())
        except (OSError, sqlite3.Error, MovedAside) as error:
            self._complain(error)
        finally:
            await self._in_thread(self._file.close)

    def _restore(self, saved: Iterable[SavedCount]) -> None:
        self._book.restore(saved, self._wall())
        self._restored = True

    def _release(self) -> None:
        _fire(self._written)
        _fire(self._waiting)

    def _complain(self, error: Exception) -> None:
        self._reliable = False
        if isinstance(error, MovedAside | Gone):
            self._whole = True
        if isinstance(error, MovedAside):
            self._log.critical(
                "the file of counts was no good ({why}): hours and days are counted from zero,"
                " or from what is in memory; it was moved to {path}",
                why=error.__cause__,
                path=error.path,
            )
        elif self._clock.seconds() - self._complained >= _MINUTE:
            self._complained = self._clock.seconds()
            self._told = True
            self._log.error(
                "counts cannot be stored in {folder} ({why}): they are kept in memory only",
                folder=self._folder,
                why=error,
            )

    def _recover(self) -> None:
        if self._timer is not None:  # Else it is being closed.
            self._reliable = True
        if self._told:
            self._told = False
            self._log.info("counts are stored in {folder} again", folder=self._folder)

    def _bug(self, failure: Any) -> None:
        self._reliable = False
        self._log.failure("storing counts failed", failure)

    def _unusable(self, why: str) -> ConfigurationError:
        return ConfigurationError([Problem(f"server.state {self._folder}: {why}")])


@define
class _Ahead:
    """
    What the file holds more of a key than was counted.

    :ivar headroom: as it was stored.
    :ivar spare: how many more requests it covers.
    :ivar used: when there was a request last, on the monotonic clock.
    """

    headroom: int
    spare: int
    used: float


def _fire(waiting: list[Deferred[None]]) -> None:
    """Let them all go, once."""
    gone = waiting[:]
    waiting.clear()
    for each in gone:
        each.callback(None)

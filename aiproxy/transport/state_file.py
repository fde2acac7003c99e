"""
The file that :mod:`aiproxy.transport.state` keeps counts in: SQLite, under a lock.

Everything here blocks.  A file that is no good is moved aside, never overwritten.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from aiproxy.policy.limit_book import SavedCount

__all__ = ["FILE_NAME", "LOCK_NAME", "CountFile", "Counts", "Gone", "Key", "MovedAside"]

FILE_NAME: Final = "limits.sqlite3"
#: Locked by the server that uses the folder; the lock ends with the process.
LOCK_NAME: Final = "limits.lock"

#: For how many seconds a sub-window counts: 60 more than itself, which is a sixtieth.
_COUNTS_FOR: Final = {"requests_per_hour": 3_660, "requests_per_day": 87_840}
#: Where the headroom is: what would be in the future counts as new when it is restored.
_AHEAD: Final = 2**62

#: What SQLite says of a disk or another reader; all else means that the file is no good.
_DISK_CODES: Final = {
    *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL),
    *(sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM),
}

_APPLICATION: Final = 0x61697078  # "aipx", which tells our files from others
_VERSION: Final = 1
_SCHEMA: Final = f"""
BEGIN IMMEDIATE;
CREATE TABLE counts (
    key TEXT NOT NULL,  -- a JSON array of its parts
    "limit" TEXT NOT NULL,
    start INTEGER NOT NULL,  -- of the sub-window, in seconds since the epoch
    requests INTEGER NOT NULL,
    PRIMARY KEY (key, "limit", start)
) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_SELECT: Final = f'SELECT "limit", start, requests FROM counts WHERE key = ? AND start < {_AHEAD}'
_DELETE: Final = 'DELETE FROM counts WHERE key = ? AND "limit" = ? AND start = ?'
_UPSERT: Final = """
INSERT INTO counts VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
SET requests = excluded.requests WHERE requests != excluded.requests
"""

Key = tuple[str, ...]
#: By a limit's name and the start of a sub-window: how many requests.
Counts = dict[tuple[str, int], int]


class MovedAside(Exception):
    """The file was no good; it is now at ``path``, and its place is free."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class Gone(OSError):
    """Somebody has removed the file."""


class CountFile:
    """
    The file, its lock and its folder; everything blocks, from one thread at a time.

    :raises BlockingIOError: another server has the lock.
    :raises OSError: what the system says of the folder or the lock.
    :raises sqlite3.Error: what SQLite says of the disk; nothing has changed.
    :raises MovedAside: the file was no good.
    """

    def __init__(self, folder: Path, wall: Callable[[], float]) -> None:
        self._folder = folder
        self._path = folder / FILE_NAME
        self._wall = wall
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None

    def read(self) -> list[SavedCount]:
        """Return what is stored; take the lock first, and keep it."""
        self._take_lock()
        with self._transaction() as connection:
            saved = [
                SavedCount(_read_key(key), str(limit), int(start), int(requests))
                for key, limit, start, requests in connection.execute("SELECT * FROM counts")
            ]
        return saved

    def replace(self, saved: Iterable[SavedCount]) -> None:
        """Store these counts and nothing else."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM counts")
            connection.executemany(_UPSERT, ((json.dumps(key), *rest) for key, *rest in saved))

    def update(self, changed: Mapping[Key, Counts], floors: Mapping[Key, int]) -> dict[Key, int]:
        """
        Store the counts that have changed, and headroom.

        :param floors: whose headroom is written, and how much it is at least.
        :return: how much it is.
        """
        headrooms = {}
        with self._transaction() as connection:
            for key, floor in floors.items():
                text = json.dumps(key)
                taken: Counter[str] = Counter()
                if (new := changed.get(key)) is not None:
                    rows = connection.execute(_SELECT, (text,))
                    old = {(limit, start): requests for limit, start, requests in rows}
                    connection.executemany(_DELETE, [(text, *at) for at in old.keys() - new.keys()])
                    for at, requests in new.items():
                        taken[at[0]] += max(requests - old.get(at, 0), 0)
                        if requests != old.get(at):
                            connection.execute(_UPSERT, (text, *at, requests))
                headrooms[key] = headroom = max(floor, *taken.values(), 1)
                for limit in _COUNTS_FOR:
                    connection.execute(_UPSERT, (text, limit, _AHEAD, headroom))
        return headrooms

    def tidy(self, unused: Iterable[Key]) -> None:
        """Remove sub-windows that are over, and the headroom of keys that are not in use."""
        now = self._wall()
        with self._transaction() as connection:
            for limit, seconds in _COUNTS_FOR.items():
                connection.execute(
                    'DELETE FROM counts WHERE "limit" = ? AND start <= ?', (limit, now - seconds)
                )
                connection.executemany(
                    _DELETE, ((json.dumps(key), limit, _AHEAD) for key in unused)
                )

    def close(self) -> None:
        """Close the file, then give up the lock."""
        self._disconnect()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            if isinstance(error, BlockingIOError):
                raise BlockingIOError(error.errno, "another server uses this folder") from None
            raise
        self._lock = lock

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if self._connection is not None and not self._path.exists():
            # SQLite would go on in the file that has no name.
            self._disconnect()
            raise Gone(errno.ENOENT, "the file was removed")
        try:
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                yield connection
        except (sqlite3.Error, TypeError, ValueError, OverflowError) as error:
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
            if code & 0xFF in _DISK_CODES:  # The rest of it is detail.
                raise
            raise MovedAside(self._move_aside()) from error

    def _connect(self) -> sqlite3.Connection:
        if self._connection is None:
            # SQLite would make it with what the umask leaves.
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            connection = sqlite3.connect(
                self._path, timeout=1, isolation_level=None, check_same_thread=False
            )
            try:
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _move_aside(self) -> str:
        self._disconnect()
        aside = f"{self._path}.{self._wall():.0f}.bad"
        for suffix in ("-wal", "-shm", ""):
            if os.path.exists(f"{self._path}{suffix}"):
                os.replace(f"{self._path}{suffix}", f"{aside}{suffix}")
        return aside


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the schema in an empty file; see that another one is ours."""

    def ask(question: str) -> Any:
        return connection.execute(question).fetchone()[0]

    kind = ask("PRAGMA application_id"), ask("PRAGMA user_version")
    is_new = kind == (0, 0) and not ask("SELECT count(*) FROM sqlite_master")
    if not is_new and kind != (_APPLICATION, _VERSION):
        raise sqlite3.DatabaseError("it is not ours, or of another version")
    connection.execute("PRAGMA journal_mode = WAL")
    # A commit outlives a loss of power, not only of the process.
    connection.execute("PRAGMA synchronous = FULL")
    if is_new:
        connection.executescript(_SCHEMA)


def _read_key(text: str) -> Key:
    parts = json.loads(text)
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError(f"a key that is not ours: {text[:100]}")
    return tuple(parts)

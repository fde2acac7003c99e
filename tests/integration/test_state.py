"""Counts in real files, by real threads and processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import get_ident
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessValue
from twisted.trial.unittest import TestCase

from aiproxy.config.schema import Limits
from aiproxy.errors import ConfigurationError
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.limits import Lease
from aiproxy.transport.state import StateStore

KEY = ("p/model", "", "")
LIMITS = Limits(requests_per_hour=20)

#: Takes the folder, admits three requests, stores them, and dies on the spot.
CRASHING = """
import os, sys, time
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from aiproxy.config.schema import Limits
from aiproxy.policy.limit_book import LimitBook
from aiproxy.transport.state import StateStore

book = LimitBook()
store = StateStore(sys.argv[1], book, reactor, time.time, deferToThread)
store.open()
for _ in range(3):
    now = reactor.seconds()
    book.find(("p/model", "", ""), Limits(requests_per_hour=20), now, time.time()).admit(
        now, time.time()
    )
reactor.callWhenRunning(
    lambda: store.cover(("p/model", "", "")).addCallback(lambda _: os._exit(7))
)
reactor.run()
"""

REFUSED = """
import sys, time
from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from aiproxy.errors import ConfigurationError
from aiproxy.policy.limit_book import LimitBook
from aiproxy.transport.state import StateStore

try:
    StateStore(sys.argv[1], LimitBook(), reactor, time.time, deferToThread).open()
except ConfigurationError as error:
    sys.exit(3 if sys.argv[1] in str(error) else 4)
"""


class StateTests(TestCase):
    """A store on the real reactor."""

    def setUp(self) -> None:
        """Choose a folder."""
        self.folder = Path(self.mktemp()).absolute()
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        #: Threads in which something was done.
        self.threads: set[int] = set()

    def open(self) -> tuple[LimitBook, StateStore]:
        """Begin a server's life."""
        from twisted.internet import reactor

        def in_thread(function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            def noted() -> Any:
                self.threads.add(get_ident())
                return function(*arguments)

            return deferToThread(noted)

        book = LimitBook()
        store = StateStore(self.folder, book, cast(IReactorTime, reactor), time.time, in_thread)
        store.open()
        store.start()
        return book, store

    def admitted(self, book: LimitBook, most: int = 100) -> int:
        """Admit as many as there is room for."""
        now, wall = time.monotonic(), time.time()
        leases = (book.find(KEY, LIMITS, now, wall).admit(now, wall) for _ in range(most))
        return sum(isinstance(lease, Lease) for lease in leases)

    async def test_restart(self) -> None:
        """Counts survive a stop, exactly; nothing is written on the reactor's thread."""
        book, store = self.open()
        self.assertEqual(self.admitted(book, 5), 5)
        waiting = store.cover(KEY)
        assert waiting is not None
        await waiting
        await store.close()
        self.assertTrue(self.threads)
        self.assertNotIn(get_ident(), self.threads)
        book, store = self.open()
        self.assertEqual(self.admitted(book), 15)
        await store.close()

    async def test_batches(self) -> None:
        """Counts reach the file by themselves within a second or so."""
        from twisted.internet import reactor

        book, store = self.open()
        self.admitted(book, 1)
        wal = self.folder / "limits.sqlite3-wal"
        before = wal.stat().st_size
        for _ in range(100):
            await deferLater(reactor, 0.05)
            if wal.stat().st_size > before:
                break
        self.assertGreater(wal.stat().st_size, before)
        await store.close()
        self.assertFalse(wal.exists())

    async def test_crash(self) -> None:
        """A process that dies leaves its counts, and its lock to nobody."""
        status = await getProcessValue(sys.executable, ["-c", CRASHING, str(self.folder)])
        self.assertEqual(status, 7)
        book, store = self.open()
        # Three were counted, and as many again are held back.
        self.assertEqual(self.admitted(book), 14)
        await store.close()

    async def test_second(self) -> None:
        """A second process is refused as long as the first lives, and names the folder."""
        _, store = self.open()
        status = await getProcessValue(sys.executable, ["-c", REFUSED, str(self.folder)])
        self.assertEqual(status, 3)
        self.assertRaises(ConfigurationError, self.open)
        await store.close()
        status = await getProcessValue(sys.executable, ["-c", REFUSED, str(self.folder)])
        self.assertEqual(status, 0)

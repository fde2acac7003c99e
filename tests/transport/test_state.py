"""Tests of :mod:`aiproxy.transport.state`."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.defer import Deferred, execute
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.schema import Limits
from aiproxy.errors import ConfigurationError
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.limits import Held, Lease
from aiproxy.transport.state import StateStore
from aiproxy.transport.state_file import FILE_NAME, LOCK_NAME

EPOCH = 1_700_000_000.0
KEY = ("p/model", "https://host/v1", "ab12")
OTHER = ("p/\N{SNOWMAN} '\"\ud800", "", "")


class Disk:
    """
    What stands for the thread.

    :ivar held: calls are kept back until :meth:`run`.
    :ivar trouble: entered around each call.
    """

    def __init__(self) -> None:
        self.held = False
        self.calls: list[Callable[[], None]] = []
        self.done: list[Callable[[], object]] = []
        self.trouble: Callable[[], AbstractContextManager[None]] = nullcontext
        self.count = 0

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Do what ``deferToThread`` does."""
        told: Deferred[Any] = Deferred()
        self.count += 1

        def call() -> None:
            with self.trouble():
                result = execute(function, *arguments)
            self.done.append(partial(result.chainDeferred, told))

        self.calls.append(call)
        if not self.held:
            self.run()
        return told

    def work(self) -> None:
        """Do what is to be done; nobody knows yet."""
        while self.calls:
            self.calls.pop(0)()

    def run(self) -> None:
        """Do what is to be done, and tell."""
        while self.calls or self.done:
            self.work()
            self.done.pop(0)()


@contextmanager
def without_root() -> Iterator[None]:
    """Let modes of files hold for us."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(user)


@contextmanager
def full_disk() -> Iterator[None]:
    """Let no file grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Server:
    """One life of a server: a book, its store, and what they run on."""

    def __init__(self, folder: Path, limits: Limits, clock: Clock | None = None) -> None:
        self.folder = folder
        self.limits = limits
        self.clock = Clock() if clock is None else clock
        self.book = LimitBook()
        self.disk = Disk()
        self.store = StateStore(folder, self.book, self.clock, lambda: self.wall, self.disk)

    @property
    def wall(self) -> float:
        """What the clock on the wall shows."""
        return EPOCH + self.clock.seconds()

    def start(self) -> Server:
        """Open and start."""
        self.store.open()
        self.store.start()
        return self

    def admit(self, key: tuple[str, ...] = KEY) -> Lease | Held:
        """Admit a request."""
        now = self.clock.seconds()
        return self.book.find(key, self.limits, now, self.wall).admit(now, self.wall)

    def admitted(self, most: int = 100, key: tuple[str, ...] = KEY) -> int:
        """Admit as many as there is room for."""
        count = 0
        while count < most and isinstance(self.admit(key), Lease):
            count += 1
        return count

    def stop(self) -> None:
        """Stop in order."""
        closed = self.store.close()
        self.disk.held = False
        self.disk.run()
        assert closed.called
        assert not self.clock.getDelayedCalls()

    def crash(self, to: Path, clock: Clock | None = None) -> Server:
        """Return the next life of a server that ended here, from what the disk holds."""
        if to.exists():
            shutil.rmtree(to)
        shutil.copytree(self.folder, to)
        return Server(to, self.limits, self.clock if clock is None else clock)


class CrashMachine(RuleBasedStateMachine):
    """A server that crashes and stops at any point, against the times of all requests."""

    @initialize(hour=st.integers(1, 8), day=st.integers(1, 12))
    def begin(self, hour: int, day: int) -> None:
        """Begin with an empty folder."""
        self.root = TemporaryDirectory()
        self.clock = Clock()
        self.limits = Limits(requests_per_hour=hour, requests_per_day=day)
        self.lives = 0
        self.server = Server(Path(self.root.name, "0"), self.limits, self.clock).start()
        #: By key, when requests went.
        self.sent: dict[tuple[str, ...], list[float]] = {KEY: [], OTHER: []}
        self.asked = 0.0

    @rule(ticks=st.one_of(st.integers(1, 40), st.integers(1, 64 * 4_000)))
    def wait(self, ticks: int) -> None:
        """Time goes by; the disk takes less than a second for all."""
        seconds = ticks / 64
        if not self.server.disk.calls and not self.server.disk.done:
            self.asked = self.clock.seconds()
        elif self.clock.seconds() + seconds - self.asked >= 1:
            self.server.disk.run()
            self.asked = self.clock.seconds()
        self.clock.advance(seconds)

    @rule(held=st.booleans())
    def hold_disk(self, held: bool) -> None:
        """From now on the disk takes its time, or none."""
        self.server.disk.held = held
        if not held:
            self.server.disk.run()

    @rule()
    def work(self) -> None:
        """The disk has done its work, and nobody knows."""
        self.server.disk.work()

    @rule()
    def tell(self) -> None:
        """The disk has done its work."""
        self.server.disk.run()

    @rule(key=st.sampled_from((KEY, OTHER)), count=st.integers(1, 5), forget=st.booleans())
    def request(self, key: tuple[str, ...], count: int, forget: bool) -> None:
        """Requests come; one that is still waiting may leave."""
        for _ in range(count):
            lease = self.server.admit(key)
            if isinstance(lease, Held):
                return
            at = self.clock.seconds()
            waiting = self.server.store.cover(key)
            if waiting is None:
                self.went(self.lives, key, at)
            elif forget and not waiting.called:
                waiting.addErrback(lambda _: None)
                waiting.cancel()
                lease.forget()
            else:
                waiting.addCallback(lambda _, *went: self.went(*went), self.lives, key, at)

    def went(self, life: int, key: tuple[str, ...], at: float) -> None:
        """Never over, in all lives together."""
        if life != self.lives:
            return  # It waited when the server crashed.
        times = self.sent[key]
        times.append(at)
        for limit, seconds in (
            (self.limits.requests_per_hour, 3_600),
            (self.limits.requests_per_day, 86_400),
        ):
            assert limit is not None
            for end in {time for time in times if time >= at}:
                assert sum(end - seconds <= time <= end for time in times) <= limit

    @rule(ticks=st.integers(0, 64 * 4_000), orderly=st.booleans())
    def restart(self, ticks: int, orderly: bool) -> None:
        """The server ends, at once or in order, and another begins."""
        before = self.server
        if orderly:
            before.stop()
        self.lives += 1
        self.server = before.crash(Path(self.root.name, str(self.lives)), self.clock)
        if not orderly:
            before.stop()  # For the files' sake: the next life has copies.
        self.clock.advance(ticks / 64)
        self.server.start()

    def teardown(self) -> None:
        """It heals, and no timer is left."""
        if not hasattr(self, "server"):
            return
        self.server.disk.held = False
        self.server.disk.run()
        self.clock.advance(90_000)
        assert isinstance(self.server.admit(), Lease)
        self.server.stop()
        self.root.cleanup()


class StateTests(SynchronousTestCase):
    """A store on real files, with a clock of the test's and no thread."""

    def setUp(self) -> None:
        """Make room for folders, and listen to the log."""
        self.root = Path(self.mktemp()).absolute()
        self.root.mkdir()
        self.folder = self.root / "state"
        self.logged: list[LogEvent] = []
        observer = cast(ILogObserver, self.logged.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def serve(self, hour: int | None = 10, day: int | None = None) -> Server:
        """Start a server, and stop it at the end of the test."""
        server = Server(self.folder, Limits(requests_per_hour=hour, requests_per_day=day)).start()
        self.addCleanup(server.stop)
        return server

    def again(self, server: Server, seconds: float = 0.0) -> Server:
        """Start the next server after a crash that much later."""
        server.clock.pump([seconds])
        clock = Clock()
        clock.advance(server.clock.seconds())
        crashed = server.crash(self.root / "crashed", clock).start()
        self.addCleanup(crashed.stop)
        return crashed

    def rows(self) -> list[tuple[Any, ...]]:
        """Return what the file holds."""
        connection = sqlite3.connect(self.folder / FILE_NAME)
        self.addCleanup(connection.close)
        return connection.execute("SELECT * FROM counts").fetchall()

    def log_lines(self, about: str) -> list[str]:
        """Return what was logged about something."""
        return [line for event in self.logged if about in (line := formatEvent(event))]

    # --- restarts ----------------------------------------------------------------

    def test_model(self) -> None:
        """Crashes and stops at any point: never over the limits, and it always heals."""
        run_state_machine_as_test(
            CrashMachine,
            settings=settings(deadline=None, max_examples=100, stateful_step_count=40),
        )

    def test_stop(self) -> None:
        """An orderly stop stores exact counts, of any key; even what was given back."""
        limits = Limits(requests_per_hour=5, requests_per_day=100)
        server = Server(self.folder, limits).start()
        for _ in range(3):
            server.admit()
        lease = server.admit(OTHER)
        server.clock.advance(1.5)
        assert isinstance(lease, Lease)
        lease.forget()
        server.stop()
        again = Server(self.folder, limits).start()
        self.addCleanup(again.stop)
        self.assertEqual(again.admitted(), 2)
        self.assertEqual(again.admitted(key=OTHER), 5)

    def test_again(self) -> None:
        """One that was closed can be opened anew, and a crash then loses nothing."""
        server = self.serve()
        for _ in range(6):
            server.admit()
            server.store.cover(KEY)
        server.clock.advance(1)
        server.stop()
        self.assertEqual([row[3] for row in self.rows()], [6])
        server.start()
        server.admit()
        covering = server.store.cover(KEY)
        assert covering is not None
        self.successResultOf(covering)
        self.assertEqual(self.again(server).admitted(), 2)

    def test_over(self) -> None:
        """What is over when the next server starts counts no more."""
        server = Server(self.folder, Limits(requests_per_hour=5)).start()
        server.admitted()
        server.stop()
        again = Server(self.folder, Limits(requests_per_hour=5))
        again.clock.advance(3_660)
        again.start()
        self.addCleanup(again.stop)
        self.assertEqual(again.admitted(), 5)

    def test_headroom(self) -> None:
        """After a crash as much is held back as was counted in the last second."""
        server = self.serve(hour=100)
        self.assertEqual(server.admitted(30), 30)
        server.clock.advance(1)
        again = self.again(server)
        self.assertEqual(again.admitted(), 40)

    def test_headroom_shrinks(self) -> None:
        """A key in use that is quiet holds back one; the stored headroom halves until then."""
        server = self.serve(hour=100)
        server.admitted(30)
        left = []
        for _ in range(7):
            server.clock.advance(1)
            left.append(self.again(server).admitted())
        self.assertEqual(left, [40, 55, 63, 67, 69, 69, 69])

    def test_quiet(self) -> None:
        """Where nothing changes nothing is written."""
        server = self.serve()
        server.admit()
        server.clock.advance(1)
        count = server.disk.count
        server.clock.pump([1] * 10)
        self.assertEqual(server.disk.count, count)

    def test_unused(self) -> None:
        """A key that was not used for an hour holds nothing back after a crash."""
        server = self.serve(hour=None, day=10)
        server.admit()
        server.clock.pump([1] * 2)
        self.assertEqual(self.again(server).admitted(), 8)
        self.assertEqual(self.again(server, 3_700).admitted(), 9)

    def test_deleted(self) -> None:
        """Sub-windows that are over leave the file."""
        server = self.serve()
        server.admit()
        server.clock.advance(1)
        self.assertEqual(len(self.rows()), 3)
        server.clock.advance(3_660)
        self.assertEqual(self.rows(), [])

    def test_moves(self) -> None:
        """Only changed rows are written, and each sub-window has its own."""
        server = self.serve()
        for _ in range(3):
            server.admit()
            server.clock.advance(60)
        counts = [row[3] for row in self.rows() if row[2] < 2**40]
        self.assertEqual(counts, [1, 1, 1])

    # --- requests that wait -------------------------------------------------------

    def test_cover(self) -> None:
        """The first request of a key waits until it is stored; what is in the headroom does not."""
        server = self.serve()
        server.disk.held = True
        server.admit()
        first = server.store.cover(KEY)
        assert first is not None
        self.assertNoResult(first)
        server.disk.work()
        self.assertNoResult(first)
        server.disk.run()
        self.assertIsNone(self.successResultOf(first))
        server.admit()
        self.assertIsNone(server.store.cover(KEY))
        server.admit()
        third = server.store.cover(KEY)
        assert third is not None
        server.disk.run()
        self.successResultOf(third)

    def test_together(self) -> None:
        """Those who come while a batch is written share the next one."""
        server = self.serve()
        server.disk.held = True
        waiting = []
        for _ in range(5):
            server.admit()
            waiting.append(server.store.cover(KEY))
        count = server.disk.count
        server.disk.run()
        for each in waiting:
            assert each is not None
            self.successResultOf(each)
        self.assertEqual(server.disk.count, count + 1)

    def test_slow_disk(self) -> None:
        """A disk that hangs holds nobody up for long; nobody waits until it is well."""
        server = self.serve()
        server.disk.held = True
        server.clock.advance(0.5)
        server.admit()
        waiting = [server.store.cover(KEY), server.store.cover(KEY)]
        for each in waiting:
            assert each is not None
        server.clock.advance(0.5)
        self.assertFalse(any(each.called for each in waiting if each))
        server.clock.advance(1)
        for each in waiting:
            assert each is not None
            self.successResultOf(each)
        self.assertIsNone(server.store.cover(KEY))
        self.assertEqual(len(self.log_lines("slow")), 1)
        server.disk.run()
        self.assertEqual(len(self.log_lines("again")), 1)
        self.assertIsNotNone(server.store.cover(OTHER))

    def test_close_waits(self) -> None:
        """A close waits for the batch that is written, and lets go who waits for another."""
        server = Server(self.folder, Limits(requests_per_hour=5)).start()
        server.disk.held = True
        server.admit()
        waiting = [server.store.cover(KEY), server.store.cover(KEY)]
        closed = server.store.close()
        self.assertNoResult(closed)
        server.disk.run()
        self.successResultOf(closed)
        for each in waiting:
            assert each is not None
            self.successResultOf(each)
        self.assertEqual([row[3] for row in self.rows()], [1])
        self.assertEqual(server.clock.getDelayedCalls(), [])

    # --- folders and files ----------------------------------------------------------

    def test_modes(self) -> None:
        """Nobody else may read the folder or its files."""
        self.addCleanup(os.umask, os.umask(0))
        server = self.serve()
        server.admit()
        server.clock.advance(1)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.folder.iterdir()}
        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)
        self.assertEqual(set(modes.values()), {0o600})
        self.assertIn(LOCK_NAME, modes)

    def test_second(self) -> None:
        """A second server is refused with the folder's name; when the first is gone it is not."""
        first = Server(self.folder, Limits()).start()
        second = Server(self.folder, Limits())
        error = self.assertRaises(ConfigurationError, second.store.open)
        self.assertEqual(str(error), f"server.state {self.folder}: another server uses this folder")
        self.successResultOf(second.store.close())
        self.assertRaises(ConfigurationError, Server(self.folder, Limits()).store.open)
        first.stop()
        Server(self.folder, Limits()).start().stop()

    def test_no_folder(self) -> None:
        """What cannot be a folder is a mistake of the configuration."""
        self.folder.write_text("")
        error = self.assertRaises(ConfigurationError, Server(self.folder, Limits()).store.open)
        self.assertIn(str(self.folder), str(error))
        server = Server(self.folder / "x", Limits())
        self.assertIn("Not a directory", str(self.assertRaises(ConfigurationError, server.start)))

    def test_not_allowed(self) -> None:
        """A folder that may not be written to is a mistake of the configuration."""
        folder = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        folder.chmod(0o555)
        server = Server(folder, Limits())
        with without_root():
            error = self.assertRaises(ConfigurationError, server.store.open)
        self.assertIn(f"{folder}: Permission denied", str(error))

    def test_read_only(self) -> None:
        """A folder that turns read-only is one line a minute; afterwards all is stored anew."""
        folder = self.folder = Path(mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        server = self.serve(hour=5)
        server.admit()
        server.clock.advance(1)
        folder.chmod(0o555)
        (folder / FILE_NAME).unlink()
        server.disk.trouble = without_root
        self.assertEqual(server.admitted(), 4)
        server.clock.pump([1] * 150)
        self.assertEqual(len(self.log_lines("cannot be stored")), 3)
        self.assertIn("Permission denied", self.log_lines("cannot be stored")[-1])
        self.assertIsNone(server.store.cover(KEY))
        folder.chmod(0o700)
        server.disk.trouble = nullcontext
        server.clock.advance(1)
        self.assertEqual([row[3] for row in self.rows()], [5])

    def check_moved(self, server: Server, content: bytes) -> None:
        """A file was moved aside with one loud line, and a fresh one is in use."""
        [line] = self.log_lines("no good")
        [aside] = self.folder.glob("*.bad")
        self.assertIn(str(aside), line)
        self.assertEqual(aside.read_bytes(), content)
        server.admit()
        server.clock.advance(1)
        self.assertEqual(len(self.rows()), 3)
        self.assertEqual(self.log_lines("cannot be stored"), [])

    def test_garbage(self) -> None:
        """A file that is no database is moved aside."""
        self.folder.mkdir()
        content = b"no database at all\n" * 1_000
        (self.folder / FILE_NAME).write_bytes(content)
        self.check_moved(self.serve(), content)

    def test_foreign(self) -> None:
        """Another program's database is moved aside as it is."""
        self.folder.mkdir()
        connection = sqlite3.connect(self.folder / FILE_NAME)
        connection.execute("CREATE TABLE counts (anything)")
        connection.close()
        content = (self.folder / FILE_NAME).read_bytes()
        self.check_moved(self.serve(), content)

    def spoil(self, statement: str) -> None:
        """Make a file of ours, and change it."""
        server = Server(self.folder, Limits(requests_per_hour=5)).start()
        server.admit()
        server.stop()
        connection = sqlite3.connect(self.folder / FILE_NAME)
        with connection:
            connection.execute(statement)
        connection.close()

    def test_other_version(self) -> None:
        """Another version's file is moved aside."""
        self.spoil("PRAGMA user_version = 2")
        content = (self.folder / FILE_NAME).read_bytes()
        self.check_moved(self.serve(), content)

    def test_nonsense_rows(self) -> None:
        """So is one whose rows were not written by us."""
        for change in ("key = '{}'", "key = '['", "requests = 'many'", "start = 9e999"):
            self.spoil(f"UPDATE counts SET {change}")
            server = Server(self.folder, Limits(requests_per_hour=5)).start()
            self.assertEqual(server.admitted(), 5, change)
            server.stop()
            [aside] = self.folder.glob("*.bad")
            aside.unlink()

    def test_truncated(self) -> None:
        """So is one that was cut, at any page."""
        limits = Limits(requests_per_hour=5)
        server = Server(self.folder, limits).start()
        for number in range(300):
            server.admit((f"model-{number}",))
        server.stop()
        whole = (self.folder / FILE_NAME).read_bytes()
        for size in range(100, len(whole), 2_048):
            (self.folder / FILE_NAME).write_bytes(whole[:size])
            again = Server(self.folder, limits).start()
            again.stop()
            [aside] = self.folder.glob("*.bad")
            aside.unlink()

    def test_spoiled_while_running(self) -> None:
        """If it goes bad while it is in use, a new one is made of what is in memory."""
        server = self.serve()
        server.admitted(3)
        server.clock.advance(1)
        connection = sqlite3.connect(self.folder / FILE_NAME)
        connection.execute("DROP TABLE counts")
        connection.close()
        server.admit()
        server.clock.advance(1)
        self.assertEqual(len(self.log_lines("no good")), 1)
        server.admit()
        server.clock.advance(1)
        self.assertEqual([row[3] for row in self.rows()], [5])
        server.admit()
        server.clock.advance(1)
        self.assertEqual(self.again(server).admitted(), 3)

    # --- disks ------------------------------------------------------------------------

    def test_full_disk(self) -> None:
        """A full disk is one line a minute; what was counted meanwhile is stored afterwards."""
        server = self.serve(hour=300)
        server.disk.trouble = full_disk
        for _ in range(150):
            server.admit()
            self.assertTrue((waiting := server.store.cover(KEY)) is None or waiting.called)
            server.clock.advance(1)
        self.assertEqual(len(self.log_lines("cannot be stored")), 3)
        self.assertEqual(self.log_lines("again"), [])
        self.assertEqual(self.rows(), [])
        server.disk.trouble = nullcontext
        server.clock.advance(1)
        self.assertEqual(len(self.log_lines("again")), 1)
        self.assertEqual(sum(row[3] for row in self.rows() if row[2] < 2**40), 150)

    def test_full_at_start(self) -> None:
        """With a full disk it starts, and stores as soon as it can, what was stored included."""
        before = Server(self.folder, Limits(requests_per_hour=10)).start()
        before.admitted(3)
        before.stop()
        server = Server(self.folder, Limits(requests_per_hour=10))
        with full_disk():
            server.store.open()
        server.store.start()
        self.addCleanup(server.stop)
        self.assertIsNone(server.store.cover(KEY))
        server.admit()
        server.clock.advance(1)
        self.assertEqual(len(self.log_lines("cannot be stored")), 1)
        self.assertEqual(len(self.log_lines("again")), 1)
        self.assertEqual(server.admitted(), 6)

    def test_full_at_stop(self) -> None:
        """With a full disk it stops, and what was stored is what holds."""
        server = Server(self.folder, Limits(requests_per_hour=10)).start()
        server.admitted(3)
        server.clock.advance(1)
        server.disk.trouble = full_disk
        server.stop()
        self.assertEqual(len(self.log_lines("cannot be stored")), 1)
        again = Server(self.folder, Limits(requests_per_hour=10)).start()
        self.addCleanup(again.stop)
        self.assertEqual(again.admitted(), 4)

    def test_bug(self) -> None:
        """A mistake of ours is logged, holds nobody up, and the next batch is tried."""
        server = self.serve()
        server.admit()
        self.patch(server.book, "snapshot", lambda **_: 1 / 0)
        waiting = server.store.cover(KEY)
        assert waiting is not None
        self.successResultOf(waiting)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

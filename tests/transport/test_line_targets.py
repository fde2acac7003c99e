"""Tests of :mod:`aiproxy.transport.line_targets`, with real files, pipes, terminals and sockets."""

from __future__ import annotations

import os
import pty
import re
import socket
import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import ConfigurationError
from aiproxy.transport.line_targets import FileTarget, StreamTarget, SyslogTarget, make_target

#: 2030-01-01 00:00:00 UTC.
NOW = 1893456000.0


class TargetTestCase(SynchronousTestCase):
    """A folder, and no descriptor left open."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def pipe(self) -> tuple[int, int]:
        """Make a pipe that is closed after the test."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        return reader, writer

    def assert_open(self, count: int) -> None:
        """So many descriptors are open."""
        self.assertEqual(len(os.listdir("/proc/self/fd")), count)


class FileTests(TargetTestCase):
    """A plain file."""

    def test_created(self) -> None:
        """It is made for its owner and group, and written to at its end."""
        path = self.folder / "access.log"
        before = len(os.listdir("/proc/self/fd"))
        self.addCleanup(os.umask, os.umask(0o022))
        for line in (b"one\n", b"two\n"):
            target = FileTarget(str(path))
            self.assertEqual(target.write(line), 4)
            target.close()
        target.close()
        self.assertEqual(path.read_bytes(), b"one\ntwo\n")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o640)
        self.assert_open(before)

    def test_moved(self) -> None:
        """A file that was moved is written on until it is opened anew."""
        path = self.folder / "access.log"
        target = FileTarget(str(path))
        self.addCleanup(target.close)
        target.write(b"one\n")
        path.rename(self.folder / "old")
        target.write(b"two\n")
        self.assertFalse(path.exists())
        target.reopen()
        target.write(b"three\n")
        self.assertEqual((self.folder / "old").read_bytes(), b"one\ntwo\n")
        self.assertEqual(path.read_bytes(), b"three\n")

    def test_full(self) -> None:
        """A full disk is an error, and the next write another chance."""
        target = FileTarget("/dev/full")
        self.addCleanup(target.close)
        for _ in range(2):
            self.assertRaises(OSError, target.write, b"one\n")

    def test_no_folder(self) -> None:
        """What cannot be opened is tried again with the next write."""
        target = FileTarget(str(self.folder / "later" / "log"))
        self.addCleanup(target.close)
        self.assertRaises(FileNotFoundError, target.write, b"one\n")
        (self.folder / "later").mkdir()
        self.assertEqual(target.write(b"two\n"), 4)


class StreamTests(TargetTestCase):
    """What is shared with others."""

    def fill(self, target: StreamTarget) -> int:
        """Write until nothing more is taken; return how much was."""
        total = 0
        while taken := target.write(b"x" * 9_999 + b"\n"):
            total += taken
        return total

    def test_pipe(self) -> None:
        """A pipe that is full takes nothing and makes nobody wait; it stays as it was to others."""
        reader, writer = self.pipe()
        target = StreamTarget(writer)
        before = len(os.listdir("/proc/self/fd"))
        self.assertGreater(self.fill(target), 10_000)
        self.assertTrue(os.get_blocking(writer))
        os.read(reader, 10_000)
        self.assertGreater(target.write(b"y" * 10_000), 0)
        target.close()
        target.close()
        self.assert_open(before)

    def test_whole_lines(self) -> None:
        """Where others write into the same pipe, no line has another one within it."""
        reader, writer = self.pipe()
        targets = [StreamTarget(writer), StreamTarget(writer)]
        lines = [letter * 999 + b"\n" for letter in (b"a", b"b")]
        left = [line * 300 for line in lines]
        received = b""
        while any(left):
            for place, target in enumerate(targets):
                left[place] = left[place][target.write(left[place]) :]
            received += os.read(reader, 7_777)
        for target in targets:
            target.close()
        os.set_blocking(reader, False)
        while len(received) < 600_000:
            received += os.read(reader, 100_000)
        self.assertEqual(set(received.splitlines(keepends=True)), set(lines))

    def test_terminal(self) -> None:
        """So does a terminal that nobody reads."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, master)
        self.addCleanup(os.close, slave)
        target = StreamTarget(slave)
        self.addCleanup(target.close)
        self.assertGreater(self.fill(target), 0)
        self.assertTrue(os.get_blocking(slave))

    def test_terminal_gone(self) -> None:
        """A terminal that is gone is an error."""
        master, slave = pty.openpty()
        self.addCleanup(os.close, slave)
        target = StreamTarget(slave)
        self.addCleanup(target.close)
        target.write(b"one\n")
        os.close(master)
        self.assertRaises(OSError, target.write, b"two\n")

    def test_socket(self) -> None:
        """What has no name to be opened by is asked whether it is ready."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        target = StreamTarget(ours.fileno())
        self.addCleanup(target.close)
        self.assertEqual(target.write(b"z" * 10_000), 10_000)
        self.fill(target)
        self.assertTrue(ours.getblocking())
        theirs.close()
        self.assertRaises(OSError, target.write, b"two\n")

    def test_file(self) -> None:
        """A file is written to where the others who share it go on."""
        path = self.folder / "out"
        shared = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.addCleanup(os.close, shared)
        target = StreamTarget(shared)
        self.addCleanup(target.close)
        os.write(shared, b"event\n")
        target.write(b"line\n")
        os.write(shared, b"event\n")
        self.assertEqual(path.read_bytes(), b"event\nline\nevent\n")

    def test_closed(self) -> None:
        """Without a standard output there is an error, not another's descriptor."""
        reader, writer = os.pipe()
        os.close(reader)
        os.close(writer)
        self.assertRaises(OSError, StreamTarget(writer).write, b"one\n")


class SyslogTests(TargetTestCase):
    """The system's log."""

    def setUp(self) -> None:
        super().setUp()
        # A socket's path may be no longer than 107 bytes.
        self.path = os.path.relpath(self.folder / "log")
        self.log = self.listen()
        self.target = SyslogTarget(self.path, lambda: NOW)
        self.addCleanup(self.target.close)

    def listen(self) -> socket.socket:
        """Listen as the system's log does."""
        log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        log.bind(self.path)
        log.settimeout(5)
        self.addCleanup(log.close)
        return log

    def test_lines(self) -> None:
        """Each line is a datagram, with priority, local time and who says it."""
        self.assertEqual(self.target.write(b"one\ntwo\n"), 8)
        first, second = self.log.recv(1_000), self.log.recv(1_000)
        written = rb"<14>(Jan  1|Dec 31) \d\d:\d\d:00 aiproxy\[%d\]: " % os.getpid()
        self.assertRegex(first, written + rb"one\Z")
        self.assertRegex(second, written + rb"two\Z")

    def test_full(self) -> None:
        """When nobody takes datagrams, those that were taken are counted in whole lines."""
        lines = b"".join(b"%06d\n" % number for number in range(10_000))
        taken = self.target.write(lines)
        self.assertTrue(0 < taken < len(lines))
        self.assertEqual(taken % 7, 0)
        self.assertEqual(self.target.write(lines[taken:]), 0)
        self.assertTrue(re.search(rb": 000000\Z", self.log.recv(1_000)))
        self.assertEqual(self.target.write(lines[taken : taken + 7]), 7)

    def test_restarted(self) -> None:
        """When the log is started anew, the next line finds it."""
        self.target.write(b"one\n")
        self.log.close()
        os.unlink(self.path)
        self.assertRaises(OSError, self.target.write, b"two\n")
        log = self.listen()
        self.target.write(b"three\n")
        self.assertTrue(log.recv(1_000).endswith(b": three"))


class MakeTargetTests(TargetTestCase):
    """The values of ``server.access_log``."""

    def test_values(self) -> None:
        """Each stands for its target."""
        path = self.folder / "socket"
        path.touch()
        kinds = {
            "-": StreamTarget,
            "syslog": SyslogTarget,
            str(self.folder / "log"): FileTarget,
            "none": type(None),
        }
        for where, kind in kinds.items():
            made = make_target(where, lambda: NOW, syslog=str(path))
            self.assertIs(type(made), kind, where)

    def test_impossible(self) -> None:
        """A place where nothing can be is refused."""
        nowhere = str(self.folder / "nowhere" / "log")
        for where in ("syslog", str(self.folder), nowhere):
            with self.assertRaisesRegex(ConfigurationError, r"server\.access_log: .*no "):
                make_target(where, lambda: NOW, syslog=nowhere)

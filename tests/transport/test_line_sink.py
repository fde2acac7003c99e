"""Tests of :mod:`aiproxy.transport.line_sink`."""

from __future__ import annotations

import errno
import os
from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.line_sink import LineSink


class ScriptedTarget:
    """
    A target that a test rules.

    :ivar written: all that was taken.
    :ivar room: how many bytes are taken; ``None``: any number.
    :ivar error: raised instead, if there is nothing to take.
    """

    def __init__(self) -> None:
        self.written = b""
        self.writes = 0
        self.room: int | None = None
        self.error: int | None = None
        self.opened = 0
        self.closed = False

    def write(self, lines: bytes) -> int:
        self.writes += 1
        taken = len(lines) if self.room is None else min(self.room, len(lines))
        if self.error is not None and not taken:
            raise OSError(self.error, os.strerror(self.error))
        if self.room is not None:
            self.room -= taken
        self.written += lines[:taken]
        return taken

    def reopen(self) -> None:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        self.opened += 1

    def close(self) -> None:
        self.closed = True


class SinkTests(SynchronousTestCase):
    """Lines in, few writes out."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.target = ScriptedTarget()
        self.sink = LineSink(self.target, self.clock)
        self.said: list[LogEvent] = []
        observer = cast(ILogObserver, self.said.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def told(self) -> list[str]:
        """Return what was said."""
        return [formatEvent(event) for event in self.said]

    def fail_with(self, error: int) -> None:
        """Let the target take nothing more."""
        self.target.room, self.target.error = 0, error

    def recover(self) -> None:
        """Let the target take everything again."""
        self.target.room = self.target.error = None

    def test_together(self) -> None:
        """Lines of a tenth of a second are one write."""
        self.sink.write(b"one\n")
        self.clock.advance(0.06)
        self.sink.write(b"two\n")
        self.assertEqual(self.target.written, b"")
        self.clock.advance(0.04)
        self.assertEqual((self.target.written, self.target.writes), (b"one\ntwo\n", 1))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_many(self) -> None:
        """64 KiB are written at once."""
        line = b"x" * 1023 + b"\n"
        for _ in range(63):
            self.sink.write(line)
        self.assertEqual(self.target.writes, 0)
        self.sink.write(line)
        self.assertEqual((self.target.writes, len(self.target.written)), (1, 65_536))

    def test_slow(self) -> None:
        """What is not taken is tried again soon, in order, without a byte lost."""
        self.target.room = 5
        self.sink.write(b"first\n")
        self.sink.write(b"second\n")
        self.clock.advance(0.1)
        self.assertEqual(self.target.written, b"first")
        self.target.room = 3
        self.clock.advance(0.02)
        self.recover()
        self.sink.write(b"third\n")
        self.clock.advance(0.02)
        self.assertEqual(self.target.written, b"first\nsecond\nthird\n")
        self.assertEqual((self.sink.dropped, self.told()), (0, []))

    def test_tries(self) -> None:
        """A reader that is slow does not make each line a write."""
        self.target.room = 0
        for _ in range(512):
            self.sink.write(b"x" * 1023 + b"\n")
        self.assertEqual(self.target.writes, 8)

    def test_nobody_reads(self) -> None:
        """What waits is bounded; the rest is dropped, counted and told of once a minute."""
        self.target.room = 0
        line = b"x" * 1023 + b"\n"
        for _ in range(1030):
            self.sink.write(line)
        self.assertEqual(self.sink.dropped, 6)
        self.assertEqual(len(self.said), 1)
        self.clock.pump([0.02] * 3100)
        self.assertEqual(
            self.told(),
            [
                "lines of the access log that were dropped: 1 (nobody reads them)",
                "lines of the access log that were dropped: 5 (nobody reads them)",
            ],
        )
        self.recover()
        self.clock.advance(0.02)
        self.assertEqual(self.target.written, line * 1024)

    def test_full_disk(self) -> None:
        """Lines that are refused are lost, and the next ones are not."""
        self.fail_with(errno.ENOSPC)
        self.sink.write(b"one\n")
        self.sink.write(b"two\n")
        self.clock.advance(0.1)
        self.assertEqual(self.sink.dropped, 2)
        [told] = self.told()
        self.assertIn(": 2 (No space left on device)", told)
        self.recover()
        self.sink.write(b"three\n")
        self.clock.advance(0.1)
        self.assertEqual(self.target.written, b"three\n")

    def test_torn(self) -> None:
        """A line that was cut by a full disk is ended before the next one."""
        self.fail_with(errno.ENOSPC)
        self.target.room = 7
        self.sink.write(b"one\n")
        self.sink.write(b"two and more\n")
        self.clock.advance(0.1)
        for _ in range(2):
            self.sink.write(b"lost\n")
            self.clock.advance(0.1)
        self.assertEqual(self.sink.dropped, 3)
        self.recover()
        self.sink.write(b"new\n")
        self.clock.advance(0.1)
        self.assertEqual(self.target.written, b"one\ntwo\nnew\n")

    def test_close(self) -> None:
        """The end writes what there is, and leaves nothing behind."""
        self.sink.write(b"one\n")
        self.sink.close()
        self.assertEqual(self.target.written, b"one\n")
        self.assertTrue(self.target.closed)
        self.assertEqual((self.clock.getDelayedCalls(), self.told()), ([], []))

    def test_close_unread(self) -> None:
        """What nobody takes at the end is counted and told of, however soon after the last time."""
        self.fail_with(errno.EIO)
        self.sink.write(b"one\n")
        self.sink.flush()
        self.target.error = None
        self.sink.write(b"two\n")
        self.sink.close()
        self.assertEqual((self.sink.dropped, len(self.said)), (2, 2))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_reopen(self) -> None:
        """What came before goes to the old target."""
        self.sink.write(b"old\n")
        self.sink.reopen()
        self.assertEqual((self.target.written, self.target.opened), (b"old\n", 1))

    def test_reopen_fails(self) -> None:
        """A target that cannot be opened is told of."""
        self.fail_with(errno.EACCES)
        self.sink.reopen()
        self.assertEqual(self.told(), ["the access log cannot be opened: Permission denied"])

    @given(st.lists(st.tuples(st.integers(1, 30), st.one_of(st.none(), st.integers(0, 40)))))
    def test_no_line_twice(self, steps: list[tuple[int, int | None]]) -> None:
        """However the target takes bytes and fails, each line is whole or counted as dropped."""
        target, clock = ScriptedTarget(), Clock()
        sink = LineSink(target, clock)
        lines = []
        for number, (length, room) in enumerate(steps):
            target.room = room
            target.error = errno.ENOSPC if room and room % 2 else None
            lines.append(b"%d:" % number + b"x" * length + b"\n")
            sink.write(lines[-1])
            clock.advance(0.1)
        target.room = target.error = None
        sink.write(b"end\n")
        sink.close()
        whole = [line for line in target.written.splitlines(keepends=True) if line in lines]
        self.assertEqual(whole, sorted(set(whole), key=lines.index))
        self.assertEqual(len(whole) + sink.dropped, len(lines))
        self.assertTrue(target.written.endswith(b"end\n"))
        self.assertNotIn(b"\n\n", target.written)

"""A worker's events, in its supervisor's log."""

from __future__ import annotations

from typing import cast

from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.workers.events import EventReader, EventWriter


class EventTests(SynchronousTestCase):
    """They are written, and said again."""

    def setUp(self) -> None:
        """Listen to the supervisor's log."""
        self.said: list[LogEvent] = []
        observer = cast(ILogObserver, self.said.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.lines: list[str] = []
        self.log = Logger("somewhere", observer=EventWriter(self.lines.append))
        self.reader = EventReader("worker 3")

    def read(self) -> list[tuple[LogLevel, str, str]]:
        """Return what the supervisor says."""
        for line in self.lines:
            self.reader.received(line.encode()[:9])
            self.reader.received(line.encode()[9:])
        return [(one["log_level"], one["log_namespace"], formatEvent(one)) for one in self.said]

    def test_again(self) -> None:
        """Level, namespace and text are the worker's, with its name."""
        self.log.warn("{a} {{}}\nand ü", a="{b}")
        self.log.debug("nobody needs this")
        Logger("twisted.internet.base", observer=self.log.observer).info("it has begun")
        self.assertEqual(self.read(), [(LogLevel.warn, "somewhere", "worker 3: {b} {}\nand ü")])

    def test_traceback(self) -> None:
        """A failure comes with its traceback."""
        with self.log.failuresHandled("it failed"):
            raise ZeroDivisionError
        [(level, _, text)] = self.read()
        self.assertIs(level, LogLevel.critical)
        self.assertRegex(text, r"(?s)worker 3: it failed\n.*ZeroDivisionError")

    def test_other_words(self) -> None:
        """What is no event of ours is said as it is, also an end without a newline."""
        self.reader.received(b"Fatal Python error: \xff\n\n[1]\nlast")
        self.reader.end()
        self.reader.end()
        self.assertEqual(
            [(one["log_level"], formatEvent(one)) for one in self.said],
            [
                (LogLevel.error, "worker 3: Fatal Python error: \ufffd"),
                (LogLevel.error, "worker 3: [1]"),
                (LogLevel.error, "worker 3: last"),
            ],
        )

"""twistd's log file, while two processes write it."""

from __future__ import annotations

import warnings
from io import StringIO
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.logger import LogBeginner, Logger, LogPublisher, textFileLogObserver
from twisted.python.logfile import LogFile
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.workers.log_file import SharedLogFile


class Writer:
    """
    Writes a log as twistd does.

    :ivar file: where to.
    """

    def __init__(self, path: Path, **options: Any) -> None:
        publisher = LogPublisher()
        shared = SharedLogFile.of({"logfile": str(path)})
        assert shared is not None
        self._log = Logger("n", observer=publisher)
        modules: Any = SimpleNamespace(showwarning=warnings.showwarning)
        beginner = LogBeginner(publisher, StringIO(), modules, modules)
        publisher.addObserver(shared)
        self.say("early")
        self.file = LogFile.fromFullPath(str(path), **options)
        beginner.beginLoggingTo([textFileLogObserver(self.file, None)], redirectStandardIO=False)

    def say(self, text: str) -> None:
        """Write a line."""
        self._log.info(text)


class SharedLogFileTests(SynchronousTestCase):
    """Real files, with two who write them."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def start(self, **options: Any) -> Writer:
        """Start one."""
        writer = Writer(self.path, **options)
        self.addCleanup(writer.file.close)
        return writer

    def lines(self, path: Path) -> list[str]:
        """Return what was said."""
        return [line.removeprefix("- [n#info] ") for line in path.read_text().splitlines()]

    def test_by_turns(self) -> None:
        """Each line is there as it was written, the first ones too."""
        first = self.start()
        second = self.start()
        for place in range(3):
            first.say(f"first {place}")
            second.say(f"this is the second {place}")
        turns = [[f"first {place}", f"this is the second {place}"] for place in range(3)]
        self.assertEqual(self.lines(self.path), ["early", "early", *chain(*turns)])

    def test_rotated(self) -> None:
        """So it is with a file that was opened anew, by a signal or for its length."""
        first = self.start(rotateLength=60)
        first.file.rotate()
        first.say("a signal")
        second = self.start()
        first.say("before its length")
        second.say("after it")
        first.say("is long now")
        first.say("anew")
        third = self.start()
        first.say("together")
        third.say("again")
        self.assertEqual(self.lines(Path(f"{self.path}.2")), ["early"])
        self.assertEqual(
            self.lines(Path(f"{self.path}.1")),
            ["a signal", "early", "before its length", "after it", "is long now"],
        )
        self.assertEqual(self.lines(self.path), ["anew", "early", "together", "again"])

    def test_somewhere_else(self) -> None:
        """Without such a file, and outside of twistd, nothing happens."""
        self.assertIsNone(SharedLogFile.of(None))
        shared = SharedLogFile.of({"logfile": None})
        assert shared is not None
        self.assertEqual(shared.path, str(Path("twistd.log").absolute()))
        shared({})
        self.assertFalse(Path(shared.path).exists())

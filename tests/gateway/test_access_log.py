"""Tests of :mod:`aiproxy.gateway.access_log`."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.sections import Server
from aiproxy.errors import ConfigurationError
from aiproxy.gateway.access_log import AccessLog
from aiproxy.gateway.usage import CallRecord


def finished(id: str) -> CallRecord:
    """Return the record of a call that is over."""
    record = CallRecord(id, "team", 10.0, "chat")
    record.end(11.0)
    return record


class AccessLogTests(SynchronousTestCase):
    """Lines in a file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()
        self.clock = Clock()

    def make(self, log_format: str = "json", where: str | None = None) -> AccessLog:
        """Make one that writes to the file."""
        server = Server(access_log=where or str(self.path), log_format=log_format)
        log = AccessLog(server, self.clock, lambda: 1893456000.0)
        self.addCleanup(log.close)
        return log

    def test_json(self) -> None:
        """Lines are written a little later, as JSON."""
        log = self.make()
        log.finished(finished("r1"))
        log.finished(finished("r2"))
        self.assertFalse(self.path.exists())
        self.clock.advance(0.1)
        lines = [json.loads(line) for line in self.path.read_text().splitlines()]
        self.assertEqual([line["id"] for line in lines], ["r1", "r2"])
        self.assertEqual(lines[0]["time"], "2030-01-01T00:00:00.000Z")

    def test_text(self) -> None:
        """As text, if that is what is wanted."""
        log = self.make("text")
        log.finished(finished("r1"))
        log.close()
        self.assertRegex(self.path.read_text(), r"\A2030-01-01T00:00:00.000Z 200 .* id=r1\n\Z")

    def test_moved(self) -> None:
        """A file that was moved keeps its lines, and a new one is begun."""
        log = self.make()
        log.reopen()
        self.assertEqual(self.path.read_bytes(), b"")
        old = self.path.rename(self.path.with_suffix(".1"))
        log.finished(finished("r1"))
        log.reopen()
        log.finished(finished("r2"))
        log.close()
        self.assertIn('"r1"', old.read_text())
        self.assertIn('"r2"', self.path.read_text())

    def test_none(self) -> None:
        """Without a log nothing is kept and nothing opened."""
        log = self.make(where="none")
        log.reopen()
        log.finished(finished("r1"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nowhere(self) -> None:
        """A place that there is not is refused before anything is served."""
        with self.assertRaisesRegex(ConfigurationError, r"server\.access_log"):
            self.make(where=str(self.path / "no" / "log"))

"""A worker: how it begins, and how it ends."""

from __future__ import annotations

import json
import os

from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogEvent, LogLevel, capturedLogs

from aiproxy.policy.shared_counts import SharedCounts
from aiproxy.workers.conversation import ConversationOver
from aiproxy.workers.worker import WorkerProcess
from tests.config.loading import LoadingTestCase

DEMO = "models: [{name: demo/echo, provider: demo}]\n"


class WorkerProcessTests(LoadingTestCase):
    """With a supervisor in memory, and nothing to listen at."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = MemoryReactorClock()
        self.worker = WorkerProcess(self.reactor, 1)
        self.transport = StringTransport()
        self.worker.makeConnection(self.transport)

    def hear(self, **message: object) -> None:
        """The supervisor says something."""
        self.worker.dataReceived(json.dumps(message).encode() + b"\n")

    def begin(self) -> None:
        """The supervisor answers what to do."""
        counts = SharedCounts.create()
        self.addCleanup(os.close, counts.fd)
        told = {
            "arguments": {"path": "c.yaml", "env_file": None, "folder": str(self.folder)},
            "sources": self.load(DEMO).sources.write(),
            "access_token": "sk-made-up",
            "counts": counts.fd,
            "covers": False,
            "sockets": [],
        }
        self.hear(answer=1, data=told)

    def end(self) -> list[LogEvent]:
        """End as a reactor does, with the connections at last; return the errors."""
        with capturedLogs() as events:
            before = self.reactor.triggers.get("before", {}).get("shutdown", [])
            for function, arguments, options in before:
                function(*arguments, **options)
            self.worker.connectionLost()
        self.assertTrue(self.reactor.hasStopped)
        return [event for event in events if event["log_level"] >= LogLevel.error]

    def test_stop(self) -> None:
        """To be told to stop is no error."""
        self.begin()
        self.hear(tell="stop", data=None)
        self.assertEqual(self.end(), [])

    def test_leave(self) -> None:
        """Nor is a hand-over."""
        self.begin()
        self.hear(tell="leave", data=None)
        self.assertEqual(self.end(), [])

    def test_signal(self) -> None:
        """Nor is a signal."""
        self.begin()
        self.worker.stop()
        self.assertEqual(self.end(), [])

    def test_stop_early(self) -> None:
        """Who is told before it has begun does not begin, which is no error."""
        self.hear(tell="stop", data=None)
        self.assertEqual(self.end(), [])
        self.assertFalse(self.worker.failed)

    def test_reload_early(self) -> None:
        """A reload before it has begun is none of its: it begins with the newest."""
        self.hear(ask=1, what="reload", data="{}")
        self.begin()
        asked, answered, ready, *_ = map(json.loads, self.transport.value().splitlines())
        self.assertEqual((asked["what"], ready["tell"]), ("begin", "ready"))
        self.assertEqual(answered, {"answer": 1, "data": None})
        self.hear(tell="stop", data=None)
        self.assertEqual(self.end(), [])

    def test_supervisor_gone(self) -> None:
        """A supervisor that has not said that it ends is an error, once."""
        self.begin()
        with capturedLogs() as events:
            self.worker.connectionLost()
        [error] = [event for event in events if event["log_level"] >= LogLevel.error]
        self.assertIn("the supervisor is gone", error["log_format"])
        self.assertTrue(self.reactor.hasStopped)

    def test_supervisor_gone_early(self) -> None:
        """So it is before the worker has begun."""
        self.worker.connectionLost()
        [failure] = self.flushLoggedErrors()
        self.assertTrue(failure.check(ConversationOver))
        self.assertTrue(self.worker.failed)

"""The supervisor, with workers and a successor in memory."""

from __future__ import annotations

import errno
import os
from contextlib import chdir
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent

from aiproxy.config.secret import Secret
from aiproxy.errors import ConfigurationError
from aiproxy.listening import Place
from aiproxy.workers.handover import Handed, Predecessor
from aiproxy.workers.supervisor import Supervisor
from tests.config.loading import LoadingTestCase
from tests.workers.processes import MemoryProcess

DEMO = "models: [{name: demo/echo, provider: demo}]\nserver: {drain_timeout: 3s}\n"


class Reactor(MemoryReactorClock):
    """
    A reactor in memory that also starts processes.

    :ivar processes: all that were started.
    :ivar full: there is no room for another one.
    :ivar stopped: whether it was stopped.
    """

    def __init__(self) -> None:
        super().__init__()
        self.processes: list[MemoryProcess] = []
        self.full = False
        self.stopped = False

    def spawnProcess(self, protocol: Any, *arguments: Any, **options: Any) -> MemoryProcess:
        """Start one."""
        if self.full:
            raise BlockingIOError(errno.EAGAIN, "No more processes")
        process = MemoryProcess(protocol, arguments, options)
        self.processes.append(process)
        return process

    def stop(self) -> None:
        """Stop."""
        self.stopped = True


class SupervisorTests(LoadingTestCase):
    """With two workers, and nothing to listen at."""

    def setUp(self) -> None:
        super().setUp()
        self.reactor = Reactor()
        self.happened: list[object] = []

    def begin(self, handed: Handed | None = None, places: tuple[Place, ...] = ()) -> Supervisor:
        """Start one."""
        supervisor = Supervisor(
            self.load(DEMO),
            {"path": "c.yaml", "env_file": None, "folder": str(self.folder)},
            self.reactor,
            places,
            workers=2,
            access_token=Secret("sk-made-up"),
            handed=handed,
        )
        supervisor.started = lambda: self.happened.append("started")
        supervisor.handing = lambda begins: self.happened.append(("handing", begins))
        supervisor.privilegedStartService()
        supervisor.startService()
        for function, arguments, options in self.reactor.whenRunningHooks:
            function(*arguments, **options)
        return supervisor

    @property
    def workers(self) -> list[MemoryProcess]:
        """The workers that were started last."""
        return self.reactor.processes[:2]

    def ready(self) -> None:
        """Both workers serve."""
        for worker in self.workers:
            worker.say(tell="ready", data=None)

    def end_workers(self) -> None:
        """Both have ended."""
        for worker in self.workers:
            worker.end()

    def test_begin(self) -> None:
        """A worker is told all that it needs, and the start is over when both serve."""
        self.begin()
        self.workers[0].say(ask=1, what="begin", data=None)
        told = self.workers[0].told[-1]["data"]
        self.assertEqual(told["arguments"]["path"], "c.yaml")
        self.assertEqual(told["access_token"], "sk-made-up")
        self.assertEqual(self.happened, [])
        self.ready()
        self.assertEqual(self.happened, ["started"])

    def test_stop(self) -> None:
        """It ends when both have ended; who takes too long is killed."""
        supervisor = self.begin()
        stopped = supervisor.stopService()
        self.assertEqual(self.workers[1].told, [{"tell": "stop", "data": None}])
        self.workers[0].end()
        self.reactor.advance(13)
        self.assertEqual(self.workers[1].signals, ["KILL"])
        self.workers[1].end(signal=9)
        self.successResultOf(stopped)

    def test_use(self) -> None:
        """What all use a worker that begins later uses, too; what none can use nobody does."""
        supervisor = self.begin()
        before, loaded = supervisor.loaded, self.load(DEMO.replace("echo", "two"))
        using = Deferred.fromCoroutine(supervisor.use(loaded))
        for worker in self.workers:
            worker.answer(["server.http"])
        self.assertEqual(self.successResultOf(using), ["server.http"])
        self.assertIs(supervisor.loaded, loaded)
        using = Deferred.fromCoroutine(supervisor.use(before))
        worker = self.workers[0]
        worker.say(answer=worker.told[-1]["ask"], problems=[["no", None, None]])
        self.failureResultOf(using, ConfigurationError)
        self.assertIs(supervisor.loaded, loaded)

    def test_admin(self) -> None:
        """A worker's admin reloads all."""
        supervisor = self.begin()

        async def reload() -> dict[str, object]:
            return {"models": 1}

        supervisor.reload = reload
        self.workers[0].say(ask=5, what="reload", data=None)
        self.assertEqual(self.workers[0].told, [{"answer": 5, "data": {"models": 1}}])

    def test_reopen(self) -> None:
        """All open their logs anew."""
        self.begin().reopen()
        self.assertEqual([one.told[-1]["tell"] for one in self.workers], ["reopen", "reopen"])

    def test_hand_over(self) -> None:
        """When another one serves, this one leaves it all, and its workers are told so."""
        supervisor = self.begin()
        supervisor.hand_over()
        supervisor.hand_over()
        [successor] = self.reactor.processes[2:]
        handed = Handed.take(dict(successor.arguments[2]))
        assert handed is not None
        self.assertEqual(handed.taken, {1, 2})
        self.assertEqual(handed.access_token, Secret("sk-made-up"))
        self.assertEqual(self.happened, [("handing", True)])
        successor.say(tell="ready", data=None)
        self.assertEqual(successor.told, [{"tell": "released", "data": None}])
        self.assertTrue(self.reactor.stopped and supervisor.followed)
        stopped = supervisor.stopService()
        self.assertEqual(self.workers[0].told[-1]["tell"], "leave")
        self.end_workers()
        self.successResultOf(stopped)

    def test_hand_over_elsewhere(self) -> None:
        """The other one is started where this one was, wherever twistd has gone since."""
        self.folder = self.folder.absolute()
        for here, folder in ((self.folder, None), (self.folder.parent, str(self.folder))):
            supervisor = self.begin()
            with chdir(here):
                supervisor.hand_over()
            self.assertEqual(self.reactor.processes[-1].arguments[3], folder)

    def test_stopped_meanwhile(self) -> None:
        """Where it is stopped before the other one serves, both end."""
        supervisor = self.begin()
        supervisor.hand_over()
        successor = self.reactor.processes[2]
        stopped = supervisor.stopService()
        self.assertEqual(successor.told, [{"tell": "stop", "data": None}])
        successor.say(tell="ready", data=None)
        self.assertFalse(supervisor.followed)
        self.end_workers()
        self.assertNoResult(stopped)
        successor.protocol.childConnectionLost(4)
        self.successResultOf(stopped)
        self.assertEqual(self.happened, [("handing", True), ("handing", False)])

    def test_no_room(self) -> None:
        """If the other one cannot be started, this one goes on, and may try again."""
        supervisor = self.begin()
        self.reactor.full = True
        supervisor.hand_over()
        self.assertEqual(self.happened, [("handing", True), ("handing", False)])
        self.reactor.full = False
        supervisor.hand_over()
        self.assertEqual(len(self.reactor.processes), 3)

    def test_not_yet(self) -> None:
        """While the one before still ends, its workers with it, there is no third one."""
        supervisor = self.begin()
        supervisor._predecessor = Predecessor(lambda: None, lambda: None, lambda: None)
        supervisor.hand_over()
        self.assertEqual((self.happened, len(self.reactor.processes)), ([], 2))
        supervisor._predecessor = None
        supervisor.hand_over()
        self.assertEqual(len(self.reactor.processes), 3)

    def test_pid_file_of_others(self) -> None:
        """A pid file that cannot be moved is told, and no other one is started."""

        def handing(begins: bool) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

        supervisor = self.begin()
        supervisor.handing = handing
        with capturedLogs() as events:
            supervisor.hand_over()
        [event] = events
        self.assertIn("the pid file cannot be moved (Permission denied)", formatEvent(event))
        self.assertEqual(len(self.reactor.processes), 2)
        supervisor.handing = lambda begins: None
        supervisor.hand_over()
        self.assertEqual(len(self.reactor.processes), 3)

    def test_not_followed(self) -> None:
        """If the other one ends before it serves, this one goes on, and may try again."""
        supervisor = self.begin()
        supervisor.hand_over()
        self.reactor.processes[2].protocol.childConnectionLost(4)
        self.assertEqual(self.happened, [("handing", True), ("handing", False)])
        self.assertFalse(supervisor.followed or self.reactor.stopped)
        supervisor.hand_over()
        self.assertEqual(len(self.reactor.processes), 4)

    def test_handed_sockets(self) -> None:
        """What was handed is listened at, what is new is bound, and what is left is closed."""
        left, right = os.pipe()
        self.addCleanup(os.close, left)
        place = Place("here", "tcp:1")
        handed = Handed({"tcp:1": (left, 2), "tcp:2": (right, 2)}, -1, frozenset({1, 2}))
        supervisor = Supervisor(
            self.load(DEMO),
            {},
            self.reactor,
            [place],
            workers=2,
            access_token=None,
            handed=handed,
        )
        supervisor.privilegedStartService()
        self.assertEqual([one.number for one in supervisor.sockets], [left])
        self.assertEqual(supervisor._crew.places, [3, 4])
        with self.assertRaises(OSError):
            os.fstat(right)

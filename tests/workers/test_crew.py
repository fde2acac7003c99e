"""The workers, as their supervisor has them."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import ConfigurationError
from aiproxy.workers.crew import Crew
from tests.workers.processes import MemoryProcess, ProcessReactor

PROBLEMS = [["is odd", "c.yaml", 7]]


class CrewTests(SynchronousTestCase):
    """Two workers in memory."""

    def setUp(self) -> None:
        """Start them."""
        self.reactor = ProcessReactor()
        self.happened: list[object] = []

        async def begin(_: object) -> str:
            return "do this"

        self.crew = Crew(
            self.reactor,
            [3, 4],
            descriptors=lambda: {9: 9},
            answers={"begin": begin},
            ready=lambda: self.happened.append("ready"),
            gone=self.happened.append,
        )
        self.crew.start()

    @property
    def latest(self) -> list[MemoryProcess]:
        """The two that were started last."""
        return self.reactor.processes[-2:]

    def started(self, seconds: float) -> int:
        """Let time pass; return how many were started in it."""
        before = len(self.reactor.processes)
        self.reactor.advance(seconds)
        return len(self.reactor.processes) - before

    def test_begin(self) -> None:
        """Each has its place and its descriptors, and is told what it asks."""
        first, second = self.latest
        self.assertEqual([first.arguments[1][-1], second.arguments[1][-1]], ["3", "4"])
        self.assertEqual(first.options["childFDs"][9], 9)
        first.say(ask=1, what="begin", data=None)
        self.assertEqual(first.told, [{"answer": 1, "data": "do this"}])

    def test_ready(self) -> None:
        """It is ready when all are, and says so once."""
        first, second = self.latest
        first.say(tell="ready", data=None)
        self.assertEqual(self.happened, [])
        second.say(tell="ready", data=None)
        second.say(tell="ready", data=None)
        self.assertEqual(self.happened, ["ready"])

    def test_brake(self) -> None:
        """Who dies comes back at once, and later each time that it dies young."""
        said: list[LogEvent] = []
        observer = cast(ILogObserver, said.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.latest[0].end(signal=9)
        self.assertEqual(self.happened, [3])
        self.assertEqual(self.started(0), 1)
        waits = []
        for _ in range(8):
            self.reactor.processes[-1].end(status=1)
            waited = 0
            while not self.started(1):
                waited += 1
            waits.append(waited + 1)
        self.assertEqual(waits, [1, 2, 4, 8, 16, 30, 30, 30])
        self.reactor.advance(10)
        self.reactor.processes[-1].end(status=1)
        self.assertEqual(self.started(0), 1)
        self.assertIn("worker 3 is gone (signal 9); the next one starts in 0", formatEvent(said[0]))
        self.assertIn("worker 3 is gone (exit status 1)", formatEvent(said[1]))

    def test_no_room(self) -> None:
        """Where no process can be started it is tried again, later each time."""
        self.reactor.full = True
        self.latest[0].end(signal=9)
        self.assertEqual(self.started(20), 0)
        self.reactor.full = False
        self.assertEqual(self.started(20), 1)
        self.latest[-1].say(ask=1, what="begin", data=None)
        self.assertEqual(self.latest[-1].told[-1]["data"], "do this")

    def test_stop(self) -> None:
        """None comes back after a stop, and who takes too long is killed."""
        first, second = self.latest
        first.end()
        self.crew.stop()
        self.assertEqual(self.started(60), 0)
        self.assertEqual(second.told, [{"tell": "stop", "data": None}])
        waiting = Deferred.fromCoroutine(self.crew.wait(5))
        self.reactor.advance(4)
        self.assertEqual(second.signals, [])
        self.reactor.advance(1)
        self.assertEqual(second.signals, ["KILL"])
        self.assertNoResult(waiting)
        second.end(signal=9)
        self.successResultOf(waiting)
        self.assertEqual(self.started(60), 0)

    def test_leave(self) -> None:
        """Where others go on listening they are told so; who ends in time is not killed."""
        self.crew.stop(leave=True)
        waiting = Deferred.fromCoroutine(self.crew.wait(5))
        for worker in self.latest:
            self.assertEqual(worker.told, [{"tell": "leave", "data": None}])
            worker.end()
        self.successResultOf(waiting)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_kill(self) -> None:
        """All that run are killed; who has ended is nobody's any more."""
        first, second = self.latest
        first.pid = None
        self.crew.kill()
        self.assertEqual((first.signals, second.signals), ([], ["KILL"]))

    def reload(self) -> Deferred[Any]:
        """Let them reload."""
        return Deferred.fromCoroutine(self.crew.reload("sources"))

    def test_reload(self) -> None:
        """One after the other is told; what one needs a restart for is returned."""
        first, second = self.latest
        reloading = self.reload()
        self.assertEqual(first.told[-1]["data"], "sources")
        self.assertEqual(second.told, [])
        first.answer(["server.http"])
        second.answer(["server.http"])
        self.assertEqual(self.successResultOf(reloading), ["server.http"])

    def test_reload_early(self) -> None:
        """Who has not begun decides nothing."""
        first, second = self.latest
        reloading = self.reload()
        first.answer(None)
        second.say(answer=second.told[-1]["ask"], problems=PROBLEMS)
        self.failureResultOf(reloading, ConfigurationError)
        reloading = self.reload()
        first.answer(["server.http"])
        second.answer(None)
        self.assertEqual(self.successResultOf(reloading), ["server.http"])
        self.assertEqual(first.signals + second.signals, [])

    def test_reload_refused(self) -> None:
        """What the first one cannot use the others are not told."""
        first, second = self.latest
        reloading = self.reload()
        first.say(answer=first.told[-1]["ask"], problems=PROBLEMS)
        failure = self.failureResultOf(reloading, ConfigurationError)
        self.assertEqual(str(failure.value), "c.yaml:7: is odd")
        self.assertEqual((second.told, first.signals), ([], []))

    def test_reload_stuck(self) -> None:
        """Who does not answer within a minute is killed, and the others reload."""
        first, second = self.latest
        reloading = self.reload()
        self.reactor.advance(59)
        self.assertEqual((first.signals, second.told), ([], []))
        self.reactor.advance(1)
        self.assertEqual(first.signals, ["KILL"])
        second.answer([])
        self.assertEqual(self.successResultOf(reloading), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_reload_halfway(self) -> None:
        """Who cannot do what others could begins anew; so does who has no answer."""
        first, second = self.latest
        reloading = self.reload()
        first.answer([])
        second.say(answer=second.told[-1]["ask"], problems=PROBLEMS)
        self.assertEqual(self.successResultOf(reloading), [])
        self.assertEqual((first.signals, second.signals), ([], ["KILL"]))
        reloading = self.reload()
        first.end()
        second.say(answer=second.told[-1]["ask"], problems=None)
        self.assertEqual(self.successResultOf(reloading), ())
        self.assertEqual(second.signals, ["KILL", "KILL"])

    def test_signed(self) -> None:
        """What one of them has learned the others are told."""
        first, second = self.latest
        first.say(tell="signed", data=["id", "name", "signature"])
        self.assertEqual(first.told, [])
        self.assertEqual(second.told[-1]["data"], ["id", "name", "signature"])

    def test_metrics(self) -> None:
        """Who asks gets everybody's; who does not answer in time is as it was."""
        first, second = self.latest
        for worker, count in ((first, 1), (second, 2)):
            worker.say(tell="ready", data=None)
            worker.say(tell="numbers", data=self.dump(count))
        first.say(ask=7, what="metrics", data=self.dump(10))
        self.assertEqual(first.told, [])
        second.answer(self.dump(20))
        self.assertEqual(first.told[-1], {"answer": 7, "data": self.dump(30)})
        first.say(ask=8, what="metrics", data=self.dump(11))
        self.reactor.advance(2)
        self.assertEqual(first.told[-1], {"answer": 8, "data": self.dump(31)})

    def dump(self, count: int) -> dict[str, object]:
        """Return a worker's numbers."""
        return {"aiproxy_requests": [[["m", "p", "200"], count]]}

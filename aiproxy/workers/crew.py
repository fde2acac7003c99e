"""The workers: started, brought back when they die, and asked all together."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, TimeoutError
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from aiproxy.errors import ConfigurationError
from aiproxy.workers.conversation import Answers, ConversationOver, Hears
from aiproxy.workers.process import Worker
from aiproxy.workers.tally import Tally

__all__ = ["Crew"]

#: Seconds that a worker has to live, or the next one waits before it starts.
_LIVES: Final = 10.0
_LONGEST_BRAKE: Final = 30.0
#: Seconds that a worker has for its numbers.
_NUMBERS_SECONDS: Final = 2.0
#: And to take another configuration: who needs longer is stuck.
_RELOAD_SECONDS: Final = 60.0


class Crew:
    """
    See the module.

    :param places: of the workers in what they share; so many there are.
    :param descriptors: returns those of a worker, besides its standard ones.
    :param answers: to what a worker asks, besides its numbers.
    :param ready: called once, when all serve for the first time.
    :param gone: called with the place of a worker that has ended.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        places: Sequence[int],
        *,
        descriptors: Callable[[], Mapping[int, int | str]],
        answers: Answers,
        ready: Callable[[], None],
        gone: Callable[[int], None],
    ) -> None:
        self.places = places
        self._reactor = reactor
        self._descriptors = descriptors
        self._answers = answers
        self._ready: Callable[[], None] | None = ready
        self._gone = gone
        self._workers: dict[int, Worker] = {}
        self._tally = Tally()
        #: By place: starts that came to nothing, in a row; and what waits.
        self._failures: dict[int, int] = {}
        self._waiting: dict[int, IDelayedCall] = {}
        self._stopping = False

    def start(self) -> None:
        """Start all of them; the reactor has to run."""
        for place in self.places:
            self._start(place)

    def stop(self, *, leave: bool = False) -> None:
        """
        Tell all to end in order; none comes back.

        :param leave: others go on listening on their sockets.
        """
        self._stopping = True
        for waiting in self._waiting.values():
            waiting.cancel()
        self._waiting.clear()
        for worker in self._workers.values():
            worker.stop(leave=leave)

    async def wait(self, seconds: float) -> None:
        """Wait until all have ended; kill those that take longer."""
        workers = list(self._workers.values())
        timers = [self._reactor.callLater(seconds, worker.kill) for worker in workers]
        await DeferredList([worker.ended for worker in workers])
        for timer in timers:
            if timer.active():
                timer.cancel()

    def kill(self) -> None:
        """End all at once."""
        for worker in self._workers.values():
            worker.kill()

    def tell(self, what: str, data: object = None) -> None:
        """Tell all of them something."""
        for worker in self._workers.values():
            worker.conversation.tell(what, data)

    async def reload(self, sources: str) -> Sequence[str]:
        """
        Let all serve by another configuration.

        :return: see :meth:`aiproxy.server.Server.change`.
        :raises ConfigurationError: they cannot; all go on by the old one.
        """
        later: Sequence[str] = ()
        changed = False
        for worker in list(self._workers.values()):
            try:
                asked = worker.conversation.ask("reload", sources)
                told = await asked.addTimeout(_RELOAD_SECONDS, self._reactor)
                if told is not None:  # Else it has not begun, and begins with it.
                    later, changed = told, True
            except (ConversationOver, TimeoutError):
                # It is gone or stuck, or cannot say what is wrong; the next one begins with it.
                worker.kill()
            except ConfigurationError:
                if not changed:
                    raise
                worker.kill()  # What the others could do the next one can.
        return later

    # --- one of them ----------------------------------------------------------------

    def _start(self, place: int) -> None:
        self._waiting.pop(place, None)
        worker = Worker(place, self._reactor.seconds(), self._hears, self._answer_to, self._lose)
        try:
            self._spawn(worker)
        except OSError as error:  # no descriptor, no memory, too many processes
            self._start_later(worker, f"it cannot be started: {error.strerror or error}")
        else:
            self._workers[place] = worker

    def _spawn(self, worker: Worker) -> None:
        nothing = os.open(os.devnull, os.O_RDONLY)
        descriptors = {0: nothing, 1: 1, 2: "r", **self._descriptors()}
        command = [sys.executable, "-m", "aiproxy.workers.worker", str(worker.place)]
        try:
            self._reactor.spawnProcess(worker, sys.executable, command, None, childFDs=descriptors)
        finally:
            os.close(nothing)

    def _lose(self, worker: Worker, why: str) -> None:
        place = worker.place
        del self._workers[place]
        self._tally.leave(place)
        self._gone(place)
        if not self._stopping:
            self._start_later(worker, why)

    def _start_later(self, worker: Worker, why: str) -> None:
        place = worker.place
        lived = self._reactor.seconds() - worker.started
        failures = 0 if lived >= _LIVES else self._failures.get(place, 0) + 1
        self._failures[place] = failures
        # A single accident costs no time, a row of them no processor.
        delay = min(2.0 ** (failures - 2), _LONGEST_BRAKE) if failures > 1 else 0.0
        self._log.error(
            "{worker} is gone ({why}); the next one starts in {delay:g} seconds",
            worker=worker.name,
            why=why,
            delay=delay,
        )
        self._waiting[place] = self._reactor.callLater(delay, self._start, place)

    def _hears(self, worker: Worker) -> Hears:
        def ready(_: object) -> None:
            worker.ready = True
            self._look_ready()

        def numbers(dump: Any) -> None:
            self._tally.note(worker.place, dump)

        def signed(data: object) -> None:
            for other in self._all_but(worker):
                other.conversation.tell("signed", data)

        return {"ready": ready, "numbers": numbers, "signed": signed}

    def _answer_to(self, worker: Worker) -> Answers:
        async def metrics(dump: Any) -> object:
            self._tally.note(worker.place, dump)
            asking = [self._ask_numbers(one) for one in self._all_but(worker) if one.ready]
            await DeferredList([Deferred.fromCoroutine(one) for one in asking])
            return self._tally.read()

        return {**self._answers, "metrics": metrics}

    def _all_but(self, worker: Worker) -> Iterable[Worker]:
        return [other for other in self._workers.values() if other is not worker]

    def _look_ready(self) -> None:
        count = sum(worker.ready for worker in self._workers.values())
        if self._ready is not None and count == len(self.places):
            ready, self._ready = self._ready, None
            ready()

    async def _ask_numbers(self, worker: Worker) -> None:
        try:
            asked = worker.conversation.ask("metrics")
            dump = await asked.addTimeout(_NUMBERS_SECONDS, self._reactor)
        except Exception:
            return  # Its latest ones have to do.
        if dump is not None:
            self._tally.note(worker.place, dump)

"""
What comes in one turn of the reactor goes on together, stage by stage.

A call runs through much code, each line of it once, so that a processor finds
little of it in its caches: a function costs twice what it does in a loop.  If
all calls of a turn take their first step, and then all of them the second, each
but the first finds there what it needs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any, Final, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from aiproxy.transport.write_batch import WriteBatch

__all__ = ["StagedCall", "Stages", "run_staged"]

_log = Logger()

T = TypeVar("T")


class Stages:
    """
    Those of the reactor's present turn.

    Whoever knows when turns begin and end says so; until then nothing waits.

    :ivar shared: a turn has begun, and not ended.
    :ivar writes: those that wait for the end of their stage.
    """

    __slots__ = ("_steps", "shared", "writes")

    def __init__(self) -> None:
        self.writes = WriteBatch()
        self.shared = False
        self._steps: list[Callable[[], object]] = []

    def begin(self) -> None:
        """A turn begins, of more than one event: what is alone has nobody to wait for."""
        self.shared = True
        self.writes.begin()

    def later(self, step: Callable[[], object]) -> bool:
        """
        Do something in the next stage, after all that is done in this one.

        :return: ``False``: there is none, do it now.
        """
        if self.shared:
            self._steps.append(step)
        return self.shared

    def soon(self, step: Callable[[], object]) -> bool:
        """
        Do something in the next stage, or now if there is none.

        :return: whether it waits.
        """
        if self.shared:
            self._steps.append(step)
            return True
        step()
        return False

    def next(self) -> Awaitable[None]:
        """
        Wait for the other calls of this turn to come as far.

        Only a coroutine that :class:`StagedCall` runs waits, as do those that it
        awaits; any other goes on at once.
        """
        return _wait() if self.shared else _AT_ONCE

    def end(self) -> None:
        """All events were seen: do what waits, and what comes of that, and write."""
        while self._steps:
            steps, self._steps = self._steps, []
            for step in steps:
                try:
                    step()
                except Exception:
                    # A bug: it is not for the others to bear.
                    _log.failure("a step failed")
            self.writes.flush()  # Whom they are for need not wait for the stages of others.
        self.shared = False
        self.writes.end()


@coroutine
def _wait() -> Generator[None, None, None]:
    """Tell who runs the coroutine; ``Deferred.fromCoroutine`` goes on at once."""
    yield


#: It is used up, so that it can be awaited time and again, and takes no time.
_AT_ONCE: Final = _wait()
list(_AT_ONCE)


def run_staged(stages: Stages, coroutine: Coroutine[Any, Any, T]) -> Deferred[T]:
    """Run a coroutine as ``Deferred.fromCoroutine`` does, and stage by stage."""
    result: Deferred[T] = Deferred(lambda _: call.cancel())
    call = StagedCall(stages, coroutine, result.callback)
    return result


class StagedCall:
    """
    Runs a coroutine as ``Deferred.fromCoroutine`` does, and stage by stage.

    :param ended: called with what the coroutine returns, or with the ``Failure`` that it raises.
    :ivar over: it has ended.
    """

    __slots__ = (
        "_adding",
        "_cancelled",
        "_coroutine",
        "_ended",
        "_in",
        "_result",
        "_stages",
        "_waiting",
        "over",
    )

    def __init__(
        self,
        stages: Stages,
        coroutine: Coroutine[Any, Any, T],
        ended: Callable[[T | Failure], object],
    ) -> None:
        self.over = False
        self._stages = stages
        self._coroutine = coroutine
        self._ended: Any = ended
        self._in = copy_context().run
        #: The Deferred that it waits for, or this itself for the next stage.
        self._waiting: object = None
        self._cancelled = self._adding = False
        self._result: object = None
        self._step(None)

    def cancel(self) -> None:
        """Cancel what it waits for: now, or if it runs, when it does so next."""
        waiting = self._waiting
        if isinstance(waiting, Deferred):
            waiting.cancel()
        elif waiting is self:
            self._step(Failure(CancelledError()))
        else:
            self._cancelled = True

    def _step(self, result: object) -> None:
        """Go on with the result of what was waited for."""
        coroutine = self._coroutine
        while True:
            self._waiting = None
            try:
                if isinstance(result, Failure):
                    waited: Any = self._in(result.throwExceptionIntoGenerator, coroutine)
                else:
                    waited = self._in(coroutine.send, result)
            except StopIteration as returned:
                if isinstance(result, Failure) and result.value is not None:
                    # It was caught. In Python 3.12 and 3.13 the frames that it came
                    # through lead back to this one, which holds it: a cycle.
                    result.value.__traceback__ = None
                self._end(returned.value)
                return
            except BaseException:
                self._end(Failure())
                return
            if waited is None:
                result = None
                if self._cancelled:
                    self._cancelled = False
                    result = Failure(CancelledError())
                elif self._stages.later(self._go_on):
                    self._waiting = self
                    return
                continue
            self._adding = True
            waited.addBoth(self._came)
            if self._adding:
                self._adding = False
                self._waiting = waited
                if self._cancelled:
                    self._cancelled = False
                    waited.cancel()
                return
            # It had come already; many such waits must not be a deep stack.
            result, self._result = self._result, None

    def _go_on(self) -> None:
        """The stage has come; but it may have been cancelled meanwhile."""
        if self._waiting is self:
            self._step(None)

    def _came(self, result: object) -> None:
        if self._adding:
            self._adding = False
            self._result = result
        else:
            self._step(result)

    def _end(self, result: object) -> None:
        self.over = True
        ended, self._ended = self._ended, None
        ended(result)

"""Tests of :mod:`aiproxy.transport.stages`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.stages import StagedCall, Stages, run_staged

NAME: ContextVar[str] = ContextVar("NAME", default="nobody")


class TurnTests(SynchronousTestCase):
    """What is done when."""

    def setUp(self) -> None:
        self.stages = Stages()
        self.done: list[str] = []

    def do(self, name: str, *then: str) -> Callable[[], None]:
        """Make a step, and those that come of it."""

        def step() -> None:
            self.done.append(name)
            for one in then:
                self.stages.soon(self.do(one))

        return step

    def test_alone(self) -> None:
        """Outside of turns nothing waits."""
        self.stages.soon(self.do("a", "b"))
        self.assertEqual(self.done, ["a", "b"])
        self.stages.end()
        self.assertEqual(self.done, ["a", "b"])

    def test_stages(self) -> None:
        """All of one stage are done before any of the next."""
        self.stages.begin()
        for name in ("a", "b"):
            self.stages.soon(self.do(f"{name}1", f"{name}2", f"{name}3"))
        self.assertEqual(self.done, [])
        self.stages.end()
        self.assertEqual(self.done, ["a1", "b1", "a2", "a3", "b2", "b3"])

    def test_over(self) -> None:
        """After a turn nothing waits any more."""
        self.stages.begin()
        self.stages.end()
        self.stages.soon(self.do("a"))
        self.assertEqual(self.done, ["a"])

    def test_bug(self) -> None:
        """Who fails does not keep the others from their step."""
        self.stages.begin()
        for step in (self.do("a"), lambda: 1 // 0, self.do("b")):
            self.stages.soon(step)
        self.stages.end()
        self.assertEqual(self.done, ["a", "b"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class StagedTestCase(SynchronousTestCase):
    """Coroutines that write down how far they have come."""

    def setUp(self) -> None:
        self.stages = Stages()
        self.told: list[str] = []
        self.ended: list[Any] = []

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> StagedCall:
        """Run one."""
        return StagedCall(self.stages, coroutine, self.ended.append)

    async def go(self, name: str, stages: int) -> str:
        """Go through so many stages."""
        for stage in range(stages):
            self.told.append(f"{name}{stage}")
            await self.stages.next()
        return name

    async def wait(self, waited: Deferred[str]) -> str:
        """Wait for something."""
        try:
            return await waited
        finally:
            self.told.append("over")


class StagedCallTests(StagedTestCase):
    """What a coroutine waits for, and how it ends."""

    def test_together(self) -> None:
        """The calls of a turn go on together."""
        self.stages.begin()
        calls = [self.start(self.go(name, 3)) for name in ("a", "b")]
        self.assertEqual((self.told, [call.over for call in calls]), (["a0", "b0"], [False] * 2))
        self.stages.end()
        self.assertEqual(self.told, ["a0", "b0", "a1", "b1", "a2", "b2"])
        self.assertEqual((self.ended, [call.over for call in calls]), (["a", "b"], [True] * 2))

    def test_alone(self) -> None:
        """Who is alone does not wait for stages."""
        self.start(self.go("a", 3))
        self.assertEqual((self.told, self.ended), (["a0", "a1", "a2"], ["a"]))

    def test_twisted(self) -> None:
        """Nor does who was started by Twisted."""
        self.stages.begin()
        started = Deferred.fromCoroutine(self.go("a", 3))
        self.assertEqual(self.successResultOf(started), "a")
        self.stages.end()

    def test_deferred(self) -> None:
        """It waits for Deferreds, those that have fired and those that have not."""
        waited: Deferred[str] = Deferred()
        for deferred in (succeed("a"), waited):
            self.start(self.wait(deferred))
        self.assertEqual(self.ended, ["a"])
        waited.callback("b")
        self.assertEqual(self.ended, ["a", "b"])
        self.assertIs(self.successResultOf(waited), None)

    def test_failure(self) -> None:
        """Failures are raised where they are waited for, and end it where nobody minds them."""
        waited: Deferred[str] = Deferred()
        for deferred in (fail(ValueError("a")), waited):
            self.start(self.wait(deferred))
        waited.errback(ValueError("b"))
        self.assertEqual([str(failure.value) for failure in self.ended], ["a", "b"])
        self.assertEqual(self.told, ["over", "over"])

    def test_many_ready(self) -> None:
        """However many have fired already, the stack stays as it is."""

        async def wait() -> int:
            return sum([await succeed(1) for _ in range(10_000)])

        self.start(wait())
        self.assertEqual(self.ended, [10_000])

    def test_context(self) -> None:
        """Each has a context of its own."""

        async def name(mine: str) -> str:
            before = NAME.get()
            NAME.set(mine)
            await self.stages.next()
            return before + NAME.get()

        self.stages.begin()
        for mine in ("a", "b"):
            self.start(name(mine))
        self.stages.end()
        self.assertEqual((self.ended, NAME.get()), (["nobodya", "nobodyb"], "nobody"))

    @given(st.lists(st.lists(st.sampled_from(("stage", "ready", "failed", "later")))))
    def test_any(self, plans: list[list[str]]) -> None:
        """Whatever they wait for: each takes its steps in order, and all come to their ends."""
        self.setUp()
        later: list[Deferred[None]] = []
        steps: list[tuple[int, int]] = []

        async def follow(number: int, plan: list[str]) -> int:
            for place, what in enumerate(plan):
                steps.append((number, place))
                if what == "stage":
                    await self.stages.next()
                elif what == "later":
                    later.append(Deferred())
                    await later[-1]
                else:
                    try:
                        await (succeed(None) if what == "ready" else fail(ValueError()))
                    except ValueError:
                        continue
            return number

        self.stages.begin()
        for number, plan in enumerate(plans):
            self.start(follow(number, plan))
        self.stages.end()
        while later:
            later.pop(0).callback(None)
        self.assertEqual(sorted(self.ended), [*range(len(plans))])
        for number, plan in enumerate(plans):
            mine = [place for other, place in steps if other == number]
            self.assertEqual(mine, [*range(len(plan))])


class CancelTests(StagedTestCase):
    """Who is cancelled."""

    def assert_cancelled(self) -> None:
        [failure] = self.ended
        failure.trap(CancelledError)
        self.ended.clear()

    def test_deferred(self) -> None:
        """What it waits for is cancelled."""
        cancelled: list[object] = []
        call = self.start(self.wait(Deferred(cancelled.append)))
        call.cancel()
        self.assertEqual((len(cancelled), call.over, self.told), (1, True, ["over"]))
        self.assert_cancelled()

    def test_stage(self) -> None:
        """It ends at once; the stage that comes is not its any more."""
        self.stages.begin()
        call = self.start(self.go("a", 2))
        self.start(self.go("b", 2))
        call.cancel()
        self.assert_cancelled()
        self.stages.end()
        self.assertEqual((self.told, self.ended), (["a0", "b0", "b1"], ["b"]))

    def test_within(self) -> None:
        """Cancelled while it runs, it learns of it where it waits next; alone, not for a stage."""

        async def leave(next_: Coroutine[Any, Any, Any]) -> None:
            await Deferred.fromCoroutine(self.go("a", 1))
            await ready
            calls.pop().cancel()
            await next_

        for events, next_ in (
            (1, self.wait(Deferred())),
            (2, self.wait(Deferred())),
            (2, self.go("b", 1)),
        ):
            calls: list[StagedCall] = []
            ready: Deferred[None] = Deferred()
            if events > 1:
                self.stages.begin()
            calls.append(self.start(leave(next_)))
            ready.callback(None)
            self.stages.end()
            self.assert_cancelled()

    def test_over(self) -> None:
        """What is over is left alone."""
        call = self.start(self.go("a", 1))
        call.cancel()
        self.assertEqual(self.ended, ["a"])

    def test_caught(self) -> None:
        """Who catches it goes on."""

        async def insist() -> str:
            try:
                await self.stages.next()
            except CancelledError:
                await self.stages.next()
            return "done"

        self.stages.begin()
        self.start(insist()).cancel()
        self.stages.end()
        self.assertEqual(self.ended, ["done"])


class RunStagedTests(StagedTestCase):
    """As a Deferred."""

    def test_result(self) -> None:
        """It fires with the result, when all stages have come."""
        self.stages.begin()
        running = run_staged(self.stages, self.go("a", 2))
        self.assertNoResult(running)
        self.stages.end()
        self.assertEqual(self.successResultOf(running), "a")

    def test_failure(self) -> None:
        """It fails with what is raised."""
        running = run_staged(self.stages, self.wait(fail(ValueError())))
        self.failureResultOf(running, ValueError)

    def test_cancel(self) -> None:
        """Cancelling it cancels the coroutine, wherever it is."""
        for events in (1, 2):
            if events > 1:
                self.stages.begin()
            on_stage = run_staged(self.stages, self.go("a", 2)) if events > 1 else None
            waiting = run_staged(self.stages, self.wait(Deferred()))
            for running in filter(None, (on_stage, waiting)):
                running.cancel()
                self.failureResultOf(running, CancelledError)
            self.stages.end()

    def test_nobody_left(self) -> None:
        """What it ends with is the caller's alone: nothing is logged, and nothing kept."""
        running = run_staged(self.stages, self.wait(fail(ValueError())))
        seen: list[Failure] = []
        running.addErrback(seen.append)
        self.assertEqual(len(seen), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

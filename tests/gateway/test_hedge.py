"""Tests of :mod:`aiproxy.gateway.hedge`, and of hedged calls over a scripted provider."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from aiproxy import errors
from aiproxy.config.schema import Config, Group, Retry, Timeouts
from aiproxy.config.sections import Hedge
from aiproxy.gateway.hedge import HedgeBudget, hedge_delay, race
from aiproxy.gateway.plan import Plan
from aiproxy.policy.traffic import Flow
from aiproxy.testing import ScriptedProvider, chat_stream
from tests.gateway.test_dispatch import DispatchTestCase, model

PATIENT = Timeouts(connect=30, headers=30, first_token=30, total=60)


class BudgetTests(SynchronousTestCase):
    """So many a minute."""

    def test_budget(self) -> None:
        """One that was taken comes back after sixty seconds, and not before."""
        budget = HedgeBudget()
        taken = [budget.take(2, now) for now in (0.0, 30.0, 59.9, 60.0, 60.1, 89.9, 90.0)]
        self.assertEqual(taken, [True, True, False, True, False, False, True])

    def test_none(self) -> None:
        """A budget of none gives none."""
        self.assertFalse(HedgeBudget().take(0, 0.0))


class DelayTests(SynchronousTestCase):
    """When a first token is late."""

    def test_seconds(self) -> None:
        """As configured, whatever is known."""
        self.assertEqual(hedge_delay(2.5, Flow()), 2.5)

    def test_percentile(self) -> None:
        """From what the candidate's last ones took; nobody knows before there are enough."""
        flow = Flow()
        for seconds in range(1, 20):
            flow.answered(float(seconds), 0.0)
        self.assertIsNone(hedge_delay("p90", flow))
        flow.answered(20.0, 0.0)
        self.assertEqual(hedge_delay("p90", flow), 18.0)
        self.assertEqual(hedge_delay("p99", flow), 20.0)


class RaceTests(SynchronousTestCase):
    """Two runners, of whom the second begins after 2 seconds."""

    def setUp(self) -> None:
        """Begin."""
        self.clock = Clock()
        self.cancelled: list[str] = []
        self.first, self.second = self.runner("first"), self.runner("second")
        self.begun = 0
        self.may = True
        self.outcome = race(self.first, self.begin, 2.0, self.clock)

    def runner(self, name: str) -> Deferred[str]:
        """Make one that notes its cancellation."""
        return Deferred(lambda _: self.cancelled.append(name))

    def begin(self) -> Deferred[str] | None:
        """Begin the second one, if it may."""
        self.begun += 1
        return self.second if self.may else None

    def assert_over(self, *cancelled: str) -> None:
        """No timer is left, and these were cancelled."""
        self.assertEqual(self.cancelled, list(cancelled))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_in_time(self) -> None:
        """Nobody else is asked where the first is in time."""
        self.clock.advance(1.9)
        self.first.callback("a")
        self.assertEqual(self.successResultOf(self.outcome), "a")
        self.assert_over()
        self.assertEqual(self.begun, 0)

    def test_second_wins(self) -> None:
        """The first is cancelled before anybody hears of the winner."""
        self.clock.advance(2)
        heard: list[list[str]] = []

        def hear(result: str) -> str:
            heard.append(self.cancelled[:])
            return result

        self.outcome.addCallback(hear)
        self.second.callback("b")
        self.assertEqual(self.successResultOf(self.outcome), "b")
        self.assertEqual(heard, [["first"]])
        self.assert_over("first")

    def test_first_wins(self) -> None:
        """The second is cancelled."""
        self.clock.advance(2)
        self.first.callback("a")
        self.assertEqual(self.successResultOf(self.outcome), "a")
        self.assert_over("second")

    def test_first_fails_soon(self) -> None:
        """A failure before the second begins is the outcome: that is no matter of speed."""
        self.first.errback(ValueError("a"))
        self.failureResultOf(self.outcome, ValueError)
        self.assert_over()
        self.assertEqual(self.begun, 0)

    def test_one_fails(self) -> None:
        """Where one has failed the other one goes on, whichever it is."""
        self.clock.advance(2)
        self.first.errback(ValueError("a"))
        self.assertNoResult(self.outcome)
        self.second.callback("b")
        self.assertEqual(self.successResultOf(self.outcome), "b")

    def test_second_fails(self) -> None:
        """The first goes on when the second has failed."""
        self.clock.advance(2)
        self.second.errback(ValueError("b"))
        self.assertNoResult(self.outcome)
        self.first.callback("a")
        self.assertEqual(self.successResultOf(self.outcome), "a")

    def test_both_fail(self) -> None:
        """The first's failure is told, whoever was first to fail."""
        self.clock.advance(2)
        self.second.errback(KeyError("b"))
        self.first.errback(ValueError("a"))
        self.failureResultOf(self.outcome, ValueError)
        self.assert_over()

    def test_may_not(self) -> None:
        """Where no second one may begin, the first goes on alone."""
        self.may = False
        self.clock.advance(2)
        self.assertNoResult(self.outcome)
        self.first.errback(ValueError("a"))
        self.failureResultOf(self.outcome, ValueError)
        self.assert_over()

    def test_cancel(self) -> None:
        """Who cancels the race cancels both, or the only one."""
        self.clock.advance(2)
        self.outcome.cancel()
        self.failureResultOf(self.outcome, CancelledError)
        self.assert_over("first", "second")

    def test_cancel_after_a_failure(self) -> None:
        """Who cancels hears so, even where one of the two has failed before."""
        for failed, other in ((0, "second"), (1, "first")):
            self.setUp()
            self.clock.advance(2)
            (self.first, self.second)[failed].errback(ValueError("a"))
            self.outcome.cancel()
            self.failureResultOf(self.outcome, CancelledError)
            self.assert_over(other)

    def test_cancel_early(self) -> None:
        """Before the second has begun it never does."""
        self.outcome.cancel()
        self.failureResultOf(self.outcome, CancelledError)
        self.assert_over("first")
        self.assertEqual(self.begun, 0)


class HedgedCallTests(DispatchTestCase):
    """Calls of a group whose second candidate is asked after 2 seconds."""

    models = (model("a", timeouts=PATIENT), model("b", timeouts=PATIENT))

    def use(self, provider: ScriptedProvider, *models: Any, **more: Any) -> None:
        """Ask this provider from now on."""
        super().use(provider, *models, **more)
        self.hedge(Hedge(2.0))

    def hedge(self, hedge: Hedge) -> None:
        """Hedge so."""
        plan = self.dispatcher.plan
        names = tuple(model.name for model in plan.config.models)
        self.config = Config(
            server=plan.config.server,
            models=plan.config.models,
            retry=Retry(max_retries=0, takeover=False),
            groups={"g": Group(names, hedge=hedge)},
        )
        self.dispatcher.change(Plan(self.config, plan.access, plan.providers))

    def win(self, place: int) -> None:
        """Let one of the calls have its first token, and all the rest."""
        reply = self.provider.calls[place].reply or self.provider.calls[place].answer()
        reply.send(*chat_stream("Hi"))
        reply.finish()

    def deliver_all(self, asked: Any) -> bytes:
        """Deliver the stream; return it."""
        client = StringTransport()
        self.successResultOf(self.deliver(asked, client))
        return bytes(client.value())

    def outcomes(self) -> list[tuple[str, str]]:
        """Return what became of the attempts of the only call."""
        [record] = self.records
        return [(one.model, one.outcome) for one in record.spent]

    def running(self) -> list[int]:
        """Return how many calls go on at each model, and the leases that are held."""
        shared = self.dispatcher.shared
        leases = sum(one.in_flight for one in shared.book._admissions.values())
        return [*(shared.traffic.look(name).running for name in "ab"), leases]

    def test_second_wins(self) -> None:
        """The slow one's connection and lease are free with the faster one's first token."""
        asked = self.chat(stream=True)
        slow = self.provider.calls[0].answer()
        self.clock.advance(2)
        self.assertEqual(self.running(), [1, 1, 2])
        self.provider.calls[1].answer().send(chat_stream("Hi")[0])
        self.assertTrue(slow.stopped)
        self.assertEqual(self.running(), [0, 1, 1])
        self.provider.calls[1].reply.send(*chat_stream("Hi")[1:])  # type: ignore[union-attr]
        self.provider.calls[1].reply.finish()  # type: ignore[union-attr]
        self.assertIn(b'"Hi"', self.deliver_all(asked))
        record = self.assert_over(2, None)
        self.assertEqual(record.served_by, "b")
        self.assertEqual(self.outcomes(), [("a", "late"), ("b", "answered")])
        self.assertEqual(self.running(), [0, 0, 0])

    def test_first_wins(self) -> None:
        """The second one is let go when the first token of the first one comes after all."""
        asked = self.chat(stream=True)
        self.clock.advance(2)
        self.win(0)
        self.assertTrue(self.provider.calls[1].cancelled)
        self.deliver_all(asked)
        self.assertEqual(self.outcomes(), [("b", "late"), ("a", "answered")])
        self.assertEqual(self.assert_over(2, None).served_by, "a")

    def test_in_time(self) -> None:
        """Where the first token is in time nobody else is asked."""
        asked = self.chat(stream=True)
        self.clock.advance(1.9)
        self.win(0)
        self.deliver_all(asked)
        self.clock.advance(1)
        self.assertEqual(len(self.provider.calls), 1)
        self.assert_over(1, None)

    def test_first_fails(self) -> None:
        """A failure is noted as one, even where the other one brings an answer."""
        asked = self.chat(stream=True)
        self.clock.advance(2)
        self.provider.calls[0].fail(errors.UpstreamRateLimited("slow", retry_after=9))
        self.assertNoResult(asked)
        self.assertEqual(self.running(), [0, 1, 1])
        self.win(1)
        self.deliver_all(asked)
        self.assertEqual(self.outcomes(), [("a", "failed"), ("b", "answered")])
        self.failureResultOf(self.chat("a", stream=True), errors.LimitReached)

    def test_both_fail(self) -> None:
        """The third one is asked when both have failed."""
        self.use(ScriptedProvider(), *self.models, model("c"))
        asked = self.chat(stream=True)
        self.clock.advance(2)
        self.provider.calls[1].fail(errors.UpstreamFailed("500"))
        self.provider.calls[0].fail(errors.UpstreamFailed("503"))
        self.win(2)
        self.deliver_all(asked)
        self.assertEqual(self.outcomes(), [("b", "failed"), ("a", "failed"), ("c", "answered")])
        self.assert_over(3, None)

    def test_nobody_left(self) -> None:
        """The first one's error is told where both have failed and nobody is left."""
        asked = self.chat(stream=True)
        self.clock.advance(2)
        self.provider.calls[0].fail(errors.UpstreamFailed("first"))
        self.provider.calls[1].fail(errors.UpstreamFailed("second"))
        error = self.failureResultOf(asked, errors.UpstreamFailed).value
        self.assertEqual((error.message, error.model, error.exhausted), ("first", "a", True))
        self.assert_over(2, "upstream_error")

    def test_second_is_bounded(self) -> None:
        """The second one has its own times, as long as there is a third."""
        times = Timeouts(connect=1, headers=8, first_token=5, total=60)
        self.use(ScriptedProvider(), *(model(name, timeouts=times) for name in "abc"))
        asked = self.chat(stream=True)
        self.provider.calls[0].connect()
        self.clock.advance(2)
        self.provider.calls[0].fail(errors.UpstreamFailed("503"))
        self.clock.advance(1)
        self.assertTrue(self.provider.calls[1].cancelled)
        self.win(2)
        self.deliver_all(asked)
        self.assert_over(3, None)

    def test_budget(self) -> None:
        """No more of them a minute than configured, over all callers; then there is room again."""
        self.hedge(Hedge(2.0, budget_per_minute=1))
        for first, calls in ((0, 2), (2, 3)):
            asked = self.chat(stream=True)
            self.clock.advance(2)
            self.assertEqual(len(self.provider.calls), calls)
            self.win(first)
            self.deliver_all(asked)
        self.clock.advance(60)
        self.chat(stream=True).addErrback(lambda failure: None)
        self.clock.advance(2)
        self.assertEqual(len(self.provider.calls), 5)

    def test_nobody_free(self) -> None:
        """Where nobody else is free none is taken from the budget."""
        self.hedge(Hedge(2.0, budget_per_minute=1))
        self.provider._script.append(errors.UpstreamRateLimited("slow", retry_after=3))
        self.failureResultOf(self.chat("b"), errors.UpstreamRateLimited)
        asked = self.chat(stream=True)
        self.clock.advance(2)
        self.assertEqual(len(self.provider.calls), 2)
        self.win(1)
        self.deliver_all(asked)
        self.clock.advance(2)
        self.chat(stream=True).addErrback(lambda failure: None)
        self.clock.advance(2)
        self.assertEqual(len(self.provider.calls), 4)

    def test_percentile(self) -> None:
        """What is late is learned; those that lose count, so that it does not sink."""
        self.hedge(Hedge("p95"))
        for _ in range(20):
            asked = self.chat(stream=True)
            self.clock.advance(1.5)
            self.win(-1)
            self.deliver_all(asked)
        asked = self.chat(stream=True)
        self.clock.advance(1.4)
        self.assertEqual(len(self.provider.calls), 21)
        self.clock.advance(0.1)
        self.assertEqual(len(self.provider.calls), 22)
        self.clock.advance(3)
        self.win(21)
        self.deliver_all(asked)
        flow = self.dispatcher.shared.traffic.look("a")
        self.assertEqual(flow.percentile(1.0), 4.5)

    def test_leaves(self) -> None:
        """A client that leaves ends both."""
        asked = self.chat(stream=True)
        self.clock.advance(2)
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual([call.cancelled for call in self.provider.calls], [True, True])
        self.assert_over(2, "client_left")
        self.assertEqual(self.running(), [0, 0, 0])

    def test_leaves_after_a_failure(self) -> None:
        """A client that leaves when one of the two has failed ends the call: no third is asked."""
        for failed in (0, 1):
            self.records.clear()
            self.use(ScriptedProvider(), *self.models, model("c"))
            asked = self.chat(stream=True)
            self.clock.advance(2)
            self.provider.calls[failed].fail(errors.UpstreamFailed("503"))
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
            self.assertEqual(len(self.provider.calls), 2)
            self.assertTrue(self.provider.calls[1 - failed].cancelled)
            self.assert_over(2, "client_left")
            self.assertEqual(self.running(), [0, 0, 0])

    def test_total(self) -> None:
        """The whole call's time ends both, and the caller hears so."""
        times = Timeouts(connect=90, headers=90, first_token=90, total=60)
        self.use(ScriptedProvider(), model("a", timeouts=times), model("b", timeouts=times))
        asked = self.chat(stream=True)
        self.clock.advance(2)
        self.clock.advance(58)
        self.failureResultOf(asked, errors.UpstreamTimeout)
        self.assertEqual([call.cancelled for call in self.provider.calls], [True, True])
        self.assert_over(2, "upstream_timeout")
        # Neither has had more than its own.
        self.assertEqual(self.outcomes(), [("a", "left"), ("b", "left")])

    def test_plain(self) -> None:
        """A whole answer is asked of one."""
        self.chat().addErrback(lambda failure: None)
        self.clock.advance(0.9)
        self.provider.calls[0].connect()
        self.clock.advance(4)
        self.assertEqual(len(self.provider.calls), 1)

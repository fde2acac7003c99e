"""Tests of a reload: another plan takes the place of one, and what was learned goes on."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import CancelledError
from twisted.internet.testing import StringTransport

from aiproxy import errors
from aiproxy.config.schema import Group, Limits, Retry, Server
from aiproxy.config.sections import Breaker, Hedge
from aiproxy.gateway.plan import Plan
from aiproxy.testing import ScriptedReply, chat_answer, chat_stream
from tests.gateway.test_dispatch import DispatchTestCase, model
from tests.gateway.test_hedge import PATIENT


class ReloadTests(DispatchTestCase):
    """The same configuration is read anew, or another one."""

    def reload(self, **more: Any) -> None:
        """Replace the plan by one of equal, but other objects."""
        plan = self.dispatcher.plan
        models = tuple(evolve(model) for model in plan.config.models)
        changed: dict[str, Any] = {"models": models, **more}
        config = evolve(plan.config, **changed)
        self.dispatcher.change(Plan(config, plan.access, plan.providers))

    def fail_next(self, *failures: errors.AIProxyError) -> None:
        """Let the next calls fail."""
        self.provider._script.extend(failures)

    def answer_next(self) -> None:
        """Let the next call be answered."""
        self.provider._script.append(ScriptedReply.whole(chat_answer("Ho")))

    def fail_often(self, count: int) -> None:
        """Fail so often at the first model."""
        for _ in range(count):
            self.fail_next(errors.UpstreamFailed("500"))
            self.failureResultOf(self.chat("a"), errors.UpstreamFailed)

    def test_breaker_open(self) -> None:
        """Who is passed by stays so, until its probe."""
        self.fail_often(Breaker().failures)
        self.reload()
        self.failureResultOf(self.chat("a"), errors.ModelUnavailable)
        self.clock.advance(Breaker().probe)
        self.answer_next()
        self.plain(self.chat("a"))

    def test_failures_count(self) -> None:
        """Failures from before count."""
        self.fail_often(Breaker().failures - 1)
        self.reload()
        self.fail_often(1)
        self.failureResultOf(self.chat("a"), errors.ModelUnavailable)

    def test_breaker_changes(self) -> None:
        """Another setting holds for those who are known already."""
        self.fail_often(1)
        self.reload(breaker=Breaker(failures=2))
        self.fail_often(1)
        self.failureResultOf(self.chat("a"), errors.ModelUnavailable)

    def test_limits(self) -> None:
        """What was taken from a limit is taken, also where the limit is another one now."""
        for most in (1, 2):
            limited = model("a", limits=Limits(requests_per_minute=most))
            self.reload(models=(limited, model("b")))
            self.answer_next()
            self.plain(self.chat("a"))
            self.reload()
            self.failureResultOf(self.chat("a"), errors.LimitReached)

    def test_lease(self) -> None:
        """A call from before still has its place, and gives it back."""
        self.reload(models=(model("a", limits=Limits(max_concurrent=1)),))
        asked = self.chat("a")
        self.reload()
        self.failureResultOf(self.chat("a"), errors.LimitReached)
        self.provider.calls[0].answer(ScriptedReply.whole(chat_answer("Ho")))
        self.plain(asked)
        self.answer_next()
        self.plain(self.chat("a"))

    def test_learned_delay(self) -> None:
        """A provider's wish for patience is still heard."""
        self.fail_next(errors.UpstreamRateLimited("slow", retry_after=20))
        self.failureResultOf(self.chat("a"), errors.UpstreamRateLimited)
        self.reload()
        self.clock.advance(19)
        error = self.failureResultOf(self.chat("a"), errors.LimitReached).value
        self.assertAlmostEqual(error.retry_after, 1)

    def test_mended_key(self) -> None:
        """Who is out for its key is tried at once: it may have been mended."""
        self.fail_next(errors.UpstreamAuthFailed("401"))
        self.failureResultOf(self.chat("a"), errors.UpstreamAuthFailed)
        self.failureResultOf(self.chat("a"), errors.ModelUnavailable)
        self.reload()
        self.answer_next()
        self.plain(self.chat("a"))

    def test_retry_budget(self) -> None:
        """Repeats that were taken are taken: of ten in ten seconds none is left."""
        retry = Retry(max_retries=1, base_delay=0.0, takeover=False)
        self.reload(retry=retry, breaker=Breaker(failures=1_000))
        for _ in range(10):
            self.fail_next(errors.UpstreamFailed("500"), errors.UpstreamFailed("500"))
            self.failureResultOf(self.chat("a"), errors.UpstreamFailed)
        self.assertEqual(len(self.provider.calls), 20)
        self.reload()
        self.fail_next(errors.UpstreamFailed("500"))
        self.failureResultOf(self.chat("a"), errors.UpstreamFailed)
        self.assertEqual(len(self.provider.calls), 21)

    def test_hedge_budget(self) -> None:
        """Hedges that were begun count for a minute."""
        hedged = Group(("a", "b"), hedge=Hedge(2.0, budget_per_minute=1))
        models = (model("a", timeouts=PATIENT), model("b", timeouts=PATIENT))
        self.reload(groups={"g": hedged}, models=models)
        for calls in (2, 3):
            asked = self.chat(stream=True)
            asked.addErrback(lambda failure: None)
            self.clock.advance(2)
            self.assertEqual(len(self.provider.calls), calls)
            asked.cancel()
            self.reload(groups={"g": evolve(hedged)})

    def test_speed(self) -> None:
        """How fast a candidate is, is still known."""
        asked = self.chat("a")
        self.clock.advance(0.5)
        self.provider.calls[0].answer(ScriptedReply.whole(chat_answer("Ho")))
        self.plain(asked)
        self.reload()
        self.assertEqual(self.dispatcher.shared.traffic.look("a").first_token, 0.5)

    def test_old_calls(self) -> None:
        """A call goes on under what it began with, even where its model is gone."""
        asked = self.chat("a", stream=True)
        self.reload(models=(model("b"),), server=Server(keep_alive=0))
        self.failureResultOf(self.chat("a"), errors.ModelNotFound)
        reply = self.provider.calls[0].answer()
        reply.send(*chat_stream("Hi"))
        reply.finish()
        self.successResultOf(asked)

    def test_capabilities(self) -> None:
        """A model that has refused to go on with an assistant's message is not asked so again."""
        models = tuple(evolve(model(name), provider_type="mistral") for name in "ab")
        self.reload(models=models, retry=Retry(max_retries=0))
        roles = []
        for refuses in (True, False):
            answer = self.chat(stream=True)
            first = self.provider.calls[-1].answer()
            first.send(chat_stream("One two three four five six seven eight nine ten")[0])
            done = self.deliver(answer, StringTransport())
            first.cut()
            asked = self.provider.calls[-1]
            if refuses:
                asked.fail(errors.UpstreamRefused("no"))
            roles.append(asked.call.request["messages"][-1]["role"])
            done.cancel()
            self.failureResultOf(done, CancelledError)
            self.reload()
        self.assertEqual(roles, ["assistant", "user"])

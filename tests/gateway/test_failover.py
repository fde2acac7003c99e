"""Tests of :mod:`aiproxy.gateway.failover`: who is asked after whom, and who is asked again."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent

from aiproxy import errors
from aiproxy.config.schema import Breaker, Limits, Retry, Server
from aiproxy.config.secret import Secret
from aiproxy.dialects.embeddings_face import EmbeddingsFace
from aiproxy.gateway.dispatch import ClientCall
from aiproxy.policy.retry_budget import FLOOR
from aiproxy.testing import ScriptedProvider
from tests.gateway.test_dispatch import ME, model
from tests.gateway.test_recovery import RecoveryTestCase, failed, whole


def limited(seconds: float) -> errors.UpstreamRateLimited:
    """Return the error of a 429 that names a time."""
    return errors.UpstreamRateLimited("slow", retry_after=seconds)


class BackTests(RecoveryTestCase):
    """A candidate that has named a short time is not lost when the others fail."""

    def test_sooner(self) -> None:
        """It is asked again if it is free first, at its time."""
        for longer in (20, 60):
            self.use(ScriptedProvider(limited(5), limited(longer), whole()))
            asked = self.chat()
            self.later(6)
            self.plain(asked)
            start = self.asked[0][1]
            self.assertEqual(self.asked, [("a", start), ("b", start), ("a", start + 5)])
            self.later(60)

    def test_other_failures(self) -> None:
        """Whatever the others fail with; in between an overloaded one is tried again."""
        overloaded = (failed(503) for _ in range(4))
        self.use(ScriptedProvider(limited(5), *overloaded, whole()))
        asked = self.chat()
        self.later(9)
        self.plain(asked)
        self.assertEqual([name for name, _ in self.asked], ["a", "b", "b", "b", "b", "a"])

    def test_no_room(self) -> None:
        """But not for what another failure has ruled out."""
        models = (model("a", context_window=4_000), model("b", context_window=8_000))
        self.use(ScriptedProvider(limited(5), errors.ContextTooLong("long")), *models)
        self.failureResultOf(self.chat(), errors.ContextTooLong)
        self.assertEqual([name for name, _ in self.asked], ["a", "b"])

    def test_bounded(self) -> None:
        """``max_retries`` bounds it; what the caller is told is true when he hears it."""
        self.use(ScriptedProvider(*(limited(5) for _ in range(20))))
        asked = self.chat()
        self.later(30)
        error = self.failureResultOf(asked, errors.UpstreamRateLimited).value
        self.assertTrue(error.exhausted)
        self.assertEqual([name for name, _ in self.asked].count("a"), 1 + self.retry.max_retries)
        self.assertGreater(error.retry_after, 0)
        self.assertLessEqual(error.retry_after, 5)

    def test_true_delay(self) -> None:
        """The time that the caller is told counts from now, not from the failure."""
        self.use(ScriptedProvider(limited(50), failed(500), limited(60)))
        asked = self.chat()
        self.later(2)
        error = self.failureResultOf(asked, errors.UpstreamRateLimited).value
        self.assertEqual(self.asked[-1], ("b", 1))
        self.assertEqual(error.retry_after, 49)


class OperationTests(RecoveryTestCase):
    """What a candidate is asked for beside chat."""

    def embed(self) -> Deferred[Any]:
        """Ask ``a`` for embeddings."""
        body = b'{"model": "a", "input": "Hi"}'
        call = ClientCall("r2", EmbeddingsFace(), ME, body)
        return Deferred.fromCoroutine(self.dispatcher.answer(call))

    def test_apart(self) -> None:
        """Whose key may not embed goes on chatting: nobody can take it from the others."""
        refused = errors.UpstreamAuthFailed("no")
        self.use(ScriptedProvider(refused, whole(), whole()), model("a", tokens=(Secret("k"),)))
        self.failureResultOf(self.embed(), errors.UpstreamAuthFailed)
        self.failureResultOf(self.embed(), errors.ModelUnavailable)
        self.plain(self.chat("a"))
        self.assertEqual(len(self.asked), 2)
        self.failureResultOf(self.embed(), errors.ModelUnavailable)

    def test_suspects(self) -> None:
        """Nor are others with that key asked behind the rest."""
        secret = Secret("k")
        models = model("a", tokens=(secret,)), model("b", tokens=(secret,)), model("c", priority=2)
        self.use(ScriptedProvider(errors.UpstreamAuthFailed("no"), *map(whole, "xy")), *models)
        self.failureResultOf(self.embed(), errors.UpstreamAuthFailed)
        self.assertEqual(self.plain(self.chat()).served.candidate.name, "a")


class LogTests(RecoveryTestCase):
    """What is logged of a failure."""

    def test_words_of_others(self) -> None:
        """A code that is a text of the upstream's is not repeated: it makes no lines of its own."""
        for code, word in (("a\nb \x1b[2J", "provider_error"), ("E-7", "E-7")):
            self.use(ScriptedProvider(errors.UpstreamRefused("no", code=code)), model("a"))
            with capturedLogs() as events:
                self.failureResultOf(self.chat(), errors.UpstreamRefused)
            [line] = filter(None, map(formatEvent, events))
            self.assertRegex(line, rf"^a of scripted failed: UpstreamRefused {word} \(key")
            self.assertTrue(line.isprintable(), line)


class QueueTests(RecoveryTestCase):
    """A repeat where others have taken the place of the attempt that has failed."""

    server = Server(keep_alive=0, queue_timeout=20)

    def ask(self, server: Server) -> tuple[Any, Any]:
        """Let one call fail with a 500, and another one take its place."""
        provider = ScriptedProvider(failed(500))
        self.use(provider, model("a", limits=Limits(max_concurrent=1)), server=server)
        first, second = self.chat(), self.chat()
        self.later(2)
        return first, second

    def test_waits(self) -> None:
        """It waits its turn as any request does, and is answered."""
        first, second = self.ask(self.server)
        self.assertNoResult(first)
        self.provider.calls[1].answer(whole())
        self.plain(second)
        self.later(0.25)
        self.provider.calls[2].answer(whole())
        self.assertEqual(self.plain(first).served.attempts, 2)

    def test_patience(self) -> None:
        """It does not wait for longer, nor at all where no request does."""
        first, second = self.ask(self.server)
        self.later(20)
        self.failureResultOf(first, errors.LimitReached)
        self.provider.calls[1].answer(whole())
        self.plain(second)
        self.failureResultOf(self.ask(Server(keep_alive=0))[0], errors.LimitReached)
        self.provider.calls[1].answer(whole())


class NoRetriesTests(RecoveryTestCase):
    """``max_retries: 0``."""

    retry = Retry(max_retries=0, jitter=0.0)

    def test_once_each(self) -> None:
        """Everybody is asked once, whatever time he names."""
        self.use(ScriptedProvider(limited(5), limited(20)))
        error = self.failureResultOf(self.chat(), errors.UpstreamRateLimited).value
        self.assertEqual(error.retry_after, 5)
        self.assertEqual([name for name, _ in self.asked], ["a", "b"])


class BudgetTests(RecoveryTestCase):
    """Whose requests allow repeats."""

    def test_second(self) -> None:
        """One that is only asked because the first is busy has repeats by its own requests."""
        models = (model("a", limits=Limits(requests_per_hour=1)), model("b"))
        requests = FLOOR * 10
        self.use(ScriptedProvider(*(whole() for _ in range(requests + 1))), *models)
        for _ in range(requests + 1):
            self.plain(self.chat())
        budget = self.dispatcher.shared.budgets.find("b")
        taken = sum(budget.take(self.clock.seconds()) for _ in range(requests))
        self.assertEqual(taken, requests // 5)
        taken = sum(
            self.dispatcher.shared.budgets.find("a").take(self.clock.seconds())
            for _ in range(requests)
        )
        self.assertEqual(taken, FLOOR)

    def test_several_keys(self) -> None:
        """A request is one of its model's, with however many of its keys it is tried."""
        keys = tuple(Secret(f"k{number}") for number in range(5))
        requests = FLOOR * 10
        refused = (errors.UpstreamAuthFailed("key") for _ in range(requests * len(keys)))
        self.use(ScriptedProvider(*refused), model("a", tokens=keys))
        for _ in range(requests):
            self.failureResultOf(self.chat(), errors.AIProxyError)
            self.dispatcher.shared.standings.change(Breaker())  # They are tried again at once.
        self.assertEqual(len(self.provider.calls), requests * len(keys))
        budget = self.dispatcher.shared.budgets.find("a")
        taken = sum(budget.take(self.clock.seconds()) for _ in range(requests))
        self.assertEqual(taken, requests // 5)


class TellTests(RecoveryTestCase):
    """What the log says of a failure."""

    def told(self, error: errors.AIProxyError) -> str:
        """Return the line about an upstream that fails so."""
        self.use(ScriptedProvider(error, whole()))
        with capturedLogs() as events:
            asked = self.chat()
            self.later(2)
        self.plain(asked)
        [line] = [formatEvent(event) for event in events if event["log_level"] != LogLevel.debug]
        return line

    def test_network(self) -> None:
        """What the network did is told in our words; there is no status."""
        line = self.told(errors.UpstreamTimeout("a.example did not answer in time"))
        self.assertRegex(
            line,
            "a of .* failed: UpstreamTimeout upstream_timeout: a.example did not answer in time"
            r" \(key \w+, request",
        )

    def test_words(self) -> None:
        """What a provider says stays out, for it may repeat the prompt."""
        line = self.told(failed(503))
        self.assertRegex(line, r"failed: UpstreamFailed upstream_error \(status 503, key")

"""Loading the configuration anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher

from aiproxy.config.load import Loaded, load
from aiproxy.errors import ConfigurationError
from aiproxy.reload import Reloader
from tests.config.loading import LoadingTestCase

DEMO = "models: [{name: demo/echo, provider: demo}]\n"


class ReloadTests(LoadingTestCase):
    """What is loaded is used, or is not."""

    def setUp(self) -> None:
        """Use what is loaded, and listen to the log."""
        super().setUp()
        self.used: list[Loaded] = []
        self.texts = [DEMO]
        self.threads: list[tuple[Deferred[Loaded], Callable[[], Loaded]]] = []
        self.current = self.load(DEMO)
        self.reloader = Reloader(
            lambda: self.load(self.texts.pop(0)), lambda: self.current, self.use, self.in_thread
        )
        self.said: list[LogEvent] = []
        observer = cast(ILogObserver, self.said.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    async def use(self, loaded: Loaded) -> list[str]:
        """Use it."""
        self.used.append(loaded)
        return ["server.http"]

    def in_thread(self, function: Callable[[], Loaded]) -> Deferred[Loaded]:
        """Call a function when :meth:`work` is called."""
        done: Deferred[Loaded] = Deferred()
        self.threads.append((done, function))
        return done

    def work(self) -> None:
        """Let the thread do its work."""
        done, function = self.threads.pop(0)
        try:
            done.callback(function())
        except ConfigurationError:
            done.errback()

    def log(self) -> str:
        """Return what was said."""
        return "\n".join(map(formatEvent, self.said))

    def test_used(self) -> None:
        """It is used, and what there is to say about it is said."""
        answer = Deferred.fromCoroutine(self.reloader.reload())
        self.assertNoResult(answer)
        self.work()
        told = self.successResultOf(answer)
        self.assertEqual(
            (told["models"], told["warnings"], told["needs_restart"]), (1, [], ["server.http"])
        )
        self.assertEqual(len(self.used), 1)
        self.assertIn("server.http: takes effect with a restart", self.log())
        self.assertIn("1 model; configuration: c.yaml", self.log())

    def test_broken(self) -> None:
        """One that cannot be used changes nothing, and the log says why and where."""
        self.texts = ["models: 7\n"]
        answer = Deferred.fromCoroutine(self.reloader.reload())
        self.work()
        self.failureResultOf(answer, ConfigurationError)
        self.assertEqual(self.used, [])
        self.assertIn("c.yaml:1", self.log())

    def test_lost(self) -> None:
        """A file that was found by itself and is gone is a mistake: others would be served."""
        self.current = attrs.evolve(self.current, file="provider_config.yaml", env_file=".env")
        self.reloader = Reloader(
            lambda: load(env={}, folder=self.folder),
            lambda: self.current,
            self.use,
            self.in_thread,
        )
        self.reloader.reload_soon()
        self.work()
        self.assertEqual(self.used, [])
        for file in ("provider_config.yaml", ".env"):
            self.assertIn(f"{file}: is no longer there", self.log())

    def test_signal(self) -> None:
        """By a signal nobody waits; a mistake is logged all the same, and the next one counts."""
        self.texts = ["models: 7\n", DEMO]
        self.reloader.reload_soon()
        self.work()
        self.assertIn("the old one goes on", self.log())
        self.reloader.reload_soon()
        self.work()
        self.assertEqual(len(self.used), 1)

    def test_defect(self) -> None:
        """A defect of ours is logged as one."""
        self.texts = []
        self.reloader.reload_soon()
        done, _ = self.threads.pop()
        done.errback(ZeroDivisionError())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_in_turn(self) -> None:
        """One begins to read when the one before is over: what changed meanwhile is seen."""
        self.texts = [DEMO, DEMO.replace("echo", "two")]
        self.reloader.reload_soon()
        self.reloader.reload_soon()
        self.assertEqual(len(self.threads), 1)
        self.work()
        self.work()
        self.assertEqual(
            [loaded.config.models[0].name for loaded in self.used], ["demo/echo", "demo/two"]
        )

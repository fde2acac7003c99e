"""What signals do."""

from __future__ import annotations

import signal
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.signals import install_signals


class StoppableReactor:
    """
    Runs what it is called with at once.

    :ivar stops: how often it was stopped.
    """

    def __init__(self) -> None:
        self.stops = 0

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        """Call it."""
        function(*arguments)

    def stop(self) -> None:
        """Stop, once."""
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


class SignalTests(SynchronousTestCase):
    """The signals' handlers; what they do to a process is tested with real ones."""

    def setUp(self) -> None:
        super().setUp()
        for number in (
            signal.SIGTERM,
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGUSR1,
            signal.SIGUSR2,
        ):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        self.reactor = StoppableReactor()

    def test_stop(self) -> None:
        """TERM stops the reactor, also one that stops already."""
        for _ in range(2):
            install_signals(self.reactor)
            signal.raise_signal(signal.SIGTERM)
        self.assertEqual(self.reactor.stops, 2)

    def test_rotate(self) -> None:
        """USR1 opens the access log anew, and does what it did before."""
        done: list[str] = []
        install_signals(self.reactor, reopen=lambda: done.append("access log"))
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual(done, ["access log"])
        signal.signal(signal.SIGUSR1, lambda number, frame: done.append("twistd's"))
        install_signals(self.reactor, reopen=lambda: done.append("again"))
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual(done, ["access log", "again", "twistd's"])

    def test_replace(self) -> None:
        """USR2 starts another process, where that is possible; else it is left alone."""
        done: list[str] = []
        before = signal.getsignal(signal.SIGUSR2)
        install_signals(self.reactor)
        self.assertIs(signal.getsignal(signal.SIGUSR2), before)
        install_signals(self.reactor, replace=lambda: done.append("another"))
        signal.raise_signal(signal.SIGUSR2)
        self.assertEqual(done, ["another"])

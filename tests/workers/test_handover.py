"""What one supervisor leaves to the next."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.config.secret import Secret
from aiproxy.workers.handover import Handed, Predecessor
from aiproxy.workers.pid_file import PidFile


class HandedTests(SynchronousTestCase):
    """It goes by the environment."""

    def test_both_ways(self) -> None:
        """What is put in is taken out, once."""
        for token, nohup in ((None, False), (Secret("sk-1"), True)):
            sockets = {"tcp:1": (6, 2), "unix:x": (7, 1)}
            handed = Handed(sockets, 5, frozenset({1, 2}), token, nohup)
            environment = handed.put({"A": "b"})
            self.assertEqual(Handed.take(environment), handed)
            self.assertEqual(environment, {"A": "b"})
        self.assertIsNone(Handed.take({"A": "b"}))

    def test_older(self) -> None:
        """An older version, which does not tell of the terminal, is followed, too."""
        older = '{"sockets": [], "counts": 5, "taken": [1], "access_token": null}'
        self.assertEqual(Handed.take({"AIPROXY_HANDED": older}), Handed({}, 5, frozenset({1})))


class PredecessorTests(SynchronousTestCase):
    """The old one, as the new one hears it."""

    def setUp(self) -> None:
        """Meet it."""
        self.heard: list[str] = []
        self.old = Predecessor(
            lambda: self.heard.append("released"),
            lambda: self.heard.append("gone"),
            lambda: self.heard.append("stopped"),
        )
        self.old.makeConnection(StringTransport())

    def test_in_order(self) -> None:
        """It leaves the counts to us, and ends later."""
        self.old.dataReceived(b'{"tell": "released", "data": null}\n')
        self.assertEqual(self.heard, ["released"])
        self.old.connectionLost()
        self.assertEqual(self.heard, ["released", "gone"])

    def test_killed(self) -> None:
        """Its end is a release, too."""
        self.old.connectionLost()
        self.assertEqual(self.heard, ["released", "gone"])

    def test_stopped(self) -> None:
        """Who is to end with it is not to take anything over."""
        self.old.dataReceived(b'{"tell": "stop", "data": null}\n')
        self.old.connectionLost()
        self.assertEqual(self.heard, ["stopped", "gone"])


class PidFileTests(SynchronousTestCase):
    """Whose pid file it is."""

    def test_aside(self) -> None:
        """It makes room for another process's, and comes back if there is none."""
        path = Path(self.mktemp())
        path.write_text("1")
        file = PidFile.of({"rundir": str(path.parent), "pidfile": path.name})
        self.assertEqual(file.path, str(path.absolute()))
        file.put_aside(True)
        self.assertFalse(path.exists())
        file.put_aside(False)
        self.assertEqual(path.read_text(), "1")

    def test_none(self) -> None:
        """Without one nothing happens."""
        for twistd in (None, {"rundir": ".", "pidfile": ""}):
            file = PidFile.of(twistd)
            file.put_aside(True)
            file.put_aside(False)
            self.assertIsNone(file.path)

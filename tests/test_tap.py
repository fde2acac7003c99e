"""``twistd aiproxy``: its options, and what they start."""

from __future__ import annotations

import os
from contextlib import chdir, redirect_stdout
from io import StringIO
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import UsageError

from aiproxy import tap
from aiproxy.workers.supervisor import Supervisor
from tests.config.loading import LoadingTestCase
from twisted import internet

DEMO = "models: [{name: demo/echo, provider: demo}]\n"


class OptionsTests(LoadingTestCase):
    """The options of the command line."""

    def test_all(self) -> None:
        """Each has a long and a short form, and ``--listen`` adds up."""
        options = tap.Options()
        options.parseOptions(["-c", "a", "-e", "b", "-a", ":1", "-l", "unix:x", "--listen", "y"])
        self.assertEqual(
            (options["config"], options["env-file"], options["addr"], options["listen"]),
            ("a", "b", ":1", ["unix:x", "y"]),
        )

    def test_argument(self) -> None:
        """What is no option is refused."""
        with self.assertRaisesRegex(UsageError, "'run'"):
            tap.Options().parseOptions(["run"])

    def test_version(self) -> None:
        """The version is told."""
        out = StringIO()
        with self.assertRaises(SystemExit), redirect_stdout(out):
            tap.Options().parseOptions(["--version"])
        self.assertIn("aiproxy ", out.getvalue())

    def test_workers(self) -> None:
        """How many is a whole number within bounds."""
        options = tap.Options()
        options.parseOptions(["-w", "31"])
        self.assertEqual(options["workers"], 31)
        for text in ("0", "32", "-1", "two", "1.5"):
            with self.assertRaisesRegex(UsageError, "from 1 to 31"):
                tap.Options().parseOptions(["-w", text])


class MakeServiceTests(LoadingTestCase):
    """The service that twistd runs."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(os, "environ", {"AUTH_TOKEN": "sk-client"})
        # The tests' own one would go on with what is made here.
        self.patch(internet, "reactor", MemoryReactorClock())

    def make(self, text: str, *arguments: str) -> Any:
        """Make it from a file."""
        self.write(text)
        options = tap.Options()
        options.parseOptions(["-c", "c.yaml", *arguments])
        with chdir(self.folder):
            return tap.makeService(options)

    def test_made(self) -> None:
        """It knows where to listen, and nothing is open yet."""
        service = self.make(DEMO, "-l", "unix:x")
        self.assertEqual([one.name for one in service.listeners], ["unix:x"])
        self.assertEqual(service.ports, [])
        self.assertFalse((self.folder / "x").exists())

    def test_refused(self) -> None:
        """What cannot be used ends the start with its reason."""
        with self.assertRaisesRegex(SystemExit, r"c\.yaml:1"):
            self.make("models: 7\n")
        with self.assertRaisesRegex(SystemExit, "HOST:PORT"):
            self.make(DEMO, "-a", "x")
        for text in ("nonsense:1", ""):
            with self.assertRaisesRegex(SystemExit, f"cannot listen on {text}"):
                self.make(DEMO, "-l", text)

    def test_unguarded(self) -> None:
        """Without a token nobody comes from elsewhere; what is no endpoint is told as that."""
        self.patch(os, "environ", {})
        for more in ((), ("-w", "2")):
            with self.assertRaisesRegex(SystemExit, "tcp:1 reaches beyond .* AUTH_TOKEN"):
                self.make(DEMO, "-l", "tcp:1", *more)
            for text in ("bogus:22", "tcp:foo", "tcp:1\\"):
                with self.assertRaises(SystemExit) as caught:
                    self.make(DEMO, "-l", text, *more)
                self.assertIn(f"cannot listen on {text}: ", str(caught.exception))

    def test_workers(self) -> None:
        """With workers it is a supervisor, of places that can be listened at."""
        supervisor = self.make(DEMO, "-l", "unix:x", "-w", "2")
        self.assertIsInstance(supervisor, Supervisor)
        with self.assertRaisesRegex(SystemExit, "cannot listen on nonsense:1"):
            self.make(DEMO, "-l", "nonsense:1", "-w", "2")

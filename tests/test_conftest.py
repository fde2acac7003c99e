"""The test run itself: what must fail does fail, under pytest as under trial."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

TESTS = Path(__file__).parent
ROOT = TESTS.parent

BAD_TESTS = '''
    """Each test here is wrong in one way that is easily overlooked."""

    from twisted.internet import defer, protocol, reactor, task
    from twisted.internet.endpoints import serverFromString
    from twisted.logger import Logger
    from twisted.python.failure import Failure
    from twisted.trial.unittest import SynchronousTestCase, TestCase


    class BadTests(TestCase):
        timeout = 1

        def test_deferred(self):
            return task.deferLater(reactor, 0, self.assertEqual, 1, 2)

        async def test_coroutine(self):
            await task.deferLater(reactor, 0)
            self.assertEqual(1, 2)

        async def test_never_done(self):
            await defer.Deferred()

        def test_unhandled(self):
            defer.fail(ValueError("lost"))

        def test_logged(self):
            Logger().failure("oh", Failure(ValueError("logged")))

        def test_timer_left(self):
            reactor.callLater(60, print)

        def test_port_left(self):
            return serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(
                protocol.Factory()
            )


    class BadSynchronousTests(SynchronousTestCase):
        async def test_never_awaited(self):
            pass


    class GoodTests(TestCase):
        async def test_real_socket(self):
            endpoint = serverFromString(reactor, "tcp:0:interface=127.0.0.1")
            port = await endpoint.listen(protocol.Factory())
            await port.stopListening()
'''


class TestRunTests(SynchronousTestCase):
    """One run of pytest with this project's settings over tests made for it."""

    def run_pytest(self, source: str) -> subprocess.CompletedProcess[str]:
        """Run pytest over one module beside a copy of our ``conftest.py``."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        (folder / "conftest.py").write_text((TESTS / "conftest.py").read_text())
        (folder / "test_made.py").write_text(dedent(source))
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir=.", "."],
            cwd=folder,
            env={**os.environ, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
        )

    def test_bad_tests_fail(self) -> None:
        """Asynchronous mistakes fail their tests, and nothing else fails."""
        run = self.run_pytest(BAD_TESTS)
        failed = {
            line.partition("::")[2].partition(" ")[0]
            for line in run.stdout.splitlines()
            if line.startswith("FAILED ")
        }
        self.assertEqual(
            failed,
            {
                "BadTests::test_deferred",
                "BadTests::test_coroutine",
                "BadTests::test_never_done",
                "BadTests::test_unhandled",
                "BadTests::test_logged",
                "BadTests::test_timer_left",
                "BadTests::test_port_left",
                "BadSynchronousTests::test_never_awaited",
            },
            run.stdout + run.stderr,
        )
        self.assertIn("1 passed", run.stdout)
        self.assertEqual(run.returncode, 1)

    def test_plain_function_refused(self) -> None:
        """A function stops the run: it would pass with an unhandled error in a Deferred."""
        run = self.run_pytest("def test_plain(): pass")
        self.assertIn("not in a twisted.trial.unittest test case", run.stderr)
        self.assertIn("test_made.py::test_plain", run.stderr)
        self.assertNotEqual(run.returncode, 0)

    def test_standard_test_case_refused(self) -> None:
        """So does a test case of the standard library's."""
        run = self.run_pytest(
            """
            from unittest import TestCase

            class PlainTests(TestCase):
                def test_method(self):
                    pass
            """
        )
        self.assertIn("test_made.py::PlainTests::test_method", run.stderr)
        self.assertNotEqual(run.returncode, 0)

"""The test run itself: what must fail does fail, and what tests have shown is written down."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from tests import shown

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


class ShownTests(SynchronousTestCase):
    """The tables of providers."""

    def cell(self, seen: set[shown.Shown], row: str, column: str) -> str:
        """Give one cell of the tables; nothing else may hold both names."""
        found: list[str] = []
        columns: list[str] = []
        for line in shown.write_table(seen).splitlines():
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            columns = cells if cells and not cells[0] else columns
            if cells and cells[0] == row and column in columns:
                self.assertEqual(len(cells), len(columns))
                found.append(cells[columns.index(column)])
        (one,) = found
        return one

    def test_ways(self) -> None:
        """Seen in both ways is a yes, in one of them its name, in none unknown."""
        seen = {
            ("groq", "text", shown.PLAIN),
            ("groq", "text", shown.STREAMED),
            ("xai", "text", shown.STREAMED),
            ("xai", "stop", ""),
        }
        self.assertEqual(self.cell(seen, "text", "groq"), "yes")
        self.assertEqual(self.cell(seen, "text", "xai"), "streamed")
        self.assertEqual(self.cell(seen, "text", "google"), "unknown")
        self.assertEqual(self.cell(seen, "stop", "xai"), "yes")

    def test_operations(self) -> None:
        """What the gateway refuses of a provider is a no, whatever was recorded."""
        seen = {("openai", "responses", shown.PLAIN), ("azure", "responses", shown.PLAIN)}
        self.assertEqual(self.cell(seen, "openai", "responses"), "plain")
        self.assertEqual(self.cell(seen, "azure", "responses"), "no")
        self.assertEqual(self.cell(seen, "openai", "images"), "unknown")
        self.assertEqual(self.cell(seen, "anthropic", "images"), "no")
        self.assertEqual(self.cell(seen, "cloudflare", "rerank"), "unknown")
        self.assertEqual(self.cell(seen, "cloudflare native", "rerank"), "no")

    def test_what_does_not_count(self) -> None:
        """A provider without a table, and what is refused; a wrong word is a mistake."""
        shown.show("nobody", "stop")
        shown.show_passed("cohere", "rerank", shown.PLAIN)
        shown.show_passed("azure", "responses", shown.PLAIN)
        self.assertEqual(shown.current, set())
        for feature, way in (("text", ""), ("stop", shown.PLAIN), ("nonsense", "")):
            self.assertRaises(AssertionError, shown.show, "openai", feature, way=way)
        self.assertEqual(shown.current, set())

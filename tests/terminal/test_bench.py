"""Tests of :mod:`aiproxy.terminal.bench`: options, then loads on real servers."""

from __future__ import annotations

import json
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from contextlib import AbstractContextManager, nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from aiproxy.terminal import bench
from aiproxy.terminal.bench import Bench
from aiproxy.terminal.load import FirstFailed, Load
from aiproxy.terminal.load_figures import Report
from aiproxy.terminal.load_plan import Plan, Target
from aiproxy.testing import ChaosUpstream
from aiproxy.transport.client import UpstreamClient
from tests.integration.servers import TOKEN, Server, ServersTestCase
from tests.terminal.memory_client import MemoryClient
from tests.terminal.test_load import LIMITED, TARGET
from tests.terminal.test_load_report import REPORT
from tests.transport.upstreams import SocketConnection

#: The command by itself, as the console script runs it.
COMMAND = """
import sys
from argparse import ArgumentParser
from aiproxy.terminal.bench import add_arguments
parser = ArgumentParser(prog="aiproxy bench")
add_arguments(parser)
parsed = parser.parse_args()
sys.exit(parsed.run(parsed))
"""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM = b'data: {"choices": [{"delta": {"content": "hi"}}]}\n\ndata: [DONE]\n\n'


def parse(*words: str) -> Namespace:
    """Read a command's options."""
    parser = ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(["http://test", *words])


def watch_nothing(load: Load, name: str) -> AbstractContextManager[None]:
    """Draw no bar."""
    return nullcontext()


class Terminal(StringIO):
    """Text that is written to a terminal."""

    def isatty(self) -> bool:
        return True


class OptionTests(SynchronousTestCase):
    """What the command takes."""

    def test_plans(self) -> None:
        """A load is of 200 requests on 8 connections, where neither a number nor a time is said."""
        for words, plan in (
            ((), Plan(200, None, 8)),
            (("-n", "5", "-c", "2", "--timeout", "7"), Plan(5, None, 2, timeout=7)),
            (("--duration", "1.5"), Plan(None, 1.5, 8)),
            (("--duration", "3", "-n", "9"), Plan(9, 3, 8)),
            (("--rate", "2.5"), Plan(200, None, 8, 2.5)),
        ):
            self.assertEqual(bench._make_plan(parse(*words)), plan)

    def test_streams(self) -> None:
        """Streams are asked for if nothing else is said."""
        self.assertTrue(parse().stream)
        self.assertFalse(parse("--no-stream").stream)

    def test_refused(self) -> None:
        """What is no amount is refused, and so is a rate beside connections."""
        for words in (
            ("-n", "0"),
            ("-n", "many"),
            ("-c", "-1"),
            ("--rate", "0"),
            ("--rate", "nan"),
            ("--duration", "inf"),
            ("--duration", "soon"),
            ("--warmup", "-1"),
            ("--rate", "1", "-c", "1"),
        ):
            with redirect_stderr(StringIO()), self.assertRaises(SystemExit):
                parse(*words)

    def test_no_warmup(self) -> None:
        """A warm-up may be of no request."""
        self.assertEqual(parse("--warmup", "0").warmup, 0)


class BenchTests(SynchronousTestCase):
    """A warm-up, and then the load, on a clock of the test's."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.client = MemoryClient()
        self.watched: list[str] = []

    def start(self, *, warmup: int) -> Deferred[Report]:
        """Start with two requests after the warm-up, on one connection."""
        cpu = iter([1.0, 3.0, 4.5])

        def watch(load: Load, name: str) -> AbstractContextManager[None]:
            self.watched.append(name)
            return nullcontext()

        self.bench = Bench(
            self.clock,
            self.client,
            TARGET,
            Plan(requests=2),
            warmup=warmup,
            number=50,
            watch=watch,
            cpu=lambda: next(cpu),
        )
        return Deferred.fromCoroutine(self.bench.run())

    def answer(self, *arguments: Any) -> None:
        """Answer the latest request after a second."""
        self.clock.advance(1)
        self.client.requests[-1].answer(*arguments)
        self.clock.advance(0)

    def test_warmup(self) -> None:
        """What comes in the warm-up does not count, nor does its CPU time."""
        over = self.start(warmup=2)
        for arguments in ((), (LIMITED, 429), (), (LIMITED, 429)):
            self.assertNoResult(over)
            self.answer(*arguments)
        report = self.successResultOf(over)
        self.assertEqual(self.watched, ["warm-up", "load"])
        self.assertEqual((report.good, report.failed, report.duration), (1, 1, 2.0))
        self.assertEqual(report.cpu_share, 0.75)
        numbers = [request.prompt.split()[1] for request in self.client.requests]
        self.assertEqual(numbers, ["50.", "51.", "52.", "53."])

    def test_first_fails(self) -> None:
        """A server that fails at once ends all, with a warm-up or without."""
        for warmup in (0, 3):
            over = self.start(warmup=warmup)
            self.answer(LIMITED, 429)
            self.failureResultOf(over, FirstFailed)
        self.assertEqual(len(self.client.requests), 2)

    def test_no_warmup(self) -> None:
        """Without one the load begins at once."""
        over = self.start(warmup=0)
        self.answer()
        self.answer()
        self.assertEqual(self.successResultOf(over).good, 2)
        self.assertEqual(self.watched, ["load"])

    def test_stop(self) -> None:
        """A load that is stopped has a report of what there is."""
        over = self.start(warmup=1)
        self.answer()
        self.answer()
        self.bench.stop()
        report = self.successResultOf(over)
        self.assertEqual((report.partial, report.good, report.unfinished), (True, 1, 1))

    def test_stop_in_the_warmup(self) -> None:
        """A warm-up that is stopped leaves nothing to report, and no load follows."""
        over = self.start(warmup=1)
        self.bench.stop()
        report = self.successResultOf(over)
        self.assertEqual((report.partial, report.good), (True, 0))
        self.assertEqual(len(self.client.requests), 1)


class TerminalTests(SynchronousTestCase):
    """What is drawn."""

    def setUp(self) -> None:
        # rich keeps the mapping itself, so another one in its place would not be seen.
        self.addCleanup(os.environ.update, dict(os.environ))
        self.addCleanup(os.environ.clear)
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            os.environ.pop(name, None)
        os.environ.update(TERM="xterm", COLUMNS="80")

    def without_rich(self) -> None:
        """Let rich be absent until the end of the test."""
        for name in ("rich.console", "rich.progress"):
            before = sys.modules.pop(name, None)
            sys.modules[name] = None  # type: ignore[assignment]
            if before is None:
                self.addCleanup(sys.modules.pop, name)
            else:
                self.addCleanup(sys.modules.__setitem__, name, before)

    def draw(self, screen: StringIO) -> None:
        """Draw a load until it is half over and has failed twice."""
        clock = Clock()
        load = Load(clock, MemoryClient(), TARGET, Plan(requests=8))
        load.failures["429"] = 1
        with redirect_stderr(screen), bench._watch(load, "load"):
            load.failures["429"] = 4
            clock.advance(0.5)
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_bar(self) -> None:
        """At a terminal a bar shows how far a load is, and goes when it is over."""
        screen = Terminal()
        self.draw(screen)
        self.assertIn("4 answers, ", screen.getvalue())
        self.assertIn("4 failed", screen.getvalue())
        self.assertTrue(screen.getvalue().endswith("\x1b[2K"), screen.getvalue()[-40:])

    def test_no_bar(self) -> None:
        """Nothing is drawn where there is no terminal, or no rich."""
        screen = StringIO()
        self.draw(screen)
        self.assertEqual(screen.getvalue(), "")
        self.without_rich()
        screen = Terminal()
        self.draw(screen)
        self.assertEqual(screen.getvalue(), "")

    def test_report(self) -> None:
        """A report has colors at a terminal, and none elsewhere or without rich."""
        for screen, colors in ((Terminal(), True), (StringIO(), False)):
            with redirect_stdout(screen):
                bench._print(REPORT, as_json=False)
            self.assertIn("400 tokens/s", screen.getvalue())
            self.assertEqual("\x1b[" in screen.getvalue(), colors)
        self.without_rich()
        screen = Terminal()
        with redirect_stdout(screen):
            bench._print(REPORT, as_json=False)
        self.assertIn("400 tokens/s", screen.getvalue())
        self.assertNotIn("\x1b[", screen.getvalue())


class SocketTests(TestCase):
    """Loads on an upstream of this process, on real sockets."""

    timeout = 60

    async def load(self, script: object, plan: Plan, *, stream: bool = True) -> Report:
        """Put a load on an upstream, after a warm-up of one request."""
        from twisted.internet import reactor

        running: Any = reactor
        self.upstream = ChaosUpstream(script, clock=running)
        url = await self.upstream.listen(reactor)
        self.addCleanup(self.upstream.stop)
        client = UpstreamClient(reactor)
        self.addCleanup(client.close)
        target = Target(f"{url}/chat/completions", {}, "drill", "Speak.", stream=stream)
        run = Bench(running, client, target, plan, warmup=1, number=1, watch=watch_nothing)
        return await run.run()

    async def test_closed_loop(self) -> None:
        """All is well: connections are kept, no prompt comes twice, tokens are told."""
        report = await self.load((), Plan(requests=40, connections=4))
        self.assertEqual((report.good, report.failed, report.partial), (40, 0, False))
        self.assertEqual(len(self.upstream.connections), 4)
        prompts = {seen.body["messages"][0]["content"] for seen in self.upstream.requests}
        self.assertEqual(len(prompts), 41)
        self.assertEqual(report.usage_told, 40)
        total = report.times["total"]
        self.assertTrue(0 < report.times["first token"].min <= total.min <= total.max)
        self.assertLess(total.max, report.duration)

    async def test_open_loop(self) -> None:
        """Requests come on schedule, though each answer takes longer than there is between two."""
        plan = Plan(requests=10, rate=50.0)
        report = await self.load({"faults": [], "pace": 0.01}, plan)
        self.assertEqual((report.good, report.failed), (10, 0))
        self.assertGreater(report.peak, 1)
        self.assertGreaterEqual(report.duration, 9 / 50)
        assert report.late is not None
        self.assertGreaterEqual(report.late.min, 0)

    async def test_bad_days(self) -> None:
        """Each way to fail has its kind; what the client repeats by itself is told."""
        unfinished = {"fault": "no_done", "end": "clean"}
        faults = ["none", 503, "rate_limit", "cut", unfinished, "error_inside", "empty", "reset"]
        report = await self.load(faults, Plan(requests=9))
        self.assertEqual((report.good, report.repeated), (3, 1))
        kinds = dict(report.failures)
        for kind in ("200 stream_cut", "200 no_done", "200 empty"):
            self.assertEqual(kinds.pop(kind, 0), 1)
        statuses = sorted(kind.split()[0] for kind in kinds)
        self.assertEqual(statuses, ["200", "429", "503"])

    async def test_whole_answers(self) -> None:
        """Whole answers have a total time alone."""
        report = await self.load((), Plan(requests=5), stream=False)
        self.assertEqual((report.good, list(report.times)), (5, ["total"]))


class CommandTests(ServersTestCase):
    """The command in a process of its own."""

    def command(self, *words: str, env: dict[str, str] | None = None) -> Server:
        """Start it."""
        variables = {"AUTH_TOKEN": f"{TOKEN},sk-other", **(env or {})}
        return self.spawn([sys.executable, "-c", COMMAND, *words], variables)

    async def test_demo(self) -> None:
        """A load on a server of ours: the model is its first, the key that of the environment."""
        server = await self.serve()
        command = self.command(server.url, "-n", "6", "-c", "3", "--prompt", "Hi.")
        self.assertEqual(await command.ended(30), 0, command.output)
        self.assertIn(f"demo/echo at {server.url}/v1, streams", command.output)
        self.assertIn("6 good, 0 failed", command.output)
        self.assertIn("first token", command.output)

        command = self.command(
            *(f"{server.url}/v1/", "-m", "demo/echo", "--no-stream", "--json"),
            *("--rate", "100", "-n", "7", "--warmup", "0"),
        )
        self.assertEqual(await command.ended(30), 0, command.output)
        data = json.loads(command.output)
        self.assertEqual((data["loop"], data["good"], data["failed"]), ("open", 7, 0))
        self.assertGreater(data["tokens_per_second"], 0)

    async def test_refused(self) -> None:
        """A wrong key, and a model that is not there, end it at once with one line."""
        server = await self.serve()
        for words, line in (
            (("-m", "nobody/none"), "(404 model_not_found)"),
            (("-m", "demo/echo", "--key", "wrong"), "(401 invalid_api_key)"),
            (("--key", "wrong"), "--key"),
        ):
            command = self.command(server.url, *words)
            self.assertEqual(await command.ended(30), 1)
            self.assertRegex(command.output, "\\Aaiproxy bench: [^\n]*\n\\Z")
            self.assertIn(line, command.output)

    async def test_nobody_there(self) -> None:
        """So does a port that is closed."""
        from twisted.internet import reactor

        running: Any = reactor
        listening = running.listenTCP(0, Factory(), interface="127.0.0.1")
        port = listening.getHost().port
        await listening.stopListening()
        command = self.command(f"127.0.0.1:{port}", "-m", "any")
        self.assertEqual(await command.ended(30), 1)
        self.assertIn("refused the connection (connection_failed)\n", command.output)

    async def test_failures(self) -> None:
        """Failures are in the report, and the status tells of them."""

        def respond(connection: SocketConnection) -> None:
            if len(upstream.requests) % 2:
                connection.write(HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(STREAM), STREAM))
            else:
                connection.write(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")

        upstream, port = self.upstream(respond)
        words = ("-m", "any", "-n", "10", "-c", "1")
        command = self.command(f"http://127.0.0.1:{port}", *words, env={"AUTH_TOKEN": ""})
        self.assertEqual(await command.ended(30), 1, command.output)
        self.assertNotIn(b"authorization", upstream.requests[0].lower())
        self.assertIn("5 good, 5 failed", command.output)
        self.assertIn("      5  500  the answer is an error", command.output)

    async def test_interrupted(self) -> None:
        """Ctrl-C ends it early, with a report of what there is."""

        def respond(connection: SocketConnection) -> None:
            if len(upstream.requests) < 6:
                connection.write(HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(STREAM), STREAM))
            else:
                silent.append(connection)
                if len(silent) == 2:
                    command.signal(signal.SIGINT)

        silent: list[SocketConnection] = []
        upstream, port = self.upstream(respond)
        words = ("-m", "any", "-n", "100", "-c", "2", "--warmup", "1")
        command = self.command(f"http://127.0.0.1:{port}", *words)
        self.assertEqual(await command.ended(30), 0, command.output)
        self.assertIn("4 requests in", command.output)
        self.assertIn("partial: stopped early, 2 requests broken off", command.output)

    async def test_interrupted_before_it_asks(self) -> None:
        """Ctrl-C while the server looks for its models ends it without a word."""
        _, port = self.upstream(lambda _: command.signal(signal.SIGINT))
        command = self.command(f"http://127.0.0.1:{port}")
        self.assertEqual(await command.ended(30), 130)
        self.assertEqual(command.output, "")

    async def test_no_models(self) -> None:
        """A server that lists no model is not asked for one, nor for a wildcard itself."""
        listed = b'{"data": [{"id": "up/*"}]}'
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(listed)
        _, port = self.upstream(lambda connection: connection.write(head + listed))
        command = self.command(f"http://127.0.0.1:{port}")
        self.assertEqual(await command.ended(30), 1)
        self.assertEqual(
            command.output, "aiproxy bench: the server lists no model: say one with -m\n"
        )

"""``aiproxy bench``: a small load test of an OpenAI-compatible server, this one or any other."""

from __future__ import annotations

import json
import math
import random
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, react

from aiproxy.terminal import INTERRUPTED
from aiproxy.terminal.api import Api, add_key_argument, connect
from aiproxy.terminal.chat_stream import ApiError
from aiproxy.terminal.load import FirstFailed, Load
from aiproxy.terminal.load_figures import Report, make_report
from aiproxy.terminal.load_plan import Client, Plan, Target
from aiproxy.terminal.load_report import dump_report, write_report
from aiproxy.transport.client import UpstreamClient

__all__ = ["Bench", "add_arguments", "run"]

_REQUESTS: Final = 200
_CONNECTIONS: Final = 8
_PROMPT: Final = "Write one sentence about the sea."
#: Idle connections that are kept: none is closed that an open loop has opened.
_MOST_CONNECTIONS: Final = 20_000
#: Drawing takes the generator's time.
_REDRAW_SECONDS: Final = 0.5
_COLUMNS: Final = 80

#: Shows how far a load is until its end.
Watch = Callable[[Load, str], AbstractContextManager[None]]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options, and what runs."""
    parser.add_argument("url", metavar="URL", help="the server, with or without /v1")
    parser.add_argument("-m", "--model", help="default: the first that the server lists")
    parser.add_argument(
        "-n", "--requests", type=_read_count, metavar="N", help=f"how many ({_REQUESTS})"
    )
    parser.add_argument(
        "--duration", type=_read_amount, metavar="SECONDS", help="start none after that"
    )
    loop = parser.add_mutually_exclusive_group()
    loop.add_argument(
        "-c",
        "--concurrency",
        type=_read_count,
        default=_CONNECTIONS,
        metavar="N",
        help=f"closed loop: connections, each asks anew when it has its answer ({_CONNECTIONS})",
    )
    loop.add_argument(
        "--rate",
        type=_read_amount,
        metavar="R",
        help="open loop: requests a second, on schedule whatever the server does; "
        "times count from when a request was due",
    )
    parser.add_argument(
        "--stream", action=BooleanOptionalAction, default=True, help="ask for streams (--stream)"
    )
    parser.add_argument(
        "--prompt", default=_PROMPT, metavar="TEXT", help="what is asked, after a number"
    )
    parser.add_argument("--max-tokens", type=_read_count, metavar="N", help="of an answer")
    parser.add_argument(
        "--warmup",
        type=_read_warmup,
        metavar="N",
        help="requests before, which are not counted (as many as -c)",
    )
    parser.add_argument(
        "--timeout",
        type=_read_amount,
        default=60.0,
        metavar="SECONDS",
        help="an answer that has not ended by then has failed (60)",
    )
    add_key_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(parsed: Namespace) -> int:
    """Run the load and print its report; 1 if any request has failed, or none has ended."""
    try:
        target = _find_target(connect(parsed), parsed)
    except ApiError as error:
        return _complain(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    plan = _make_plan(parsed)
    warmup = plan.connections if parsed.warmup is None else parsed.warmup
    number = random.SystemRandom().randrange(10**8, 10**9)

    async def main(reactor: Any) -> None:
        client = UpstreamClient(
            reactor, idle_per_origin=_MOST_CONNECTIONS, idle_total=_MOST_CONNECTIONS
        )
        bench = Bench(reactor, client, target, plan, warmup=warmup, number=number, watch=_watch)
        # Ctrl-C stops the reactor, which stops us first.
        reactor.addSystemEventTrigger("before", "shutdown", bench.stop)
        try:
            report = await bench.run()
        except FirstFailed as failed:
            raise SystemExit(_complain(failed)) from None
        _print(report, as_json=parsed.json)
        raise SystemExit(0 if report.good and not report.failed else 1)

    try:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
    except SystemExit as ended:
        return int(ended.code or 0)


class Bench:
    """
    A warm-up, and then the load that counts.

    :param warmup: requests before it; they prove that the server answers.
    :param number: the first request's.
    :param watch: shows how far each is.
    :param cpu: this process's CPU time in seconds.
    """

    def __init__(
        self,
        clock: IReactorTime,
        client: Client,
        target: Target,
        plan: Plan,
        *,
        warmup: int,
        number: int,
        watch: Watch,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        before = Plan(requests=warmup, connections=plan.connections, timeout=plan.timeout)
        self._loads = [
            Load(clock, client, target, before, number=number),
            Load(clock, client, target, plan, number=number + warmup, proven=warmup > 0),
        ]
        if not warmup:
            del self._loads[0]
        self._running = self._loads[0]
        self._watch = watch
        self._cpu = cpu

    async def run(self) -> Report:
        """
        Run all.

        :raises FirstFailed: the server does not answer well at all.
        """
        *_, last = self._loads
        for load in self._loads:
            self._running = load
            before = self._cpu()
            with self._watch(load, "load" if load is last else "warm-up"):
                await load.run()
            if load.stopped:
                last.stopped = True
                break
        return make_report(last, self._cpu() - before)

    def stop(self) -> None:
        """End early, with what there is."""
        self._running.stop()


# --- options ------------------------------------------------------------------------------


def _make_plan(parsed: Namespace) -> Plan:
    requests = parsed.requests
    if requests is None and parsed.duration is None:
        requests = _REQUESTS
    return Plan(requests, parsed.duration, parsed.concurrency, parsed.rate, parsed.timeout)


def _find_target(api: Api, parsed: Namespace) -> Target:
    model = parsed.model
    if model is None:
        # A wildcard stands for names that the server may not know.
        model = next((row.name for row in api.models() if not row.name.endswith("*")), None)
        if model is None:
            raise ApiError("the server lists no model: say one with -m")
    headers = {"content-type": "application/json"}
    if api.token is not None:
        headers["authorization"] = f"Bearer {api.token.reveal()}"
    return Target(
        url=f"{api.base_url}/chat/completions",
        headers=headers,
        model=model,
        prompt=parsed.prompt,
        stream=parsed.stream,
        max_tokens=parsed.max_tokens,
    )


def _read_count(text: str) -> int:
    return _read_whole(text, 1)


def _read_warmup(text: str) -> int:
    return _read_whole(text, 0)


def _read_whole(text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= least):
        raise ArgumentTypeError(f"must be a whole number from {least} on")
    return int(text)


def _read_amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not 0 < amount < math.inf:
        raise ArgumentTypeError("must be a number above 0")
    return amount


# --- the terminal ---------------------------------------------------------------------------


def _complain(error: Exception) -> int:
    print(f"aiproxy bench: {error}", file=sys.stderr)
    return 1


@contextmanager
def _watch(load: Load, name: str) -> Iterator[None]:
    """Draw a bar on standard error, where that is a terminal and rich is installed."""
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
    except ImportError:
        yield
        return
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:>7}"),
        BarColumn(),
        TextColumn("{task.fields[counts]}"),
    )
    with Progress(
        *columns,
        console=console,
        auto_refresh=False,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(name, total=1.0, counts="")

        def draw() -> None:
            failed = load.failures.total()
            counts = f"{load.finished:,} answers"
            if failed:
                counts += f", [red]{failed:,} failed[/red]"
            progress.update(task, completed=load.share, counts=counts, refresh=True)

        drawing = LoopingCall(draw)
        drawing.clock = load.clock
        drawing.start(_REDRAW_SECONDS)
        try:
            yield
        finally:
            drawing.stop()


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(dump_report(report)))
    elif not (sys.stdout.isatty() and _print_colored(report)):
        for line in write_report(report, _COLUMNS):
            print("".join(text for text, _ in line).rstrip())


def _print_colored(report: Report) -> bool:
    """Print in colors, if rich is installed."""
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        return False
    console = Console()
    for line in write_report(report, console.width):
        console.print(Text.assemble(*line), soft_wrap=True)
    return True

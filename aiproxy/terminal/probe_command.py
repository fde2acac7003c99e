"""
``aiproxy check --probe``: its options, its progress, and what it prints.

At a terminal with rich there are a progress bar and a table; elsewhere the
same is aligned text, or one JSON object a line.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from aiproxy.config.environment import read_environment
from aiproxy.config.schema import Config
from aiproxy.config.sources import Sources
from aiproxy.errors import AIProxyError
from aiproxy.terminal import INTERRUPTED
from aiproxy.terminal.probe import probe
from aiproxy.terminal.probe_questions import find_questions
from aiproxy.terminal.probe_report import (
    ProbeResult,
    make_table,
    write_plain,
    write_summary,
    write_trouble,
)

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["add_probe_arguments", "run_probe"]

#: So many that are waited for are named.
_FEW: Final = 3


def add_probe_arguments(parser: ArgumentParser) -> None:
    """Add the options of a probe; :func:`run_probe` reads them."""
    group = parser.add_argument_group("asking the upstreams")
    group.add_argument(
        "--probe", action="store_true", help="ask each model with each key one tiny question"
    )
    group.add_argument(
        "--probe-timeout",
        type=_read_seconds,
        default=20.0,
        metavar="SECONDS",
        help="for each answer (default: 20)",
    )
    group.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="these models; groq/* for all such"
    )
    group.add_argument("--images", action="store_true", help="ask for images too, which cost money")
    group.add_argument("--json", action="store_true", help="print one JSON object for each answer")


def _read_seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ArgumentTypeError("must be more than 0")
    return seconds


def run_probe(config: Config, options: Namespace) -> int:
    """
    Ask, and print what comes of it; it runs the reactor, which can be done once.

    :param options: those of :func:`add_probe_arguments`, and perhaps ``env_file``.
    :return: the exit status: 0 if all that was asked has answered, 2 if a
        model is not known, 130 after Ctrl-C.
    """
    try:
        questions = find_questions(config, only=options.only, images=options.images)
    except ValueError as error:
        print(f"aiproxy check: --only: {error}", file=sys.stderr)
        return 2
    file = getattr(options, "env_file", None)
    variables = read_environment(os.environ, file, Path(), Sources())[0].variables
    results: list[ProbeResult] = []
    with _progress([one.candidate.name for one in questions], options) as advance:

        def told(result: ProbeResult) -> None:
            results.append(result)
            advance(result)

        def start(reactor: Any) -> Coroutine[Any, Any, object]:
            return probe(
                config,
                reactor,
                questions,
                seconds=options.probe_timeout,
                told=told,
                variables=variables,
            )

        try:
            whole = _run(start)
        except AIProxyError as error:
            print(f"aiproxy check: {error.message}", file=sys.stderr)
            return 1
    order = {(one.candidate.name, one.key): place for place, one in enumerate(questions)}
    results.sort(key=lambda one: order[one.model, one.key])
    _print(results, options)
    if not whole:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return 1 if any(one.outcome == "failed" for one in results) else 0


def _run(start: Callable[[Any], Coroutine[Any, Any, object]]) -> bool:
    """Run the reactor until it is done; return whether it is, for Ctrl-C may have ended it."""
    from twisted.internet import reactor

    running: Any = reactor
    asking: Deferred[object] = Deferred()
    results: list[object] = []
    stopping = False

    def begin() -> None:
        nonlocal asking
        asking = Deferred.fromCoroutine(start(running))
        asking.addBoth(end)

    def end(result: object) -> None:
        results.append(result)
        if not stopping:
            running.stop()

    def stop() -> Deferred[object]:
        nonlocal stopping
        stopping = True
        asking.cancel()
        return asking

    running.callWhenRunning(begin)
    running.addSystemEventTrigger("before", "shutdown", stop)
    running.run()
    [result] = results
    if not isinstance(result, Failure):
        return True
    if result.check(CancelledError) is None:
        result.raiseException()
    return False


@contextmanager
def _progress(waiting: list[str], options: Namespace) -> Iterator[Callable[[ProbeResult], None]]:
    """Give what is told of each result: to a bar at a terminal, or as JSON at once."""
    if options.json:
        yield lambda result: print(result.write_json(), flush=True)
        return
    console = _find_console(sys.stderr)
    if console is None:
        yield lambda result: None
        return
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("Asking"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=len(waiting))

        def advance(result: ProbeResult) -> None:
            waiting.remove(result.model)
            last = ", ".join(dict.fromkeys(waiting)) if len(waiting) <= _FEW else ""
            bar.update(task, advance=1, description=escape(last))

        yield advance


def _print(results: Sequence[ProbeResult], options: Namespace) -> None:
    """Print all but what was printed at once."""
    if options.json:
        print(write_summary(results), file=sys.stderr)
        return
    console = _find_console(sys.stdout)
    if console is None:
        for line in write_plain(results):
            print(line)
        for trouble, hint in write_trouble(results):
            print(trouble)
            if hint:
                print(f"  {hint}")
    else:
        _print_rich(console, results)
    print(write_summary(results))


def _print_rich(console: Console, results: Sequence[ProbeResult]) -> None:
    from rich.text import Text

    console.print(make_table(results, console.width))
    for trouble, hint in write_trouble(results):
        console.print(Text.assemble(("✗ ", "bold red"), trouble))
        if hint:
            console.print(Text.assemble("  ", ("→ ", "yellow"), (hint, "yellow")))


def _find_console(stream: TextIO) -> Console | None:
    """Return rich's console for a terminal; ``None`` for anything else, or without rich."""
    try:
        from rich.console import Console
    except ImportError:
        return None
    return Console(file=stream, highlight=False) if stream.isatty() else None

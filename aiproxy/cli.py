"""``aiproxy``: the command for people who don't know twistd."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

__all__ = ["main"]

_HEALTH_SECONDS = 5.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["run"]:
        # Its options are twistd's to read, so that there is one list of them.
        return _run(words[1:])
    parsed = _parser(words[0] if words else "").parse_args(words)
    status: int = parsed.run(parsed)
    return status


def _parser(asked: str) -> argparse.ArgumentParser:
    """
    Make the parser of all commands.

    :param asked: the command whose options are wanted; what the others need is
        not even imported, for some bring the reactor and more along.
    """
    from aiproxy import __version__

    parser = argparse.ArgumentParser(
        prog="aiproxy", description="OpenAI's HTTP API in front of every AI provider."
    )
    parser.add_argument("--version", action="version", version=f"aiproxy {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, (words, add) in _COMMANDS.items():
        command = commands.add_parser(name, help=words, add_help=name != "run")
        if name == asked:
            add(command)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    """Nothing: see :func:`main`."""


def _add_check(parser: argparse.ArgumentParser) -> None:
    from aiproxy.terminal.probe_command import add_probe_arguments

    parser.add_argument("-c", "--config", metavar="FILE", help="configuration file (YAML)")
    parser.add_argument("-e", "--env-file", metavar="FILE", help="file with environment variables")
    add_probe_arguments(parser)
    parser.set_defaults(run=_check)


def _add_health(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url", nargs="?", metavar="URL", help="default: http://127.0.0.1:$PORT/health/ready"
    )
    parser.set_defaults(run=_health)


def _add_key(parser: argparse.ArgumentParser) -> None:
    from aiproxy.client_keys import add_key_commands

    add_key_commands(parser)


def _add_chat(parser: argparse.ArgumentParser) -> None:
    from aiproxy.terminal.chat import add_arguments

    add_arguments(parser)


def _add_models(parser: argparse.ArgumentParser) -> None:
    from aiproxy.terminal.models import add_arguments

    add_arguments(parser)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    from aiproxy.terminal.bench import add_arguments

    add_arguments(parser)


def _add_convert(parser: argparse.ArgumentParser) -> None:
    from aiproxy.convert.command import add_arguments

    add_arguments(parser)


#: What each is for, and what adds its options.
_COMMANDS: Final[Mapping[str, tuple[str, Callable[[argparse.ArgumentParser], None]]]] = {
    "run": ("start the server in the foreground", _add_run),
    "check": ("validate the configuration, show what it comes to, ask the upstreams", _add_check),
    "health": ("ask a server whether it is ready", _add_health),
    "key": ("make a key for a client, or the hash of one", _add_key),
    "chat": ("talk with a model", _add_chat),
    "models": ("list what a server offers", _add_models),
    "bench": ("put a server under load, and tell how fast it is", _add_bench),
    "convert": ("make a configuration out of LiteLLM's", _add_convert),
}


def _run(options: list[str]) -> int:
    from twisted.python.usage import UsageError
    from twisted.scripts import twistd

    from aiproxy.tap import Options

    parsed = Options()
    parsed.synopsis = "Usage: aiproxy run [options]"
    try:
        parsed.parseOptions(options)  # type: ignore[no-untyped-call]
    except UsageError as error:
        why = str(error).removeprefix("Parameter type enforcement failed: ")
        print(f"aiproxy run: {why}; see aiproxy run --help", file=sys.stderr)
        return 2
    sys.argv = ["twistd", "-n", "--pidfile=", "aiproxy", *options]
    twistd.run()
    return 0


def _check(parsed: argparse.Namespace) -> int:
    from twisted.internet import reactor

    from aiproxy.config.load import load
    from aiproxy.config.report import describe
    from aiproxy.errors import ConfigurationError
    from aiproxy.proxy import Proxy
    from aiproxy.terminal.chat_stream import printable

    try:
        loaded = load(parsed.config, env_file=parsed.env_file)
        Proxy(loaded.config, reactor)  # Opens nothing, and says what adapters cannot use.
    except ConfigurationError as error:
        for problem in error.problems:
            print(printable(str(problem)), file=sys.stderr)
        return 1
    failed = 0
    if parsed.probe:
        from aiproxy.terminal.probe_command import run_probe

        failed = run_probe(loaded.config, parsed)
    else:
        print(printable(f"configuration: {loaded.file or 'none, the built-in one'}"))
        print(printable(f"environment: {loaded.env_file or 'the process alone, no .env'}"))
        print(printable(describe(loaded.config, datetime.now(UTC))), end="")
    for warning in loaded.warnings:
        print(printable(str(warning)), file=sys.stderr)
    return failed or (1 if loaded.warnings else 0)


def _health(parsed: argparse.Namespace) -> int:
    url = parsed.url or f"http://127.0.0.1:{_own_port()}"
    if "://" not in url:
        url = f"http://{url}"
    if urlsplit(url).path in ("", "/"):
        url = f"{url.rstrip('/')}/health/ready"
    try:
        with urlopen(Request(url), timeout=_HEALTH_SECONDS) as answer:
            print(f"{url}: {answer.status}")
            return 0
    except HTTPError as error:
        with error:
            print(f"{url}: {error.code}", file=sys.stderr)
    except (URLError, OSError, ValueError) as error:
        print(f"{url}: {getattr(error, 'reason', error)}", file=sys.stderr)
    return 1


def _own_port() -> int:
    """Return ``PORT`` as a server that is started in this folder reads it, from ``.env`` too."""
    from aiproxy.config.environment import read_environment, read_settings
    from aiproxy.config.sources import Sources

    environment, _ = read_environment(os.environ, None, Path.cwd(), Sources())
    settings, _ = read_settings(environment)
    return settings.port

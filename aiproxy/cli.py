"""``aiproxy``: the command for people who don't know twistd."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
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
    parsed = _parser().parse_args(words)
    status: int = parsed.run(parsed)
    return status


def _parser() -> argparse.ArgumentParser:
    from aiproxy import __version__
    from aiproxy.client_keys import add_key_commands

    parser = argparse.ArgumentParser(
        prog="aiproxy", description="OpenAI's HTTP API in front of every AI provider."
    )
    parser.add_argument("--version", action="version", version=f"aiproxy {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    commands.add_parser("run", help="start the server in the foreground", add_help=False)
    check = commands.add_parser(
        "check", help="validate the configuration and show what it comes to"
    )
    check.add_argument("-c", "--config", metavar="FILE", help="configuration file (YAML)")
    check.add_argument("-e", "--env-file", metavar="FILE", help="file with environment variables")
    check.set_defaults(run=_check)
    health = commands.add_parser("health", help="ask a server whether it is ready")
    health.add_argument(
        "url", nargs="?", metavar="URL", help="default: http://127.0.0.1:$PORT/health/ready"
    )
    health.set_defaults(run=_health)
    key = commands.add_parser("key", help="make a key for a client, or the hash of one")
    add_key_commands(key)
    return parser


def _run(options: list[str]) -> int:
    from twisted.python.usage import UsageError
    from twisted.scripts import twistd

    from aiproxy.tap import Options

    parsed = Options()
    parsed.synopsis = "Usage: aiproxy run [options]"
    try:
        parsed.parseOptions(options)  # type: ignore[no-untyped-call]
    except UsageError as error:
        print(f"aiproxy run: {error}; see aiproxy run --help", file=sys.stderr)
        return 2
    sys.argv = ["twistd", "-n", "--pidfile=", "aiproxy", *options]
    twistd.run()
    return 0


def _check(parsed: argparse.Namespace) -> int:
    from aiproxy.config.load import load
    from aiproxy.config.report import describe
    from aiproxy.errors import ConfigurationError

    try:
        loaded = load(parsed.config, env_file=parsed.env_file)
    except ConfigurationError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return 1
    print(describe(loaded.config, datetime.now(UTC)), end="")
    for warning in loaded.warnings:
        print(warning, file=sys.stderr)
    return 1 if loaded.warnings else 0


def _health(parsed: argparse.Namespace) -> int:
    url = parsed.url or f"http://127.0.0.1:{os.environ.get('PORT') or 8080}"
    if urlsplit(url).path in ("", "/"):
        url = f"{url.rstrip('/')}/health/ready"
    try:
        with urlopen(Request(url), timeout=_HEALTH_SECONDS) as answer:
            print(f"{url}: {answer.status}")
            return 0
    except HTTPError as error:
        print(f"{url}: {error.code}", file=sys.stderr)
    except (URLError, OSError, ValueError) as error:
        print(f"{url}: {getattr(error, 'reason', error)}", file=sys.stderr)
    return 1

"""``aiproxy key``: makes a client's key; only its hash goes into the configuration."""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiproxy.config.secret import Secret, read_secret

__all__ = ["add_key_commands"]

_LIMITS: Final = (
    "requests_per_minute",
    "requests_per_hour",
    "requests_per_day",
    "tokens_per_minute",
    "max_concurrent",
)
#: What YAML takes for a text without quotes, whatever its version.
_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*(?<!:)")
_HASH_OR_DATE: Final = re.compile(r"sha256:[0-9a-f]{64}|[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NO_TEXT: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})


def add_key_commands(parser: argparse.ArgumentParser) -> None:
    """Add ``new`` and ``hash``."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    new = commands.add_parser("new", help="make a token, and its entry for `keys:`")
    new.add_argument("--name", type=_read_name, default="client", help="what logs call it")
    new.add_argument(
        "--models", type=_read_names, metavar="A,B", help="models and groups it may use; `x/*` too"
    )
    new.add_argument("--expires", type=_read_end, metavar="WHEN", help="2030-01-31, or 90d")
    new.add_argument("--json", action="store_true", help="print one JSON object")
    for limit in _LIMITS:
        flag = f"--{limit.replace('_', '-')}"
        new.add_argument(flag, dest=limit, type=_read_count, metavar="N", help="its limit")
    new.set_defaults(run=_new)
    told = commands.add_parser("hash", help="read a token from standard input, print its hash")
    told.set_defaults(run=_hash)


def _new(parsed: argparse.Namespace) -> int:
    token = f"sk-aiproxy-{secrets.token_urlsafe(32)}"
    entry: dict[str, Any] = {"name": parsed.name, "hash": _write_hash(Secret(token))}
    if parsed.models:
        entry["models"] = parsed.models
    if parsed.expires is not None:
        entry["expires"] = parsed.expires
    entry |= {limit: value for limit in _LIMITS if (value := getattr(parsed, limit))}
    if parsed.json:
        print(json.dumps({"token": token, "entry": entry}))
        return 0
    print(token, flush=True)
    print("Give it to the client; it is shown this once.  Under `keys:`:\n", file=sys.stderr)
    print("\n".join(_write_yaml(entry)), file=sys.stderr)
    return 0


def _hash(parsed: argparse.Namespace) -> int:
    try:
        print(_write_hash(read_secret(sys.stdin.read())))
    except ValueError as error:
        print(f"the token {error}", file=sys.stderr)
        return 1
    return 0


def _write_hash(token: Secret) -> str:
    return f"sha256:{token.digest.hex()}"


def _write_yaml(entry: dict[str, Any]) -> Iterator[str]:
    for place, (name, value) in enumerate(entry.items()):
        text = f"[{', '.join(map(_quote, value))}]" if isinstance(value, list) else _quote(value)
        yield f"  {'  ' if place else '- '}{name}: {text}"


def _quote(value: object) -> str:
    text = str(value)
    if not isinstance(value, str) or _HASH_OR_DATE.fullmatch(text):
        return text
    if _PLAIN.fullmatch(text) and text.lower() not in _NO_TEXT:
        return text
    return json.dumps(text, ensure_ascii=False)


def _read_name(text: str) -> str:
    text = text.strip()
    if not (text and text.isprintable()):
        raise argparse.ArgumentTypeError("must be a name, on one line")
    return text.replace("$", "$$")  # the configuration expands ${NAME}


def _read_names(text: str) -> list[str]:
    return [_read_name(name) for name in text.split(",")]


def _read_count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,15}", text) or not int(text):
        raise argparse.ArgumentTypeError("must be a whole number from 1 to 999999999999999")
    return int(text)


def _read_end(text: str) -> str:
    days = re.fullmatch(r"([0-9]{1,5})d", text)
    if days is not None:
        end = datetime.now(UTC) + timedelta(days=int(days[1]))
        return end.date().isoformat()
    try:
        end = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("must be a date such as 2030-01-31, or 90d") from None
    if (end if end.tzinfo else end.replace(tzinfo=UTC)) <= datetime.now(UTC):
        raise argparse.ArgumentTypeError("must not be over already")
    return text

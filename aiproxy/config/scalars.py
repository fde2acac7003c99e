"""
The kinds of single values: how each is read, and what is said of one that is wrong.

No message shows the value: it could be a secret that stands in the wrong place.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Generic, TypeVar

from attrs import frozen

from aiproxy.config.reading import Place, Reading, missing_variables, nearest
from aiproxy.config.secret import Secret, read_secret
from aiproxy.config.tree import ListNode, MapNode, Node, Scalar
from aiproxy.wire.durations import read_duration, read_size, write_duration, write_size
from aiproxy.wire.urls import origin, read_url

T = TypeVar("T")

_PERCENTILE = re.compile(r"p([1-9][0-9]?)")


def type_name(node: Node) -> str:
    """Say what a node is, without showing it."""
    if isinstance(node, ListNode):
        return "a list"
    if isinstance(node, MapNode):
        return "a mapping"
    value = node.value
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return "text" if isinstance(value, str) else "a date"


def is_nothing(node: Node) -> bool:
    """A key without a value, or with an empty text, is a key that is not set."""
    return isinstance(node, Scalar) and not node.missing and node.value in (None, "")


@frozen
class ScalarKind(Generic[T]):
    """A single value, read by a function that raises ValueError with what is wrong."""

    name: str
    convert: Callable[[Scalar], T]

    def read(self, node: Node, place: Place, reading: Reading) -> T | None:
        if not isinstance(node, Scalar):
            reading.problem(place, f"must be {self.name}, not {type_name(node)}")
            return None
        if node.missing:
            reading.problem(place, missing_variables(node.missing))
            return None
        if is_nothing(node):
            reading.problem(place, f"must be {self.name}, not nothing")
            return None
        try:
            return self.convert(node)
        except ValueError as error:
            reading.problem(place, str(error))
            return None


def text_of(node: Scalar) -> str:
    """
    Return the text of a scalar.

    Numbers and dates are taken as they are written, as the Go proxy does, and
    what a variable holds is always text; but a bare ``true`` or ``no`` where a
    text belongs is a mistake.
    """
    if isinstance(node.value, bool) and not node.expanded:
        raise ValueError("must be text, not true or false; quote it if it is meant")
    return node.text


def _wrong(expected: str, node: Scalar) -> ValueError:
    return ValueError(f"must be {expected}, not {type_name(node)}")


def _boolean(node: Scalar) -> bool:
    if isinstance(node.value, bool):
        return node.value
    raise _wrong("true or false", node)


def _whole_number(node: Scalar) -> int:
    if isinstance(node.value, int) and not isinstance(node.value, bool):
        return node.value
    raise _wrong("a whole number", node)


def _count(node: Scalar) -> int:
    number = _whole_number(node)
    if number < 0:
        raise ValueError("must not be negative")
    if number > 10**15:
        raise ValueError("is too large")
    return number


def _positive_count(node: Scalar) -> int:
    number = _count(node)
    if number == 0:
        raise ValueError("must be greater than 0")
    return number


def _number(node: Scalar) -> float:
    if isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        if not -1e15 < node.value < 1e15:  # also refuses .nan
            raise ValueError("is too large")
        return float(node.value)
    raise _wrong("a number", node)


def _weight(node: Scalar) -> float:
    number = _number(node)
    if number <= 0:
        raise ValueError("must be greater than 0")
    return number


def _fraction(node: Scalar) -> float:
    number = _number(node)
    if not 0 <= number <= 1:
        raise ValueError("must be between 0 and 1")
    return number


def _duration(node: Scalar) -> float:
    return read_duration(node.value if not isinstance(node.value, str) else node.text)


def _lateness(node: Scalar) -> float | str:
    if isinstance(node.value, str) and _PERCENTILE.fullmatch(node.value):
        return node.value
    try:
        return _positive_duration(node)
    except ValueError:
        raise ValueError("must be a time such as 500ms, or a percentile such as p95") from None


def _positive_duration(node: Scalar) -> float:
    seconds = _duration(node)
    if seconds == 0:
        raise ValueError("must be longer than 0s")
    return seconds


def _seconds(node: Scalar) -> float:
    return read_duration(node.value, bare_seconds=True)


def _size(node: Scalar) -> int:
    return read_size(node.value)


def _positive_size(node: Scalar) -> int:
    size = _size(node)
    if size == 0:
        raise ValueError("must be larger than 0")
    return size


def _text(node: Scalar) -> str:
    text = text_of(node)
    if any(not letter.isprintable() for letter in text):
        raise ValueError("must not hold line breaks or control characters")
    return text


def _url(node: Scalar) -> str:
    return read_url(text_of(node))


def _cors_origin(node: Scalar) -> str:
    text = text_of(node)
    if text == "*":
        return text
    if origin(read_url(text)) != text.lower():
        raise ValueError("must be an origin such as https://app.example.com, without a path")
    return text.lower()


def _network(node: Scalar) -> str:
    try:
        return str(ipaddress.ip_network(text_of(node), strict=False))
    except ValueError:
        raise ValueError("must be an address or a network such as 10.0.0.0/8") from None


def _moment(node: Scalar) -> datetime:
    try:
        value = datetime.fromisoformat(node.text) if isinstance(node.value, str) else node.value
    except ValueError:
        value = None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, date):
        return datetime.combine(value, time(), UTC)
    raise ValueError("must be a date or a time such as 2030-01-31 or 2030-01-31T12:00:00Z")


def _sha256(node: Scalar) -> bytes:
    match = re.fullmatch("sha256:([0-9A-Fa-f]{64})", text_of(node))
    if match is None:
        raise ValueError("must be `sha256:` and the 64 hex digits of the token's SHA-256")
    return bytes.fromhex(match[1])


def choice(*values: str, any_case: bool = False) -> ScalarKind[str]:
    """One of a few words; ``any_case``: they are in capitals, but need not be written so."""
    listed = f"{', '.join(values[:-1])} or {values[-1]}"

    def convert(node: Scalar) -> str:
        text = text_of(node)
        if (text.upper() if any_case else text) in values:
            return text.upper() if any_case else text
        written = node.written.upper() if any_case else node.written
        raise ValueError(f"must be {listed}{nearest(written, values)}")

    return ScalarKind(listed, convert)


boolean = ScalarKind("true or false", _boolean)
count = ScalarKind("a whole number", _count)
positive_count = ScalarKind("a whole number above 0", _positive_count)
weight = ScalarKind("a number above 0", _weight)
fraction = ScalarKind("a number from 0 to 1", _fraction)
duration = ScalarKind("a duration", _duration)
positive_duration = ScalarKind("a duration above 0", _positive_duration)
#: Seconds, or a percentile of what was seen, as it is written.
lateness = ScalarKind("a duration above 0, or a percentile such as p95", _lateness)
seconds = ScalarKind("a number of seconds", _seconds)
size = ScalarKind("a size", _size)
positive_size = ScalarKind("a size above 0", _positive_size)
text = ScalarKind("text", _text)
url = ScalarKind("a URL", _url)
cors_origin = ScalarKind("an origin", _cors_origin)
network = ScalarKind("a network", _network)
moment = ScalarKind("a date or time", _moment)
sha256 = ScalarKind("a SHA-256", _sha256)


def write_value(kind: object, value: object) -> str:
    """Write a value as the file would have it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)) and kind in (duration, positive_duration):
        return write_duration(value)
    if isinstance(value, int) and kind is positive_size:
        return write_size(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, tuple):
        return f"[{', '.join(value)}]"
    return "none" if value is None else str(value)


@frozen
class MissingSecret:
    """A token that refers to variables which are not set."""

    variables: tuple[str, ...]


@frozen
class SecretKind:
    """A secret, or the name of the file that holds it."""

    name: str = "a token"

    def read(self, node: Node, place: Place, reading: Reading) -> Secret | None:
        def convert(scalar: Scalar) -> Secret:
            text = text_of(scalar)
            return read_secret(text) if reading.secrets is None else reading.secrets.read(text)

        return ScalarKind(self.name, convert).read(node, place, reading)


secret = SecretKind()


@frozen
class TokenKind:
    """
    A provider's key: where its variable is missing, that is for the resolver to judge.

    Nothing and the empty text mean that there is no key here, as in the Go proxy.
    """

    name: str = "a token"

    def read(self, node: Node, place: Place, reading: Reading) -> Secret | MissingSecret | None:
        if isinstance(node, Scalar):
            if node.missing:
                return MissingSecret(node.missing)
            if not node.text.strip():
                return None
        return secret.read(node, place, reading)


token = TokenKind()

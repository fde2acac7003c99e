"""What a probe tells of each upstream: a result, what can be done about it, tables and lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import asdict, frozen

from aiproxy.errors import (
    AIProxyError,
    ConnectFailed,
    UpstreamAuthFailed,
    UpstreamModelNotFound,
    UpstreamRateLimited,
    UpstreamTimeout,
)
from aiproxy.policy.routing import Candidate
from aiproxy.wire.urls import without_credentials

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "ProbeResult",
    "find_hint",
    "first_line",
    "make_table",
    "write_plain",
    "write_summary",
    "write_trouble",
]

_LINE_CHARACTERS: Final = 200
#: What an error is called whose upstream has said nothing more exact.
_NO_CODE: Final = "upstream_error"
#: Columns that a narrow terminal does without, first one first; of keys it has the number.
_SPARED: Final = ("Connect", "Tokens", "Provider", "Key", "First")
_STYLES: Final[Mapping[str, str]] = {"ok": "green", "failed": "bold red", "not asked": "dim"}
_RIGHT: Final = frozenset({"Connect", "First", "Total", "Tokens"})


@frozen
class ProbeResult:
    """
    What became of one question.  Seconds count from its beginning.

    :param key: the key's number, from 1, where the model has several.
    :param fingerprint: the key's, as ``aiproxy check`` shows it.
    :param outcome: ``ok``, ``failed`` or ``not asked``.
    :param message: why it is not ``ok``; one line.
    :param status: the HTTP status that the upstream answered with, of an error.
    :param hint: what the operator can do.
    :param first_token_seconds: of a stream.
    :param tokens: what the question has cost, both ways, where it is told.
    :param models: how many the provider of a wildcard lists.
    """

    model: str
    provider: str
    outcome: str
    key: int | None = None
    fingerprint: str | None = None
    message: str | None = None
    type: str | None = None
    status: int | None = None
    code: str | None = None
    hint: str | None = None
    connect_seconds: float | None = None
    first_token_seconds: float | None = None
    total_seconds: float | None = None
    tokens: int | None = None
    models: int | None = None

    @property
    def verdict(self) -> str:
        """The outcome in a few words."""
        if self.outcome == "not asked":
            return f"not asked ({(self.message or '').partition(':')[0]})"
        if self.outcome == "failed":
            code = self.code or self.type or _NO_CODE
            words = "failed" if code == _NO_CODE else code.removeprefix("upstream_")
            return f"{self.status or ''} {words.replace('_', ' ')}".strip()
        if self.models is None:
            return "ok"
        return f"ok, {self.models:,} model{'s' * (self.models != 1)}"

    @property
    def key_name(self) -> str:
        """Which key, masked."""
        return "" if self.key is None else f"#{self.key} {self.fingerprint}"

    def write_json(self) -> str:
        """Write it in one line; times are rounded to milliseconds."""
        told = {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }
        return json.dumps(told)


# --- what is told of errors ---------------------------------------------------------


def first_line(text: str) -> str:
    """Return the first line that says something: printable, and not too long."""
    lines = (
        "".join(one if one.isprintable() else " " for one in line) for line in text.splitlines()
    )
    line = next((line.strip() for line in lines if line.strip()), "")
    return line if len(line) <= _LINE_CHARACTERS else f"{line[: _LINE_CHARACTERS - 1]}…"


def find_hint(
    error: AIProxyError, candidate: Candidate, environment: Mapping[str, str]
) -> str | None:
    """
    Say what the operator can do about an error, if anything.

    :param environment: where the key may be from.
    """
    model = candidate.model
    place = without_credentials(model.url or model.base_url or "")
    if isinstance(error, UpstreamAuthFailed):
        return _key_hint(candidate, environment)
    if isinstance(error, UpstreamModelNotFound):
        if candidate.name == model.name and model.wildcard:
            return f"{model.provider} has no list of models at {place}; ask one by --only NAME"
        return f"{model.provider} has no model {candidate.upstream_model}, or is not at {place}"
    if isinstance(error, UpstreamTimeout):
        return "--probe-timeout SECONDS waits longer"
    if isinstance(error, ConnectFailed):
        return f"{model.provider} was asked at {place}"
    if isinstance(error, UpstreamRateLimited) and error.retry_after is not None:
        return f"it may be asked again in {error.retry_after:.0f} s"
    return None


def _key_hint(candidate: Candidate, environment: Mapping[str, str]) -> str:
    provider, token = candidate.model.provider, candidate.token
    if token is None:
        return f"{provider} wants a key, and the configuration has none"
    named = sorted(name for name in environment if environment[name].strip() == token.reveal())
    if named:
        return f"the key in {' or '.join(named)} is refused"
    return f"the key {token.fingerprint} of {provider} is refused"


# --- tables and lines ---------------------------------------------------------------


def _columns(results: Sequence[ProbeResult], width: int | None = None) -> dict[str, list[str]]:
    """Return the cells of each column that tells anything, as far as there is room."""
    columns = {
        "Model": [one.model for one in results],
        "Provider": [one.provider for one in results],
        "Key": [one.key_name for one in results],
        "Result": [one.verdict for one in results],
        "Connect": [_seconds(one.connect_seconds) for one in results],
        "First": [_seconds(one.first_token_seconds) for one in results],
        "Total": [_seconds(one.total_seconds) for one in results],
        "Tokens": ["" if one.tokens is None else f"{one.tokens:,}" for one in results],
    }
    if all(one.model.startswith(f"{one.provider}/") for one in results):
        del columns["Provider"]
    columns = {name: cells for name, cells in columns.items() if any(cells)}
    for name in _SPARED:
        if width is not None and _find_width(columns) > width:
            if name == "Key" and name in columns:
                columns[name] = [cell.partition(" ")[0] for cell in columns[name]]
            else:
                columns.pop(name, None)
    return columns


def _find_width(columns: Mapping[str, Sequence[str]]) -> int:
    """Return how wide a table is, with what stands about its columns."""
    return 1 + sum(3 + max(map(len, (name, *cells))) for name, cells in columns.items())


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.0f} ms"


def make_table(results: Sequence[ProbeResult], width: int) -> Table:
    """
    Lay results out; needs rich.

    :param width: of the terminal, in characters.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", padding=(0, 1))
    columns = _columns(results, width)
    for name in columns:
        right = name in _RIGHT
        table.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for result, *cells in zip(results, *columns.values(), strict=True):
        style = _STYLES[result.outcome]
        styles = {"Model": "dim" if result.outcome == "not asked" else "bold", "Result": style}
        table.add_row(
            *(
                Text(cell, style=styles.get(name, "cyan" if name == "Key" else ""))
                for name, cell in zip(columns, cells, strict=True)
            )
        )
    return table


def write_plain(results: Sequence[ProbeResult]) -> list[str]:
    """Lay results out as aligned lines."""
    columns = []
    for name, cells in _columns(results).items():
        width = max(map(len, (name, *cells)))
        pad = str.rjust if name in _RIGHT else str.ljust
        columns.append([pad(cell, width) for cell in (name, *cells)])
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]


def write_trouble(results: Sequence[ProbeResult]) -> Iterator[tuple[str, str]]:
    """Give what failed, each with what can be done: a sentence, or nothing."""
    for one in results:
        if one.outcome == "failed":
            what = " ".join(str(part) for part in (one.status, one.code or one.type) if part)
            name = f"{one.model} {one.key_name}".rstrip()
            yield f"{name}: {what}: {one.message}", one.hint or ""


def write_summary(results: Sequence[ProbeResult]) -> str:
    """Say in one line how it went."""
    asked = [one for one in results if one.outcome != "not asked"]
    answered = [one for one in asked if one.outcome == "ok"]
    parts = [f"{len(answered)} of {len(asked)} upstream{'s' * (len(asked) != 1)} answered"]
    timed = [
        (one.first_token_seconds, one.model)
        for one in answered
        if one.first_token_seconds is not None
    ]
    if timed:
        seconds, model = min(timed)
        parts.append(f"fastest {model} {_seconds(seconds)}")
    if len(asked) < len(results):
        parts.append(f"{len(results) - len(asked)} not asked")
    return "; ".join(parts)

"""The tables: what each workload shows of each target, beside nginx and the stock stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from attrs import frozen

from bench.figures import Figures
from bench.table import format_number, format_table

#: Of one workload: each target's figures, by its name.
Measured = Mapping[str, Figures]

_NAN = float("nan")


@frozen
class Column:
    """
    One column of a workload's table.

    :param show: takes a target's figures and everybody's.
    """

    title: str
    show: Callable[[Figures, Measured], str]


def _figure(title: str, name: str, scale: float = 1.0) -> Column:
    return Column(title, lambda own, _: format_number(own.get(name, _NAN) * scale))


def ratio(own: Figures, measured: Measured, base: str, name: str) -> float:
    """Divide a figure by that of another target; NaN where either is unknown."""
    divisor = measured.get(base, {}).get(name, _NAN)
    return own.get(name, _NAN) / divisor if divisor else _NAN


def added(own: Figures, measured: Measured) -> float:
    """Tell the seconds at the median that the upstream, asked directly, does not take."""
    return own.get("p50", _NAN) - measured.get("direct", {}).get("p50", _NAN)


def _ratio(title: str, base: str, name: str) -> Column:
    return Column(title, lambda own, all_: format_number(ratio(own, all_, base, name)))


def _by_cpu(name: str) -> Column:
    """On a busy machine this ratio says more than that of the rates."""
    return Column("by CPU", lambda own, all_: format_number(1 / ratio(own, all_, "nginx", name)))


_P50, _P99 = _figure("p50, ms", "p50", 1e3), _figure("p99, ms", "p99", 1e3)
_ERRORS = _figure("errors", "errors")
_CPU = _figure("CPU, µs/request", "cpu", 1e6)
_REQUESTS = (
    _figure("requests/s", "rate"),
    _ratio("of nginx", "nginx", "rate"),
    _by_cpu("cpu"),
    _ratio("of the bare stack", "stock", "rate"),
    _CPU,
    _P50,
    _P99,
    _ERRORS,
)
_TRANSLATED = (
    _figure("events/s", "events_rate"),
    _figure("CPU, µs/event", "cpu_event", 1e6),
    _P50,
    _P99,
    _ERRORS,
)
_PASSED = (
    _TRANSLATED[0],
    _ratio("of nginx", "nginx", "events_rate"),
    _by_cpu("cpu_event"),
    *_TRANSLATED[1:],
)
_SINGLE = (
    _figure("p50, µs", "p50", 1e6),
    Column("added p50, µs", lambda own, all_: format_number(added(own, all_) * 1e6)),
    _figure("p99, µs", "p99", 1e6),
    _CPU,
    _ERRORS,
)

COLUMNS: Mapping[str, Sequence[Column]] = {
    "plain": _REQUESTS,
    "single": _SINGLE,
    "image": _REQUESTS,
    "stream": _PASSED,
    "gemini": _TRANSLATED,
    "anthropic": _TRANSLATED,
    "paced": (
        _figure("first token p50, ms", "first_p50", 1e3),
        _figure("p99, ms", "first_p99", 1e3),
        _figure("delay of an event p50, ms", "delay_p50", 1e3),
        _figure("p99, ms", "delay_p99", 1e3),
        _figure("max, ms", "delay_max", 1e3),
        _figure("stalls", "stalls"),
        _figure("CPU, %", "cpu_share", 100),
        _figure("CPU, µs/event", "cpu_event", 1e6),
        _ERRORS,
    ),
    "memory": (
        _figure("idle, MB", "idle", 1e-6),
        _figure("each open stream, KB", "held", 1e-3),
        _figure("with TLS, KB", "held_tls", 1e-3),
    ),
    "start": (
        _figure("first answer, s", "start"),
        _figure("CPU, s", "cpu_start"),
    ),
}  # fmt: skip


def format_workload(name: str, measured: Measured, titles: Mapping[str, str]) -> str:
    """
    Format a workload's table.

    :param titles: what targets are called, by name.
    """
    columns = COLUMNS[name]
    rows = [
        [titles[target], *(column.show(figures, measured) for column in columns)]
        for target, figures in measured.items()
    ]
    return format_table(["", *(column.title for column in columns)], rows)

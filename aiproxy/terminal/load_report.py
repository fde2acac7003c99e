"""A load's report: lines for a terminal, with their styles, and data for JSON."""

from __future__ import annotations

import math
from typing import Any, Final

from attrs import asdict

from aiproxy.terminal.chat_stream import printable
from aiproxy.terminal.load_figures import Report

__all__ = ["Line", "dump_report", "write_bar", "write_report", "write_seconds"]

#: A line is pieces of text, each with its style in rich's words.
Line = tuple[tuple[str, str], ...]

_BAR_COLUMNS: Final = 48
_LABEL_COLUMNS: Final = 30
#: Beyond these the figures may be the generator's own.
_BUSY_SHARE: Final = 0.8
_LATE_SECONDS: Final = 0.01


def write_seconds(seconds: float) -> str:
    """Write a time with three digits, in seconds or milliseconds."""
    value, unit = (seconds, "s") if seconds >= 0.9995 else (seconds * 1000, "ms")
    return f"{_write_number(value)} {unit}"


def _write_number(value: float) -> str:
    """Write three digits, and all those before the point."""
    if value <= 0:
        return "0"
    # Rounding may lead to the next power of ten.
    magnitude = math.floor(math.log10(float(f"{value:.2e}")))
    return f"{value:,.{min(max(2 - magnitude, 0), 3)}f}"


def write_bar(share: float, columns: int) -> str:
    """Draw a bar in eighths of a column; anything above 0 can be seen."""
    eighths = max(round(share * columns * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def write_report(report: Report, columns: int = 80) -> list[Line]:
    """Lay a report out for a terminal that is so wide."""
    blocks = [_head(report), _figures(report)]
    if report.failures:
        blocks.append(_failures(report, columns))
    if report.good:
        blocks += [_table(report), _plot(report, columns)]
    lines: list[Line] = []
    for block in blocks:
        lines += [(), *block]
    return [*lines, ()]


def _head(report: Report) -> list[Line]:
    kind = "streams" if report.stream else "whole answers"
    lines: list[Line] = [((printable(report.model), "bold"), (f" at {report.url}, {kind}", ""))]
    if report.rate is None:
        what = f"closed loop, {_count(report.connections, 'connection')}"
        lines.append((("a slow server is asked less: --rate shows what then waits", "dim"),))
    else:
        what = f"open loop, {report.rate:g} requests/s on schedule, {report.peak:,} at once at most"
        lines.append((("times count from when a request was due", "dim"),))
    lines.insert(1, ((what, ""),))
    if report.partial:
        words = f"partial: stopped early, {_count(report.unfinished, 'request')} broken off"
        lines.append(((words, "bold yellow"),))
    return lines


def _figures(report: Report) -> list[Line]:
    failed = (f"{report.failed:,} failed", "bold red" if report.failed else "dim")
    counts: Line = (
        (f"{_count(report.good + report.failed, 'request')} in ", ""),
        (write_seconds(report.duration), ""),
        (": ", ""),
        (f"{report.good:,} good", "bold green" if report.good else "dim"),
        (", ", ""),
        failed,
    )
    lines = [counts]
    if report.good and report.duration:
        rate = f"{_write_number(report.good / report.duration)} good answers/s"
        speed: Line = ((rate, "bold"),)
        if report.usage_told:
            speed += ((f", {_write_number(report.tokens / report.duration)} tokens/s", "bold"),)
            if report.usage_told < report.good:
                speed += ((f" (of the {report.usage_told:,} that told their usage)", "dim"),)
        lines.append(speed)
    if report.repeated:
        what = f"{_count(report.repeated, 'request')} sent twice"
        lines.append(((f"{what}: the server had closed a kept connection", "yellow"),))
    busy = report.cpu_share > _BUSY_SHARE
    words = f"this generator: {report.cpu_share:.0%} of a processor"
    if report.late is not None:
        busy = busy or report.late.p99 > _LATE_SECONDS
        late = f"late by {write_seconds(report.late.p50)} (p50), {write_seconds(report.late.p99)} "
        words += f", {late}(p99), {write_seconds(report.late.max)} (max)"
    lines.append(((words, "yellow" if busy else "dim"),))
    if busy:
        lines.append((("the times may be this generator's own: ask less", "bold yellow"),))
    return lines


def _failures(report: Report, columns: int) -> list[Line]:
    wide = max(map(len, report.failures))
    return [
        (
            (f"{count:>7,}  ", "bold red"),
            (kind.ljust(wide), "red"),
            (f"  {report.examples[kind]}"[: max(0, columns - wide - 9)], "dim"),
        )
        for kind, count in report.failures.items()
    ]


def _table(report: Report) -> list[Line]:
    names = ("min", "p50", "p90", "p99", "max")
    lines: list[Line] = [((" " * 12 + "".join(f"{name:>10}" for name in names), "dim"),)]
    for label, spread in report.times.items():
        cells = [f"{write_seconds(getattr(spread, name)):>10}" for name in names]
        styles = ("", "bold", "", "bold", "")
        lines.append(((f"{label:<12}", "cyan"), *zip(cells, styles, strict=True)))
    note = "nearest rank, of good answers"
    if report.good < 100:
        note += "; of fewer than 100 the p99 is the max"
    return [*lines, ((note, "dim"),)]


def _plot(report: Report, columns: int) -> list[Line]:
    unit, scale = ("s", 1.0) if report.buckets[-1].high > 2 else ("ms", 1000.0)
    edges = [f"{bucket.low * scale:.4g}" for bucket in report.buckets]
    edges.append(f"{report.buckets[-1].high * scale:.4g}")
    wide = max(map(len, edges))
    most = max(bucket.count for bucket in report.buckets)
    bar_columns = max(min(_BAR_COLUMNS, columns - _LABEL_COLUMNS), 8)
    lines: list[Line] = [((f"{report.plotted}, {unit}", "cyan"),)]
    for place, bucket in enumerate(report.buckets):
        bar = write_bar(bucket.count / most, bar_columns)
        lines.append(
            (
                (f"{edges[place]:>{wide}} to {edges[place + 1]:>{wide}}  ", "dim"),
                (bar.ljust(bar_columns), "cyan"),
                (f" {bucket.count:>7,}", ""),
            )
        )
    return lines


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def dump_report(report: Report) -> dict[str, Any]:
    """Return a report as data for JSON; names with ``_seconds`` are of times."""
    rate = report.good / report.duration if report.duration else 0.0
    return {
        "url": report.url,
        "model": report.model,
        "stream": report.stream,
        "loop": "closed" if report.rate is None else "open",
        "connections": report.connections if report.rate is None else None,
        "rate": report.rate,
        "partial": report.partial,
        "good": report.good,
        "failed": report.failed,
        "unfinished": report.unfinished,
        "failures": [
            {"kind": kind, "count": count, "example": report.examples[kind]}
            for kind, count in report.failures.items()
        ],
        "duration_seconds": report.duration,
        "good_per_second": rate,
        "tokens_per_second": report.tokens / report.duration if report.usage_told else None,
        "usage_told": report.usage_told,
        "most_at_once": report.peak,
        "sent_twice": report.repeated,
        "generator_late_seconds": None if report.late is None else asdict(report.late),
        "generator_cpu_share": report.cpu_share,
        "percentiles": "nearest rank",
        **{
            f"{name.replace(' ', '_')}_seconds": asdict(spread)
            for name, spread in report.times.items()
        },
        "histogram": {
            "of": report.plotted,
            "buckets": [asdict(bucket) for bucket in report.buckets],
        },
    }

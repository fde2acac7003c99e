"""
A soak: does aiproxy grow?

``python -m bench.soak``: a million plain requests, and 100,000 streams that the
client leaves midway.  Memory and descriptors are read after every twentieth;
what counts is the growth after the first quarter, when pools and caches are full.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from attrs import frozen

from bench.figures import Sample
from bench.processes import NotStarted, Running, raise_descriptor_limit
from bench.rig import CountsDiffer, Rig
from bench.table import format_table
from bench.targets import find_targets

_PARTS = 20


@frozen
class Reading:
    """What the process held at one moment."""

    done: int
    memory_bytes: int
    descriptors: int


def measure_growth(readings: Sequence[Reading]) -> int:
    """
    Tell by how many bytes the memory grew after the first quarter.

    The least of the last quarter less the most of the second: what a process
    takes and gives back is no growth.
    """
    quarter = len(readings) // 4
    second, last = readings[quarter : 2 * quarter], readings[-quarter:]
    return min(one.memory_bytes for one in last) - max(one.memory_bytes for one in second)


def _read(process: Running, done: int) -> Reading:
    return Reading(done, process.memory_bytes(), process.descriptors())


def _soak(
    title: str, process: Running, total: int, ask: Callable[[int, int], Sample]
) -> tuple[list[Reading], int]:
    """Ask in parts; what was read after each, and how many requests failed."""
    readings, errors, used = [], 0, 0.0
    for part in range(_PARTS):
        sample = ask(part, total // _PARTS)
        errors += sample.errors
        used += sample.cpu_seconds
        readings.append(_read(process, (part + 1) * (total // _PARTS)))
    rows = [
        [f"{one.done:,}", f"{one.memory_bytes / 1e6:.1f}", str(one.descriptors)] for one in readings
    ]
    print(f"{title}\n\n{format_table(['requests', 'memory, MB', 'descriptors'], rows)}\n")
    print(f"{errors} errors, {used / total * 1e6:.0f} µs of CPU time each\n", flush=True)
    return readings, errors


def main(arguments: Sequence[str]) -> None:
    """Soak; the exit status is 1 if anything grew, failed or was left behind."""
    parser = argparse.ArgumentParser("python -m bench.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--streams", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--bound", type=float, default=4.0, help="growth in MB that is allowed")
    parser.add_argument("--target", default="aiproxy")
    options = parser.parse_args(arguments)
    raise_descriptor_limit()
    target = next(target for target in find_targets() if target.name == options.target)
    faults = []
    with Rig() as rig, rig.start(target) as process:
        connections: int = options.connections

        def ask(_: int, total: int) -> Sample:
            return rig.ask(target, process, "plain", connections=connections, total=total)

        def leave(part: int, total: int) -> Sample:
            # By turns one whose events are all under way, and one whose upstream still waits.
            answer, cut_at = ("openai", 100) if part % 2 else ("paced", 1)
            return rig.ask(
                target, process, answer, connections=connections, total=total, cut_at=cut_at
            )

        for title, total, load in (
            ("Plain requests", options.requests, ask),
            ("Streams that the client leaves midway", options.streams, leave),
        ):
            if total < _PARTS:
                continue
            readings, errors = _soak(title, process, total, load)
            growth = measure_growth(readings) / 1e6
            print(f"Growth after the first quarter: {growth:.2f} MB\n", flush=True)
            if growth > options.bound:
                faults.append(f"{title}: memory grew by {growth:.2f} MB")
            if errors:
                faults.append(f"{title}: {errors} errors")
        if left := rig.wait_until_quiet():
            faults.append(f"{left} answers are still under way at the upstream")
        # A fresh process has some twenty; kept connections to the upstream are bounded.
        if (held := process.descriptors()) > connections + 60:
            faults.append(f"{held} descriptors are still open")
    raise SystemExit("\n".join(faults) or None)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (NotStarted, CountsDiffer) as error:
        raise SystemExit(str(error)) from None

"""
The plain soak: does aiproxy grow?

A million plain requests, and 100,000 streams that the client leaves midway.
Memory and descriptors are read after every twentieth; what counts is the growth
after the first quarter, when pools and caches are full.
"""

from __future__ import annotations

from collections.abc import Callable

from bench.figures import Sample
from bench.processes import Running, raise_descriptor_limit
from bench.rig import Rig
from bench.soak_growth import Reading, measure_growth
from bench.table import format_table
from bench.targets import find_targets

__all__ = ["soak_plain"]

_PARTS = 20
_BOUND_BYTES = 4_000_000


def soak_plain(target: str, *, requests: int, streams: int, connections: int) -> list[str]:
    """
    Soak a target; what was wrong.

    :raises NotStarted: it does not listen.
    :raises CountsDiffer: the upstream saw other requests than were sent.
    """
    raise_descriptor_limit()
    looked_at = next(one for one in find_targets() if one.name == target)
    faults = []
    with Rig() as rig, rig.start(looked_at) as process:

        def ask(_: int, total: int) -> Sample:
            return rig.ask(looked_at, process, "plain", connections=connections, total=total)

        def leave(part: int, total: int) -> Sample:
            # By turns one whose events are all under way, and one whose upstream still waits.
            answer, cut_at = ("openai", 100) if part % 2 else ("paced", 1)
            return rig.ask(
                looked_at, process, answer, connections=connections, total=total, cut_at=cut_at
            )

        for title, total, load in (
            ("Plain requests", requests, ask),
            ("Streams that the client leaves midway", streams, leave),
        ):
            if total < _PARTS:
                continue
            readings, errors = _soak(title, process, total, load)
            growth = measure_growth(readings)
            print(f"Growth after the first quarter: {growth / 1e6:.2f} MB\n", flush=True)
            if growth > _BOUND_BYTES:
                faults.append(f"{title}: memory grew by {growth / 1e6:.2f} MB")
            if errors:
                faults.append(f"{title}: {errors} errors")
        if left := rig.wait_until_quiet():
            faults.append(f"{left} answers are still under way at the upstream")
        # A fresh process has some twenty; kept connections to the upstream are bounded.
        if (held := process.descriptors()) > connections + 60:
            faults.append(f"{held} descriptors are still open")
    return faults


def _soak(
    title: str, process: Running, total: int, ask: Callable[[int, int], Sample]
) -> tuple[list[Reading], int]:
    """Ask in parts; what was read after each, and how many requests failed."""
    readings, errors, used = [], 0, 0.0
    for part in range(_PARTS):
        sample = ask(part, total // _PARTS)
        errors += sample.errors
        used += sample.cpu_seconds
        done = (part + 1) * (total // _PARTS)
        readings.append(Reading(done, process.memory_bytes(), process.descriptors()))
    rows = [
        [f"{one.done:,}", f"{one.memory_bytes / 1e6:.1f}", str(one.descriptors)] for one in readings
    ]
    print(f"{title}\n\n{format_table(['requests', 'memory, MB', 'descriptors'], rows)}\n")
    print(f"{errors} errors, {used / total * 1e6:.0f} µs of CPU time each\n", flush=True)
    return readings, errors

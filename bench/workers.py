"""
Two workers of one supervisor beside two processes that know nothing of each other.

``python -m bench.workers``: on a machine with two cores, a minute.  Load and
upstream share the cores with them in the same way on both sides, so only the
ratio says something.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from bench.processes import Running, find_free_port, running
from bench.rig import Rig
from bench.targets import Place, find_targets

_ROUNDS = 7
_SECONDS = 3.0
_CONNECTIONS = 32
#: The numbers of the requests of each load begin here, so that all differ.
_APART = 10_000_000
_GOAL = 0.9


def main() -> None:
    """Measure, print, and exit with 1 where the goal is missed."""
    ours = next(target for target in find_targets() if target.name == "aiproxy")
    with Rig() as rig, ExitStack() as stack:

        def start(*options: str) -> Running:
            assert ours.command is not None
            place = Place(rig.folder, find_free_port(), rig.upstream.port)
            command = [*ours.command(place), *options]
            environment = ours.environment
            return stack.enter_context(
                running(command, place.port, core=None, folder=rig.folder, environment=environment)
            )

        question = rig.folder / "question"
        question.write_bytes(rig.write(ours, "plain"))
        together, apart = start("--workers", "2"), [start(), start()]
        loads = 0

        def measure(servers: Sequence[Running]) -> float:
            nonlocal loads
            processes = []
            for server in servers:
                loads += 1
                bounds = [server.port, _CONNECTIONS, _SECONDS, 0, loads * _APART, 0.0, 0, 0]
                samples = rig.folder / f"samples-{loads}"
                command = [*rig.load, *map(str, [*bounds, question, samples])]
                processes.append(subprocess.Popen(command, stdout=subprocess.PIPE))
            told = [json.loads(process.communicate()[0]) for process in processes]
            errors = sum(one["errors"] for one in told)
            if errors:
                raise SystemExit(f"{errors} errors")
            return float(sum(one["answers"] / one["seconds"] for one in told))

        measure([together, together])
        measure(apart)
        pairs = [(measure([together, together]), measure(apart)) for _ in range(_ROUNDS)]
    ratio = statistics.median(one / other for one, other in pairs)
    print(
        f"two workers of one supervisor: {statistics.median(a for a, _ in pairs):,.0f} requests/s"
    )
    print(
        f"two unrelated processes:       {statistics.median(b for _, b in pairs):,.0f} requests/s"
    )
    print(f"ratio, median of {_ROUNDS} rounds: {ratio:.3f} (goal: {_GOAL})")
    sys.exit(ratio < _GOAL)


if __name__ == "__main__":
    main()

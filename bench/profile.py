"""
Where aiproxy's time goes: the functions with the most time of their own, under load.

``python -m bench.profile WORKLOAD``: CPU microseconds for each request, by
cProfile, which makes small functions look dearer than they are.  ``--perf``
shows the machine's view instead: the interpreter, the parser, the kernel.
"""

from __future__ import annotations

import argparse
import os
import pstats
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.processes import Running, raise_descriptor_limit
from bench.rig import Rig
from bench.table import format_table
from bench.targets import ROOT, Place, Target, find_targets

_WARM_SECONDS = 1.0
_WORKLOADS = ("plain", "openai", "gemini", "anthropic")


def profile_command(target: Target, output: Path) -> Target:
    """Make a target that writes its profile between two USR2 signals."""

    def write(place: Place) -> Sequence[str]:
        if target.command is None:
            raise ValueError(f"{target.name} is not started")
        program, *rest = target.command(place)
        return [sys.executable, "-m", "bench.profiled", str(output), program, *rest]

    paths = [os.environ.get("PYTHONPATH", ""), str(ROOT)]
    environment = {**target.environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return Target(target.name, target.title, write, environment=environment)


def read_rows(file: Path, requests: int, count: int) -> list[list[str]]:
    """
    Read a profile's functions with the most time of their own.

    :return: own and whole microseconds a request, calls a request, the function.
    """
    stats: Any = pstats.Stats(str(file))
    entries = sorted(stats.stats.items(), key=lambda entry: -entry[1][2])
    rows = []
    for (path, line, name), (_, calls, own, whole, _) in entries[:count]:
        where = name if path == "~" else f"{'/'.join(Path(path).parts[-2:])}:{line} {name}"
        each = [f"{1e6 * seconds / requests:.2f}" for seconds in (own, whole)]
        rows.append([where, *each, f"{calls / requests:.2f}"])
    return rows


def _run_perf(process: Running, seconds: float, folder: Path) -> subprocess.Popen[bytes]:
    data = str(folder / "perf.data")
    command = ["perf", "record", "-q", "-o", data, "-p", str(process.pid)]
    return subprocess.Popen([*command, "--", "sleep", str(seconds)])


def main(arguments: Sequence[str]) -> None:
    """Profile, and print."""
    parser = argparse.ArgumentParser("python -m bench.profile", description=__doc__)
    parser.add_argument("workload", nargs="?", default="plain", choices=_WORKLOADS)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--top", type=int, default=40, help="so many functions")
    parser.add_argument("--target", default="aiproxy")
    parser.add_argument("--perf", action="store_true", help="by perf, where installed")
    options = parser.parse_args(arguments)
    raise_descriptor_limit()
    target = next(target for target in find_targets() if target.name == options.target)
    with Rig() as rig:
        output = rig.folder / "profile"
        measured = target if options.perf else profile_command(target, output)
        with rig.start(measured) as process:
            load: dict[str, Any] = {"connections": options.connections}
            rig.ask(measured, process, options.workload, **load, seconds=_WARM_SECONDS)
            if options.perf:
                recorder = _run_perf(process, options.seconds, rig.folder)
            else:
                os.kill(process.pid, signal.SIGUSR2)
            sample = rig.ask(measured, process, options.workload, **load, seconds=options.seconds)
            requests = sample.answers
            print(
                f"{requests} requests, {sample.cpu_seconds / requests * 1e6:.0f} µs of CPU each\n"
            )
            if options.perf:
                recorder.wait()
                report = ["perf", "report", "--stdio", "-q", "--percent-limit", "0.5"]
                subprocess.run([*report, "-i", str(rig.folder / "perf.data")], check=True)
                return
            os.kill(process.pid, signal.SIGUSR2)
            give_up = time.monotonic() + 10
            while not output.exists() and time.monotonic() < give_up:
                time.sleep(0.05)
        rows = read_rows(output, requests, options.top)
    print(format_table(["function", "own µs", "with its calls", "calls"], rows))


if __name__ == "__main__":
    main(sys.argv[1:])

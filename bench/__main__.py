"""
aiproxy beside nginx, a bare Klein and treq proxy, and other gateways, in one run.

``make bench``: a quarter of an hour, on a machine that has nothing else to do.
``python -m bench --quick`` takes two minutes; what counts is the ratios.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.figures import Figures, take_medians
from bench.goals import format_goals
from bench.machine import describe_machine
from bench.processes import NotStarted, raise_descriptor_limit
from bench.report import Measured, format_workload
from bench.rig import CountsDiffer, Rig
from bench.table import replace_tables
from bench.targets import Target, find_aiproxy_of, find_targets
from bench.workloads import FULL, QUICK, WORKLOADS, Effort, Workload


def _read_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    names = [workload.name for workload in WORKLOADS]
    targets = [target.name for target in find_targets()]
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--only", action="append", choices=names, help="a workload; repeatable")
    parser.add_argument("--target", action="append", choices=targets, help="repeatable")
    parser.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="PATH",
        help="of another environment with aiproxy, to be measured beside; repeatable",
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this page")
    options = parser.parse_args(arguments)
    if options.write and (options.only or options.target or options.python):
        parser.error("a page holds whole runs: --write goes without the options for parts")
    return options


def measure(
    rig: Rig, workload: Workload, targets: Sequence[Target], effort: Effort
) -> dict[str, Figures]:
    """
    Measure a workload in rounds, in each of them every target once.

    A target that does not start is told on stderr and left out.

    :raises CountsDiffer: the upstream did not see each request once.
    """
    rounds: dict[str, list[Figures]] = {
        target.name: [] for target in targets if workload.suits(target)
    }
    for _ in range(1 if workload.once else effort.rounds):
        for target in targets:
            if target.name not in rounds:
                continue
            try:
                rounds[target.name].append(workload.measure(rig, target, effort))
            except (NotStarted, OSError) as error:
                print(f"{target.name}, {workload.name}: {error}", file=sys.stderr)
                del rounds[target.name]
    return {name: take_medians(figures) for name, figures in rounds.items()}


def _join(results: Mapping[str, Measured], titles: Mapping[str, str], effort: Effort) -> str:
    headings = {workload.name: workload.title for workload in WORKLOADS}
    extent = (
        f"Rounds: {effort.rounds}, of {effort.seconds:g} s for each target; "
        f"{effort.paced_streams:,} paced and {effort.held_streams:,} open streams."
    )
    parts = [describe_machine(), extent, format_goals(results)]
    for name, measured in results.items():
        parts += [f"### {headings[name]}", format_workload(name, measured, titles)]
    return "\n\n".join(parts)


def main(arguments: Sequence[str]) -> None:
    """Measure, print, and write the page if that is asked for."""
    options = _read_arguments(arguments)
    effort = QUICK if options.quick else FULL
    raise_descriptor_limit()
    targets = [
        target for target in find_targets() if not options.target or target.name in options.target
    ]
    targets += [find_aiproxy_of(python) for python in options.python]
    titles = {target.name: target.title for target in targets}
    ours = [target.name for target in targets if target.is_ours]
    results: dict[str, Measured] = {}
    with Rig() as rig:
        for workload in WORKLOADS:
            if options.only and workload.name not in options.only:
                continue
            try:
                results[workload.name] = measure(rig, workload, targets, effort)
            except CountsDiffer as error:
                raise SystemExit(f"{workload.name}: {error}") from None
            table = format_workload(workload.name, results[workload.name], titles)
            print(f"{workload.title}\n\n{table}\n", flush=True)
    print(format_goals(results))
    if options.write:
        page = options.write.read_text(encoding="utf-8")
        tables = _join(results, titles, effort)
        options.write.write_text(replace_tables(page, tables), encoding="utf-8")
    failed = [
        f"{name}, {workload}: {figures['errors']:.0f} errors"
        for workload, measured in results.items()
        for name, figures in measured.items()
        if name in ours and figures.get("errors")
    ]
    absent = [name for name in ours if not any(name in measured for measured in results.values())]
    failed += [f"{name} was not measured" for name in absent]
    raise SystemExit("\n".join(failed) or None)


if __name__ == "__main__":
    main(sys.argv[1:])

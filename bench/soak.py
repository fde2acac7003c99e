"""
A soak: does aiproxy grow, and does it account for everything?

``python -m bench.soak``: an hour of mixed load on a server with faulty
upstreams (``bench/soak_mixed.py``).  ``--workload plain``: many requests as
fast as can be (``bench/soak_plain.py``).  The exit status is 1 if anything was
wrong, and what stands at the end.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from bench.processes import NotStarted
from bench.rig import CountsDiffer
from bench.soak_mixed import soak_mixed
from bench.soak_plain import soak_plain


def main(arguments: Sequence[str]) -> None:
    """Soak; exit with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        "python -m bench.soak",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--workload", choices=("mixed", "plain"), default="mixed")
    mixed = parser.add_argument_group("mixed")
    mixed.add_argument("--seconds", type=float, default=3600.0, help="how long")
    mixed.add_argument("--seed", default="1", help="of all that clients and upstreams choose")
    mixed.add_argument("--users", type=int, default=24, help="clients at the same time")
    mixed.add_argument("--workers", type=int, default=0, help="of the server; 0: one process")
    mixed.add_argument("--keep", metavar="FOLDER", help="where configuration and logs stay")
    plain = parser.add_argument_group("plain")
    plain.add_argument("--requests", type=int, default=1_000_000, help="how many")
    plain.add_argument("--streams", type=int, default=100_000, help="how many are left midway")
    plain.add_argument("--connections", type=int, default=32, help="at the same time")
    plain.add_argument("--target", default="aiproxy", help="as of the benchmarks")
    options = parser.parse_args(arguments)
    if options.workload == "mixed":
        faults = soak_mixed(
            options.seconds,
            seed=options.seed,
            users=options.users,
            workers=options.workers,
            keep=options.keep,
        )
    else:
        faults = soak_plain(
            options.target,
            requests=options.requests,
            streams=options.streams,
            connections=options.connections,
        )
    raise SystemExit("\n".join(faults) or None)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (NotStarted, CountsDiffer) as error:
        raise SystemExit(str(error)) from None

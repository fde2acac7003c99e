"""
Whether what callers and upstreams might send to hold everybody up takes time by its square.

``python -m bench.growth``: each hostile input of :mod:`bench.growth_cases` at one
size and at four times that size, in turns, and how the CPU time grows between
them: fourfold where each part of it takes its time once, sixteenfold by the
square.  Less than half a minute; it exits with 1, and names them, where inputs
grow by more than eight times.  The ratio is the same on every machine.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from attrs import frozen

from bench.growth_cases import CASES, Case
from bench.table import format_number, format_table

__all__ = ["BOUND", "TIMES", "Growth", "main", "measure"]

#: By how much the larger input is larger.
TIMES: Final = 4
#: What grows by more is no longer linear: twice as much as linear time, half of quadratic.
BOUND: Final = TIMES * TIMES**0.5
#: Seconds: what takes less at the larger size is soon refused or cut, and its ratio is noise.
_BRIEF: Final = 1e-3
#: The best counts: what else the machine does only ever adds time.
_REPETITIONS: Final = 5
#: Seconds: what takes longer is measured once, and ends in time, be it by the square.
_LONG: Final = 1.0


@frozen
class Growth:
    """
    What a case took at its two sizes.

    :param small: CPU seconds.
    :param large: CPU seconds at the size :data:`TIMES` as large.
    """

    name: str
    size: int
    small: float
    large: float

    @property
    def ratio(self) -> float:
        """By how much the time has grown."""
        return self.large / self.small if self.small else float("nan")

    @property
    def is_quadratic(self) -> bool:
        """Whether it has grown by more than the size allows."""
        return self.large >= _BRIEF and self.large > BOUND * self.small


def measure(case: Case) -> Growth:
    """Measure a case at both sizes in turns; nothing but what it runs counts."""
    small = large = float("inf")
    for _ in range(_REPETITIONS):
        small = min(small, _measure(case.make(case.size)))
        large = min(large, _measure(case.make(case.size * TIMES)))
        if large > _LONG:
            break
    return Growth(case.name, case.size, small, large)


def _measure(run: Callable[[], object]) -> float:
    gc.collect()
    gc.disable()
    try:
        began = time.process_time()
        run()
        return time.process_time() - began
    finally:
        gc.enable()


def format_growths(growths: Sequence[Growth]) -> str:
    """Format a table: sizes, times and ratios."""
    rows = [
        [
            growth.name,
            f"{growth.size:,}",
            format_number(growth.small * 1e3),
            format_number(growth.large * 1e3),
            format_number(growth.ratio),
            "**by the square**" if growth.is_quadratic else "",
        ]
        for growth in growths
    ]
    return format_table(
        ["input", "size", "CPU, ms", f"of {TIMES} times the size", "ratio", ""], rows
    )


def main(arguments: Sequence[str], measure: Callable[[Case], Growth] = measure) -> None:
    """
    Measure, print, and exit by what was found.

    :param measure: measures a case.
    """
    parser = argparse.ArgumentParser("python -m bench.growth", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--only", action="append", choices=names, help="a case; repeatable")
    options = parser.parse_args(arguments)
    gc.collect()
    gc.freeze()  # What was imported need not be looked through between two runs.
    growths = [measure(case) for case in CASES if not options.only or case.name in options.only]
    gc.unfreeze()
    print(format_growths(growths))
    found = [
        f"{growth.name}: takes {growth.ratio:.1f} times as long for {TIMES} times the size"
        for growth in growths
        if growth.is_quadratic
    ]
    raise SystemExit("\n".join(found) or None)


if __name__ == "__main__":
    main(sys.argv[1:])

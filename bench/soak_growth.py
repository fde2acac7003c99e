"""What counts as growth."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from attrs import frozen

__all__ = ["Reading", "measure_drift", "measure_growth"]


@frozen
class Reading:
    """
    What the process held at one moment.

    :param done: requests so far, or seconds.
    """

    done: int
    memory_bytes: int
    descriptors: int


def measure_growth(readings: Sequence[Reading]) -> int:
    """
    Tell by how many bytes the memory grew after the first quarter, under an even load.

    The least of the last quarter less the most of the second: what a process
    takes and gives back is no growth.
    """
    second, last = _quarters(readings)
    return min(last) - max(second)


def measure_drift(readings: Sequence[Reading]) -> int:
    """
    Tell by how many bytes the memory grew after the first quarter, under a load that varies.

    The median of the last quarter less that of the second; 0 for fewer than four readings.
    """
    second, last = _quarters(readings)
    return round(median(last) - median(second)) if second else 0


def _quarters(readings: Sequence[Reading]) -> tuple[list[int], list[int]]:
    memory = [one.memory_bytes for one in readings]
    quarter = len(memory) // 4
    return memory[quarter : 2 * quarter], memory[-quarter:]

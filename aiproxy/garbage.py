"""
How Python's cyclic garbage collector runs in a server of ours.

A collection stops everything, the longer the more objects it looks at: with
thousands of open streams a full one takes a tenth of a second.  A call that is
answered leaves no cycles behind, so they may be seldom; one that fails may leave
some, with the tracebacks of its errors, so they must not be too seldom.
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["THRESHOLDS", "settle_garbage_collector"]

#: Objects that have come and not gone until the youngest are looked at (some
#: milliseconds for the two younger generations).  A full collection comes once in
#: 40,000 of them (some 10 MB), if they are a quarter of all that lives.
THRESHOLDS: Final = (10_000, 2, 1)


def settle_garbage_collector() -> None:
    """Leave what was loaded so far out of all collections, and let them be rare; for a start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)

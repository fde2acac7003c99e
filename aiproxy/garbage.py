"""
How Python's cyclic garbage collector runs in a server of ours.

A collection stops everything, the longer the more objects it looks at: with
thousands of open streams a full one takes a tenth of a second.  A call of ours
leaves no cycles behind, so little is lost if it runs seldom.
"""

from __future__ import annotations

import gc
from typing import Final

__all__ = ["THRESHOLDS", "settle_garbage_collector"]

#: Objects that have come and not gone until the youngest are looked at (some
#: milliseconds for the two younger generations); a full collection comes once
#: in tens of millions of them.
THRESHOLDS: Final = (10_000, 5, 1_000)


def settle_garbage_collector() -> None:
    """Leave what was loaded so far out of all collections, and let them be rare; for a start."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)

"""Leaves out coverage's look at lines that run thousands of times, which takes most of the time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["untraced"]


@contextmanager
def untraced() -> Iterator[None]:
    """
    Run a block, or a function that it decorates, without a tracer.

    What it runs must be run elsewhere too, or it counts as not covered.
    """
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(tracer)

"""
Run a script under cProfile from one USR2 signal to the next.

``python -m bench.profiled OUTPUT SCRIPT ARGUMENTS…``: start-up and the load's
first second are not in the profile.
"""

from __future__ import annotations

import cProfile
import os
import runpy
import signal
import sys


class Turns:
    """The first turn begins the profile, the second writes it."""

    def __init__(self, output: str) -> None:
        self._output = output
        self._profile = cProfile.Profile()
        self._runs = False

    def take(self, *_: object) -> None:
        """Take the next turn."""
        if not self._runs:
            self._runs = True
            self._profile.enable()
            return
        self._profile.disable()
        part = f"{self._output}.part"
        self._profile.dump_stats(part)
        os.replace(part, self._output)  # it is whole, or not there


if __name__ == "__main__":
    signal.signal(signal.SIGUSR2, Turns(sys.argv[1]).take)
    sys.argv = sys.argv[2:]
    runpy.run_path(sys.argv[0], run_name="__main__")

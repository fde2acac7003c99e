"""
Fuzzing of both HTTP parsers' glue: their property tests, again and again.

``FUZZ_SECONDS`` says for how long.  Each round draws new examples.  A test that
fails prints what reproduces it, and hypothesis keeps it for the usual tests;
one that hangs prints where, and ends the run.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import sys
import time
from pathlib import Path
from typing import Final
from unittest import TestLoader, TestSuite, TextTestRunner

from hypothesis import HealthCheck, settings

MODULES: Final = (
    "tests.transport.http.test_request_reader",
    "tests.transport.http.test_response_reader",
    "tests.transport.http.test_differential",
    "tests.transport.http.test_response_differential",
    "tests.transport.http.test_beside_h11",
)
#: In one round, of each property.
EXAMPLES: Final = 2000
#: No round takes as long as this: it hangs.
HANG_SECONDS: Final = 600
#: What a process may grow by, after the rounds in which caches fill up, and with each
#: round: hypothesis itself takes less than 1 MiB, and 50 bytes that each of its 20,000
#: examples leaves are the rest.
GROWTH_MIB: Final = 64
ROUND_MIB: Final = 2
WARM_ROUNDS: Final = 2


def main(seconds: float) -> int:
    """Fuzz for so long; return the process's status."""
    settings.register_profile(
        "fuzz",
        settings.get_profile("aiproxy"),
        max_examples=EXAMPLES,
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("fuzz")
    end = time.monotonic() + seconds
    warm_mib = 0.0
    rounds = 0
    while not rounds or time.monotonic() < end:
        rounds += 1
        faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        result = TextTestRunner(verbosity=0).run(load_tests())
        faulthandler.cancel_dump_traceback_later()
        if not result.wasSuccessful():
            return 1
        mib = resident_mib()
        sys.stderr.write(f"round {rounds}: {result.testsRun} tests, {mib:.0f} MiB\n")
        if rounds <= WARM_ROUNDS:
            warm_mib = mib
        elif mib > warm_mib + GROWTH_MIB + ROUND_MIB * rounds:
            sys.stderr.write(f"the process has grown by {mib - warm_mib:.0f} MiB\n")
            return 1
    return 0


def load_tests() -> TestSuite:
    """Load the tests; they are new ones each time, as trial's are used up by a run."""
    return TestLoader().loadTestsFromNames(MODULES)


def resident_mib() -> float:
    """Return how much memory this process has."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


if __name__ == "__main__":
    sys.exit(main(float(os.environ.get("FUZZ_SECONDS", "3600"))))

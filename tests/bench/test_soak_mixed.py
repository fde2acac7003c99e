"""The mixed soak as a whole, for some seconds."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench.soak_mixed import soak_mixed


class SoakTests(SynchronousTestCase):
    """Real processes."""

    def test_short(self) -> None:
        """Nothing is wrong, and the table has what clients did."""
        folder = Path(self.mktemp())
        output = io.StringIO()
        with redirect_stdout(output):
            faults = soak_mixed(5.0, seed="1", users=16, keep=str(folder))
        self.assertEqual(faults, [])
        self.assertRegex(output.getvalue(), r"\| stream +\| +\d+ \| +200: \d+")
        self.assertGreater((folder / "access.log").stat().st_size, 10_000)

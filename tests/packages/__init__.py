"""Tests of what people install aiproxy with: images, manifests, units, releases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_tool(name: str, *arguments: str | Path) -> tuple[int, str]:
    """Run a command of this environment in the checkout; return its status and all it prints."""
    run = subprocess.run(
        [Path(sys.executable).with_name(name), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return run.returncode, run.stdout

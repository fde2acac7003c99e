"""On what it was measured."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("twisted", "klein", "treq", "httptools", "orjson")


def describe_machine(now: datetime | None = None) -> str:
    """Describe the machine and the software in one paragraph, with the date."""
    date = (now or datetime.now(UTC)).date()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    nginx = _first_line(["nginx", "-v"])
    return (
        f"{date}, {_read_processor()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"{packages}" + (f", {nginx.removeprefix('nginx version: ')}" if nginx else "") + "."
    )


def _read_processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()


def _first_line(command: Sequence[str]) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return ""
    return (run.stdout or run.stderr).partition("\n")[0]

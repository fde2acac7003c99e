"""The load and the upstream are programs in C, compiled when they are first needed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

_SOURCES = Path(__file__).parent


def compile_program(name: str, folder: Path | None = None) -> Path | None:
    """
    Compile ``bench/NAME.c``, once for each state of its text.

    :param folder: where it goes; as a rule the user's cache.
    :return: the program; none where there is no C compiler.
    :raises subprocess.CalledProcessError: it does not compile.
    """
    source = _SOURCES / f"{name}.c"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = folder or cache / "aiproxy-bench"
    program = folder / f"{name}-{digest}"
    if program.exists():
        return program
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    made = program.with_suffix(f".{os.getpid()}")
    subprocess.run([compiler, "-O2", "-Wall", "-o", str(made), str(source)], check=True)
    made.replace(program)
    return program

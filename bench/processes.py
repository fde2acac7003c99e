"""Processes that are measured: started on a core of their own, asked for CPU time and memory."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

PROXY_CORE = 0
LOAD_CORE = 1
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_START_SECONDS = 90.0


class NotStarted(Exception):
    """A process does not listen; the text has its last words."""


@frozen
class Running:
    """A process with all its children."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """Count the CPU time so far, in user and kernel mode."""
        return sum(_read_ticks(pid) for pid in family(self.pid)) / _TICKS

    def memory_bytes(self) -> int:
        """Count the resident memory."""
        return sum(_read_pages(pid) for pid in family(self.pid)) * _PAGE_BYTES

    def descriptors(self) -> int:
        """Count the open files and sockets."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in family(self.pid))


def family(pid: int) -> list[int]:
    """Find a process and its children's children."""
    found = [pid]
    for member in found:
        for task in Path(f"/proc/{member}/task").glob("*/children"):
            try:
                found += map(int, task.read_text().split())
            except OSError:  # that thread has ended
                continue
    return found


def _read_ticks(pid: int) -> int:
    # Its second field is a name in parentheses, which may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def _read_pages(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


def find_free_port() -> int:
    """Find a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def raise_descriptor_limit() -> int:
    """Allow this process and its children as many descriptors as may be; how many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Start what is started here on that core; without one, or on a machine with one, anywhere."""
    before = os.sched_getaffinity(0)
    if core is not None and core in before and len(before) > 1:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(
    command: Sequence[str],
    port: int,
    *,
    core: int | None,
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """
    Run a server until the block ends.

    :param folder: where it runs, and where its output goes.
    :raises NotStarted: it ended, or does not listen in time.
    """
    output = folder / f"{Path(command[0]).name}-{port}.log"
    variables = {**os.environ, **(environment or {})}
    # Where a server serves, what was compiled for one start is there for the next.
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    with output.open("wb") as log, pinned(core):
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        if not _listens(process, port):
            words = output.read_text(errors="replace")[-2000:]
            raise NotStarted(f"{' '.join(command)} does not listen:\n{words}")
        yield Running(process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    give_up = time.monotonic() + _START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.005)
        else:
            return True
    return False

"""The aiproxy that the mixed soak looks at: its configuration, its process, what it tells."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import orjson
from attrs import define, field

from bench.processes import Running, find_free_port, running
from bench.targets import ROOT

__all__ = [
    "ADMIN_TOKEN",
    "MAX_REQUEST_BYTES",
    "SPARES",
    "TOKEN",
    "Line",
    "Samples",
    "Server",
    "find_trouble",
    "parse_metrics",
]

TOKEN: Final = "sk-soak"
ADMIN_TOKEN: Final = "sk-soak-admin"
MAX_REQUEST_BYTES: Final = 256 * 1024
#: A model that has the one name or the other: it changes with every reload.
SPARES: Final = ("spare/one", "spare/two")

_CONFIGURATION: Final = Path(__file__).with_name("soak.yaml")
_TROUBLE: Final = re.compile(
    r"Traceback|Unhandled|unhandled|\[[^\]]*#(?:critical|error)\]|never awaited|ResourceWarning"
)
_SAMPLE: Final = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')

#: By name, the labels and the value of each sample.
Samples: TypeAlias = dict[str, list[tuple[dict[str, str], float]]]
#: Of the access log: the request's id and status.
Line: TypeAlias = tuple[str, int | None]


@define
class Server:
    """
    The process, and the folder with all that it writes.

    :param log: what it says besides the access log.
    :ivar rotations: how often the access log was moved away.
    """

    folder: Path
    process: Running
    log: Path
    rotations: int = 0
    _read: int = field(default=0, init=False)
    _variant: int = field(default=0, init=False)

    @classmethod
    @contextmanager
    def start(cls, folder: Path, upstream: int, workers: int) -> Iterator[Server]:
        """
        Run it until the block ends.

        :param upstream: the port of its upstream.
        :param workers: how many; 0: without a supervisor.
        :raises NotStarted: it does not listen.
        """
        port = find_free_port()
        shutil.copy(_CONFIGURATION, folder)
        _write_variables(folder, 0)
        twistd = str(Path(sys.executable).with_name("twistd"))
        command = [twistd, "-n", "--pidfile=", "aiproxy", "-c", "soak.yaml", "-e", "soak.env"]
        command += ["-a", f"127.0.0.1:{port}"]
        if workers:
            command += ["--workers", str(workers)]
        environment = {
            "AUTH_TOKEN": TOKEN,
            "ADMIN_TOKEN": ADMIN_TOKEN,
            "SOAK_UPSTREAM": str(upstream),
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "always::ResourceWarning",
        }
        with running(command, port, core=None, folder=folder, environment=environment) as process:
            yield cls(folder, process, folder / f"twistd-{port}.log")

    def reload(self) -> None:
        """Change the configuration, and say so by a signal."""
        self._variant += 1
        _write_variables(self.folder, self._variant)
        os.kill(self.process.pid, signal.SIGHUP)

    def rotate(self) -> None:
        """Move the access log away, and have it opened anew."""
        self.rotations += 1
        (self.folder / "access.log").rename(self.folder / f"access.log.{self.rotations}")
        os.kill(self.process.pid, signal.SIGUSR1)

    def stop(self, within: float) -> int | None:
        """
        Ask it to stop; the exit status, ``None`` if it still runs after so many seconds.

        Who has started it can still wait for it.
        """
        os.kill(self.process.pid, signal.SIGTERM)
        give_up = time.monotonic() + within
        flags = os.WEXITED | os.WNOWAIT | os.WNOHANG
        while time.monotonic() < give_up:
            if ended := os.waitid(os.P_PID, self.process.pid, flags):
                return ended.si_status
            time.sleep(0.05)
        return None

    def scrape(self) -> Samples:
        """Read its metrics."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.process.port}/metrics",
            headers={"Authorization": f"Bearer {ADMIN_TOKEN}"},
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            return parse_metrics(answer.read().decode())

    def read_trouble(self) -> list[str]:
        """Read what has come into its log since the last time, and should not be there."""
        with self.log.open("rb") as log:
            log.seek(self._read)
            text = log.read()
        whole, _, _ = text.rpartition(b"\n")
        self._read += len(whole)
        return find_trouble(whole.decode(errors="replace"))

    def read_access_log(self) -> Iterator[Line]:
        """Read the lines of the access log, the rotated ones too."""
        for file in sorted(self.folder.glob("access.log*")):
            with file.open("rb") as lines:
                for line in map(orjson.loads, lines):
                    yield line["id"], line["status"]


def _write_variables(folder: Path, variant: int) -> None:
    values = {"SOAK_SPARE": SPARES[variant % 2], "SOAK_QUEUE_TIMEOUT": ("1s", "2s")[variant % 2]}
    new = folder / "soak.env.new"
    new.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    new.rename(folder / "soak.env")


def parse_metrics(text: str) -> Samples:
    """Parse Prometheus' text format."""
    samples: Samples = {}
    for name, labels, value in _SAMPLE.findall(text):
        samples.setdefault(name, []).append((dict(_LABEL.findall(labels)), float(value)))
    return samples


def find_trouble(log: str) -> list[str]:
    """Find the lines of a log that should not be there."""
    return [line for line in log.splitlines() if _TROUBLE.search(line)]

"""
The mixed soak: every kind of client, faults upstream, reloads and rotations, for hours.

While it runs, memory and descriptors are read each second.  When it is over,
all has to be as it was: nothing is open, memory is flat, nothing stands in the
server's log that should not, and each request stands once in the access log
and in the metrics, with the status that its client saw.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

from attrs import define, field

from bench.processes import Running, find_free_port, raise_descriptor_limit, running
from bench.soak_clients import live
from bench.soak_growth import Reading, measure_drift
from bench.soak_ledger import Ledger, compare_lines, compare_metrics
from bench.soak_server import Samples, Server
from bench.soak_user import User
from bench.table import format_table
from bench.targets import ROOT

__all__ = ["soak_mixed"]

#: Growth that is allowed: an allocator's arenas are never quite the same.
_BOUND_BYTES = 6_000_000
_WARM_SHARE = 0.15
_RELOAD_SECONDS = (3.0, 12.0)
_ROTATE_SECONDS = (5.0, 15.0)
_SCRAPE_SECONDS = 5.0
_TELL_SECONDS = 60.0
#: When the load has stopped everything is over after so long.
_QUIET_SECONDS = 30.0
_STOP_SECONDS = 20.0
_MOST_SHOWN = 40
_ROWS = 12


@define
class Soak:
    """
    One run.

    :ivar faults: what was wrong.
    """

    server: Server
    upstream: Running
    seed: str
    users: int
    ledger: Ledger = field(factory=Ledger)
    readings: list[Reading] = field(factory=list)
    faults: list[str] = field(factory=list)
    _over_at: float = 0.0
    _counted: float = 0.0
    _reloads: int = 0

    def run(self, seconds: float) -> None:
        """Load, look, stop, look again."""
        begun = time.monotonic()
        asyncio.run(self._load("warm", seconds * _WARM_SHARE))
        self._wait_until_quiet()
        idle = self._count_held()
        self.readings.clear()
        asyncio.run(self._load("load", seconds - (time.monotonic() - begun)))
        self._wait_until_quiet()
        # Connections of clients that were refused linger for a while.
        if not _wait_until(lambda: self._count_held() <= idle, _QUIET_SECONDS):
            self.faults.append(f"{self._count_held()} descriptors are open, {idle} were before")
        growth = measure_drift(self.readings)
        if growth > _BOUND_BYTES:
            self.faults.append(f"memory grew by {growth / 1e6:.2f} MB")
        samples = self.server.scrape()
        if (status := self.server.stop(_STOP_SECONDS)) != 0:
            self.faults.append(f"asked to stop, the server ended with {status}")
        self.faults += self.server.read_trouble()
        self.faults += self.ledger.problems
        self.faults += compare_metrics(samples, self.server.read_access_log())
        self.faults += compare_lines(self.ledger.asked, self.server.read_access_log())
        self._report(idle, growth)

    async def _load(self, phase: str, seconds: float) -> None:
        self._over_at = time.monotonic() + seconds
        # Each phase has numbers of its own, so that no id comes twice.
        first = 0 if phase == "warm" else self.users
        users = [
            User(self.server.process.port, self.ledger, self.seed, number)
            for number in range(first, first + self.users)
        ]
        async with asyncio.TaskGroup() as group:
            for user in users:
                group.create_task(live(user, self._is_over))
            group.create_task(self._operate(Random(f"{self.seed} {phase}")))
            group.create_task(self._watch(phase))

    def _is_over(self) -> bool:
        return time.monotonic() >= self._over_at

    async def _operate(self, random: Random) -> None:
        """Reload and rotate by signals, as an operator does."""
        reload_at = time.monotonic() + random.uniform(*_RELOAD_SECONDS)
        rotate_at = time.monotonic() + random.uniform(*_ROTATE_SECONDS)
        while not self._is_over():
            if time.monotonic() >= reload_at:
                self.server.reload()
                self._reloads += 1
                reload_at = time.monotonic() + random.uniform(*_RELOAD_SECONDS)
            if time.monotonic() >= rotate_at:
                self.server.rotate()
                rotate_at = time.monotonic() + random.uniform(*_ROTATE_SECONDS)
            await asyncio.sleep(0.1)

    async def _watch(self, phase: str) -> None:
        """Read memory and descriptors each second, and now and then all that the server tells."""
        begun = scrape_at = time.monotonic()
        tell_at = begun + _TELL_SECONDS
        process = self.server.process
        while not self._is_over():
            seconds = int(time.monotonic() - begun)
            reading = Reading(seconds, process.memory_bytes(), process.descriptors())
            self.readings.append(reading)
            if time.monotonic() >= scrape_at:
                scrape_at = time.monotonic() + _SCRAPE_SECONDS
                await self._look()
            if time.monotonic() >= tell_at:
                tell_at += _TELL_SECONDS
                print(
                    f"{phase}, {seconds} s: {len(self.ledger.asked):,} requests,"
                    f" {reading.memory_bytes / 1e6:.1f} MB, {reading.descriptors} descriptors,"
                    f" {len(self.faults) + len(self.ledger.problems)} faults",
                    flush=True,
                )
            await asyncio.sleep(1.0)

    async def _look(self) -> None:
        try:
            samples = await asyncio.to_thread(self.server.scrape)
        except OSError as error:
            self.faults.append(f"the server is gone: {error}")
            self._over_at = 0.0
            return
        counted = _sum(samples, "aiproxy_requests_total")
        if counted < self._counted:
            self.faults.append(f"the count of requests fell from {self._counted} to {counted}")
        self._counted = counted
        self.faults += self.server.read_trouble()

    def _wait_until_quiet(self) -> None:
        """Wait until nothing is under way, at the server and upstream."""
        if not _wait_until(lambda: not any(self._find_busy().values()), _QUIET_SECONDS):
            busy = {name: count for name, count in self._find_busy().items() if count}
            self.faults.append(f"the load is over, but not: {busy}")

    def _find_busy(self) -> dict[str, float]:
        samples = self.server.scrape()
        with urllib.request.urlopen(f"http://127.0.0.1:{self.upstream.port}/count") as answer:
            upstream = json.loads(answer.read())
        busy = {name: _sum(samples, f"aiproxy_{name}") for name in ("open_streams", "queue_length")}
        busy["active connections"] = _sum(samples, "aiproxy_pool_connections", state="active")
        busy["open at the upstream"] = upstream["open"]
        return busy

    def _count_held(self) -> int:
        """Count descriptors, but for those of connections that are kept for the next request."""
        kept = _sum(self.server.scrape(), "aiproxy_pool_connections", state="idle")
        return self.server.process.descriptors() - int(kept)

    def _report(self, idle: int, growth: int) -> None:
        rows = [
            [kind, f"{total:,}", ", ".join(f"{status}: {n:,}" for status, n in _ordered(counts))]
            for kind, total, counts in self.ledger.count()
        ]
        print(format_table(["clients", "requests", "statuses that they saw"], rows), "\n")
        step = max(1, len(self.readings) // _ROWS)
        rows = [
            [f"{one.done:,}", f"{one.memory_bytes / 1e6:.1f}", str(one.descriptors)]
            for one in self.readings[::step]
        ]
        print(format_table(["seconds", "memory, MB", "descriptors"], rows), "\n")
        print(
            f"{len(self.ledger.asked):,} requests, {self._reloads} reloads and"
            f" {self.server.rotations} rotations by signal; idle at {idle} descriptors;"
            f" memory {growth / 1e6:+.2f} MB after the first quarter; seed {self.seed}\n",
            flush=True,
        )


def soak_mixed(
    seconds: float, *, seed: str, users: int, workers: int = 0, keep: str | None = None
) -> list[str]:
    """
    Soak; what was wrong.

    :param users: clients at the same time.
    :param workers: of the server; 0: one process.
    :param keep: an empty folder where configuration and logs stay.
    :raises NotStarted: a process does not listen.
    """
    raise_descriptor_limit()
    with _find_folder(keep) as folder:
        port = find_free_port()
        command = [sys.executable, "-m", "bench.soak_upstream", str(port), seed]
        environment = {"PYTHONPATH": str(ROOT)}
        with (
            running(command, port, core=None, folder=folder, environment=environment) as upstream,
            Server.start(folder, port, workers) as server,
        ):
            soak = Soak(server, upstream, seed, users)
            try:
                soak.run(seconds)
            except OSError as error:
                soak.faults.append(f"the server is gone: {error}")
            complaints = folder / f"{Path(command[0]).name}-{port}.log"
            faults = soak.faults + complaints.read_text(errors="replace").splitlines()
    more = len(faults) - _MOST_SHOWN
    return faults[:_MOST_SHOWN] + ([f"and {more} more"] if more > 0 else [])


@contextmanager
def _find_folder(keep: str | None) -> Iterator[Path]:
    if keep is not None:
        folder = Path(keep).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def _wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    give_up = time.monotonic() + seconds
    while not (held := holds()) and time.monotonic() < give_up:
        time.sleep(0.2)
    return held


def _sum(samples: Samples, name: str, **wanted: str) -> float:
    return sum(value for labels, value in samples.get(name, ()) if wanted.items() <= labels.items())


def _ordered(counts: Mapping[int | None, int]) -> list[tuple[str, int]]:
    return [
        ("none" if status is None else str(status), counts[status])
        for status in sorted(counts, key=lambda status: status or 0)
    ]

"""The workloads: what is asked of each target, and which figures that gives."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attrs import frozen

from bench.figures import make_figures
from bench.holding import held_streams, write_certificate
from bench.processes import find_free_port
from bench.questions import NUMBER
from bench.rig import Rig
from bench.targets import Target

_WARM_SECONDS = 0.5


@frozen
class Effort:
    """How much is measured: seconds and rounds of each run, and open streams."""

    seconds: float = 3.0
    rounds: int = 5
    paced_streams: int = 2000
    held_streams: int = 9000


FULL = Effort()
QUICK = Effort(seconds=0.8, rounds=1, paced_streams=500, held_streams=1000)

Measure = Callable[[Rig, Target, Effort], dict[str, float]]


@frozen
class Workload:
    """
    One kind of load.

    :param measure: does one round for one target.
    :param suits: whether a target can do it at all.
    :param once: one round is enough, the figures do not scatter.
    """

    name: str
    title: str
    measure: Measure
    suits: Callable[[Target], bool]
    once: bool = False


def _ask(answer: str, connections: int, image: bool = False) -> Measure:
    """Measure requests one after the other on each of so many connections."""

    def measure(rig: Rig, target: Target, effort: Effort) -> dict[str, float]:
        process = rig.find(target)
        for seconds in (_WARM_SECONDS, effort.seconds):
            sample = rig.ask(
                target, process, answer, connections=connections, seconds=seconds, image=image
            )
        return make_figures(sample)

    return measure


def _pace(rig: Rig, target: Target, effort: Effort) -> dict[str, float]:
    """Measure many streams at once, each with an event from time to time."""
    streams = effort.paced_streams
    sample = rig.ask(
        target, rig.find(target), "paced", connections=streams, total=streams, ramp=1.0
    )
    return make_figures(sample)


def _hold(rig: Rig, target: Target, effort: Effort) -> dict[str, float]:
    """Measure the memory of a fresh process: idle, and with open streams."""
    figures = {}

    def write() -> bytes:
        number = b"%010d" % rig.take_number()
        return rig.write(target, "held").replace(NUMBER, number)

    with rig.start(target) as process:
        rig.ask(target, process, "plain", connections=1, total=1)
        idle = figures["idle"] = float(process.memory_bytes())
        if not target.is_ours:
            return figures
        with held_streams(process.port, effort.held_streams, write):
            figures["held"] = (process.memory_bytes() - idle) / effort.held_streams
    key, certificate = write_certificate(rig.folder)
    port = find_free_port()
    where = f"ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
    with rig.start(target, f"--listen={where}") as process:
        rig.ask(target, process, "plain", connections=1, total=1)
        with held_streams(port, 1, write, certificate):
            idle = float(process.memory_bytes())
        with held_streams(port, effort.held_streams, write, certificate):
            figures["held_tls"] = (process.memory_bytes() - idle) / effort.held_streams
    return figures


def _start(rig: Rig, target: Target, effort: Effort) -> dict[str, float]:
    """Measure the time from the start of the process to its first answer."""
    began = time.monotonic()
    with rig.start(target) as process:
        rig.ask(target, process, "plain", connections=1, total=1)
        return {"start": time.monotonic() - began, "cpu_start": process.cpu_seconds()}


def _is_run(target: Target) -> bool:
    return target.command is not None


def _streams(target: Target) -> bool:
    return target.streams


def _translates(face: str) -> Callable[[Target], bool]:
    return lambda target: face in target.faces


WORKLOADS: Sequence[Workload] = (
    Workload("plain", "Short plain requests, 32 connections", _ask("plain", 32), lambda _: True),
    Workload("single", "Short plain requests, 1 connection", _ask("plain", 1), lambda _: True),
    Workload("image", "Prompts of 1 MiB with an image, 8 connections",
        _ask("plain", 8, image=True), lambda _: True),
    Workload("stream", "Streams passed through, 32 connections", _ask("openai", 32), _streams),
    Workload("gemini", "Streams translated from Gemini, 32 connections",
        _ask("gemini", 32), _translates("gemini")),
    Workload("anthropic", "Streams translated from Anthropic, 32 connections",
        _ask("anthropic", 32), _translates("anthropic")),
    Workload("paced", "Many streams at once, an event each 100 ms", _pace,
        lambda target: target.streams and not target.is_peer),
    Workload("memory", "Memory", _hold, _is_run, once=True),
    Workload("start", "Start-up", _start, _is_run, once=True),
)  # fmt: skip

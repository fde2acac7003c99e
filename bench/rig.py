"""One upstream, the targets before it, and the load: every request counted on both sides."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from bench.answers import EVENTS, PACED_EVENTS, make_scripts
from bench.compiled import compile_program
from bench.figures import Sample
from bench.processes import LOAD_CORE, PROXY_CORE, Running, find_free_port, pinned, running
from bench.questions import write_question
from bench.targets import FACES, ROOT, Place, Target, choose_model

_EVENTS = {"plain": 0, "paced": PACED_EVENTS, "held": 1}
_SETTLE_SECONDS = 5.0


class CountsDiffer(Exception):
    """The upstream saw other requests than were asked: somebody cached, or asked twice."""


class Rig:
    """
    Everything that a measurement needs, until the block ends.

    :param slow: upstream and load are those in Python, not those in C.
    :ivar folder: for files of this run.
    :ivar load: the command that puts a load on a port, without its arguments.
    """

    def __init__(self, slow: bool = False) -> None:
        self._slow = slow
        self._stack = ExitStack()
        self._started: dict[str, Running] = {}
        self._next_number = 0

    def __enter__(self) -> Rig:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self.folder.chmod(0o755)  # nginx's worker, another user, has its files here
        program, self.load = self._find_program("upstream"), self._find_program("load")
        scripts = []
        for name, script in make_scripts().items():
            script.save(self.folder / name)
            scripts.append(f"{name}={self.folder / name}")
        port = find_free_port()
        command = [*program, str(port), *scripts]
        self.upstream = self._stack.enter_context(
            running(command, port, core=LOAD_CORE, folder=self.folder)
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @contextmanager
    def start(self, target: Target, *options: str) -> Iterator[Running]:
        """
        Run the target by itself, for as long as the block lasts.

        :param options: more of the command line.
        :raises NotStarted: it does not listen.
        """
        if target.command is None:
            yield self.upstream
            return
        place = Place(self.folder, find_free_port(), self.upstream.port)
        command = [*target.command(place), *options]
        with running(
            command,
            place.port,
            core=PROXY_CORE,
            folder=self.folder,
            environment=target.environment,
        ) as process:
            yield process

    def find(self, target: Target) -> Running:
        """
        Find the target's process, which is started at the first need and kept.

        :raises NotStarted: it does not listen.
        """
        if target.name not in self._started:
            self._started[target.name] = self._stack.enter_context(self.start(target))
        return self._started[target.name]

    def write(self, target: Target, answer: str, *, image: bool = False) -> bytes:
        """Write the request with which this target gets that answer from the upstream."""
        face = answer if answer in FACES else "openai"
        return write_question(
            answer,
            choose_model(target, face),
            stream=answer != "plain",
            image=image,
            headers=target.headers(face, self.upstream.port),
        )

    def take_number(self) -> int:
        """Take the number of a request that is made without :meth:`ask`."""
        self._next_number += 1
        return self._next_number - 1

    def ask(
        self,
        target: Target,
        process: Running,
        answer: str,
        *,
        connections: int,
        seconds: float = 0.0,
        total: int = 0,
        ramp: float = 0.0,
        cut_at: int = 0,
        image: bool = False,
    ) -> Sample:
        """
        Put a load on a target.

        :param answer: the script that the upstream plays.
        :param seconds: how long; or
        :param total: how many requests.
        :param ramp: seconds over which the connections are opened.
        :param cut_at: events after which each stream is left.
        :raises CountsDiffer: the upstream did not see each request once.
        """
        question, samples = self.folder / "question", self.folder / "samples"
        question.write_bytes(self.write(target, answer, image=image))
        events = _EVENTS.get(answer, EVENTS)
        bounds: list[object] = [process.port, connections, seconds, total, self._next_number, ramp]
        command = [*self.load, *map(str, [*bounds, events, cut_at, question, samples])]
        before, used = self.count(), process.cpu_seconds()
        with pinned(LOAD_CORE):
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        used = process.cpu_seconds() - used
        told: dict[str, Any] = json.loads(output)
        self._next_number += told["begun"]
        self._compare(target, told, before)
        values = array("d")
        values.frombytes(samples.read_bytes())
        wholes, firsts = told["wholes"], told["firsts"]
        return Sample(
            told["seconds"],
            told["answers"],
            told["errors"],
            told["cut"],
            told["events"],
            used,
            values[:wholes],
            values[wholes : wholes + firsts],
            values[wholes + firsts :],
        )

    def count(self) -> dict[str, int]:
        """Ask the upstream what it has seen so far."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.upstream.port}/count") as answer:
            counts: dict[str, int] = json.loads(answer.read())
        return counts

    def _compare(self, target: Target, told: dict[str, Any], before: dict[str, int]) -> None:
        # What was left midway, or failed, may never have come to the upstream.
        counted = told["answers"] + told["cut"], told["begun"]
        after = self.count()
        seen = after["requests"] - before["requests"]
        repeated = after["repeated"] - before["repeated"]
        if repeated or not counted[0] <= seen <= counted[1]:
            raise CountsDiffer(
                f"{target.name}: {counted[0]} of {counted[1]} requests were answered, "
                f"but the upstream saw {seen}, {repeated} of them again"
            )

    def wait_until_quiet(self) -> int:
        """Wait until the upstream has no answer under way; how many it has after some seconds."""
        give_up = time.monotonic() + _SETTLE_SECONDS
        while (left := self.count()["open"]) and time.monotonic() < give_up:
            time.sleep(0.1)
        return left

    def _find_program(self, name: str) -> Sequence[str]:
        program = None if self._slow else compile_program(name)
        if program is not None:
            return [str(program)]
        if not self._slow:
            print(f"There is no C compiler: a slow {name} in Python is used.", file=sys.stderr)
        return [sys.executable, str(ROOT / "bench" / f"slow_{name}.py")]

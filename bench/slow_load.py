"""
The load of ``load.c`` in Python, for where there is no C compiler.

It takes the same command line, checks and prints the same, with threads that
ask one request after the other.  Fast proxies are faster than it.
"""

from __future__ import annotations

import http.client
import itertools
import json
import sys
import threading
import time
from array import array
from collections.abc import Sequence
from pathlib import Path

from attrs import define, field, frozen

_NUMBER = b"@@number@@"
_FAILURES = 1000


@frozen
class Plan:
    """What to do; the words are those of ``load.c``."""

    port: int
    connections: int
    seconds: float
    total: int
    first: int
    ramp: float
    events: int
    cut_at: int
    request: bytes


@define
class Sums:
    """What came of it."""

    begun: int = 0
    errors: int = 0
    cut: int = 0
    events: int = 0
    ended: float = 0.0
    wholes: array[float] = field(factory=lambda: array("d"))
    firsts: array[float] = field(factory=lambda: array("d"))
    delays: array[float] = field(factory=lambda: array("d"))


class Load:
    """Threads that share a plan and its sums."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sums = Sums()
        self._lock = threading.Lock()
        self._numbers = itertools.count(plan.first)
        head, _, self._body = plan.request.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self._path = lines[0].split()[1]
        self._headers = dict(line.split(": ", 1) for line in lines[1:])
        self._started = time.monotonic()

    def run(self) -> tuple[Sums, float]:
        """Run; the sums, and the seconds that it took."""
        threads = [threading.Thread(target=self._connect) for _ in range(self._plan.connections)]
        for thread in threads:
            thread.start()
            time.sleep(self._plan.ramp / len(threads))
        for thread in threads:
            thread.join()
        return self._sums, max(self._sums.ended - self._started, 0.0)

    def _take_number(self) -> int | None:
        plan, sums = self._plan, self._sums
        with self._lock:
            late = plan.seconds and time.monotonic() - self._started >= plan.seconds
            if late or (plan.total and sums.begun >= plan.total) or sums.errors >= _FAILURES:
                return None
            sums.begun += 1
            return next(self._numbers)

    def _connect(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._plan.port, timeout=60)
        while (number := self._take_number()) is not None:
            try:
                whole = self._ask(connection, number)
            except (OSError, http.client.HTTPException, ValueError) as error:
                with self._lock:
                    self._sums.errors += 1
                    if self._sums.errors <= 3:
                        print(f"request {number}: {error}", file=sys.stderr)
                whole = False
            if not whole:
                connection.close()
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, number: int) -> bool:
        """Ask; whether the answer was read to its end."""
        body = self._body.replace(_NUMBER, b"%010d" % number)
        connection.request("POST", self._path, body, self._headers)
        asked = time.monotonic()
        answer = connection.getresponse()
        if answer.status != 200:
            raise ValueError(f"refused: {answer.status} {answer.read(500)!r}")
        said = b"Answer %010d" % number
        if not self._plan.events:
            if said not in answer.read():
                raise ValueError("not this request's answer")
        elif not self._read_stream(answer, said, asked):
            return False
        with self._lock:
            self._sums.ended = time.monotonic()
            self._sums.wholes.append(self._sums.ended - asked)
        return True

    def _read_stream(self, answer: http.client.HTTPResponse, said: bytes, asked: float) -> bool:
        seen, done, plan, sums = 0, False, self._plan, self._sums
        while line := answer.readline():
            done = done or line.startswith(b"data: [DONE]")
            mark = b"e%03d." % seen
            if seen == plan.events or not line.startswith(b"data:") or mark not in line:
                continue
            now = time.monotonic()
            stamp = line.partition(mark)[2]
            with self._lock:
                sums.events += 1
                if not seen:
                    sums.firsts.append(now - asked)
                if stamp.startswith(b"t"):
                    sums.delays.append(now - int(stamp[1:16]) / 1e6)
            if not seen and said not in line:
                raise ValueError("not this request's answer")
            seen += 1
            if plan.cut_at and seen >= plan.cut_at:
                with self._lock:
                    sums.cut += 1
                    sums.ended = now
                return False
        if not done or seen < plan.events:
            raise ValueError("the stream is not whole")
        return True


def main(arguments: Sequence[str]) -> None:
    """Run the plan of the command line."""
    port, connections, seconds, total, first, ramp, events, cut_at, request, samples = arguments
    plan = Plan(
        int(port),
        int(connections),
        float(seconds),
        int(total),
        int(first),
        float(ramp),
        int(events),
        int(cut_at),
        Path(request).read_bytes(),
    )
    sums, seconds_taken = Load(plan).run()
    parts = {"wholes": sums.wholes, "firsts": sums.firsts, "delays": sums.delays}
    Path(samples).write_bytes(b"".join(values.tobytes() for values in parts.values()))
    told = {
        "seconds": seconds_taken,
        "begun": sums.begun,
        "answers": len(sums.wholes),
        "errors": sums.errors,
        "cut": sums.cut,
        "events": sums.events,
    }
    print(json.dumps({**told, **{name: len(values) for name, values in parts.items()}}))


if __name__ == "__main__":
    main(sys.argv[1:])

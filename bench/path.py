"""
What one plain call runs through: every function of it, in order, without sockets.

``python -m bench.path``: CPU microseconds of a call that goes through the whole
of aiproxy, fully featured, between a client and an upstream in memory, and how
many functions it calls.  The counts are the same on every machine; ``--trace``
lists them.  ``--together 16`` lets as many come in one turn of the reactor, as
under load: see :mod:`aiproxy.transport.stages`.
"""

from __future__ import annotations

import argparse
import gc
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from aiproxy.config.load import load
from aiproxy.server import Server
from aiproxy.transport.socket_group import SocketGroup
from bench.answers import make_scripts
from bench.questions import NUMBER, write_question
from bench.targets import TOKEN, Place, write_aiproxy

__all__ = ["Calls", "CallsInMemory", "count_calls", "measure"]

_WARM_CALLS = 500
_NUMBERS = re.compile(rb"\b[0-9]{10}\b")


class _Transport(StringTransport):
    """Takes what is written, and keeps the last piece."""

    said = b""

    def write(self, data: bytes) -> None:
        self.said = data

    def setTcpNoDelay(self, enabled: bool) -> None:
        """There is no delay."""

    def abortConnection(self) -> None:
        """There is nobody to tell."""


class _Reactor(SocketGroup):
    """The reactor that it is given, but for its connections, which are in memory."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor)
        self.upstreams: list[tuple[Any, _Transport]] = []

    def connectTCP(  # type: ignore[override]
        self, host: str, port: int, factory: IProtocolFactory, *_: object, **__: object
    ) -> None:
        """Connect at once."""
        protocol: Any = factory.buildProtocol(IPv4Address("TCP", host, port))
        transport = _Transport()
        self.upstreams.append((protocol, transport))
        protocol.makeConnection(transport)


class CallsInMemory:
    """
    A server with clients, and an upstream that answers everything.

    :param folder: for the configuration and the access log.
    :param together: so many clients, which ask in the same turn of the reactor.
    """

    def __init__(self, folder: Path, reactor: Any, together: int = 1) -> None:
        memory = _Reactor(reactor)
        write_aiproxy(Place(folder, 0, 9))
        environment = {"AUTH_TOKEN": TOKEN, "ADMIN_TOKEN": "sk-admin"}
        loaded = load(folder / "aiproxy-llhttp.yaml", env=environment)
        server = Server(loaded, memory, [], lambda place: NotImplemented)
        server.reopen()
        site: Any = server.service.site
        self._clients: list[tuple[Any, _Transport]] = []
        for _ in range(together):
            client, transport = site.buildProtocol(None), _Transport()
            client.makeConnection(transport)
            self._clients.append((client, transport))
        self._memory = memory
        self._answer = make_scripts()["plain"].packets[0]
        self._question = write_question(
            "plain", "bench/openai", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        self._number = 0
        self._server = server

    def close(self) -> None:
        """Write the access log's last lines, and leave no timer."""
        for client, _ in self._clients:
            client.connectionLost(Failure(ConnectionDone()))
        self._server.close()

    def run(self) -> None:
        """Send a request of each client, and let them be answered; none is like another."""
        asked = {}
        with self._turn():
            for client, transport in self._clients:
                self._number += 1
                number = b"%010d" % self._number
                asked[number] = transport
                client.dataReceived(self._question.replace(NUMBER, number))
        with self._turn():
            for upstream, transport in self._memory.upstreams:
                [number] = _NUMBERS.findall(transport.said)
                upstream.dataReceived(self._answer.replace(NUMBER, number))
        self._memory.runUntilCurrent()
        for number, transport in asked.items():
            assert number in transport.said, transport.said

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Let what happens do so in one turn of the reactor."""
        stages, together = self._memory.stages, len(self._clients)
        if together > 1:
            stages.begin()
        yield
        if together > 1:
            stages.end()


@frozen
class Calls:
    """
    The functions that one call runs through, those of its kind alone.

    :param python: Python's, as they were called: how deep, where, which.
    :param built_in: how many of those in C were called by them.
    """

    python: Sequence[tuple[int, str, str]]
    built_in: int


def count_calls(run: Callable[[], None]) -> Calls:
    """Run, and see what is called."""
    python: list[tuple[int, str, str]] = []
    depth = built_in = 0

    def see(frame: FrameType, event: str, _: object) -> None:
        nonlocal depth, built_in
        if event == "call":
            code = frame.f_code
            python.append((depth, code.co_filename, code.co_qualname))
            depth += 1
        elif event == "return":
            depth -= 1
        elif event == "c_call":
            built_in += 1

    sys.setprofile(see)
    try:
        run()
    finally:
        sys.setprofile(None)
    return Calls(python, built_in - 1)  # The last is our own.


def measure(run: Callable[[], None], calls: int) -> float:
    """Return the CPU microseconds of one run, out of so many."""
    began = time.process_time()
    for _ in range(calls):
        run()
    return (time.process_time() - began) / calls * 1e6


def main(arguments: Sequence[str]) -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser("python -m bench.path", description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5, help="the best counts")
    parser.add_argument("--together", type=int, default=1, help="so many in one turn")
    parser.add_argument("--trace", action="store_true", help="list the functions")
    options = parser.parse_args(arguments)
    from twisted.internet import reactor

    with tempfile.TemporaryDirectory() as folder:
        call = CallsInMemory(Path(folder), reactor, options.together)
        measure(call.run, _WARM_CALLS // options.together)
        seen = count_calls(call.run)
        if options.trace:
            for depth, file, name in seen.python:
                print(f"{'  ' * depth}{'/'.join(Path(file).parts[-2:])} {name}")
        gc.collect()
        gc.freeze()
        runs = options.calls // options.together
        best = min(measure(call.run, runs) for _ in range(options.rounds)) / options.together
    python, built_in = (count // options.together for count in (len(seen.python), seen.built_in))
    print(f"{best:.1f} µs, {python} functions of Python and {built_in} in C")


if __name__ == "__main__":
    main(sys.argv[1:])

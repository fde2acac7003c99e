"""Processes in memory, for the tests of who starts them."""

from __future__ import annotations

import errno
import json
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from aiproxy.workers.process import CONTROL_READ, CONTROL_WRITE


class MemoryProcess:
    """
    A process that does nothing by itself.

    :ivar told: the messages that it was sent.
    :ivar signals: those that it was sent.
    """

    def __init__(self, protocol: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        self.protocol = protocol
        self.arguments = arguments
        self.options = options
        self.pid: int | None = 1_000
        self.pipes = {CONTROL_READ: None, CONTROL_WRITE: None}
        self.told: list[dict[str, Any]] = []
        self.signals: list[str] = []
        protocol.makeConnection(self)

    def writeToChild(self, descriptor: int, data: bytes) -> None:
        """It is sent a message."""
        assert descriptor == CONTROL_READ
        self.told += map(json.loads, data.splitlines())

    def signalProcess(self, name: str) -> None:
        """It is sent a signal."""
        self.signals.append(name)

    def say(self, **message: object) -> None:
        """It says something."""
        data = json.dumps(message).encode() + b"\n"
        self.protocol.childDataReceived(CONTROL_WRITE, data)

    def answer(self, data: object = None) -> None:
        """It answers the latest question."""
        self.say(answer=self.told[-1]["ask"], data=data)

    def end(self, *, signal: int | None = None, status: int = 0) -> None:
        """It ends."""
        self.pid = None
        self.pipes.clear()
        done: Any = ProcessDone(0)
        if signal is not None or status:
            done = ProcessTerminated(status, signal)
        self.protocol.processEnded(Failure(done))


class ProcessReactor(Clock):
    """
    Starts processes in memory.

    :ivar processes: all that were started.
    :ivar full: there is no room for another one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.processes: list[MemoryProcess] = []

    def spawnProcess(self, protocol: Any, *arguments: Any, **options: Any) -> MemoryProcess:
        """Start one."""
        if self.full:
            raise BlockingIOError(errno.EAGAIN, "No more processes")
        process = MemoryProcess(protocol, arguments, options)
        self.processes.append(process)
        return process

"""
One supervisor follows another: the sockets stay open, and the counts go on.

The old one starts the new one as it was started itself, with its sockets and
counts, and goes on until the new one's workers serve.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol, Protocol, connectionDone
from twisted.python.failure import Failure

from aiproxy.config.secret import Secret
from aiproxy.workers.conversation import Conversation, Hears
from aiproxy.workers.process import CONTROL_READ, CONTROL_WRITE

__all__ = ["Handed", "Predecessor", "Successor"]

_VARIABLE = "AIPROXY_HANDED"


@frozen
class Handed:
    """
    What a supervisor leaves to the next one.

    :param sockets: descriptor and family, by the description of where they listen.
    :param counts: the descriptor of the memory.
    :param taken: places in it that the old one's workers have.
    :param access_token: the one that was made up.
    :param nohup: whether the terminal does not count; who starts a process takes from it
        that HUP is ignored.
    """

    sockets: Mapping[str, tuple[int, int]]
    counts: int
    taken: frozenset[int]
    access_token: Secret | None = None
    nohup: bool = False

    @classmethod
    def take(cls, environment: MutableMapping[str, str]) -> Handed | None:
        """Take it out of the environment; ``None``: there is none before us."""
        text = environment.pop(_VARIABLE, None)
        if text is None:
            return None
        told = json.loads(text)
        sockets = {name: (number, family) for name, number, family in told["sockets"]}
        token = told["access_token"]
        return cls(
            sockets,
            told["counts"],
            frozenset(told["taken"]),
            None if token is None else Secret(token),
            told.get("nohup", False),  # An older version does not tell.
        )

    def put(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return an environment that holds it, too."""
        sockets = [[name, *socket] for name, socket in self.sockets.items()]
        told = {
            "sockets": sockets,
            "counts": self.counts,
            "taken": sorted(self.taken),
            "access_token": None if self.access_token is None else self.access_token.reveal(),
            "nohup": self.nohup,
        }
        return {**environment, _VARIABLE: json.dumps(told)}


class Successor(ProcessProtocol):
    """
    The new supervisor, as the old one sees it.

    :param hears: see :class:`Conversation`.
    :param gone: called when it has ended.
    :ivar ended: fires then.
    """

    def __init__(self, hears: Hears, gone: Callable[[], None]) -> None:
        self.conversation = Conversation(self._write, hears, {})
        self.ended: Deferred[None] = Deferred()
        self._gone = gone

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It says something."""
        self.conversation.received(data)

    def childConnectionLost(self, childFD: int) -> None:
        """It has ended: with the process that was started, or the one that became a daemon."""
        if childFD == CONTROL_WRITE:
            self.conversation.end()
            self._gone()
            self.ended.callback(None)

    def _write(self, data: bytes) -> None:
        transport: Any = self.transport
        if CONTROL_READ in transport.pipes:
            transport.writeToChild(CONTROL_READ, data)


class Predecessor(Protocol):
    """
    The old supervisor, as the new one sees it.

    :param released: called when it has left the counts' file to us; at its end at the latest.
    :param gone: called when it has ended, and all of its workers.
    :param stopped: called when it ends, and we are to end with it.
    """

    def __init__(
        self,
        released: Callable[[], None],
        gone: Callable[[], None],
        stopped: Callable[[], None],
    ) -> None:
        self._released = released
        self._gone = gone
        self._stopped = stopped
        hears = {"released": self._release, "stop": self._stop}
        self.conversation = Conversation(self._write, hears, {})
        self._waits = True

    def dataReceived(self, data: bytes) -> None:
        """It says something."""
        self.conversation.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has ended."""
        self.conversation.end()
        self._release()
        self._gone()

    def _release(self, _: object = None) -> None:
        if self._waits:
            self._waits = False
            self._released()

    def _stop(self, _: object) -> None:
        self._waits = False
        self._stopped()

    def _write(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]

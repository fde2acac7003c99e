"""Many clients that ask again and again, on connections that they keep."""

from __future__ import annotations

from collections import Counter
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

__all__ = ["Load"]


class _Client(Protocol):
    """
    One connection; it has at most one request on its way.

    :ivar answered: fires with whether the server keeps the connection.
    """

    def __init__(self) -> None:
        self.answered: Deferred[bool] | None = None
        self.status = 0
        self._received = b""

    def ask(self, request: bytes) -> Deferred[bool]:
        """Send a request."""
        self.answered = Deferred()
        self.transport.write(request)  # type: ignore[union-attr]
        return self.answered

    def dataReceived(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or self.answered is None:
            return
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(headers[b"content-length"]):
            return
        self._received = b""
        self.status = int(head.split(b" ", 2)[1])
        answered, self.answered = self.answered, None
        answered.callback(headers.get(b"connection") != b"close")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.answered is not None:
            answered, self.answered = self.answered, None
            answered.errback(reason)


@define
class Load:
    """
    Clients that ask one thing, each as often as it can, until :meth:`stop`.

    :param request: keeps the connection.
    :ivar statuses: how often each status came.
    :ivar refused: connections that could not be made.
    :ivar lost: requests whose connection was lost before the answer was there.
    """

    port: int
    request: bytes
    statuses: Counter[int] = field(factory=Counter)
    refused: list[str] = field(factory=list)
    lost: list[str] = field(factory=list)
    _running: list[Deferred[None]] = field(factory=list)
    _stopping: bool = False
    _awaited: list[tuple[int, Deferred[None]]] = field(factory=list)

    def start(self, clients: int) -> None:
        """Begin."""
        for _ in range(clients):
            self._running.append(Deferred.fromCoroutine(self._run()))

    async def answers(self, count: int) -> None:
        """Wait for so many more answers."""
        waiting: Deferred[None] = Deferred()
        self._awaited.append((self.statuses.total() + count, waiting))
        await waiting

    async def stop(self) -> None:
        """Let each have its last answer.  Harmless when repeated."""
        self._stopping = True
        running, self._running = self._running, []
        await gatherResults(running)

    async def _run(self) -> None:
        from twisted.internet import reactor

        running: Any = reactor
        endpoint = TCP4ClientEndpoint(running, "127.0.0.1", self.port)
        client: Any = None
        while not self._stopping:
            if client is None:
                try:
                    client = await endpoint.connect(Factory.forProtocol(_Client))
                except Exception as error:
                    self.refused.append(repr(error))
                    continue
            try:
                keeps = await client.ask(self.request)
            except Exception as error:
                self.lost.append(repr(error))
                client = None
                continue
            self._count(client.status)
            if not keeps:
                client.transport.loseConnection()
                client = None
        if client is not None:
            client.transport.abortConnection()

    def _count(self, status: int) -> None:
        self.statuses[status] += 1
        total = self.statuses.total()
        for pair in [pair for pair in self._awaited if pair[0] <= total]:
            self._awaited.remove(pair)
            pair[1].callback(None)

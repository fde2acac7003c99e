"""
A real HTTP server that plays a script of faults, down to single bytes.

It speaks HTTP/1.1 by itself, for a proper server would not misbehave.  All
waits are on the clock that it is given: with a test's clock an hour of
silence takes no time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IReactorTime,
)
from twisted.internet.protocol import Factory

from aiproxy.providers.chaos.answers import PrefillRefused, make_answer
from aiproxy.providers.chaos.connection import ChaosConnection
from aiproxy.providers.chaos.faults import perform
from aiproxy.providers.chaos.scene import Act, Scene
from aiproxy.providers.chaos.script import CONNECTION_FAULTS, Playback, Script, Step, read_script
from aiproxy.wire.json import JSONError, dumps, loads

__all__ = ["ChaosConnection", "ChaosUpstream", "SeenRequest"]

#: How long a port stays closed where the step does not say.
_REFUSE_SECONDS: Final = 1.0
#: Requests that are kept where not all are.
_LATEST: Final = 20
_REFUSED_PREFILL: Final = Step(
    fault="error", error="400", message="The conversation must end with a user message."
)


@frozen
class SeenRequest:
    """
    One request.

    :param headers: names in lower case.
    :param body: decoded; empty where there is none.
    :param connection: which it came on, from 0.
    :param fault: what it met.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    connection: int
    fault: str


class ChaosUpstream(Factory):
    """
    An upstream whose script says what each request meets; after it, all is well.

    Every ``POST`` is a request of the script.  ``GET …/models`` lists one model
    and is none.

    :param script: plain data, see :mod:`aiproxy.providers.chaos.script`.
    :param clock: for all waits, dates and spans.
    :param name: what its answers' ids begin with.
    :param keep_alive: connections may serve again.
    :param records: all that was is kept for a test; else the latest requests.
    :raises ValueError: it is no script.
    :ivar requests: what was seen, the latest last.
    :ivar connections: what was accepted, or else is open.
    """

    noisy = False

    def __init__(
        self,
        script: object = (),
        *,
        clock: IReactorTime,
        name: str = "chaos",
        keep_alive: bool = True,
        records: bool = True,
    ) -> None:
        self.name = name
        self.clock = clock
        self.requests: list[SeenRequest] = []
        self.connections: list[ChaosConnection] = []
        self._keep_alive = keep_alive
        self._records = records
        self._accepted = self._seen = 0
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._reactor: Any = None
        self._port: IListeningPort | None = None
        self._address: Any = None
        self._reopening: IDelayedCall | None = None
        self._playback = Playback(read_script(script))

    # --- the test's side --------------------------------------------------------------

    @property
    def url(self) -> str:
        """The base URL, once it listens."""
        return f"http://{self._address.host}:{self._address.port}/v1"

    @property
    def next(self) -> Step:
        """The step that comes next."""
        return self._playback.peek(self.clock.seconds())

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        return sum(connection.lost is None for connection in self.connections)

    def play(self, script: object) -> None:
        """
        Begin another script, also while requests are being answered.

        :raises ValueError: it is no script, or not for a port.
        """
        read = read_script(script)
        if self._address is not None:
            _check_for_port(read)
        self._playback = Playback(read)
        self._follow()

    def listen(self, reactor: Any, port: int = 0, interface: str = "127.0.0.1") -> Deferred[str]:
        """
        Serve on a port; fire with the base URL.

        :param reactor: ``IReactorTCP``.
        :param port: 0: a free one.
        :raises ValueError: the script is not for a port.
        """
        _check_for_port(self._playback.script)
        self._reactor = reactor
        self._port = reactor.listenTCP(port, self, interface=interface)
        self._address = self._port.getHost()
        return self._follow().addCallback(lambda _: self.url)

    def stop(self) -> Deferred[None]:
        """Close the port and reset what is open; fire when all is gone."""
        if self._reopening is not None:
            self._reopening.cancel()
            self._reopening = None
        for connection in self.connections:
            if connection.lost is None:
                connection.transport.abortConnection()
        gone = self._close_port()
        return gone.addCallback(lambda _: self.until(lambda: self.open_connections == 0))

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fire when a condition holds; it is looked at when anything happens here."""

        def forget(_: Deferred[None]) -> None:
            self._waiting.remove(pair)

        waiting: Deferred[None] = Deferred(forget)
        pair = (condition, waiting)
        self._waiting.append(pair)
        self.changed()
        return waiting

    # --- the connections' side ----------------------------------------------------------

    def buildProtocol(self, addr: IAddress | None) -> ChaosConnection:
        """Take a connection."""
        connection = ChaosConnection(self, self._accepted)
        self._accepted += 1
        self.connections.append(connection)
        return connection

    def take(self) -> Step:
        """Count the next step as met."""
        step = self._playback.take(self.clock.seconds())
        self._follow()
        return step

    def changed(self) -> None:
        """Something happened."""
        if not self._records:
            self.connections = [one for one in self.connections if one.lost is None]
        for pair in list(self._waiting):
            if pair in self._waiting and pair[0]():
                self._waiting.remove(pair)
                pair[1].callback(None)

    def answer(
        self,
        connection: ChaosConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        raw: bytes,
    ) -> tuple[Iterator[Act], bool]:
        """Return what a request meets, and whether its connection may serve again."""
        try:
            body = loads(raw) if raw else {}
        except JSONError:
            body = {}
        if not isinstance(body, dict):
            body = {}
        counts = method == "POST"
        step = self._meet(connection) if counts else Step()
        number, now = connection.number, self.clock.seconds()
        self._seen += 1
        self.requests.append(SeenRequest(method, path, headers, body, number, step.fault))
        if not self._records:
            del self.requests[:-_LATEST]
        settings = self._playback.script.settings_for(step)
        name = f"{self.name}-{self._seen}"
        try:
            answer = make_answer(body, settings, name, now)
        except PrefillRefused:
            step = _REFUSED_PREFILL
            answer = make_answer({}, settings, name, now)
        following = self.next.fault
        keep = following == "stale" or (self._keep_alive and following not in CONNECTION_FAULTS)
        scene = Scene(step, answer, body.get("stream") is True, keep, settings.pace, now)
        if not counts:
            models = {"object": "list", "data": [{"id": "drill", "object": "model"}]}
            return scene.whole(dumps(models)), keep
        return perform(scene), keep

    def _meet(self, connection: ChaosConnection) -> Step:
        """Say what a request on a connection meets."""
        fault = self.next.fault
        if fault in CONNECTION_FAULTS:
            return Step(fault="close")  # That fault waits for a new connection.
        if fault == "stale" and not connection.served:
            return Step()  # And that one for a kept one.
        return self.take()

    # --- the port --------------------------------------------------------------------------

    def _follow(self) -> Deferred[None]:
        """Close the port if that is what comes next."""
        if self._port is None or self.next.fault != "refuse":
            return succeed(None)
        step = self._playback.take(self.clock.seconds())
        for connection in self.connections:
            if connection.idle and connection.lost is None:
                connection.transport.loseConnection()
        seconds = _REFUSE_SECONDS if step.lasts is None else step.lasts
        self._reopening = self.clock.callLater(seconds, self._reopen)
        return self._close_port()

    def _reopen(self) -> None:
        self._reopening = None
        host, port = self._address.host, self._address.port
        self._port = self._reactor.listenTCP(port, self, interface=host)
        self._follow()

    def _close_port(self) -> Deferred[None]:
        port, self._port = self._port, None
        if port is None:
            return succeed(None)
        return port.stopListening() or succeed(None)


def _check_for_port(script: Script) -> None:
    if any(step.fault == "dns" for step in script.faults):
        raise ValueError("dns: whether a name is known is not up to a server")

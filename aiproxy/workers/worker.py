"""A worker process: it serves what its supervisor tells it to, on sockets that it was given."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from aiproxy.config.load import Loaded, load
from aiproxy.config.secret import Secret
from aiproxy.config.sources import Sources
from aiproxy.listening import Place
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.shared_counts import SharedCounts
from aiproxy.proxy import Counts, in_thread
from aiproxy.server import Server
from aiproxy.steady_time import keep_steady
from aiproxy.transport.server_tls import ServerTLSSettings
from aiproxy.transport.socket_group import group_sockets
from aiproxy.workers.conversation import Conversation, ConversationOver
from aiproxy.workers.events import EventWriter
from aiproxy.workers.process import talk
from aiproxy.workers.sockets import AdoptedEndpoint

__all__ = ["WorkerProcess", "main"]

#: Seconds between two reports of what was counted.
_REPORT_SECONDS = 2.0


class WorkerProcess(Protocol):
    """
    The worker's end of the conversation with its supervisor.

    :ivar failed: it could not begin.
    """

    _log = Logger()

    def __init__(self, reactor: Any, place: int) -> None:
        self.failed = False
        self._stopping = False
        self._reactor = reactor
        self._place = place
        self._server: Server | None = None
        self._arguments: dict[str, Any] = {}
        self._conversation = Conversation(
            self._write,
            {
                "stop": self._stop,
                "leave": self._leave,
                "reopen": self._reopen,
                "signed": self._keep_signature,
            },
            {"reload": self._reload, "metrics": self._read_metrics},
        )

    def connectionMade(self) -> None:
        """Ask what to do."""
        beginning = Deferred.fromCoroutine(self._begin())
        beginning.addErrback(self._fail)

    def dataReceived(self, data: bytes) -> None:
        """The supervisor says something."""
        self._conversation.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The supervisor is gone, or our reactor ends: nobody would bring us back, or stop us."""
        self._conversation.end()
        if not self._stopping:
            self._log.error("the supervisor is gone: stopping")
        self._stop()

    def stop(self) -> None:
        """End in order."""
        self._stop()

    def _write(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[union-attr]

    async def _begin(self) -> None:
        told = await self._conversation.ask("begin")
        self._arguments = told["arguments"]
        token = told["access_token"]
        loaded = self._read(told["sources"])
        sockets = {
            Place(one["name"], one["description"], _read_tls(one["tls"])): one
            for one in told["sockets"]
        }

        def listen(place: Place) -> AdoptedEndpoint:
            one = sockets[place]
            return AdoptedEndpoint(self._reactor, one["number"], one["family"])

        server = Server(
            loaded,
            self._reactor,
            list(sockets),
            listen,
            access_token=None if token is None else Secret(token),
            counts=self._attach(told["counts"], told["covers"]),
        )
        server.proxy.reload = lambda: self._conversation.ask("reload")
        server.proxy.gather = lambda: self._conversation.ask("metrics", server.proxy.read_metrics())
        server.proxy.signatures.tell = self._share_signature
        server.run(self._reactor)
        server.service.privilegedStartService()
        server.service.startService()
        self._server = server
        self._reactor.addSystemEventTrigger("before", "shutdown", self._end)
        self._conversation.tell("ready")
        self._report()

    def _attach(self, number: int, covers: bool) -> Counts:
        book = LimitBook(SharedCounts.attach(number, self._place))
        return Counts(book, self._cover if covers else lambda key: None)

    def _cover(self, key: tuple[str, ...]) -> Deferred[None] | None:
        covering: Deferred[None] = Deferred(lambda _: None)

        def over(_: object) -> None:
            if not covering.called:
                covering.callback(None)

        try:
            self._conversation.ask("cover", key).addBoth(over)
        except ConversationOver:
            return None  # Nobody stores it any more.
        return covering

    def _end(self) -> Deferred[None]:
        assert self._server is not None
        stopping = self._server.service.stopService()
        stopping.addCallback(lambda _: self._tell_numbers())
        return stopping

    def _fail(self, failure: Failure) -> None:
        if self._stopping and failure.check(ConversationOver):
            return  # It was told to stop before it had begun.
        self._log.failure("a worker cannot begin", failure)
        self.failed = True
        self._stop()

    def _read(self, sources: str) -> Loaded:
        return load(**self._arguments, sources=Sources.read(sources))

    def _report(self) -> None:
        self._tell_numbers()
        self._reactor.callLater(_REPORT_SECONDS, self._report)

    def _tell_numbers(self) -> None:
        assert self._server is not None
        self._conversation.tell("numbers", self._server.proxy.read_metrics())

    # --- what the supervisor says -----------------------------------------------

    def _stop(self, _: object = None) -> None:
        self._stopping = True
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    def _leave(self, _: object) -> None:
        if self._server is not None:
            self._server.service.linger()
        self._stop()

    def _reopen(self, _: object) -> None:
        if self._server is not None:
            self._server.reopen()

    def _keep_signature(self, signed: list[str]) -> None:
        if self._server is not None:
            self._server.proxy.signatures.keep(*signed)

    def _share_signature(self, *signed: str) -> None:
        # The next turn of the conversation may be another worker's.
        self._conversation.tell("signed", signed)

    async def _reload(self, sources: str) -> list[str] | None:
        if self._server is None:
            return None  # It was not told yet what to do, and then is told the newest.
        # Streams go on meanwhile: a large file takes a second.
        loaded = await in_thread(self._reactor)(self._read, sources)
        return self._server.change(loaded)

    async def _read_metrics(self, _: object) -> object:
        return None if self._server is None else self._server.proxy.read_metrics()


def _read_tls(told: dict[str, Any] | None) -> ServerTLSSettings | None:
    return None if told is None else ServerTLSSettings(**told)


def main() -> None:
    """Run a worker; its place is the one argument."""
    from twisted.internet import reactor

    keep_steady(reactor)
    running = group_sockets(reactor)
    events = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    globalLogBeginner.beginLoggingTo([EventWriter(events.write)], discardBuffer=True)
    worker = WorkerProcess(running, int(sys.argv[1]))
    talk(worker, running)

    def install_signals() -> None:
        # A terminal's Ctrl-C goes to all processes; the supervisor tells us what it means.
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: running.callFromThread(worker.stop))

    running.callWhenRunning(install_signals)
    running.run()
    sys.exit(int(worker.failed))


if __name__ == "__main__":
    main()

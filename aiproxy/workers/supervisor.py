"""
The process that has the listening sockets, and the workers that read them.

It serves nobody itself.  It has a crew of workers, keeps what they count
together, and can give all of it to another supervisor.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.defer import TimeoutError as NotInTime
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import deferLater
from twisted.logger import Logger

from aiproxy.config.load import Loaded
from aiproxy.config.secret import Secret
from aiproxy.errors import ConfigurationError
from aiproxy.listening import ListenError, Place
from aiproxy.notify import notify
from aiproxy.service import CannotStart
from aiproxy.workers.counting import CountKeeper
from aiproxy.workers.crew import Crew
from aiproxy.workers.handover import Handed, Predecessor, Successor
from aiproxy.workers.process import CONTROL_READ, CONTROL_WRITE, talk
from aiproxy.workers.sockets import SharedSocket, bind

__all__ = ["MOST_WORKERS", "Supervisor"]

#: Twice as many have places in what they share: two generations at a hand-over.
MOST_WORKERS: Final = 31

#: Seconds beyond its own drain after which a worker is killed.
_KILL_AFTER: Final = 10.0
#: Where another process finds the counts, and from where on the sockets.
_COUNTS: Final = 5
_SOCKETS: Final = 6


class Supervisor(Service):
    """
    See the module.

    :param loaded: what workers serve by, until :meth:`use` brings another.
    :param arguments: with which a worker loads the same from its sources.
    :param workers: how many.
    :param access_token: what clients show where the configuration has no token.
    :param handed: what another supervisor has left to this one.
    :ivar sockets: those that listen.
    :ivar reload: what a worker's ``POST /admin/reload`` does.
    :ivar started: called once, when all serve for the first time.
    :ivar handing: called when another supervisor is started in our place, with
        true, and when that has failed, with false.
    :ivar followed: another one serves in our place.
    """

    _log = Logger()

    def __init__(
        self,
        loaded: Loaded,
        arguments: Mapping[str, str | None],
        reactor: Any,
        places: Sequence[Place],
        *,
        workers: int,
        access_token: Secret | None,
        handed: Handed | None = None,
    ) -> None:
        self.loaded = loaded
        self.access_token = access_token
        self.sockets: list[SharedSocket] = []
        self.reload: Callable[[], Awaitable[object]] | None = None
        self.started: Callable[[], None] = lambda: None
        self.handing: Callable[[bool], None] = lambda begins: None
        self.followed = False
        self._arguments = arguments
        self._reactor = reactor
        self._places = places
        self._handed = handed
        taken = frozenset[int]() if handed is None else handed.taken
        counts = None if handed is None else handed.counts
        self._counting = CountKeeper(loaded.config.server, reactor, counts)
        self._crew = Crew(
            reactor,
            [place for place in range(1, 2 * MOST_WORKERS + 1) if place not in taken][:workers],
            descriptors=self._descriptors,
            answers={"begin": self._begin, "reload": self._reload, "cover": self._cover},
            ready=self._all_ready,
            gone=self._counting.free_place,
        )
        # Later it has a handler.
        self._nohup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._stopping = False
        self._successor: Successor | None = None
        self._predecessor: Predecessor | None = None

    # --- beginning and ending -------------------------------------------------

    def privilegedStartService(self) -> None:
        """
        Listen, while the process may still do it anywhere.

        :raises CannotStart: it cannot be done.
        """
        super().privilegedStartService()  # type: ignore[no-untyped-call]
        handed = {} if self._handed is None else dict(self._handed.sockets)
        try:
            for place in self._places:
                if place.description in handed:
                    shared = SharedSocket(place, *handed.pop(place.description))
                else:
                    shared = bind(self._reactor, place)
                self.sockets.append(shared)
        except ListenError as error:
            raise CannotStart(f"aiproxy: {error}") from None
        for number, _ in handed.values():
            os.close(number)

    def startService(self) -> None:
        """
        Start the workers.

        :raises CannotStart: ``server.state`` cannot be used.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._counting.open()
        if self._handed is None:
            try:
                self._counting.open_state()
            except ConfigurationError as error:
                raise CannotStart(f"aiproxy: {error}") from None
        else:
            self._reactor.callWhenRunning(self._meet)
        # Not before: who has ended is noticed by a handler that is put in place then.
        self._reactor.callWhenRunning(self._crew.start)

    def stopService(self) -> Deferred[None]:
        """Let all workers end in order; fires when that is done."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._stopping = True
        successor = None if self.followed else self._successor
        if successor is not None:
            successor.conversation.tell("stop")  # It would listen on sockets that are shut.
        if not self.followed:
            notify("STOPPING=1")
        self._crew.stop(leave=self.followed)
        server = self.loaded.config.server
        if not self.followed:
            if server.shutdown_delay:
                await deferLater(self._reactor, server.shutdown_delay)
            closing = [Deferred.fromCoroutine(_close(shared)) for shared in self.sockets]
            await DeferredList(closing, consumeErrors=True)
            self.sockets.clear()
        await self._crew.wait(server.drain_timeout + _KILL_AFTER)
        await self._counting.close_state()
        if successor is not None:
            with suppress(NotInTime):
                await successor.ended.addTimeout(_KILL_AFTER, self._reactor)

    def kill(self) -> None:
        """End all workers at once: this process ends now."""
        self._crew.kill()

    # --- what workers are given, and ask ------------------------------------------

    def _descriptors(self) -> dict[int, int | str]:
        """Return those of a process that we talk to, with the counts and the sockets."""
        return {
            CONTROL_READ: "w",
            CONTROL_WRITE: "r",
            _COUNTS: self._counting.counts.fd,
            **{number: shared.number for number, shared in enumerate(self.sockets, _SOCKETS)},
        }

    async def _begin(self, _: object) -> object:
        token = self.access_token
        return {
            "arguments": self._arguments,
            "sources": self.loaded.sources.write(),
            "access_token": None if token is None else token.reveal(),
            "counts": _COUNTS,
            "covers": self._counting.is_kept,
            "sockets": [
                {
                    "name": shared.place.name,
                    "description": shared.place.description,
                    "tls": shared.place.tls and attrs.asdict(shared.place.tls),
                    "number": number,
                    "family": shared.family,
                }
                for number, shared in enumerate(self.sockets, _SOCKETS)
            ],
        }

    async def _reload(self, _: object) -> object:
        assert self.reload is not None
        return await self.reload()

    async def _cover(self, key: list[str]) -> None:
        await self._counting.cover(tuple(key))

    def _all_ready(self) -> None:
        notify(f"READY=1\nMAINPID={os.getpid()}")
        self.started()
        if self._predecessor is not None:
            self._predecessor.conversation.tell("ready")

    # --- what all of them do --------------------------------------------------------

    async def use(self, loaded: Loaded) -> Sequence[str]:
        """
        Let all workers serve by another configuration.

        :return: see :meth:`aiproxy.server.Server.change`.
        :raises ConfigurationError: they cannot; all go on by the old one.
        """
        before, self.loaded = self.loaded, loaded  # For a worker that begins meanwhile.
        try:
            return await self._crew.reload(loaded.sources.write())
        except ConfigurationError:
            self.loaded = before
            raise

    def reopen(self) -> None:
        """Let all workers open their logs anew."""
        self._crew.tell("reopen")

    # --- another supervisor ---------------------------------------------------------

    def hand_over(self) -> None:
        """
        Start another supervisor as this one was started, and end when it serves.

        If it cannot, this one goes on.
        """
        if self._successor is not None or self._stopping:
            return
        if self._predecessor is not None:
            # Its workers have the places that those of the next one would take.
            self._log.warn("no other supervisor is started: the one before has not ended yet")
            return
        try:
            self.handing(True)
        except OSError as error:  # It may be in a folder of another user.
            self._log.error(
                "no other supervisor is started: the pid file cannot be moved ({why})",
                why=error.strerror or error,
            )
            return
        self._log.info("another supervisor is started in the place of this one")
        sockets = {
            shared.place.description: (number, shared.family)
            for number, shared in enumerate(self.sockets, _SOCKETS)
        }
        taken = frozenset(self._crew.places)
        handed = Handed(sockets, _COUNTS, taken, self.access_token, self._nohup)
        self._successor = Successor({"ready": self._follow}, self._lose_successor)
        try:
            self._reactor.spawnProcess(
                self._successor,
                sys.executable,
                [sys.executable, *sys.orig_argv[1:]],
                handed.put(os.environ),
                self._find_folder(),
                childFDs={0: 0, 1: 1, 2: 2, **self._descriptors()},
            )
        except OSError as error:
            self._log.error("it cannot be started: {why}", why=error.strerror or error)
            self._lose_successor()

    def _find_folder(self) -> str | None:
        """Return where we were started, if twistd's ``--rundir`` has taken us elsewhere."""
        folder = self._arguments["folder"]
        assert folder is not None
        with suppress(OSError):
            if os.path.samefile(folder, os.curdir):
                return None  # Whose user we are now may not be allowed to enter it again.
        return folder

    def _follow(self, _: object) -> None:
        if self._stopping:
            return  # It was told to end, too.
        self.followed = True

        async def release(successor: Successor) -> None:
            self._log.info("the other supervisor serves; this one ends")
            await self._counting.close_state()
            successor.conversation.tell("released")
            self._reactor.stop()

        assert self._successor is not None
        releasing = Deferred.fromCoroutine(release(self._successor))
        releasing.addErrback(lambda failure: self._log.failure("handing over failed", failure))

    def _lose_successor(self) -> None:
        self._successor = None
        if not self.followed:
            self.handing(False)
            if self._stopping:
                return
            self._log.error("the other supervisor has ended before it served; this one goes on")

    def _meet(self) -> None:
        """Talk to who was before us."""
        self._predecessor = Predecessor(self._open_state, self._outlive, self._end_too)
        talk(self._predecessor, self._reactor)

    def _open_state(self) -> None:
        try:
            self._counting.open_state()
        except ConfigurationError as error:
            self._log.critical("counts of hours and days are not stored: {error}", error=error)

    def _end_too(self) -> None:
        """Who was before us is to stop, and so are we."""
        self._log.info("the other supervisor was stopped; so is this one")
        with suppress(ReactorNotRunning):
            self._reactor.stop()

    def _outlive(self) -> None:
        """Who was before us is gone, and his workers."""
        assert self._handed is not None
        self._predecessor = None
        for place in self._handed.taken:
            self._counting.free_place(place)
        for shared in self.sockets:
            if shared.port is None:
                shared.take_path()


async def _close(shared: SharedSocket) -> None:
    if shared.port is None:
        shared.leave_path()
        os.close(shared.number)
    else:
        await shared.port.stopListening()

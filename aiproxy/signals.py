"""What signals do."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

__all__ = ["install_signals"]

_log = Logger()


def install_signals(
    reactor: Any,
    *,
    reload: Callable[[], None] = lambda: None,
    reopen: Callable[[], None] = lambda: None,
    replace: Callable[[], None] | None = None,
    at_once: Callable[[], None] = lambda: None,
) -> None:
    """
    Let the first TERM or INT stop in order, with exit status 0, and a second end at once.

    HUP reloads, but with a controlling terminal it stops: the terminal is gone.  Where
    it was ignored, as under ``nohup``, the terminal does not count.
    USR1 opens the access log anew, and twistd's log file where there is one.
    USR2 starts another process in the place of this one, where that is possible.

    Twistd would end by the signal itself.  Called when the reactor runs, for
    its start puts its own handlers in place.

    :param at_once: called, in the signal's handler, before this process ends at once.
    """
    stopping = False
    # Not when it comes: a terminal that has hung up is none any more by then.
    attached = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN and _has_terminal()

    def stop(number: int, _: object) -> None:
        nonlocal stopping
        if stopping:
            at_once()
            os._exit(128 + number)
        stopping = True
        reactor.callFromThread(_stop, reactor)

    def hang_up(number: int, frame: object) -> None:
        if attached:
            reactor.callFromThread(_log.info, "stops, for the terminal is gone, or HUP was sent")
            stop(number, frame)
        else:
            reactor.callFromThread(reload)

    before = signal.getsignal(signal.SIGUSR1)

    def rotate(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(reopen)
        if callable(before):
            before(number, frame)  # With a log file it is twistd's.

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, hang_up)
    signal.signal(signal.SIGUSR1, rotate)
    if replace is not None:
        signal.signal(signal.SIGUSR2, lambda *_: reactor.callFromThread(replace))


def _stop(reactor: Any) -> None:
    with suppress(ReactorNotRunning):  # something else has stopped it
        reactor.stop()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True

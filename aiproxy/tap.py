"""
``twistd aiproxy``: the options, and what they start.

Only here is the global reactor used: everything else is given its own.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

from twisted.application.service import IService
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import globalLogPublisher
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from aiproxy import __version__
from aiproxy.announce import announce
from aiproxy.config.load import Loaded
from aiproxy.config.load import load as load_files
from aiproxy.errors import ConfigurationError
from aiproxy.listening import ListenError, Place, find_places, make_endpoint, where_of
from aiproxy.notify import notify
from aiproxy.proxy import in_thread
from aiproxy.reload import Reloader
from aiproxy.server import Server
from aiproxy.signals import install_signals
from aiproxy.steady_time import keep_steady
from aiproxy.transport.socket_group import group_sockets
from aiproxy.workers.handover import Handed
from aiproxy.workers.log_file import SharedLogFile
from aiproxy.workers.pid_file import PidFile
from aiproxy.workers.sockets import AdoptedEndpoint
from aiproxy.workers.supervisor import MOST_WORKERS, Supervisor

__all__ = ["Options", "makeService"]


def _read_workers(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= MOST_WORKERS):
        raise ValueError(f"--workers must be a whole number from 1 to {MOST_WORKERS}")
    return int(text)


class Options(UsageOptions):
    """The options of ``twistd aiproxy`` and ``aiproxy run``."""

    synopsis = "[options]"
    longdesc = "OpenAI's HTTP API in front of every AI provider."
    optParameters: ClassVar = [
        ["config", "c", None, "Configuration file (YAML)."],
        ["env-file", "e", None, "File with environment variables (.env)."],
        [
            "addr",
            "a",
            None,
            "Where to listen, as HOST:PORT; :8080 is every IPv4 address, [::]:8080 IPv6 too.",
        ],
        ["workers", "w", None, "Processes that share the listening sockets.", _read_workers],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self["listen"] = []

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen, as Twisted's endpoint, repeatable (tcp:8080:interface=127.0.0.1)."""
        self["listen"].append(endpoint)

    opt_l = opt_listen

    def opt_version(self) -> None:
        """Print the version and exit."""
        sys.stdout.write(f"aiproxy {__version__}\n")
        raise SystemExit(0)

    def parseArgs(self, *arguments: str) -> None:
        """Refuse what is no option."""
        if arguments:
            raise UsageError(
                f"there is no use for {arguments[0]!r}: options have two dashes, --config FILE"
            )


def makeService(options: Options) -> IService:
    """
    Make the service that twistd runs.

    :raises SystemExit: with the reason, for a configuration that cannot be used.
    """
    from twisted.internet import reactor

    keep_steady(reactor)
    running = group_sockets(reactor)
    # Under twistd the current folder is another one later.
    arguments = {
        "path": options["config"],
        "env_file": options["env-file"],
        "folder": os.getcwd(),
    }
    load = partial(load_files, **arguments)
    handed = Handed.take(os.environ)
    if handed is not None and handed.nohup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        loaded = load()
        places = find_places(options["listen"], options["addr"], loaded.config)
        token = None if handed is None else handed.access_token
        # With workers it is not served by this process, but now is the time to see that it can be.
        listen = partial(_listen, running, handed)
        server = Server(loaded, running, places, listen, access_token=token)
    except ConfigurationError as error:
        raise SystemExit(f"aiproxy: the configuration cannot be used\n{error}") from None
    except ListenError as error:
        raise SystemExit(f"aiproxy: {error}") from None
    if options["workers"] is None:
        return _serve(server, places, load, running)
    log_file = SharedLogFile.of(options.parent)
    if log_file is not None:
        globalLogPublisher.addObserver(log_file)
    supervisor = Supervisor(
        loaded,
        arguments,
        reactor,
        places,
        workers=options["workers"],
        access_token=server.proxy.access_token,
        handed=handed,
    )
    return _supervise(supervisor, load, running, PidFile.of(options.parent))


def _listen(reactor: Any, handed: Handed | None, place: Place) -> IStreamServerEndpoint:
    """Return the endpoint of a place."""
    if handed is not None and place.description in handed.sockets:
        # What systemd has given to the process before us is not known by its description here.
        return AdoptedEndpoint(reactor, *handed.sockets[place.description])
    return make_endpoint(reactor, place)


def _serve(
    server: Server, places: Sequence[Place], load: Callable[[], Loaded], reactor: Any
) -> IService:
    """Serve in this process."""

    def started() -> None:
        ports = zip(server.service.ports, places, strict=True)
        where = [one for port, place in ports for one in where_of(port.getHost(), place.tls)]
        announce(server.loaded, where, server.proxy.access_token)
        notify("READY=1")

    reloader = Reloader(load, lambda: server.loaded, server.use, in_thread(reactor))
    server.proxy.reload = reloader.reload
    server.run(reactor)
    # Before it is said that it serves: then signals may come.
    reactor.callWhenRunning(
        install_signals, reactor, reload=reloader.reload_soon, reopen=server.reopen
    )
    reactor.callWhenRunning(started)
    return server.service


def _supervise(
    supervisor: Supervisor, load: Callable[[], Loaded], reactor: Any, pid_file: PidFile
) -> IService:
    """Have it served by workers."""

    def started() -> None:
        where = [one for shared in supervisor.sockets for one in shared.where]
        announce(supervisor.loaded, where, supervisor.access_token)

    def ended() -> None:
        if supervisor.followed:
            # Twistd would remove the pid file, which is another process's now.
            pid_file.leave()

    reloader = Reloader(load, lambda: supervisor.loaded, supervisor.use, in_thread(reactor))
    supervisor.reload = reloader.reload
    supervisor.started = started
    supervisor.handing = pid_file.put_aside
    reactor.callWhenRunning(
        install_signals,
        reactor,
        reload=reloader.reload_soon,
        reopen=supervisor.reopen,
        replace=supervisor.hand_over,
        at_once=supervisor.kill,
    )
    reactor.addSystemEventTrigger("after", "shutdown", ended)
    return supervisor

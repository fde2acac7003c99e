"""
``twistd aiproxy``: the options, where to listen, signals.

Only here is the global reactor used: everything else is given its own.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any, ClassVar

from twisted.application.service import IService
from twisted.internet.endpoints import _parse, serverFromString
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from aiproxy import __version__
from aiproxy.config.load import Loaded, load
from aiproxy.config.schema import Config
from aiproxy.errors import ConfigurationError
from aiproxy.garbage import settle_garbage_collector
from aiproxy.gateway.access_log import AccessLog
from aiproxy.proxy import Proxy
from aiproxy.service import Listening

__all__ = ["Options", "makeService"]

_log = Logger()

_NEEDS_TOKEN = (
    "reaches beyond this machine, and no AUTH_TOKEN is set: set AUTH_TOKEN (or `keys:`), "
    "or listen on 127.0.0.1"
)


class Options(UsageOptions):
    """The options of ``twistd aiproxy`` and ``aiproxy run``."""

    synopsis = "[options]"
    longdesc = "OpenAI's HTTP API in front of every AI provider."
    optParameters: ClassVar = [
        ["config", "c", None, "Configuration file (YAML)."],
        ["env-file", "e", None, "File with environment variables (.env)."],
        ["addr", "a", None, "Where to listen, as HOST:PORT; :8080 listens everywhere."],
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
            raise UsageError(f"there is no use for {arguments[0]!r}")


def makeService(options: Options) -> IService:
    """
    Make the service that twistd runs.

    :raises SystemExit: with the reason, for a configuration that cannot be used.
    """
    from twisted.internet import reactor

    running: Any = reactor
    try:
        loaded = load(options["config"], env_file=options["env-file"], folder=os.getcwd())
        log = AccessLog(loaded.config.server, running, time.time)
        proxy = Proxy(loaded.config, reactor, report=log.finished)
    except ConfigurationError as error:
        raise SystemExit(f"aiproxy: the configuration cannot be used\n{error}") from None
    try:
        endpoints = list(_endpoints(options, loaded.config, reactor))
    except UsageError as error:
        raise SystemExit(f"aiproxy: {error}") from None
    service = proxy.service
    service.listening = Listening(proxy.site(), endpoints)
    # Not before: under twistd a fork and the loss of privileges lie behind us then.
    running.callWhenRunning(log.reopen)
    running.callWhenRunning(_announce, loaded, proxy)
    running.callWhenRunning(install_signals, running, log.reopen)
    running.callWhenRunning(settle_garbage_collector)
    running.addSystemEventTrigger("after", "shutdown", log.close)
    return service


# --- where to listen -------------------------------------------------------------


def _endpoints(
    options: Options, config: Config, reactor: Any
) -> Iterator[tuple[str, IStreamServerEndpoint]]:
    """Yield each endpoint with its name; refuse those that nobody guards."""
    named: list[tuple[str, str]] = [(text, text) for text in options["listen"]]
    if options["addr"] is not None:
        named.append((options["addr"], _read_address(options["addr"])))
    if not named:
        host = "" if config.requires_auth else "127.0.0.1"
        named.append((f"{host}:{config.port}", _read_address(f"{host}:{config.port}")))
    for name, text in named:
        if not (config.requires_auth or _stays_here(text)):
            raise UsageError(f"{name} {_NEEDS_TOKEN}")
        try:
            yield name, serverFromString(reactor, text)
        except Exception as error:
            raise UsageError(f"cannot listen on {name}: {error}") from None


def _read_address(address: str) -> str:
    """Turn ``HOST:PORT`` into an endpoint's description."""
    host, colon, port = address.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise UsageError(f"--addr {address}: must be HOST:PORT, such as 127.0.0.1:8080 or :8080")
    if not host:
        return f"tcp:{port}"
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        raise UsageError(f"--addr {address}: the host must be an IP address") from None
    escaped = host.replace(":", "\\:")
    return f"{'tcp6' if version == 6 else 'tcp'}:{port}:interface={escaped}"


def _stays_here(description: str) -> bool:
    """Whether an endpoint is for this machine only, or handed to us by who must know."""
    try:
        positional, named = _parse(description)
    except ValueError:
        return True  # the next step tells what is wrong with it
    if positional and positional[0] in ("unix", "systemd"):
        return True
    interface = named.get("interface", "")
    try:
        loopback: bool = ipaddress.ip_address(interface).is_loopback
    except ValueError:
        return False
    return loopback


# --- what a newcomer sees -----------------------------------------------------------


def _announce(loaded: Loaded, proxy: Proxy) -> None:
    """Say what is served and where; on a first run, how to try it."""
    for warning in loaded.warnings:
        _log.warn("{warning}", warning=str(warning))
    config = loaded.config
    where = [_url(port.getHost()) for port in proxy.service.ports]
    _log.info(
        "aiproxy {version} serves {count} model{s} on {where}; configuration: {file}",
        version=__version__,
        count=len(config.models),
        s="" if len(config.models) == 1 else "s",
        where=", ".join(where),
        file=loaded.file or "none, the built-in one",
    )
    token = proxy.access_token
    if token is None:
        return
    _log.warn("AUTH_TOKEN is not set: this run's access token is {token}", token=token.reveal())
    model = next((one.name for one in config.models if not (one.wildcard or one.disabled)), None)
    url = next((url for url in where if url.startswith("http")), None)
    if model is not None and url is not None:
        _log.info("Try it:\n{curl}", curl=_curl(url, token.reveal(), model))


def _curl(url: str, token: str, model: str) -> str:
    body = (
        f'{{"model":"{model}","stream":true,'
        '"messages":[{"role":"user","content":"Hello from aiproxy, word by word"}]}'
    )
    return (
        f"curl -N {url}/v1/chat/completions -H 'Authorization: Bearer {token}'"
        f" -H 'Content-Type: application/json' -d '{body}'"
    )


def _url(address: Any) -> str:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return str(getattr(address, "name", address))
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


# --- signals ------------------------------------------------------------------------


def install_signals(reactor: Any, reopen: Callable[[], None] = lambda: None) -> None:
    """
    Let the first TERM or INT stop in order, with exit status 0, and a second end at once.

    USR1 opens the access log anew, and twistd's log file where there is one.

    Twistd would end by the signal itself.  Called when the reactor runs, for
    its start puts its own handlers in place.
    """
    stopping = False

    def stop(number: int, _: object) -> None:
        nonlocal stopping
        if stopping:
            os._exit(128 + number)
        stopping = True
        reactor.callFromThread(_stop, reactor)

    def hang_up(number: int, frame: object) -> None:
        if _has_terminal():
            stop(number, frame)
        else:
            reactor.callFromThread(_log.warn, "SIGHUP: this version does not reload; restart it")

    before = signal.getsignal(signal.SIGUSR1)

    def rotate(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(reopen)
        if callable(before):
            before(number, frame)  # With a log file it is twistd's.

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, hang_up)
    signal.signal(signal.SIGUSR1, rotate)


def _stop(reactor: Any) -> None:
    with suppress(ReactorNotRunning):  # something else has stopped it
        reactor.stop()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True

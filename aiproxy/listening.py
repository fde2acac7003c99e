"""Where clients are listened for: what the options say, and what nobody guards."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.endpoints import _parse, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.python.failure import Failure

from aiproxy.config.schema import Config
from aiproxy.transport.server_tls import ServerTLSSettings
from aiproxy.transport.tls_endpoint import read_tls_endpoint

__all__ = [
    "ListenError",
    "Place",
    "cannot_listen",
    "find_places",
    "make_endpoint",
    "refuse_unguarded",
    "where_of",
]

_NEEDS_TOKEN = (
    "reaches beyond this machine, and no AUTH_TOKEN is set: set AUTH_TOKEN (or `keys:`), "
    "or listen on 127.0.0.1"
)


#: Connections that may wait to be accepted, as far as the kernel lets them
#: (``net.core.somaxconn``).  Twisted's 50 are gone when everybody comes back at
#: once, and who finds no room tries again after a second at the earliest.
_BACKLOG: Final = 4096
#: Kinds of endpoints that have one, and the place of theirs where it has no name.
_BACKLOG_PLACES: Final = {"tcp": 3, "tcp6": 3, "ssl": 6, "unix": 3}
#: Of an address that stands for all of them: the one of this machine, and the others.
#: Where the kernel lets it, as Linux does, a socket for all of IPv6 is for IPv4 as well.
_ALL: Final = {
    "0.0.0.0": ("127.0.0.1", "and on every other IPv4 address"),
    "::": ("::1", "and on every other address"),
}


#: What Twisted and Python say of a description that is no endpoint's, in plainer words.
_PLAINER: Final = (
    (r"Unknown endpoint type: (.*)", r"there is no type of endpoint \1"),
    (r"invalid literal for int\(\) with base \d+: (.*)", r"\1 is not a number"),
    (r".*\(\) got an unexpected keyword argument (.*)", r"it has no parameter \1"),
    (r".*\(\) missing \d+ required positional arguments?: (.*)", r"it lacks \1"),
    (r".*\(\) takes .* positional arguments? but .*", "it has too many values"),
    (r"generator raised StopIteration", "it ends with a backslash, which escapes nothing"),
)
_NOT_GIVEN = "systemd has given this process no such socket"
#: What to do about a port.
_HINTS: Final = {
    errno.EADDRINUSE: "; stop who has it, or choose another port, by PORT or --addr",
    errno.EACCES: "; ports below 1024 are root's, unless the system is told otherwise",
    errno.EADDRNOTAVAIL: "; this machine has no such address",
}
_EXAMPLE = "an endpoint is such as tcp:8080:interface=127.0.0.1"


class ListenError(Exception):
    """A place cannot be listened at; the text says which, and why."""


@frozen
class Place:
    """
    One place to listen at.

    :param name: what an error calls it: as it was written.
    :param description: Twisted's endpoint, without TLS.
    :param tls: the certificate that clients see there.
    """

    name: str
    description: str
    tls: ServerTLSSettings | None = None

    @property
    def stays_here(self) -> bool:
        """
        Whether it is for this machine only, or handed to us by who must know.

        Only of one that :func:`make_endpoint` takes.
        """
        positional, named = _parse(self.description)
        if positional and positional[0] in ("unix", "systemd"):
            return True
        try:
            loopback: bool = ipaddress.ip_address(named.get("interface", "")).is_loopback
        except ValueError:
            return False
        return loopback


def find_places(endpoints: Sequence[str], address: str | None, config: Config) -> list[Place]:
    """
    Return where to listen; :func:`refuse_unguarded` says whether that may be.

    :param endpoints: Twisted's descriptions, or ``tls:…``.
    :param address: ``HOST:PORT``.  Without any of these it is the
        configuration's port: every IPv4 address with a token, else this machine's.
    :raises ListenError: one of them is none.
    """
    places = [_read_endpoint(text) for text in endpoints]
    if address is not None:
        places.append(Place(address, _read_address(address)))
    if not places:
        host = "" if config.requires_auth else "127.0.0.1"
        name = f"{host}:{config.port}"
        places.append(Place(name, _read_address(name)))
    return places


def refuse_unguarded(places: Sequence[Place], config: Config) -> None:
    """
    See that who comes from elsewhere needs a token.

    :raises ListenError: at one of the places he does not.
    """
    for place in places:
        if not (config.requires_auth or place.stays_here):
            raise ListenError(f"{place.name} {_NEEDS_TOKEN}")


def make_endpoint(reactor: Any, place: Place) -> IStreamServerEndpoint:
    """
    Return the endpoint of a place, without TLS.

    :raises ListenError: there is no such kind, or a parameter is wrong.
    """
    try:
        description = _with_backlog(place.description)
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
        return endpoint
    except Exception as error:
        raise ListenError(f"cannot listen on {place.name}: {_say_plainly(error)}") from None


def cannot_listen(name: str, failure: Failure) -> ListenError:
    """Return why an endpoint does not listen."""
    error: Any = getattr(failure.value, "socketError", failure.value)
    why = getattr(error, "strerror", None) or error
    number: Any = getattr(error, "errno", None)
    hint = "" if name.startswith("unix:") else _HINTS.get(number, "")
    return ListenError(f"cannot listen on {name}: {why}{hint}")


def where_of(address: object, tls: ServerTLSSettings | None = None) -> tuple[str, ...]:
    """Return the URL of a port that is open at an address, or its name, and where else it is."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        name = getattr(address, "name", address)
        return (os.fsdecode(name) if isinstance(name, bytes) else str(name),)
    host, *others = _ALL.get(host, (host,))
    scheme = "http" if tls is None else "https"
    url = f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
    return (url, *others)


def _read_endpoint(text: str) -> Place:
    if not text.startswith("tls:"):
        return Place(text, text)
    try:
        description, tls = read_tls_endpoint(text)
    except ValueError as error:
        raise ListenError(f"cannot listen on {text}: {error}") from None
    return Place(text, description, tls)


def _say_plainly(error: Exception) -> str:
    """Say what is wrong with a description."""
    if isinstance(error, LookupError):  # an index or a name of a socket
        return _NOT_GIVEN
    for pattern, plainer in _PLAINER:
        if found := re.fullmatch(pattern, str(error)):
            return f"{found.expand(plainer)}; {_EXAMPLE}"
    return str(error)


def _with_backlog(description: str) -> str:
    """Add a backlog to the description of an endpoint that can have one and does not say so."""
    positional, named = _parse(description)
    most = _BACKLOG_PLACES.get(positional[0] if positional else "", 0)
    if len(positional) > most or "backlog" in named:
        return description
    return f"{description}:backlog={_BACKLOG}"


def _read_address(address: str) -> str:
    """Turn ``HOST:PORT`` into an endpoint's description."""
    host, colon, port = address.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ListenError(f"--addr {address}: must be HOST:PORT, such as 127.0.0.1:8080 or :8080")
    if not host:
        return f"tcp:{port}"
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        raise ListenError(f"--addr {address}: the host must be an IP address") from None
    escaped = host.replace(":", "\\:")
    return f"{'tcp6' if version == 6 else 'tcp'}:{port}:interface={escaped}"

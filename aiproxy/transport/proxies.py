"""
Which upstreams are reached through an HTTP proxy, by the environment.

The rules are curl's: of each variable the lower-case form comes first, an
empty one is none, ``NO_PROXY`` counts for all of them.  Beyond curl's,
``NO_PROXY`` may name ports.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from urllib.parse import unquote_to_bytes, urlsplit

from attrs import field, frozen

from aiproxy.errors import ConfigurationError, Problem

__all__ = ["Proxy", "UpstreamProxies"]

_DEFAULT_PORT = 1080  # curl's, for all kinds of proxies
_PORT = re.compile(r"(?P<host>\[[^]]*\]|[^:]*):(?P<port>\d+)")


@frozen
class Proxy:
    """
    An HTTP proxy.

    :param authorization: the value of ``Proxy-Authorization``; it is never shown.
    """

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """What an error calls it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"the proxy {host}:{self.port}"


@frozen
class UpstreamProxies:
    """
    The proxies for each scheme, and what is reached without one.

    :param direct: the entries of ``NO_PROXY``.
    """

    http: Proxy | None = None
    https: Proxy | None = None
    direct: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> UpstreamProxies:
        """
        Read the variables.

        ``HTTP_PROXY`` in upper case does not count where ``REQUEST_METHOD`` is
        set: under CGI a client could set it by a header ``Proxy`` (httpoxy).

        :raises ConfigurationError: a proxy is not an ``http://`` one that can
            be asked; the error names the variable, not its value.
        """
        names = ["http_proxy"]
        if "REQUEST_METHOD" not in environment:
            names.append("HTTP_PROXY")
        rest = ["all_proxy", "ALL_PROXY"]
        entries = _choose(environment, ["no_proxy", "NO_PROXY"])[1]
        return cls(
            _read(*_choose(environment, names + rest)),
            _read(*_choose(environment, ["https_proxy", "HTTPS_PROXY", *rest])),
            tuple(entry.lower() for entry in re.split(r"[\s,]+", entries) if entry),
        )

    def find(self, scheme: str, host: str, port: int) -> Proxy | None:
        """Return the proxy for an origin; ``None``: it is reached directly."""
        proxy = self.https if scheme == "https" else self.http
        if proxy is None or any(_names(entry, host, port) for entry in self.direct):
            return None
        return proxy


def _choose(environment: Mapping[str, str], names: list[str]) -> tuple[str, str]:
    """Return the first variable that says something, and what."""
    for name in names:
        if value := environment.get(name, "").strip():
            return name, value
    return "", ""


def _read(name: str, value: str) -> Proxy | None:
    if not value:
        return None
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme != "http" or port == 0 or not host.isascii():
        problem = Problem(f"{name}: a proxy must be given as http://[user:password@]host:port")
        # The cause would show the value.
        raise ConfigurationError([problem]) from None
    authorization = None
    if parts.username is not None:
        # RFC 7617: no colon in the user's name, which therefore may come escaped.
        user = unquote_to_bytes(parts.username)
        password = unquote_to_bytes(parts.password or "")
        authorization = b"Basic " + b64encode(user + b":" + password)
    return Proxy(host, port or _DEFAULT_PORT, authorization)


def _names(entry: str, host: str, port: int) -> bool:
    """Whether an entry of ``NO_PROXY`` names an origin."""
    if entry == "*":
        return True
    name = host.strip("[]").lower().rstrip(".")
    if (found := _PORT.fullmatch(entry)) is not None:
        if int(found["port"]) != port:
            return False
        entry = found["host"]
    entry = entry.strip("[]")
    try:
        address = ip_address(name)
    except ValueError:
        suffix = entry.removeprefix("*").strip(".")
        return bool(suffix) and (name == suffix or name.endswith("." + suffix))
    try:
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False

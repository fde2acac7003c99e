"""Which client a request comes from, when others may have passed it on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiproxy.policy.addresses import IPAddress

__all__ = ["LOCAL", "TrustedProxies", "client_network"]

#: The address of who comes without a network, by a Unix socket.
LOCAL: Final = "local"

#: Proxies that a request may have passed; what stands before them is not read.
_MOST_HOPS: Final = 32


class TrustedProxies:
    """
    The proxies whose ``X-Forwarded-For`` is believed.

    Each proxy adds to the end of that header whom it was asked by, so it is read
    from there, as far as the proxies are ours: what a client has written itself
    stands before, and is never reached.

    :param networks: in which they are; if there are any, so is who comes by a
        Unix socket, for its file's permissions have let him in.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [ip_network(network) for network in networks]

    def find_client(self, peer: str, forwarded: Sequence[str]) -> str:
        """
        Return the address of who asked the first of our proxies.

        :param peer: who is at the other end of the connection.
        :param forwarded: the values of ``X-Forwarded-For``.
        """
        if not (forwarded and self._networks and self._trusts(peer)):
            return peer
        found = peer
        for hop in reversed(",".join(forwarded).rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
            address = _read_hop(hop.strip())
            if address is None:
                break
            found = str(address)
            if not self._is_ours(address):
                break
        return found

    def _trusts(self, peer: str) -> bool:
        if peer == LOCAL:
            return True
        try:
            return self._is_ours(_unmap(ip_address(peer)))
        except ValueError:
            return False

    def _is_ours(self, address: IPAddress) -> bool:
        return any(address in network for network in self._networks)


def client_network(address: str) -> str:
    """
    Return whom an address stands for: itself, or of IPv6 its ``/64``.

    That much a single host has (RFC 4291, 2.5.4); IPv4 inside IPv6 is IPv4.
    """
    return _find_network(address) if ":" in address else address


@lru_cache(maxsize=1024)
def _find_network(address: str) -> str:
    try:
        known = _unmap(IPv6Address(address.partition("%")[0]))
    except ValueError:
        return address
    if isinstance(known, IPv4Address):
        return str(known)
    return str(IPv6Network((known, 64), strict=False))


def _unmap(address: IPAddress) -> IPAddress:
    """Return the IPv4 address that a socket of both families has written as IPv6."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _read_hop(text: str) -> IPAddress | None:
    """Read an address, perhaps with a port, as Azure's gateways write it."""
    if text.startswith("["):
        text, bracket, port = text[1:].partition("]")
        if not bracket or not (port == "" or _is_port(port)):
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return None
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return None if "%" in text else _unmap(address)


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdigit()

"""
Which hosts may be connected to when it is a caller who names them.

Whoever can make us connect can reach what our network reaches: other machines
in it, the cloud's metadata service, ourselves.  So only what anybody reaches
from anywhere is allowed.  Not to be told from that is a host with a public
address that lets us in because of ours.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

__all__ = ["IPAddress", "is_plain_host", "is_public"]

IPAddress: TypeAlias = IPv4Address | IPv6Address

# The IANA IPv4 Special-Purpose Address Registry (RFC 6890), multicast, and what
# clouds give their own services.
_FORBIDDEN_4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network, with the unspecified address
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata, 100.100.100.200
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's host; public by its number only
            "169.254.0.0/16",  # link-local; the metadata of most clouds, 169.254.169.254
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments; Oracle's metadata, 192.0.0.192
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, with the broadcast address
        ),
    )
)

# IANA has given out addresses for single hosts from here only.  Outside stand
# loopback, IPv4-mapped and -compatible, unique-local (AWS's metadata,
# fd00:ec2::254), link-local and multicast.
_GLOBAL_6 = IPv6Network("2000::/3")

# What the IANA IPv6 Special-Purpose Address Registry has within it.
_FORBIDDEN_6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments; Teredo, ORCHID, benchmarks
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "3fff::/20",  # documentation
        ),
    )
)

# RFC 6052, 2.1.  Where there is only IPv6, every IPv4 host has such an address.
# A network may translate under a prefix of its own, which nobody can tell.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: IPAddress) -> bool:
    """
    Whether an address is one host's that the whole internet can reach.

    An IPv4 address inside an IPv6 one counts only where NAT64 has put it, and
    then by itself; tunnels and other notations never do.
    """
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _FORBIDDEN_4)
    if address.scope_id is not None:
        return False
    if address in _NAT64:
        return is_public(IPv4Address(address.packed[-4:]))
    return address in _GLOBAL_6 and not any(address in network for network in _FORBIDDEN_6)


# RFC 1123, 2.1, with a dot.  A last label that begins with a digit makes a number
# of it for some resolvers, and an address: 127.1, 0x7f.1, 0177.0.0.1.
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)+(?![0-9]){_LABEL}")


def is_plain_host(host: str) -> bool:
    """
    Whether a host is written so that everybody reads it in the same way.

    :param host: in lower case, an IPv6 address without its brackets.
    :return: it is a name with a dot, or an address: four decimal numbers, or
        IPv6 without a zone.
    """
    if _NAME.fullmatch(host):
        return True
    try:
        IPv6Address(host) if ":" in host else IPv4Address(host)
    except ValueError:
        return False
    return "%" not in host

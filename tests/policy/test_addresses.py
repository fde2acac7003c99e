"""Tests of :mod:`aiproxy.policy.addresses`."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.policy.addresses import is_plain_host, is_public

FORBIDDEN = [
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *(
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
        ),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/128", "::1/128", "::/96", "::ffff:0:0/96", "64:ff9b:1::/48", "100::/64"),
        *("2001::/32", "2001:10::/28", "2001:20::/28", "2001:2::/48", "2001:db8::/32"),
        *("2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
    )
]
FORBIDDEN_4 = [network for network in FORBIDDEN if isinstance(network, IPv4Network)]


def inside(network: IPv4Network | IPv6Network) -> st.SearchStrategy[IPv4Address | IPv6Address]:
    """Draw addresses of a network, its first and last among them."""
    return st.integers(0, network.num_addresses - 1).map(lambda index: network[index])


def embed(address: IPv4Address) -> list[IPv6Address]:
    """Write an IPv4 address in all the ways that IPv6 has for it."""
    number = int(address)
    return [
        IPv6Address(f"::ffff:{address}"),
        IPv6Address(f"::{address}"),
        IPv6Address(f"64:ff9b::{address}"),
        IPv6Address(f"64:ff9b:1::{address}"),
        IPv6Address((0x2002 << 112) + (number << 80) + 1),
        # Teredo has the client's address inverted (RFC 4380, 4), the server's as it is.
        IPv6Address((0x20010000 << 96) + (number << 64) + (number ^ 0xFFFFFFFF)),
    ]


class PublicTests(SynchronousTestCase):
    """Which addresses are everybody's."""

    def test_public(self) -> None:
        """Addresses of well-known servers, and the neighbors of networks that are not."""
        for text in (
            *("1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0"),
            *("172.15.255.255", "172.32.0.0", "192.0.1.0", "198.17.255.255", "223.255.255.255"),
            *("2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1"),
        ):
            self.assertTrue(is_public(ip_address(text)), text)

    def test_metadata(self) -> None:
        """No cloud's metadata service can be reached."""
        for text in (
            *("169.254.169.254", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
            *("fd00:ec2::254", "fe80::a9fe:a9fe", "fd20:ce::254"),
        ):
            self.assertFalse(is_public(ip_address(text)), text)

    def test_ends(self) -> None:
        """Networks are refused from their first address to their last."""
        for network in FORBIDDEN:
            self.assertFalse(is_public(network[0]), network)
            self.assertFalse(is_public(network[-1]), network)

    @given(st.sampled_from(FORBIDDEN).flatmap(inside))
    def test_forbidden(self, address: IPv4Address | IPv6Address) -> None:
        """No address of such a network is public."""
        self.assertFalse(is_public(address))

    @given(st.sampled_from(FORBIDDEN_4).flatmap(inside))
    def test_embedded(self, address: IPv4Address) -> None:
        """Nor is one that hides in an IPv6 address."""
        for hidden in embed(address):
            self.assertFalse(is_public(hidden), hidden)

    def test_nat64(self) -> None:
        """A public IPv4 address is public behind NAT64, and in no other disguise."""
        public = [str(hidden) for hidden in embed(IPv4Address("8.8.8.8")) if is_public(hidden)]
        self.assertEqual(public, ["64:ff9b::808:808"])

    def test_zone(self) -> None:
        """An address with a zone is one of this machine's networks."""
        self.assertFalse(is_public(IPv6Address("2606:4700:4700::1111%eth0")))

    @given(st.ip_addresses())
    def test_global(self, address: IPv4Address | IPv6Address) -> None:
        """What is public is global for Python, too, and no multicast."""
        if is_public(address):
            self.assertTrue(address.is_global)
            self.assertFalse(address.is_multicast)


class PlainHostTests(SynchronousTestCase):
    """How hosts may be written."""

    def test_plain(self) -> None:
        """Names with a dot and addresses are what they look like."""
        for host in (
            *("example.com", "a.b.c.example.co.uk", "xn--bcher-kva.example", "1.example.com"),
            *("3com.com", "a--b.example", "8.8.8.8", "127.0.0.1", "::1", "2606:4700::1111"),
            *("::ffff:127.0.0.1", f"{'a' * 63}.example"),
        ):
            self.assertTrue(is_plain_host(host), host)

    def test_disguised(self) -> None:
        """Numbers that some resolvers take for addresses are no hosts, nor are short names."""
        for host in (
            *("2130706433", "0x7f000001", "0x7f.1", "0x7f.0.0.1", "0177.0.0.1", "127.1", "127.0.1"),
            *("017700000001", "127.0.0.1.", "1.2.3", "1.2.3.4.5", "256.1.1.1", "08.8.8.8", "a.0x7"),
            *("", ".", "localhost", "metadata", "a..example", ".example.com", "example.com."),
            *("-a.example", "a-.example", "a_b.example", "a b.example", "a%2e.example", "a/b.c"),
            *("example.com\n", "EXAMPLE.com", f"{'a' * 64}.example", "a." * 127 + "com"),
            *("fe80::1%eth0", "::1%25lo", "[::1]", "1:2", "\u0661.1.1.1", "b\u00fccher.example"),
        ):
            self.assertFalse(is_plain_host(host), host)

    @given(st.integers(0, 2**32 - 1))
    def test_one_spelling(self, number: int) -> None:
        """Of all the ways to write an IPv4 address only the usual one is plain."""
        address = IPv4Address(number)
        a, b, c, d = address.packed
        self.assertTrue(is_plain_host(str(address)))
        for host in (
            *(
                str(number),
                hex(number),
                f"0{number:o}",
                f"0{a:o}.{b}.{c}.{d}",
                f"0x{a:x}.{b}.{c}.{d}",
            ),
            *(f"{a}.{b}.{c * 256 + d}", f"{a}.{number % 2**24}", f"{a}.{b}.{c}.0x{d:x}"),
        ):
            self.assertFalse(is_plain_host(host), host)

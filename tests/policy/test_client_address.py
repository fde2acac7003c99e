"""Tests of :mod:`aiproxy.policy.client_address`."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.policy.client_address import LOCAL, TrustedProxies, client_network

PROXIES = TrustedProxies(["10.0.0.0/8", "fd00::/8", "::1/128"])

#: What a client may write itself: anything, and what looks like a part of the header.
parts = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=20),
    st.ip_addresses().map(str),
    st.sampled_from(["10.0.0.1", "unknown", "[::1", "1.2.3.4:", "_hidden", "", " "]),
)


class TrustedProxiesTests(SynchronousTestCase):
    """Whom a request comes from."""

    def find(self, *forwarded: str, peer: str = "10.0.0.1") -> str:
        return PROXIES.find_client(peer, forwarded)

    def test_passed_on(self) -> None:
        """It is the last one that no proxy of ours is."""
        self.assertEqual(self.find("203.0.113.7"), "203.0.113.7")
        self.assertEqual(self.find("198.51.100.1, 203.0.113.7"), "203.0.113.7")
        self.assertEqual(self.find("198.51.100.1,203.0.113.7 , 10.9.9.9"), "203.0.113.7")
        self.assertEqual(self.find("198.51.100.1", "203.0.113.7", "10.9.9.9"), "203.0.113.7")
        self.assertEqual(self.find("2001:DB8::A, fd00::1"), "2001:db8::a")

    def test_only_ours(self) -> None:
        """Where all are ours, the first of them has asked; where none is told, the peer."""
        self.assertEqual(self.find("10.2.2.2, 10.3.3.3"), "10.2.2.2")
        self.assertEqual(self.find(), "10.0.0.1")

    def test_others(self) -> None:
        """Nobody else is believed, and nobody at all where there are no proxies."""
        self.assertEqual(self.find("198.51.100.1", peer="203.0.113.7"), "203.0.113.7")
        self.assertEqual(self.find("198.51.100.1", peer="fe80::1%eth0"), "fe80::1%eth0")
        self.assertEqual(self.find("198.51.100.1", peer="?"), "?")
        alone = TrustedProxies(())
        self.assertEqual(alone.find_client("127.0.0.1", ["198.51.100.1"]), "127.0.0.1")
        self.assertEqual(alone.find_client(LOCAL, ["198.51.100.1"]), LOCAL)

    def test_peers(self) -> None:
        """A proxy may come by a Unix socket, or by IPv4 to a socket of both families."""
        for peer in (LOCAL, "::1", "::ffff:10.0.0.1", "fd00::2"):
            self.assertEqual(self.find("203.0.113.7", peer=peer), "203.0.113.7")

    def test_forms(self) -> None:
        """An address may have a port; what is IPv4 within IPv6 is IPv4."""
        for told, found in (
            ("203.0.113.7:1234", "203.0.113.7"),
            ("[2001:db8::a]:443", "2001:db8::a"),
            ("[2001:db8::a]", "2001:db8::a"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("198.51.100.1, ::ffff:10.1.1.1", "198.51.100.1"),
        ):
            self.assertEqual(self.find(told), found)

    def test_garbage(self) -> None:
        """At what is no address reading ends: it is the one after it."""
        for garbage in (
            *("", " ", "unknown", "_secret", "1.2.3", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:5:6"),
            *("[2001:db8::a", "[2001:db8::a]x", "[]", "fe80::1%eth0", "1.2.3.4;", "\xff"),
        ):
            self.assertEqual(self.find(f"198.51.100.1, {garbage}, 10.9.9.9"), "10.9.9.9")
            self.assertEqual(self.find(f"198.51.100.1, {garbage}"), "10.0.0.1")

    def test_bounded(self) -> None:
        """Of a header as long as can be only the end is read."""
        self.assertEqual(self.find("203.0.113.7" + ",10.1.1.1" * 3000), "10.1.1.1")
        self.assertEqual(self.find("203.0.113.7" + ",10.1.1.1" * 31), "203.0.113.7")

    @given(st.lists(parts, max_size=5), st.ip_addresses().filter(lambda one: "." in str(one)))
    def test_spoofing(self, written: list[str], client: IPv4Address | IPv6Address) -> None:
        """Whatever a client writes, it is whom the first of our proxies saw."""
        seen = str(client)
        if seen.startswith("10.") or isinstance(client, IPv6Address):
            return
        self.assertEqual(self.find(*written, f"{seen}, 10.2.2.2"), seen)

    @given(st.lists(parts, max_size=5))
    def test_always_an_address(self, written: list[str]) -> None:
        """Whatever it writes, what goes to logs is an address in its only form."""
        found = self.find(*written)
        self.assertEqual(str(ip_address(found)), found)


class ClientNetworkTests(SynchronousTestCase):
    """Whom an address stands for."""

    def test_networks(self) -> None:
        """IPv4 stands for itself, also within IPv6; IPv6 for a network; others for themselves."""
        for address, network in (
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2::", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::1", "::/64"),
            (LOCAL, LOCAL),
            ("a:b", "a:b"),
        ):
            self.assertEqual(client_network(address), network)

"""Tests of :mod:`aiproxy.transport.proxies`."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import ConfigurationError
from aiproxy.transport.proxies import Proxy, UpstreamProxies

read = UpstreamProxies.from_environment
ONE = Proxy("one.example.com", 8080)
TWO = Proxy("two.example.com", 3128)


class VariableTests(SynchronousTestCase):
    """Which variable counts."""

    def test_nothing(self) -> None:
        """Without variables, and with empty ones, there is no proxy."""
        self.assertEqual(read({}), UpstreamProxies())
        self.assertEqual(read({"HTTPS_PROXY": "", "http_proxy": " "}), UpstreamProxies())

    def test_schemes(self) -> None:
        """Each scheme has its own; ``ALL_PROXY`` stands in for both."""
        self.assertEqual(
            read({"HTTPS_PROXY": "http://one.example.com:8080"}), UpstreamProxies(https=ONE)
        )
        self.assertEqual(
            read({"HTTP_PROXY": "http://one.example.com:8080"}), UpstreamProxies(http=ONE)
        )
        both = {"HTTPS_PROXY": "one.example.com:8080", "ALL_PROXY": "two.example.com:3128/"}
        self.assertEqual(read(both), UpstreamProxies(http=TWO, https=ONE))

    def test_case(self) -> None:
        """Lower case comes first, if it says something."""
        one, two = "one.example.com:8080", "two.example.com:3128"
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            found = read({name: one, name.upper(): two})
            self.assertIn(ONE, (found.http, found.https))
            self.assertNotIn(TWO, (found.http, found.https))
            found = read({name: "", name.upper(): two})
            self.assertIn(TWO, (found.http, found.https))
        self.assertEqual(read({"no_proxy": "a", "NO_PROXY": "b"}).direct, ("a",))

    def test_cgi(self) -> None:
        """Under CGI ``HTTP_PROXY`` is a client's header, and the others are not."""
        cgi = {"REQUEST_METHOD": "GET", "HTTP_PROXY": "evil.example.com:1"}
        self.assertEqual(read(cgi), UpstreamProxies())
        self.assertEqual(read({**cgi, "http_proxy": "one.example.com:8080"}).http, ONE)

    def test_default_port(self) -> None:
        """Without a port it is curl's."""
        self.assertEqual(read({"http_proxy": "http://one.example.com"}).http.port, 1080)  # type: ignore[union-attr]

    def test_address(self) -> None:
        """A proxy may be an IPv6 address."""
        found = read({"http_proxy": "http://[::1]:3128"}).http
        assert found is not None
        self.assertEqual((found.host, found.port), ("::1", 3128))
        self.assertEqual(found.shown, "the proxy [::1]:3128")

    def test_credentials(self) -> None:
        """Credentials come unescaped, go out as RFC 7617 says, and are shown nowhere."""
        found = read({"http_proxy": "http://me%40work:s%3Acret@one.example.com:8080"})
        assert found.http is not None
        self.assertEqual(found.http.authorization, b"Basic bWVAd29yazpzOmNyZXQ=")
        for shown in (repr(found), str(found), found.http.shown):
            self.assertNotIn("cret", shown)
            self.assertNotIn("bWVA", shown)

    def test_unusable(self) -> None:
        """What we cannot speak to is the operator's to mend; the value is not shown."""
        for value in (
            "socks5://secret.example.com:1080",
            "https://secret.example.com:1",
            "http://secret.example.com:0",
            "http://secret.example.com:99999",
            "http://:8080",
            "http://[secret",
            "http://secr\u00e9t.example.com",
        ):
            error = self.assertRaises(ConfigurationError, read, {"ALL_PROXY": value})
            self.assertIn("ALL_PROXY", str(error))
            self.assertNotIn("secr", str(error))
            self.assertIsNone(error.__cause__)

    @given(st.text(max_size=40))
    def test_hostile(self, value: str) -> None:
        """Any value gives a proxy or our error."""
        with contextlib.suppress(ConfigurationError):
            read({"http_proxy": value, "no_proxy": value}).find("http", "api.example.com", 80)


class DirectTests(SynchronousTestCase):
    """What ``NO_PROXY`` excepts."""

    def direct(self, entries: str, host: str, port: int = 443) -> bool:
        proxies = read({"all_proxy": "one.example.com:8080", "no_proxy": entries})
        return proxies.find("https", host, port) is None

    def test_hosts(self) -> None:
        """A name means itself and what is below it, with or without a dot, in any case."""
        for entries, host, direct in (
            ("example.com", "example.com", True),
            ("example.com", "api.example.com", True),
            (".example.com", "api.example.com", True),
            (".example.com", "example.com", True),
            ("*.example.com", "api.example.com", True),
            ("EXAMPLE.com", "api.Example.COM", True),
            ("example.com.", "example.com", True),
            ("example.com", "example.com.", True),
            ("example.com", "notexample.com", False),
            ("example.com", "example.com.evil.org", False),
            ("ample.com", "example.com", False),
            ("a, b example.com", "example.com", True),
            ("", "example.com", False),
            (".", "example.com", False),
            (",,", "example.com", False),
        ):
            self.assertEqual(self.direct(entries, host), direct, (entries, host))

    def test_everything(self) -> None:
        """A star means everything."""
        for host in ("example.com", "10.0.0.1", "::1"):
            self.assertTrue(self.direct("*", host))

    def test_ports(self) -> None:
        """An entry with a port means only that one."""
        for entries, host, port, direct in (
            ("example.com:8443", "api.example.com", 8443, True),
            ("example.com:8443", "api.example.com", 443, False),
            ("10.0.0.1:80", "10.0.0.1", 80, True),
            ("10.0.0.1:80", "10.0.0.1", 81, False),
            ("[::1]:80", "::1", 80, True),
            ("[::1]:80", "::1", 81, False),
        ):
            self.assertEqual(self.direct(entries, host, port), direct, (entries, host, port))

    def test_addresses(self) -> None:
        """Addresses and networks mean addresses, and no names that look like them."""
        for entries, host, direct in (
            ("10.0.0.1", "10.0.0.1", True),
            ("10.0.0.1", "10.0.0.10", False),
            ("10.0.0.0/8", "10.1.2.3", True),
            ("10.0.0.0/8", "11.1.2.3", False),
            ("10.1.2.3/8", "10.9.9.9", True),
            ("10.0.0.0/99", "10.1.2.3", False),
            ("fd00::/8", "fd12::1", True),
            ("::1", "[::1]", True),
            ("[::1]", "::1", True),
            ("0::1", "::1", True),
            ("0.1", "10.0.0.1", False),
            ("127.0.0.1", "localhost", False),
        ):
            self.assertEqual(self.direct(entries, host), direct, (entries, host))

    def test_loopback(self) -> None:
        """Nothing is excepted by itself, as with curl."""
        self.assertFalse(self.direct("", "127.0.0.1"))
        self.assertFalse(self.direct("", "localhost"))

"""Tests of :mod:`aiproxy.transport.http.routes`."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.errors import ConnectFailed
from aiproxy.transport.endpoints import UpstreamEndpoints
from aiproxy.transport.http.routes import Routes, UpstreamRoute
from aiproxy.transport.pool import UpstreamPool
from aiproxy.transport.proxies import UpstreamProxies
from aiproxy.transport.tls import TLSSettings, UpstreamTrust

PLAIN = TLSSettings()


class RoutesTests(SynchronousTestCase):
    """What is the same for all requests to one URL."""

    def make(self, proxy: str = "") -> Routes:
        clock = MemoryReactorClock()
        proxies = UpstreamProxies.from_environment({"all_proxy": proxy})
        endpoints = UpstreamEndpoints(clock, UpstreamTrust(PLAIN), proxies)
        return Routes(UpstreamPool(clock), lambda _: endpoints)

    def find(self, url: str, method: str = "post", proxy: str = "") -> UpstreamRoute:
        return self.make(proxy).find(method, url, PLAIN, 90.0)

    def test_line(self) -> None:
        """The request line, the host's name, and whose connections can serve."""
        for url, target, authority, origin in (
            ("http://A.example", "/", "a.example", (b"http", b"a.example", 80)),
            ("http://a.example:80/x", "/x", "a.example", (b"http", b"a.example", 80)),
            ("https://a.example:443?q", "/?q", "a.example", (b"https", b"a.example", 443)),
            ("http://a.example:443/#f", "/", "a.example:443", (b"http", b"a.example", 443)),
            ("http://[::1]:8/%2f//..", "/%2f//..", "[::1]:8", (b"http", b"::1", 8)),
        ):
            route = self.find(url)
            self.assertEqual(route.line, f"POST {target} HTTP/1.1\r\n".encode("ascii"))
            self.assertEqual((route.authority, route.key), (authority, (origin, PLAIN)))

    def test_proxied(self) -> None:
        """A proxy is asked in absolute form, but through TLS it only carries bytes."""
        proxy = "http://me:x@proxy.example:1"
        self.assertEqual(
            self.find("http://a.example:8/x?y", proxy=proxy).line,
            b"POST http://a.example:8/x?y HTTP/1.1\r\nProxy-Authorization: Basic bWU6eA==\r\n",
        )
        self.assertEqual(
            self.find("https://a.example/x", proxy=proxy).line, b"POST /x HTTP/1.1\r\n"
        )

    def test_unusable(self) -> None:
        """What cannot be written into a request line never is."""
        for method, url in (
            ("POST", "http://a.example/x y"),
            ("POST", "http://a.example/\u00e9"),
            ("POST", "http://a.example/\r\nx"),
            ("P OST", "http://a.example/"),
            ("", "http://a.example/"),
        ):
            self.assertRaises(ValueError, self.find, url, method)
        self.assertRaises(ConnectFailed, self.find, "ftp://a.example/")

    def test_kept(self) -> None:
        """A route is made once, and no number of URLs fills the memory."""
        routes = self.make()
        first = routes.find("POST", "http://a.example/", PLAIN, 90.0)
        self.assertIs(routes.find("POST", "http://a.example/", PLAIN, 90.0), first)
        self.assertIsNot(routes.find("GET", "http://a.example/", PLAIN, 90.0), first)
        self.assertIsNot(routes.find("POST", "http://a.example/", PLAIN, 9.0), first)
        for number in range(2000):
            routes.find("POST", f"http://a.example/{number}", PLAIN, 90.0)
            self.assertLess(len(routes._routes), 1000)

"""Tests of :mod:`aiproxy.providers.discovery`."""

from __future__ import annotations

import json

from twisted.internet.error import ConnectionRefusedError

from aiproxy.config.schema import Config
from aiproxy.providers.discovery import Discovery
from aiproxy.providers.registry import ProviderParts, ProviderRegistry
from aiproxy.transport.client import UpstreamClient
from tests.config.loading import LoadingTestCase
from tests.transport.upstreams import MemoryUpstream, answer

CONFIG = """
providers:
  up: {base_url: "http://127.0.0.1/v1", token: sk-up, discover: true}
  quiet: {base_url: "http://127.0.0.2/v1", token: sk-quiet}
  gone: {base_url: "http://127.0.0.3/v1", token: "${MISSING}", discover: true}
models:
  - {name: up/one, provider: up}
  - {name: "up/*", provider: up, url: "http://127.0.0.1/odd/chat/completions"}
  - {name: "quiet/*", provider: quiet}
  - {name: "gone/*", provider: gone}
"""
OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


class DiscoveryTests(LoadingTestCase):
    """Lists over an upstream in memory."""

    def setUp(self) -> None:
        super().setUp()
        self.upstream = MemoryUpstream()
        self.discovery = self.make(self.load(CONFIG).config)

    def make(self, config: Config) -> Discovery:
        """Make the lists of a configuration."""
        reactor = self.upstream.reactor
        registry = ProviderRegistry(ProviderParts(UpstreamClient(reactor), reactor), {})
        return Discovery(config, registry, reactor)

    def names(self) -> list[str]:
        """Return what is known of ``up/*``."""
        (found,) = self.discovery.find().values()
        return [listed.name for listed in found]

    def tell(self, *names: str) -> bytes:
        """Answer the newest request with a list; return the request."""
        connection = self.upstream.accept()
        asked = connection.take()
        body = json.dumps({"data": [{"id": name, "context_length": 9} for name in names]})
        connection.send(answer(body.encode(), OK))
        return asked

    def test_asked_in_the_background(self) -> None:
        """Nobody waits; what comes is told the next time, with its room."""
        self.assertEqual(self.names(), [])
        asked = self.tell("a", "b/c")
        self.assertTrue(asked.startswith(b"GET /v1/models HTTP/1.1"), asked)
        self.assertIn(b"authorization: bearer sk-up", asked.lower())
        self.assertEqual(self.names(), ["up/a", "up/b/c"])
        (found,) = self.discovery.find().values()
        self.assertEqual({listed.context_window for listed in found}, {9})

    def test_kept(self) -> None:
        """A list is asked for once, until it is old; the old one is told until the new one is."""
        self.names()
        self.names()
        self.assertEqual(self.upstream.attempts, 1)
        self.tell("a")
        self.upstream.reactor.advance(599)
        self.names()
        self.assertEqual(self.upstream.attempts, 1)
        self.upstream.reactor.advance(2)
        self.assertEqual(self.names(), ["up/a"])
        self.assertEqual(self.upstream.attempts, 2)
        self.tell("b")
        self.assertEqual(self.names(), ["up/b"])

    def test_failures(self) -> None:
        """What was known stays; it is tried again after a minute, with a line in the log."""
        self.names()
        self.tell("a")
        self.upstream.reactor.advance(601)
        self.names()
        self.upstream.refuse(ConnectionRefusedError())
        self.assertEqual(self.names(), ["up/a"])
        self.assertEqual(self.upstream.attempts, 2)
        self.upstream.reactor.advance(61)
        self.names()
        self.assertEqual(self.upstream.attempts, 3)
        self.upstream.accept().send(answer(b"{}", b"HTTP/1.1 500 Oh\r\nConnection: close\r\n"))
        self.assertEqual(self.names(), ["up/a"])

    def test_slow(self) -> None:
        """A provider that does not answer is left alone after half a minute."""
        self.names()
        connection = self.upstream.accept()
        self.upstream.reactor.advance(31)
        self.assertTrue(connection.transport.disconnected)
        self.upstream.reactor.advance(61)
        self.names()
        self.assertEqual(self.upstream.attempts, 2)

    def test_closed(self) -> None:
        """When the proxy stops, nothing is asked any more."""
        self.names()
        connection = self.upstream.accept()
        self.discovery.close()
        self.upstream.reactor.advance(0)
        self.assertTrue(connection.transport.disconnected)
        self.upstream.reactor.advance(5_000)
        self.assertEqual(self.names(), [])
        self.assertEqual(self.upstream.attempts, 1)
        self.assertEqual(self.upstream.reactor.getDelayedCalls(), [])

"""Tests of :mod:`aiproxy.transport.endpoints`."""

from __future__ import annotations

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface.verify import verifyObject

from aiproxy.transport.endpoints import UpstreamEndpoints
from aiproxy.transport.tls import TLSSettings, UpstreamTrust


class EndpointsTests(SynchronousTestCase):
    """Where a URI leads."""

    def setUp(self) -> None:
        self.endpoints = UpstreamEndpoints(MemoryReactorClock(), UpstreamTrust(TLSSettings()))

    def endpoint(self, uri: bytes) -> object:
        return self.endpoints.endpointForURI(URI.fromBytes(uri))

    def test_interface(self) -> None:
        """It is what Twisted's agent takes."""
        self.assertTrue(verifyObject(IAgentEndpointFactory, self.endpoints))

    def test_one_for_each_origin(self) -> None:
        """Paths and default ports make no difference, scheme, host and port do."""
        one = self.endpoint(b"http://api.example.com/v1?key=x")
        self.assertIs(self.endpoint(b"http://api.example.com:80/v2"), one)
        others = [
            self.endpoint(b"https://api.example.com/v1"),
            self.endpoint(b"http://api.example.com:8080/v1"),
            self.endpoint(b"http://api.example.org/v1"),
        ]
        self.assertEqual(len({id(one), *map(id, others)}), 4)

    def test_other_schemes(self) -> None:
        """Nothing but HTTP is spoken."""
        self.assertRaises(SchemeNotSupported, self.endpoint, b"ftp://api.example.com/")

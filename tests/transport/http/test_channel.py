"""
Tests of :mod:`aiproxy.transport.http.channel`.

What is true of the server of Twisted's parts is true of this one.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.address import IPv4Address

from aiproxy.transport.http.llhttp_site import LlhttpSite
from aiproxy.transport.http.site import GatewaySite
from tests.transport.http import test_stock


class Transport(tcp.Connection):
    """Twisted's own, over any socket."""

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 1)

    getHost = getPeer

    def setTcpNoDelay(self, enabled: bool) -> None:
        """A pair of sockets has no delay."""


class LlhttpTestCase(test_stock.StockTestCase):
    """A server in memory."""

    def make_site(self) -> GatewaySite:
        return LlhttpSite(self.resource, self.clock, max_request_bytes=test_stock.LIMIT)


class ServingTests(LlhttpTestCase, test_stock.ServingTests):
    """Requests that are in order."""

    def test_query(self) -> None:
        """A query is read; a target in raw bytes is no proper one."""
        seen: list[Any] = []

        def look(request: Any) -> bytes:
            seen.append(request.args)
            return b"ok"

        self.resource.render_with = look
        self.client.send(b"GET /?a=1&a=2&b=&c=%FF HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertEqual(self.client.answer().status, 200)
        self.assertEqual(seen, [{b"a": [b"1", b"2"], b"b": [b""], b"c": [b"\xff"]}])
        self.client.send(b"GET /?c\xa0=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assert_refused(400, "bad_request")


class RefusingTests(LlhttpTestCase, test_stock.RefusingTests):
    """Requests that are too much, or no requests."""


class FailingTests(LlhttpTestCase, test_stock.FailingTests):
    """Bugs of those who answer."""


class TimeTests(LlhttpTestCase, test_stock.TimeTests):
    """Clients that take their time."""

    def test_waits_long(self) -> None:
        """An answer may take as long as it likes; the timer that is left does nothing."""
        self.resource.render_with = self.resource.wait
        self.client.ask("POST", "/", body=b"abc")
        self.clock.advance(100_000)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.resource.waiting.pop().finish()
        self.assertEqual(self.client.answer().status, 200)

    def test_unread_tail(self) -> None:
        """Who has yet to read the end of an answer is not idle, however little that is."""
        ours, theirs = socket.socketpair()
        self.addCleanup(theirs.close)
        self.addCleanup(ours.close)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        channel: Any = self.site.buildProtocol(None)
        transport = Transport(ours, channel, self.clock)
        transport.connected = 1
        channel.makeConnection(transport)
        self.resource.render_with = lambda request: b"x" * 30_000
        channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertTrue(transport.dataBuffer or transport._tempDataLen)
        self.clock.pump([75.1] * 8)
        self.assertFalse(transport.disconnecting)
        while transport.dataBuffer or transport._tempDataLen:
            theirs.recv(2**20)
            transport.doWrite()
        self.clock.advance(75.1)
        self.assertTrue(transport.disconnecting)
        channel.connectionLost()


class DrainTests(LlhttpTestCase, test_stock.DrainTests):
    """The server's end."""

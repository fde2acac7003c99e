"""Tests of :mod:`aiproxy.transport.upstream_tls`."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.stages import Stages
from aiproxy.transport.tls import TLSSettings, UpstreamTrust
from aiproxy.transport.upstream_tls import UpstreamTLSFactory
from tests.transport.upstreams import Authority, pem, server_options, write_file


class Staged(Protocol):
    """Notes what comes, and when the next stage does."""

    def __init__(self, stages: Stages) -> None:
        self.noted: list[bytes] = []
        self._stages = stages

    def dataReceived(self, data: bytes) -> None:
        self.noted.append(data)
        self._stages.soon(lambda: self.noted.append(b"next stage"))
        if data == b"bug":
            raise RuntimeError("a bug")


class RecordsTests(SynchronousTestCase):
    """Records that come in one piece."""

    def setUp(self) -> None:
        clock: Any = MemoryReactorClock()
        authority = Authority()
        settings = TLSSettings(write_file(self.mktemp(), pem(authority.certificate)))
        creator = UpstreamTrust(settings).creatorForNetloc(b"127.0.0.1", 443)
        self.stages = Stages()
        self.noting = Staged(self.stages)
        ours = UpstreamTLSFactory(
            creator, Factory.forProtocol(lambda: self.noting), clock, self.stages
        )
        options = server_options(authority.issue("127.0.0.1"))
        theirs = TLSMemoryBIOFactory(options, False, Factory.forProtocol(Protocol), clock)
        self.client: Any = ours.buildProtocol(None)
        self.server: Any = theirs.buildProtocol(None)
        self.client.makeConnection(StringTransport())
        self.server.makeConnection(StringTransport())
        for _ in range(2):  # The handshake.
            self.move(self.client, self.server)
            self.move(self.server, self.client)

    def move(self, sender: Any, receiver: Any) -> None:
        data = sender.transport.value()
        sender.transport.clear()
        receiver.dataReceived(data)

    def write(self, *records: bytes) -> None:
        for record in records:
            TLSMemoryBIOProtocol.write(self.server, record)

    def test_together(self) -> None:
        """All of them are seen before anything comes of one."""
        self.write(b"first", b"second")
        self.move(self.server, self.client)
        self.assertEqual(self.noting.noted, [b"first", b"second", b"next stage", b"next stage"])
        self.assertFalse(self.stages.shared)

    def test_in_a_turn(self) -> None:
        """In a turn of several connections they do not end it."""
        self.stages.begin()
        self.write(b"first", b"second")
        self.move(self.server, self.client)
        self.assertEqual(self.noting.noted, [b"first", b"second"])
        self.stages.end()
        self.assertEqual(self.noting.noted[2:], [b"next stage", b"next stage"])

    def test_bug(self) -> None:
        """Who fails with one does not leave the turn open."""
        self.write(b"bug")
        with self.assertRaises(RuntimeError):
            self.move(self.server, self.client)
        self.assertEqual(self.noting.noted, [b"bug", b"next stage"])
        self.assertFalse(self.stages.shared)

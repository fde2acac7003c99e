"""Tests of :mod:`aiproxy.transport.server_tls`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cryptography import x509
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from aiproxy.errors import ConfigurationError
from aiproxy.transport.server_tls import ServerTLS, ServerTLSSettings
from tests.transport.certificates import Chain, Issued, shake_hands
from tests.transport.upstreams import pem

DAY = 86_400.0


class ServerTLSTestCase(SynchronousTestCase):
    """Has files, and writes down what is logged."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.chain = Chain()
        self.clock = Clock()
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.first = self.issue()
        self.settings = ServerTLSSettings(*self.write(self.first))

    def issue(self, days: tuple[int, int] = (-1, 30)) -> Issued:
        return self.chain.issue("localhost", days=days)

    def write(self, issued: Issued) -> tuple[str, str]:
        return self.chain.write(self.folder, issued)

    def make(self) -> ServerTLS:
        return ServerTLS(self.settings, self.clock)

    def seen(self, tls: ServerTLS) -> x509.Certificate:
        """Return the certificate that a client sees that connects now."""
        end: Any = None
        client = shake_hands(tls.serverConnectionForTLS(end), self.chain.client())
        found = client.getpeercert(binary_form=True)
        assert found
        return x509.load_der_x509_certificate(found)

    def told(self) -> list[tuple[str, str]]:
        """Return what was logged since the last time: levels and texts."""
        events, self.events[:] = list(self.events), []
        told = [(event["log_level"].name, formatEvent(event)) for event in events]
        return [(level, text) for level, text in told if "TLS" in text]


class RenewalTests(ServerTLSTestCase):
    """Files that change."""

    def test_interfaces(self) -> None:
        """It begins TLS for Twisted's factory, and makes such a one."""
        tls = self.make()
        self.assertTrue(verifyObject(IOpenSSLServerConnectionCreator, tls))
        factory = tls.factory(Factory.forProtocol(Protocol))
        self.assertTrue(verifyObject(IProtocolFactory, factory))

    def test_reload(self) -> None:
        """After a reload new connections have the new certificate; a line says so, once."""
        tls = self.make()
        second = self.issue()
        self.write(second)
        self.assertEqual(self.seen(tls), self.first[0])
        tls.reload()
        tls.reload()
        self.assertEqual(self.seen(tls), second[0])
        [(level, text)] = self.told()
        self.assertEqual(level, "info")
        until = second[0].not_valid_after_utc
        self.assertIn(f"has a new certificate, valid until {until:%Y-%m-%d}", text)

    def test_broken_reload(self) -> None:
        """Files that cannot be used are the caller's to tell; the old certificate goes on."""
        tls = self.make()
        Path(self.settings.certificate).write_bytes(b"half of a certif")
        error = self.assertRaises(ConfigurationError, tls.reload)
        self.assertIn(f"certKey {self.settings.certificate}: holds no", str(error))
        self.clock.advance(9)
        self.assertEqual(self.seen(tls), self.first[0])
        self.assertEqual(self.told(), [])

    def test_renewed(self) -> None:
        """What was renewed is seen by itself, when a connection comes and no look was just had."""
        tls = self.make()
        second = self.issue()
        self.write(second)
        self.clock.advance(4.9)
        self.assertEqual(self.seen(tls), self.first[0])
        self.clock.advance(0.2)
        self.assertEqual(self.seen(tls), second[0])
        self.assertEqual(len(self.told()), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_renewed_within_a_tick(self) -> None:
        """A file that keeps time and size is another by what the link leads to (Kubernetes)."""
        folders = []
        both = [self.first, self.issue()]
        for number, issued in enumerate(both):
            folder = self.folder / f"..{number}"
            folder.mkdir()
            folders.append(folder)
            for path in self.chain.write(folder, issued):
                os.utime(path, (1e9, 1e9))
        link = self.folder / "..data"
        link.symlink_to(folders[0].name)
        files = str(link / "fullchain.pem"), str(link / "privkey.pem")
        self.settings = ServerTLSSettings(*files)
        tls = self.make()
        link.unlink()
        link.symlink_to(folders[1].name)
        self.clock.advance(9)
        self.assertEqual(self.seen(tls), both[1][0])

    def test_half_renewed(self) -> None:
        """A certificate without its key is told once; the old goes on until the key is there."""
        tls = self.make()
        second = self.issue()
        key = Path(self.settings.private_key or "")
        old_key = key.read_bytes()
        self.write(second)
        key.write_bytes(old_key)
        for _ in range(3):
            self.clock.advance(9)
            self.assertEqual(self.seen(tls), self.first[0])
        [(level, text)] = self.told()
        self.assertEqual(level, "error")
        self.assertIn("the old certificate goes on", text)
        self.assertIn("the private key belongs to another certificate", text)
        self.write(second)
        self.clock.advance(9)
        self.assertEqual(self.seen(tls), second[0])
        self.assertEqual([level for level, _ in self.told()], ["info"])

    def test_gone(self) -> None:
        """A file that is away, such as for who may read no keys any more, changes nothing."""
        tls = self.make()
        Path(self.settings.private_key or "").unlink()
        self.clock.advance(9)
        self.assertEqual(self.seen(tls), self.first[0])
        [(_, text)] = self.told()
        self.assertIn("No such file", text)

    def test_untouched(self) -> None:
        """Files that stay are not read again."""
        tls = self.make()
        context = tls.serverConnectionForTLS(None).get_context()  # type: ignore[arg-type]
        self.clock.advance(9)
        self.assertIs(
            tls.serverConnectionForTLS(None).get_context(),  # type: ignore[arg-type]
            context,
        )
        os.utime(self.settings.certificate, (1e9, 1e9))
        self.clock.advance(9)
        self.assertIsNot(
            tls.serverConnectionForTLS(None).get_context(),  # type: ignore[arg-type]
            context,
        )
        self.assertEqual(self.told(), [])

    def test_no_key_in_a_line(self) -> None:
        """Nothing of a key is ever told, and not where a key stands for a certificate."""
        tls = self.make()
        key = Path(self.settings.private_key or "").read_bytes()
        Path(self.settings.certificate).write_bytes(key)
        error = self.assertRaises(ConfigurationError, tls.reload)
        os.utime(self.settings.certificate, (1e9, 1e9))
        self.clock.advance(9)
        self.seen(tls)
        told = str(error) + str(self.events)
        self.assertIn("holds no certificate", told)
        for line in key.decode().splitlines()[1:-1]:
            self.assertNotIn(line, told)


class StartTests(ServerTLSTestCase):
    """The first time."""

    def test_one_file(self) -> None:
        """Certificate, chain and key may stand in one file."""
        path = self.folder / "all.pem"
        path.write_bytes(pem(self.first[1], self.first[0], self.chain.middle))
        self.settings = ServerTLSSettings(str(path))
        self.assertEqual(self.seen(self.make()), self.first[0])

    def test_unusable(self) -> None:
        """What cannot be used is no server."""
        self.settings = ServerTLSSettings("/no/file.pem")
        error = self.assertRaises(ConfigurationError, self.make)
        self.assertIn("/no/file.pem: No such file or directory", str(error))

    def test_time(self) -> None:
        """A certificate is served whatever its time, but a warning tells of it."""
        for days, text in (
            ((-30, 13), "expires on"),
            ((-30, -1), "has expired on"),
            ((1, 30), "is not valid before"),
        ):
            self.write(self.issue(days))
            self.make()
            [(level, told)] = self.told()
            self.assertEqual(level, LogLevel.warn.name)
            self.assertIn(f"the certificate in {self.settings.certificate} {text} 20", told)
        self.write(self.issue((-30, 15)))
        self.make()
        self.assertEqual(self.told(), [])

    def test_wall(self) -> None:
        """The time is the one that is given."""
        begin = self.first[0].not_valid_before_utc.timestamp()
        for days, count in ((2, 0), (20, 1), (40, 1)):
            ServerTLS(self.settings, self.clock, lambda days=days: begin + days * DAY)  # type: ignore[misc]
            self.assertEqual(len(self.told()), count)

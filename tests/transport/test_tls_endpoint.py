"""Tests of :mod:`aiproxy.transport.tls_endpoint`."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.transport.server_tls import ServerTLSSettings
from aiproxy.transport.tls_endpoint import read_tls_endpoint


class ReadingTests(SynchronousTestCase):
    """What can be said."""

    def test_whole(self) -> None:
        """All of it: the plain endpoint, and the files."""
        plain, settings = read_tls_endpoint(
            "tls:8443:interface=127.0.0.1:backlog=9"
            ":certKey=/etc/chain.pem:privateKey=/etc/key.pem:clientCA=/etc/ca.pem"
        )
        self.assertEqual(plain, "tcp:8443:interface=127.0.0.1:backlog=9")
        expected = ServerTLSSettings("/etc/chain.pem", "/etc/key.pem", "/etc/ca.pem")
        self.assertEqual(settings, expected)
        self.assertFalse(settings.clients_optional)

    def test_one_file(self) -> None:
        """One file may hold certificate and key, under either name, as with Twisted's ssl."""
        self.assertEqual(
            read_tls_endpoint("tls:port=1:certKey=/a.pem"), ("tcp:1", ServerTLSSettings("/a.pem"))
        )
        _, settings = read_tls_endpoint("tls:1:privateKey=/a.pem")
        self.assertEqual(settings, ServerTLSSettings("/a.pem", "/a.pem"))

    def test_relative(self) -> None:
        """A file is found from the folder that is the current one now, and later too."""
        _, settings = read_tls_endpoint("tls:1:certKey=a.pem:clientCA=../b.pem:clients=optional")
        self.assertEqual(settings.certificate, os.path.abspath("a.pem"))
        self.assertEqual(settings.client_ca, os.path.abspath("../b.pem"))
        self.assertTrue(settings.clients_optional)

    def test_ipv6(self) -> None:
        """An address with colons is of IPv6, and Twisted binds what comes out."""
        plain, _ = read_tls_endpoint(r"tls:1:interface=\:\:1:certKey=a.pem")
        self.assertEqual(plain, r"tcp6:1:interface=\:\:1")
        endpoint = serverFromString(MemoryReactor(), plain)
        self.assertEqual(endpoint._interface, "::1")

    @given(st.text(st.characters(exclude_characters="\0"), min_size=1))
    def test_escapes(self, name: str) -> None:
        """A file may have any name."""
        text = f"tls:1:certKey=/{quoteStringArgument(name)}"
        self.assertEqual(read_tls_endpoint(text)[1].certificate, os.path.abspath(f"/{name}"))


class RefusalTests(SynchronousTestCase):
    """What cannot."""

    def assert_refused(self, text: str, why: str) -> None:
        error = self.assertRaises(ValueError, read_tls_endpoint, text)
        self.assertIn(why, str(error))

    def test_no_certificate(self) -> None:
        """Without a certificate there is no TLS."""
        for text in ("tls:1", "tls:1:certKey=", "tls:1:clientCA=a"):
            self.assert_refused(text, "add certKey=FILE")

    def test_unknown(self) -> None:
        """A parameter that there is not is named with the one that is meant."""
        self.assert_refused("tls:1:certkey=a", "unknown parameter certkey; did you mean `certKey`?")
        self.assert_refused("tls:1:certKey=a:clientCa=b", "did you mean `clientCA`?")
        self.assert_refused("tls:1:certKey=a:sslmethod=b", "unknown parameter sslmethod")

    def test_port(self) -> None:
        """The port is one number."""
        for port in ("", "x", "-1", "65536", "²", "https"):
            self.assert_refused(f"tls:{port}:certKey=a", "the port must be a number")
        for text in ("tls", "tls:certKey=a", "tls:1:a.pem", "tls:1:port=1:certKey=a"):
            self.assert_refused(text, "it needs one port")

    def test_backlog(self) -> None:
        """So is the backlog."""
        self.assert_refused("tls:1:certKey=a:backlog=many", "backlog must be a number")

    def test_clients(self) -> None:
        """Who means to ask for certificates does not let everybody in by a slip."""
        self.assert_refused("tls:1:certKey=a:clientCA=", "clientCA names no file")
        self.assert_refused("tls:1:certKey=a:clients=required", "without clientCA=FILE")
        self.assert_refused(
            "tls:1:certKey=a:clientCA=b:clients=optinal",
            "clients must be required or optional; did you mean `optional`?",
        )

    def test_backslash(self) -> None:
        """An escape of nothing is told, too."""
        self.assert_refused("tls:1:certKey=a\\", "ends with a backslash")

    @given(st.text(":=\\tlscerKy01"))
    def test_anything(self, text: str) -> None:
        """Whatever is written, it is read or refused with a reason."""
        try:
            plain, settings = read_tls_endpoint(f"tls:{text}")
        except ValueError as error:
            self.assertTrue(str(error))
        else:
            self.assertTrue(plain.startswith("tcp:"))
            self.assertTrue(os.path.isabs(settings.certificate))

"""Where clients are listened for."""

from __future__ import annotations

import errno
import os

from attrs import frozen
from twisted.internet.address import UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from aiproxy.listening import (
    ListenError,
    Place,
    cannot_listen,
    find_places,
    make_endpoint,
    refuse_unguarded,
    where_of,
)
from aiproxy.tap import Options
from aiproxy.transport.server_tls import ServerTLSSettings
from tests.config.loading import LoadingTestCase

DEMO = "models: [{name: demo/echo, provider: demo}]\n"
TOKENS = {"AUTH_TOKEN": "sk-client"}


class ListenTests(LoadingTestCase):
    """Where it listens, and where it refuses to."""

    def names(self, *arguments: str, env: dict[str, str] | None = None) -> list[str]:
        """Return the endpoints' names."""
        options = Options()
        options.parseOptions(list(arguments))
        config = self.load(DEMO, env).config
        places = find_places(options["listen"], options["addr"], config)
        refuse_unguarded(places, config)
        return [one.name for one in places]

    def refusal(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Return why it refuses."""
        with self.assertRaises(ListenError) as caught:
            self.names(*arguments, env=env)
        return str(caught.exception)

    def test_default(self) -> None:
        """This machine alone without a token, everywhere with one, on ``$PORT``."""
        self.assertEqual(self.names(), ["127.0.0.1:8080"])
        self.assertEqual(self.names(env={"PORT": "81"}), ["127.0.0.1:81"])
        self.assertEqual(self.names(env=TOKENS), [":8080"])

    def test_here(self) -> None:
        """Without a token, what stays on this machine is allowed."""
        for text in ("tcp:1:interface=127.0.0.1", "unix:x", r"tcp6:1:interface=\:\:1"):
            self.assertEqual(self.names("-l", text), [text])
        for address in ("localhost:1", "127.0.0.2:1", "[::1]:1"):
            self.assertEqual(self.names("-a", address), [address])

    def test_beyond(self) -> None:
        """Without a token, what reaches beyond is refused by the token's name."""
        for text in ("tcp:1", "tcp:1:interface=10.0.0.1", "tcp:1:interface=elsewhere"):
            self.assertIn("AUTH_TOKEN", self.refusal("-l", text))
            self.assertEqual(self.names("-l", text, env=TOKENS), [text])
        for address in (":1", "0.0.0.0:1", "[::]:1"):
            self.assertIn("AUTH_TOKEN", self.refusal("-a", address))

    def test_nonsense(self) -> None:
        """What is no address or endpoint is refused with what it should be."""
        for address in ("x", "1.2.3.4:", "1.2.3.4:70000", ":x"):
            self.assertIn("HOST:PORT", self.refusal("-a", address, env=TOKENS))
        self.assertIn("IP address", self.refusal("-a", "example.org:1", env=TOKENS))
        self.assertIn("cannot listen", self.refusal("-l", "tls:nonsense", env=TOKENS))

    def test_default_tls(self) -> None:
        """Behind TLS, too, nobody comes from elsewhere without a token."""
        text = "tls:1:certKey=c.pem"
        self.assertIn("AUTH_TOKEN", self.refusal("-l", text))
        options = Options()
        options.parseOptions(["-l", text])
        config = self.load(DEMO, TOKENS).config
        [place] = find_places(options["listen"], None, config)
        self.assertEqual((place.name, place.description), (text, "tcp:1"))
        assert place.tls


class EndpointTests(SynchronousTestCase):
    """What is said of a description that is no endpoint's."""

    def test_nonsense(self) -> None:
        """What is wrong is said in plain words, with the description and one that is right."""
        for description, why in (
            ("bogus:22", "there is no type of endpoint 'bogus'"),
            ("", "there is no type of endpoint ''"),
            ("tcp:foo", "'foo' is not a number"),
            ("unix:x:mode=9", "'9' is not a number"),
            ("tcp:1:x=2", "it has no parameter 'x'"),
            ("tcp", "it lacks 'port'"),
            ("tcp:1:2:3:4:5", "it has too many values"),
            ("tcp:1\\", "it ends with a backslash, which escapes nothing"),
        ):
            with self.assertRaises(ListenError) as caught:
                make_endpoint(MemoryReactor(), Place(description, description))
            self.assertEqual(
                str(caught.exception),
                f"cannot listen on {description}: {why};"
                " an endpoint is such as tcp:8080:interface=127.0.0.1",
            )

    def test_other(self) -> None:
        """Other reasons are told as they are, or so that they can be understood."""
        for socket in ("index=99", "name=nobody"):
            description = f"systemd:domain=INET:{socket}"
            with self.assertRaisesRegex(ListenError, f"{socket}: systemd has given this process"):
                make_endpoint(MemoryReactor(), Place(description, description))
        with self.assertRaisesRegex(ListenError, "cannot listen on x: .*No such file"):
            make_endpoint(MemoryReactor(), Place("x", "ssl:1:privateKey=/no/such/file"))


class CannotListenTests(SynchronousTestCase):
    """What is said of a place that is not to be had."""

    def said(self, name: str, number: int) -> str:
        """Return it."""
        reason = OSError(number, os.strerror(number))
        return str(cannot_listen(name, Failure(CannotListenError("", 80, reason))))

    def test_port(self) -> None:
        """The reason, and what to do about it."""
        for number, hint in (
            (errno.EADDRINUSE, "choose another port, by PORT or --addr"),
            (errno.EACCES, "ports below 1024 are root's"),
            (errno.EADDRNOTAVAIL, "this machine has no such address"),
        ):
            said = self.said("127.0.0.1:80", number)
            self.assertTrue(
                said.startswith(f"cannot listen on 127.0.0.1:80: {os.strerror(number)};")
            )
            self.assertIn(hint, said)

    def test_unix(self) -> None:
        """Of a socket that is no port, the reason alone."""
        self.assertEqual(
            self.said("unix:x", errno.EACCES), "cannot listen on unix:x: Permission denied"
        )


class BacklogTests(SynchronousTestCase):
    """How many connections may wait to be accepted."""

    def backlog(self, description: str) -> object:
        """Listen in memory; return what the reactor was told."""
        reactor = MemoryReactor()
        endpoint = make_endpoint(reactor, Place("here", description))
        self.successResultOf(endpoint.listen(Factory()))
        [(_, _, backlog, *_)] = reactor.tcpServers + reactor.unixServers
        return backlog

    def test_many(self) -> None:
        """As many as the kernel lets, where nothing is said."""
        for description in ("tcp:1", "tcp:1:127.0.0.1", "tcp6:1:interface=\\:\\:1", "unix:/x:660"):
            self.assertEqual(self.backlog(description), 4096, description)

    def test_told(self) -> None:
        """As many as somebody says."""
        for description in ("tcp:1:127.0.0.1:9", "tcp:1:backlog=9", "unix:/x:660:9"):
            self.assertEqual(self.backlog(description), 9, description)


@frozen
class Address:
    """An address that has a host and a port."""

    host: str
    port: int


class WhereTests(SynchronousTestCase):
    """What is shown of an address."""

    def test_urls(self) -> None:
        """Each is shown as it can be reached from this machine, and where else it can be."""
        for address, where in (
            (Address("127.0.0.1", 7), ("http://127.0.0.1:7",)),
            (Address("0.0.0.0", 7), ("http://127.0.0.1:7", "and on every other IPv4 address")),
            (Address("::", 7), ("http://[::1]:7", "and on every other address")),
            (Address("fe80::1", 7), ("http://[fe80::1]:7",)),
            (UNIXAddress("/run/x"), ("/run/x",)),
        ):
            self.assertEqual(where_of(address), where)
        [place] = [Place("x", "tcp:1", ServerTLSSettings("c.pem"))]
        self.assertEqual(where_of(Address("::1", 7), place.tls), ("https://[::1]:7",))

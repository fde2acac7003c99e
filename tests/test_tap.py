"""``twistd aiproxy``: options, where to listen, what is said."""

from __future__ import annotations

import os
import signal
from contextlib import chdir, redirect_stdout
from io import StringIO
from typing import Any, cast

from twisted.internet.error import ReactorNotRunning
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.usage import UsageError

from aiproxy import tap
from aiproxy.proxy import Proxy
from aiproxy.service import ProxyService
from tests.config.loading import LoadingTestCase

DEMO = "models: [{name: demo/echo, provider: demo}]\n"
TOKENS = {"AUTH_TOKEN": "sk-client"}


class OptionsTests(LoadingTestCase):
    """The options of the command line."""

    def test_all(self) -> None:
        """Each has a long and a short form, and ``--listen`` adds up."""
        options = tap.Options()
        options.parseOptions(["-c", "a", "-e", "b", "-a", ":1", "-l", "unix:x", "--listen", "y"])
        self.assertEqual(
            (options["config"], options["env-file"], options["addr"], options["listen"]),
            ("a", "b", ":1", ["unix:x", "y"]),
        )

    def test_argument(self) -> None:
        """What is no option is refused."""
        with self.assertRaisesRegex(UsageError, "'run'"):
            tap.Options().parseOptions(["run"])

    def test_version(self) -> None:
        """The version is told."""
        out = StringIO()
        with self.assertRaises(SystemExit), redirect_stdout(out):
            tap.Options().parseOptions(["--version"])
        self.assertIn("aiproxy ", out.getvalue())


class ListenTests(LoadingTestCase):
    """Where it listens, and where it refuses to."""

    def names(self, *arguments: str, env: dict[str, str] | None = None) -> list[str]:
        """Return the endpoints' names."""
        options = tap.Options()
        options.parseOptions(list(arguments))
        config = self.load(DEMO, env).config
        return [name for name, _ in tap._endpoints(options, config, MemoryReactorClock())]

    def refusal(self, *arguments: str, env: dict[str, str] | None = None) -> str:
        """Return why it refuses."""
        with self.assertRaises(UsageError) as caught:
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
        self.assertIn("cannot listen", self.refusal("-l", "nonsense:1", env=TOKENS))
        self.assertTrue(self.refusal("-l", ""))


class MakeServiceTests(LoadingTestCase):
    """The service that twistd runs."""

    def make(self, text: str, *arguments: str) -> ProxyService:
        """Make it from a file."""
        self.write(text)
        options = tap.Options()
        options.parseOptions(["-c", "c.yaml", *arguments])
        with chdir(self.folder):
            return cast(ProxyService, tap.makeService(options))

    def test_made(self) -> None:
        """It knows where to listen, and nothing is open yet."""
        os.environ.pop("AUTH_TOKEN", None)
        service = self.make(DEMO, "-l", "unix:x")
        assert service.listening
        self.assertEqual([name for name, _ in service.listening.endpoints], ["unix:x"])
        self.assertEqual(service.ports, [])
        self.assertFalse((self.folder / "x").exists())

    def test_refused(self) -> None:
        """What cannot be used ends the start with its reason."""
        with self.assertRaisesRegex(SystemExit, r"c\.yaml:1"):
            self.make("models: 7\n")
        with self.assertRaisesRegex(SystemExit, "HOST:PORT"):
            self.make(DEMO, "-a", "x")


class Port:
    """A port that is open somewhere."""

    def __init__(self, address: Any) -> None:
        self.getHost = lambda: address


class Address:
    """An address with some of host, port and name."""

    def __init__(self, **fields: object) -> None:
        self.__dict__.update(fields)


class AnnounceTests(LoadingTestCase):
    """What is said at the start."""

    def announce(
        self, text: str, *addresses: Address, env: dict[str, str] | None = None
    ) -> list[str]:
        """Return what is said."""
        loaded = self.load(text, env)
        proxy = Proxy(loaded.config, MemoryReactorClock())
        proxy.service.ports = [cast(Any, Port(address)) for address in addresses]
        said: list[LogEvent] = []
        observer = cast(ILogObserver, said.append)
        globalLogPublisher.addObserver(observer)
        try:
            tap._announce(loaded, proxy)
        finally:
            globalLogPublisher.removeObserver(observer)
        return [str(event["log_format"]).format(**event) for event in said]

    def test_first_run(self) -> None:
        """The token and a line to try it are shown where nobody set one."""
        where, token, line = self.announce(DEMO, Address(host="127.0.0.1", port=7))
        self.assertIn("http://127.0.0.1:7", where)
        self.assertIn(token.rpartition(" ")[2], line)
        self.assertIn("curl -N http://127.0.0.1:7/v1/chat/completions", line)

    def test_token(self) -> None:
        """A token that was set is not shown."""
        [where] = self.announce(DEMO, Address(host="0.0.0.0", port=7), env=TOKENS)
        self.assertIn("http://127.0.0.1:7", where)
        self.assertNotIn("sk-client", where)

    def test_nothing_to_try(self) -> None:
        """There is no line where there is no model, or only a path."""
        self.assertEqual(len(self.announce(DEMO, Address(name="/run/x"))), 2)

    def test_addresses(self) -> None:
        """Each address is shown as it can be reached."""
        [where] = self.announce(
            DEMO,
            Address(host="::", port=7),
            Address(name="/run/x"),
            Address(host="::1", port=8),
            env=TOKENS,
        )
        self.assertIn("http://[::1]:7, /run/x, http://[::1]:8", where)

    def test_warnings(self) -> None:
        """What is wrong but no obstacle is said."""
        text = """
            providers: {openai: {token: "${NOBODY_SET_IT}"}}
            models: [{name: openai/one, provider: openai}]
            """
        said = self.announce(text, Address(host="127.0.0.1", port=7), env=TOKENS)
        self.assertIn("NOBODY_SET_IT", said[0])


class StoppableReactor:
    """
    Runs what it is called with at once.

    :ivar stops: how often it was stopped.
    """

    def __init__(self) -> None:
        self.stops = 0

    def callFromThread(self, function: Any, *arguments: Any) -> None:
        """Call it."""
        function(*arguments)

    def stop(self) -> None:
        """Stop, once."""
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


class SignalTests(LoadingTestCase):
    """The signals' handlers; what they do to a process is tested with real ones."""

    def setUp(self) -> None:
        super().setUp()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        self.reactor = StoppableReactor()

    def test_stop(self) -> None:
        """TERM stops the reactor, also one that stops already."""
        for _ in range(2):
            tap.install_signals(self.reactor)
            signal.raise_signal(signal.SIGTERM)
        self.assertEqual(self.reactor.stops, 2)

    def test_rotate(self) -> None:
        """USR1 opens the access log anew, and does what it did before."""
        done: list[str] = []
        tap.install_signals(self.reactor, lambda: done.append("access log"))
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual(done, ["access log"])
        signal.signal(signal.SIGUSR1, lambda number, frame: done.append("twistd's"))
        tap.install_signals(self.reactor, lambda: done.append("again"))
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual(done, ["access log", "again", "twistd's"])

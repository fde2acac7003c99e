"""Whole servers for the tests: twistd in a process of its own, and clients on bare sockets."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from textwrap import dedent
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.transport.upstreams import SocketConnection, SocketUpstream

TOKEN = "sk-client"
TWISTD = str(Path(sys.executable).with_name("twistd"))
#: No controlling terminal, as under a service manager.
_SESSION = "import os, sys; os.setsid(); os.execv(sys.argv[1], sys.argv[1:])"
_SERVES = re.compile(r"serves \d+ models? on (\S+?)[,;]")


class Waiting:
    """Something that text comes from, and who waits for some of it."""

    def __init__(self) -> None:
        self.received = bytearray()
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def arrived(self, data: bytes) -> None:
        """Some bytes came."""
        self.received += data
        self.look()

    def look(self) -> None:
        """Wake who has waited for this."""
        for pair in list(self._waiting):
            if pair[0]():
                self._waiting.remove(pair)
                pair[1].callback(None)

    def until(self, condition: Callable[[], bool], seconds: float = 15) -> Deferred[None]:
        """Fire when the condition holds; it fails when that takes too long."""
        from twisted.internet import reactor

        waiting: Deferred[None] = Deferred()
        self._waiting.append((condition, waiting))
        waiting.addTimeout(seconds, reactor)
        self.look()
        return waiting

    def until_bytes(self, data: bytes, seconds: float = 15) -> Deferred[None]:
        """Fire when these bytes have come."""
        return self.until(lambda: data in self.received, seconds)


class Server(Waiting, ProcessProtocol):
    """
    A server's process.

    :ivar status: its exit status, or the negative number of the signal that ended it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.status: int | None = None

    @property
    def output(self) -> str:
        """All that it wrote, on both streams."""
        return self.received.decode()

    @property
    def left(self) -> bool:
        """Its process has ended, though another one may have its output."""
        return self.transport.pid is None  # type: ignore[union-attr]

    @property
    def pid(self) -> int:
        """Its process."""
        return int(self.transport.pid)  # type: ignore[union-attr]

    @property
    def url(self) -> str:
        """Where it serves."""
        found = _SERVES.search(self.output)
        assert found, self.output
        return found[1]

    @property
    def port(self) -> int:
        """The port of that."""
        return int(self.url.rpartition(":")[2])

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.arrived(data)

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self.status = value.exitCode if value.signal is None else -value.signal
        self.look()

    def signal(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.pid, number)

    async def serves(self) -> None:
        """Wait until it serves."""
        await self.until(lambda: self.status is not None or _SERVES.search(self.output) is not None)
        assert self.status is None, self.output

    async def ended(self, seconds: float = 15) -> int:
        """Wait for its end; return the status."""
        await self.until(lambda: self.status is not None, seconds)
        assert self.status is not None
        return self.status


class Connection(Waiting, Protocol):
    """
    A client's connection.

    :ivar reason: why it is closed; None while it is open.
    """

    def __init__(self) -> None:
        super().__init__()
        self.reason: BaseException | None = None

    def dataReceived(self, data: bytes) -> None:
        self.arrived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason.value
        self.look()

    @property
    def status(self) -> int:
        """The answer's."""
        return int(self.received.split(b" ", 2)[1])

    async def end(self, seconds: float = 15) -> bytes:
        """Wait until the server closes; return all that came."""
        await self.until(lambda: self.reason is not None, seconds)
        assert isinstance(self.reason, ConnectionDone), self.reason
        return bytes(self.received)


def write_request(
    method: str, path: str, body: object = None, *, token: str | None = TOKEN
) -> bytes:
    """Write a request after which the server closes."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def write_chat(text: str = "hello", *, token: str | None = TOKEN, **more: object) -> bytes:
    """Write a chat request."""
    body = {"model": "demo/echo", "messages": [{"role": "user", "content": text}], **more}
    return write_request("POST", "/v1/chat/completions", body, token=token)


class ServersTestCase(TestCase):
    """Starts servers and upstreams; all of them are gone after the test."""

    timeout = 60

    def setUp(self) -> None:
        # Not mktemp(): the path of a UNIX socket may have 107 bytes.
        self.folder = Path(mkdtemp(prefix="aiproxy-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.opened: list[Connection] = []

    def write(self, text: str, name: str = "provider_config.yaml") -> str:
        """Write a file in the server's folder; return its path."""
        path = self.folder / name
        path.write_text(dedent(text), encoding="utf-8")
        return str(path)

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Return a process's environment, with nothing of this one's that configures us."""
        kept = {name: os.environ[name] for name in os.environ if name.startswith("COVERAGE")}
        return {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), **kept, **more}

    def spawn(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> Server:
        """Start a process in the test's folder."""
        from twisted.internet import reactor

        server = Server()
        arguments = [sys.executable, "-ISc", _SESSION, *command]
        running: Any = reactor
        running.spawnProcess(
            server, sys.executable, arguments, self.environment(env or {}), str(self.folder)
        )
        self.addCleanup(self._kill, server)
        return server

    def twistd(self, *options: str, env: Mapping[str, str] | None = None) -> Server:
        """Start ``twistd aiproxy`` in the foreground."""
        return self.spawn([TWISTD, "-n", "--pidfile=", "aiproxy", *options], env)

    async def serve(self, *options: str, env: Mapping[str, str] | None = None) -> Server:
        """Start a server with a token on a free port, and wait for it."""
        variables = {"AUTH_TOKEN": TOKEN, **(env or {})}
        server = self.twistd("-a", "127.0.0.1:0", *options, env=variables)
        await server.serves()
        return server

    async def connect(self, port: int | str, data: bytes = b"") -> Connection:
        """Open a connection to a port of this machine or a path, and send something."""
        from twisted.internet import reactor
        from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint

        running: Any = reactor
        endpoint: Any = (
            TCP4ClientEndpoint(running, "127.0.0.1", port)
            if isinstance(port, int)
            else UNIXClientEndpoint(running, port)
        )
        connection: Connection = await endpoint.connect(Factory.forProtocol(Connection))
        self.opened.append(connection)
        self.addCleanup(self._hang_up, connection)
        connection.transport.write(data)  # type: ignore[union-attr]
        return connection

    async def ask(self, port: int | str, data: bytes) -> Connection:
        """Send a request; return the connection when the answer is whole."""
        connection = await self.connect(port, data)
        await connection.end()
        return connection

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds."""
        from twisted.internet import reactor

        for _ in range(300):
            if condition():
                return
            await deferLater(reactor, 0.05)
        self.fail("it did not happen")

    def upstream(self, respond: Callable[[SocketConnection], object]) -> tuple[SocketUpstream, int]:
        """Start an upstream; return it and its port."""
        from twisted.internet import reactor

        upstream = SocketUpstream(respond)
        running: Any = reactor
        port = running.listenTCP(0, upstream, interface="127.0.0.1")
        self.addCleanup(self._close, upstream, port)
        return upstream, port.getHost().port

    async def _close(self, upstream: SocketUpstream, port: Any) -> None:
        await port.stopListening()
        for connection in upstream.connections:
            connection.reset()
            await connection.lost

    async def _hang_up(self, connection: Connection) -> None:
        if connection.reason is None:
            connection.transport.abortConnection()  # type: ignore[union-attr]
            await connection.until(lambda: connection.reason is not None)

    async def _kill(self, server: Server) -> None:
        if server.status is None:
            if not server.left:
                server.signal(15)
                server.signal(15)
            await server.ended()


def config_for(port: int) -> str:
    """Write a configuration with one model of an upstream on this machine."""
    return f"""
providers:
  up: {{base_url: "http://127.0.0.1:{port}/v1", token: sk-upstream}}
models:
  - {{name: up/one, provider: up}}
retry: {{max_retries: 0}}
server: {{drain_timeout: 3s}}
"""

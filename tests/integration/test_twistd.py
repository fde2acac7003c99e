"""``twistd aiproxy`` from outside: starting, listening, signals, what goes wrong."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from typing import Any

from twisted.internet.error import ConnectError, ConnectionRefusedError
from twisted.internet.task import deferLater

from tests.integration.servers import (
    TOKEN,
    TWISTD,
    Server,
    ServersTestCase,
    write_chat,
    write_request,
)

#: Opens a terminal as its own, and goes on as another program.
ON_TERMINAL = """
import os, signal, sys
os.dup2(os.open(sys.argv[1], os.O_RDWR), 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[2] == "nohup" else signal.SIG_DFL)
os.execv(sys.argv[3], sys.argv[3:])
"""
WORDS = "one two three four five six seven eight nine ten " * 5


class StartTests(ServersTestCase):
    """What a start says and does."""

    async def test_first_run(self) -> None:
        """With nothing configured the printed line, pasted into a shell, streams an answer."""
        server = self.twistd("-a", "127.0.0.1:0")
        await server.serves()
        await server.until_bytes(b"by word\"}]}'\n")
        [line] = re.findall(r"(?m)^\s*(curl .*)$", server.output)
        shell = self.spawn(["/bin/sh", "-c", line])
        self.assertEqual(await shell.ended(), 0)
        self.assertIn("data: [DONE]", shell.output)
        self.assertIn('"content":"Hello ', shell.output)

    if shutil.which("curl") is None:
        test_first_run.skip = "curl is not installed"  # type: ignore[attr-defined]

    async def test_no_token(self) -> None:
        """Nobody comes in without the token that was made up."""
        server = self.twistd("-a", "127.0.0.1:0")
        await server.serves()
        answer = await self.ask(server.port, write_chat(token=None))
        self.assertEqual(answer.status, 401)

    async def test_listen(self) -> None:
        """Several endpoints are served at once, one of them a path."""
        path = str(self.folder / "socket")
        server = self.twistd("--listen", "tcp:0:interface=127.0.0.1", "-l", f"unix:{path}")
        await server.serves()
        for where in (server.port, path):
            answer = await self.ask(where, write_request("GET", "/ping"))
            self.assertIn(b"\r\n\r\nOK", bytes(answer.received))

    async def test_beyond_this_machine(self) -> None:
        """An open endpoint without a token is refused, and the message names AUTH_TOKEN."""
        server = self.twistd("-a", ":0")
        self.assertEqual(await server.ended(), 1)
        self.assertIn("AUTH_TOKEN", server.output)
        self.assertNotIn("Traceback", server.output)

    async def test_port_in_use(self) -> None:
        """A port that somebody has is named, with status 1 and no traceback."""
        first = await self.serve()
        second = self.twistd("-a", f"127.0.0.1:{first.port}")
        self.assertEqual(await second.ended(), 1)
        self.assertRegex(second.output, rf"cannot listen on 127.0.0.1:{first.port}: .*in use")
        self.assertNotIn("Traceback", second.output)

    async def test_broken_configuration(self) -> None:
        """Each mistake is one line with its place, with status 1 and no traceback."""
        self.write("models:\n  - {nam: a}\nserver: {drain_timeout: soon}\n")
        server = self.twistd()
        self.assertEqual(await server.ended(), 1)
        for line in (2, 3):
            self.assertRegex(server.output, rf"(?m)provider_config\.yaml:{line}: ")
        self.assertNotIn("Traceback", server.output)

    async def test_env_file(self) -> None:
        """``.env`` of the folder is read."""
        self.write("AUTH_TOKEN=sk-from-file\n", ".env")
        server = self.twistd("-a", "127.0.0.1:0")
        await server.serves()
        answer = await self.ask(server.port, write_chat(token="sk-from-file"))
        self.assertEqual(answer.status, 200)

    async def test_daemon(self) -> None:
        """In the background, paths are those of the folder where it was started."""
        from twisted.internet import reactor

        self.write("models: [{name: demo/x, provider: demo}]\n", "other.yaml")
        socket = self.folder / "socket"
        command = [TWISTD, "--pidfile=our.pid", "--logfile=our.log", "aiproxy"]
        starter = self.spawn([*command, "-c", "other.yaml", "-l", "unix:socket"])
        self.assertEqual(await starter.ended(), 0)
        pid_file = self.folder / "our.pid"
        for _ in range(100):
            if socket.exists() and pid_file.exists():
                break
            await deferLater(reactor, 0.05)
        log = (self.folder / "our.log").read_text(encoding="utf-8")
        self.assertTrue(socket.exists(), log)
        pid = int(pid_file.read_text())
        try:
            answer = await self.ask(str(socket), write_request("GET", "/ping"))
            self.assertEqual(answer.status, 200)
        finally:
            os.kill(pid, signal.SIGTERM)
        for _ in range(100):
            if not pid_file.exists():
                break
            await deferLater(reactor, 0.05)
        self.assertFalse(pid_file.exists())


class SignalTests(ServersTestCase):
    """What signals do."""

    async def check_drain(self, number: int) -> None:
        """A running stream ends whole, new connections are refused, the status is 0."""
        server = await self.serve()
        port = server.port
        stream = await self.connect(port, write_chat(WORDS, stream=True))
        await stream.until_bytes(b"two ")
        server.signal(number)
        await server.until_bytes(b"Port")
        await self.refused(port)
        self.assertIn(b"data: [DONE]", await stream.end())
        self.assertEqual(await server.ended(), 0)

    async def refused(self, port: int) -> None:
        """Wait until nobody listens; Twisted says so a moment before it is true."""
        from twisted.internet import reactor

        running: Any = reactor
        end = running.seconds() + 5
        while running.seconds() < end:
            try:
                await self.connect(port)
            except ConnectionRefusedError:
                return
            except ConnectError:
                continue  # It was let in, and out.
        self.fail("somebody listens")

    async def test_term(self) -> None:
        """TERM drains."""
        await self.check_drain(signal.SIGTERM)

    async def test_interrupt(self) -> None:
        """INT drains."""
        await self.check_drain(signal.SIGINT)

    async def test_second(self) -> None:
        """A second signal ends at once, whatever runs."""
        server = await self.serve()
        stream = await self.connect(server.port, write_chat(WORDS, stream=True))
        await stream.until_bytes(b"two ")
        server.signal(signal.SIGTERM)
        await server.until_bytes(b"Port")
        server.signal(signal.SIGTERM)
        self.assertEqual(await server.ended(1), 128 + signal.SIGTERM)

    async def test_drain_timeout(self) -> None:
        """A stream that is too long ends with an error when its time is over."""
        self.write("models: [{name: demo/echo, provider: demo}]\nserver: {drain_timeout: 500ms}\n")
        server = await self.serve()
        stream = await self.connect(server.port, write_chat(WORDS, stream=True))
        await stream.until_bytes(b"two ")
        server.signal(signal.SIGTERM)
        told = await stream.end(3)
        self.assertIn(b'data: {"error":', told)
        self.assertNotIn(b"[DONE]", told)
        self.assertEqual(await server.ended(), 0)

    async def test_others(self) -> None:
        """HUP and USR1 end nothing where there is no terminal."""
        server = await self.serve()
        server.signal(signal.SIGHUP)
        server.signal(signal.SIGUSR1)
        await server.until_bytes(b"reloaded the configuration")
        answer = await self.ask(server.port, write_chat(token=TOKEN))
        self.assertEqual(answer.status, 200)


class TerminalTests(ServersTestCase):
    """A server that was started at a terminal."""

    async def start(self, how: str = "", *options: str) -> tuple[Server, int]:
        """Start one at a terminal of its own; return it and what closes that."""
        master, slave = os.openpty()
        command = [sys.executable, "-ISc", ON_TERMINAL, os.ttyname(slave), how]
        twistd = [TWISTD, "-n", "--pidfile=", "aiproxy", "-a", "127.0.0.1:0", *options]
        server = self.spawn([*command, *twistd])
        await server.serves()
        os.close(slave)
        return server, master

    async def test_closed(self) -> None:
        """It stops in order when the terminal is closed."""
        server, terminal = await self.start()
        os.close(terminal)
        self.assertEqual(await server.ended(), 0)
        self.assertIn("the terminal is gone", server.output)

    async def test_hang_up(self) -> None:
        """So it does when it is sent HUP."""
        server, terminal = await self.start()
        self.addCleanup(os.close, terminal)
        server.signal(signal.SIGHUP)
        self.assertEqual(await server.ended(), 0)

    async def test_nohup(self) -> None:
        """Under ``nohup`` it goes on, and HUP reloads."""
        server, terminal = await self.start("nohup")
        os.close(terminal)
        server.signal(signal.SIGHUP)
        await server.until_bytes(b"reloaded the configuration")
        answer = await self.ask(server.port, write_request("GET", "/ping"))
        self.assertIn(b"\r\n\r\nOK", bytes(answer.received))

    async def test_nohup_handed_over(self) -> None:
        """So does a supervisor that follows: the terminal hangs up with the one before."""
        server, terminal = await self.start("nohup", "-w", "1")
        self.addCleanup(os.close, terminal)
        group = server.pid
        server.signal(signal.SIGUSR2)
        await self.until(lambda: server.left)
        await server.until_bytes(b"reloaded the configuration")
        answer = await self.ask(server.port, write_request("GET", "/ping"))
        self.assertIn(b"\r\n\r\nOK", bytes(answer.received))
        os.killpg(group, signal.SIGTERM)
        await server.ended()

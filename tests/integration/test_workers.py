"""Several processes that share the listening sockets."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress as ignoring
from pathlib import Path

from twisted.internet.defer import Deferred, gatherResults

from tests.integration.load import Load
from tests.integration.servers import (
    TOKEN,
    TWISTD,
    Connection,
    Server,
    ServersTestCase,
    write_chat,
    write_request,
)

WORDS = "one two three four five six seven eight nine ten " * 5
ADMIN = "sk-admin"
CONFIG = "models: [{name: demo/echo, provider: demo}]\nserver: {access_log: log}\n"


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def keep_alive(request: bytes) -> bytes:
    """Return a request that keeps the connection."""
    return request.replace(b"Connection: close\r\n", b"")


class WorkersTestCase(ServersTestCase):
    """Starts a supervisor with two workers."""

    async def begin(self, text: str = CONFIG, *options: str) -> Server:
        """Start one with a configuration."""
        self.write(text)
        return await self.serve("-w", "2", *options, env={"ADMIN_TOKEN": ADMIN})

    async def status(self, server: Server, model: str = "demo/echo") -> int:
        """Ask a model; return the status."""
        return (await self.ask(server.port, write_chat("hi", model=model))).status

    async def metrics(self, server: Server) -> str:
        """Return what Prometheus reads."""
        request = write_request("GET", "/metrics", token=ADMIN)
        return bytes((await self.ask(server.port, request)).received).decode()

    async def together(self, count: int, do: Callable[[], Awaitable[object]]) -> list[object]:
        """Do something so many times at once."""

        async def once() -> object:
            return await do()

        doing = [Deferred.fromCoroutine(once()) for _ in range(count)]
        return list(await gatherResults(doing, consumeErrors=True))


class WorkerTests(WorkersTestCase):
    """What is the same as with one process, and what is not."""

    async def test_serves(self) -> None:
        """There are two, both serve, and it ends in order."""
        server = await self.begin()
        self.assertEqual(len(children(server.pid)), 2)
        stream = await self.connect(server.port, write_chat(WORDS, stream=True))
        await stream.until_bytes(b"two ")
        server.signal(signal.SIGTERM)
        self.assertIn(b"data: [DONE]", await stream.end())
        self.assertEqual(await server.ended(), 0)
        self.assertNotIn("Traceback", server.output)
        self.assertNotIn("#error]", server.output)
        self.assertEqual(server.output.count("aiproxy 0"), 1)

    async def test_interrupt(self) -> None:
        """A terminal's Ctrl-C, which all processes get, is a stop in order."""
        server = await self.begin()
        stream = await self.connect(server.port, write_chat(WORDS, stream=True))
        await stream.until_bytes(b"two ")
        os.killpg(os.getpgid(server.pid), signal.SIGINT)
        self.assertIn(b"data: [DONE]", await stream.end())
        self.assertEqual(await server.ended(), 0)

    async def test_at_once(self) -> None:
        """A second signal ends all of them."""
        server = await self.begin()
        workers = children(server.pid)
        stream = await self.connect(server.port, write_chat(WORDS, stream=True))
        await stream.until_bytes(b"two ")
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGTERM)
        await server.ended(5)
        await self.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))

    async def test_supervisor_killed(self) -> None:
        """Workers whose supervisor is gone end in order."""
        server = await self.begin()
        workers = children(server.pid)
        stream = await self.connect(server.port, write_chat(WORDS, stream=True))
        await stream.until_bytes(b"two ")
        server.signal(signal.SIGKILL)
        self.assertIn(b"data: [DONE]", await stream.end())
        await self.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))

    async def test_killed(self) -> None:
        """A worker that is killed under load costs its own requests only, and comes back."""
        server = await self.begin()
        first, second = children(server.pid)
        load = Load(server.port, keep_alive(write_chat("hi", model="demo/echo")))
        load.start(16)
        await load.answers(100)
        os.kill(first, signal.SIGKILL)
        await load.answers(300)
        await server.until_bytes(b"is gone (signal 9)")
        await self.until(lambda: len(children(server.pid)) == 2)
        self.assertIn(second, children(server.pid))
        await load.answers(300)
        await load.stop()
        self.assertEqual(set(load.statuses), {200})
        self.assertEqual(load.refused, [])
        self.assertLessEqual(len(load.lost), 16)

    async def test_limit(self) -> None:
        """Of a thousand requests over two workers a limit of 37 admits 37."""
        server = await self.begin(
            "models: [{name: demo/echo, provider: demo, requests_per_minute: 37}]\n"
        )
        load = Load(server.port, keep_alive(write_chat("hi", model="demo/echo")))
        load.start(50)
        await load.answers(1_000)
        await load.stop()
        self.assertEqual(load.statuses[200], 37)
        self.assertEqual(load.statuses[429], load.statuses.total() - 37)

    async def test_metrics(self) -> None:
        """The numbers are those of all workers, also of one that has ended."""
        server = await self.begin()
        await self.together(40, lambda: self.status(server))
        [count] = re.findall(
            r'aiproxy_requests_total\{.*status="200"\} (\S+)', await self.metrics(server)
        )
        self.assertEqual(float(count), 40)
        first, _ = children(server.pid)
        os.kill(first, signal.SIGTERM)
        await server.until_bytes(b"is gone (it has ended)")
        await self.until(lambda: len(children(server.pid)) == 2)
        [again] = re.findall(
            r'aiproxy_requests_total\{.*status="200"\} (\S+)', await self.metrics(server)
        )
        self.assertEqual(float(again), 40)

    async def test_reload(self) -> None:
        """All workers reload, by signal and by request; a broken file changes none of them."""
        server = await self.begin()
        self.write(CONFIG.replace("demo/echo", "demo/two"))
        server.signal(signal.SIGHUP)
        await server.until_bytes(b"reloaded the configuration")
        await self.check_all(server, "demo/two", 200)
        self.write(CONFIG.replace("demo/echo", "demo/three"))
        request = write_request("POST", "/admin/reload", token=ADMIN)
        self.assertEqual((await self.ask(server.port, request)).status, 200)
        await self.check_all(server, "demo/three", 200)
        self.write("models: 7\n")
        answer = await self.ask(server.port, request)
        self.assertEqual(answer.status, 500)
        self.assertIn(b"provider_config.yaml:1", bytes(answer.received))
        # One that begins now has the last one that was good, too.
        os.kill(children(server.pid)[0], signal.SIGKILL)
        await server.until_bytes(b"is gone")
        await self.until(lambda: len(children(server.pid)) == 2)
        await self.check_all(server, "demo/three", 200)
        self.assertNotIn("Traceback", server.output)

    async def check_all(self, server: Server, model: str, status: int) -> None:
        """See that every worker answers a model like this."""
        statuses = await self.together(30, lambda: self.status(server, model))
        self.assertEqual(set(statuses), {status})

    async def test_first_run(self) -> None:
        """The token that was made up is the same in all of them."""
        server = self.twistd("-a", "127.0.0.1:0", "-w", "2")
        await server.serves()
        await server.until_bytes(b"access token is ")
        [token] = re.findall(r"access token is (\S+)", server.output)
        statuses = await self.together(
            20, lambda: self.ask(server.port, write_chat("hi", token=token))
        )
        self.assertEqual({one.status for one in statuses if isinstance(one, Connection)}, {200})

    async def test_cannot_begin(self) -> None:
        """A mistake in the configuration ends the start, before any worker."""
        self.write("models: 7\n")
        server = self.twistd("-w", "2")
        self.assertEqual(await server.ended(), 1)
        self.assertIn("provider_config.yaml:1", server.output)

    async def test_unix(self) -> None:
        """A path keeps its mode, and outlives a worker."""
        path = self.folder / "socket"
        server = await self.begin(CONFIG, "-l", f"unix:{path}:mode=600")
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        os.kill(children(server.pid)[0], signal.SIGTERM)
        await server.until_bytes(b"is gone")
        self.assertEqual((await self.ask(str(path), write_request("GET", "/ping"))).status, 200)
        server.signal(signal.SIGTERM)
        await server.ended()
        self.assertFalse(path.exists())

    async def test_access_log(self) -> None:
        """All write one access log, which is opened anew with USR1."""
        server = await self.begin()
        log, old = self.folder / "log", self.folder / "log.1"
        await self.together(20, lambda: self.status(server))
        await self.until(lambda: log.read_text().count("\n") == 20)
        log.rename(old)
        server.signal(signal.SIGUSR1)
        await self.until(log.exists)
        await self.together(20, lambda: self.status(server))
        server.signal(signal.SIGTERM)
        await server.ended()
        lines = log.read_text().count("\n") + old.read_text().count("\n")
        self.assertEqual(lines, 40)


class HandOverTests(WorkersTestCase):
    """One supervisor follows another, and no client sees it."""

    async def check(self, clients: int) -> None:
        """Hand over under the load of so many clients."""
        server = await self.begin(
            "models: [{name: demo/echo, provider: demo, requests_per_day: 1000000}]\n"
            "server: {access_log: none, state: state}\n"
        )
        load = Load(server.port, keep_alive(write_chat("hi", model="demo/echo")))
        stream = await self.connect(server.port, write_chat(WORDS, stream=True))
        self.addCleanup(load.stop)
        load.start(clients)
        await load.answers(clients)
        self.addCleanup(self.end_group, server.pid)
        server.signal(signal.SIGUSR2)
        await server.until_bytes(b"the other supervisor serves", 30)
        pid = self.find_successor(server)
        self.addCleanup(self.end, server, pid)
        self.assertIn(b"data: [DONE]", await stream.end(30))
        await self.until(lambda: server.left)
        await load.answers(clients * 2)
        await load.stop()
        self.assertEqual((load.refused, load.lost), ([], []))
        self.assertEqual(set(load.statuses), {200})
        self.assertNotIn("Traceback", server.output)
        self.assertNotIn("#error]", server.output)

    def find_successor(self, server: Server) -> int:
        """Return the process that follows."""
        [pid] = [
            one
            for one in children(server.pid)
            if b"workers.worker" not in _reads(str(one), "cmdline")
        ]
        return pid

    def end_group(self, group: int) -> None:
        """End whoever of a test that has failed is still there."""
        with ignoring(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)

    async def end(self, server: Server, pid: int) -> None:
        """End the process that followed, which has the same output."""
        os.kill(pid, signal.SIGTERM)
        await server.ended()

    async def test_broken(self) -> None:
        """If the new one cannot start, the old one goes on."""
        server = await self.begin()
        self.write("models: 7\n")
        server.signal(signal.SIGUSR2)
        await server.until_bytes(b"this one goes on")
        self.assertIn("provider_config.yaml:1", server.output)
        self.assertEqual(await self.status(server), 200)

    async def test_daemon(self) -> None:
        """A daemon's pid file and log change hands, and so do the counts of its limits."""
        self.write(
            "models: [{name: demo/echo, provider: demo, requests_per_minute: 3}]\n"
            "server: {state: state, access_log: none}\n"
        )
        options = ["--pidfile=our.pid", "--logfile=our.log", "aiproxy", "-w", "2"]
        where = str(self.folder / "socket")
        starter = self.spawn([TWISTD, *options, "-l", f"unix:{where}"], {"AUTH_TOKEN": TOKEN})
        self.assertEqual(await starter.ended(), 0)
        file, log = self.folder / "our.pid", self.folder / "our.log"
        await self.until(lambda: log.exists() and "serves" in log.read_text())
        first = int(file.read_text())
        self.addCleanup(self.end_daemon, file)
        for _ in range(2):
            self.assertEqual((await self.ask(where, write_chat("hi"))).status, 200)
        os.kill(first, signal.SIGUSR2)
        await self.until(lambda: not Path(f"/proc/{first}").exists())
        second = int(file.read_text())
        self.assertNotEqual(first, second)
        self.assertFalse((self.folder / "our.pid.old").exists())
        statuses = [(await self.ask(where, write_chat("hi"))).status for _ in range(2)]
        self.assertEqual(statuses, [200, 429])
        logged = log.read_text()
        for said, count in (("starting up", 2), (" serves 1 model", 2), ("this one ends", 1)):
            self.assertEqual(logged.count(said), count, logged)
        for line in logged.splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\S+ \[\S+\] ")
        self.assertNotIn("#error]", logged)
        await self.until(lambda: str(Path(f"{where}.lock").readlink()) == str(second))
        await self.end_daemon(file)
        self.assertFalse(Path(where).exists())

    async def end_daemon(self, file: Path) -> None:
        """End the daemon of a pid file, which goes with it.  Harmless when repeated."""
        if file.exists():
            os.kill(int(file.read_text()), signal.SIGTERM)
        await self.until(lambda: not file.exists())

    async def test_64(self) -> None:
        """With 64 clients none is refused, and none loses a request."""
        await self.check(64)

    async def test_400(self) -> None:
        """Nor with 400."""
        await self.check(400)


def _reads(pid: str, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""

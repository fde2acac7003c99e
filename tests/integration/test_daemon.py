"""A daemon: its pid file, its logs and their rotation, its rights, its end."""

from __future__ import annotations

import grp
import os
import signal
from functools import partial
from pathlib import Path

from tests.integration.servers import TOKEN, TWISTD, ServersTestCase, write_chat

CONFIG = """
    models: [{name: demo/echo, provider: demo}]
    server: {access_log: access.log, state: state}
    """


class DaemonTests(ServersTestCase):
    """With one process, and with workers."""

    def setUp(self) -> None:
        super().setUp()
        self.write(CONFIG)
        self.where = str(self.folder / "socket")
        self.pid_file = self.folder / "our.pid"
        self.log = self.folder / "our.log"

    async def start(self, *options: str, twistd: tuple[str, ...] = ()) -> int:
        """Start one; return its process."""
        command = [TWISTD, "--pidfile=our.pid", "--logfile=our.log", *twistd, "aiproxy"]
        starter = self.spawn([*command, "-l", "unix:socket", *options], {"AUTH_TOKEN": TOKEN})
        self.assertEqual(await starter.ended(), 0, starter.output)
        await self.until(lambda: self.log.exists() and " serves " in self.log.read_text())
        pid = int(self.pid_file.read_text())
        self.addCleanup(self.stop, pid)
        return pid

    async def stop(self, pid: int) -> None:
        """Stop it.  Harmless when repeated."""
        if Path(f"/proc/{pid}").exists():
            os.kill(pid, signal.SIGTERM)
            await self.until(lambda: not Path(f"/proc/{pid}").exists())

    def is_logged(self, text: str) -> bool:
        """Whether the log has it."""
        return text in self.log.read_text()

    async def ask_chat(self) -> int:
        """Ask the demo; return the status."""
        return (await self.ask(self.where, write_chat("hi"))).status

    async def check_life(self, *options: str) -> None:
        """Start it, ask, rotate its logs, ask again, and stop it."""
        pid = await self.start(*options, twistd=("--umask=027",))
        access, moved = self.folder / "access.log", self.folder / "access.log.old"
        self.assertEqual(await self.ask_chat(), 200)
        await self.until(lambda: access.read_text().count("\n") == 1)
        self.assertEqual(access.stat().st_mode & 0o777, 0o640)
        access.rename(moved)
        os.kill(pid, signal.SIGUSR1)
        await self.until(access.exists)
        await self.until(lambda: (self.folder / "our.log.1").exists())
        self.assertEqual(await self.ask_chat(), 200)
        await self.stop(pid)
        self.assertEqual(access.read_text().count("\n"), 1)
        self.assertEqual(moved.read_text().count("\n"), 1)
        self.assertFalse(self.pid_file.exists())
        self.assertFalse(Path(self.where).exists())
        logged = (self.folder / "our.log.1").read_text() + self.log.read_text()
        self.assertIn("Server Shut Down", logged)
        self.assertNotIn("Traceback", logged)
        self.assertNotIn(TOKEN, logged)

    async def test_life(self) -> None:
        """From its start to its end."""
        await self.check_life()

    async def test_workers(self) -> None:
        """So it is with workers."""
        await self.check_life("-w", "2")

    async def test_refused(self) -> None:
        """One that cannot start says why, leaves no pid file, and nobody waits for it."""
        (self.folder / "state").write_text("no folder")
        command = [TWISTD, "--pidfile=our.pid", "--logfile=our.log", "aiproxy"]
        for options, why in (
            (["-l", "unix:no/folder"], "cannot listen on unix:no/folder"),
            (["-l", "unix:no/folder", "-w", "1"], "cannot listen on unix:no/folder"),
            (["-a", "127.0.0.1:0"], "server.state"),
            (["-a", "127.0.0.1:0", "-w", "1"], "server.state"),
        ):
            self.log.unlink(missing_ok=True)
            starter = self.spawn([*command, *options], {"AUTH_TOKEN": TOKEN})
            self.assertEqual(await starter.ended(), 1)
            self.assertIn(why, starter.output)
            await self.until(partial(self.is_logged, why))
            self.assertFalse(self.pid_file.exists())

    async def test_rights(self) -> None:
        """It gives up its group's rights, so have the workers; what they write is of that group."""
        # Not the user's: another one may not be allowed to run our Python.
        group = grp.getgrnam("nogroup").gr_gid if os.getuid() == 0 else os.getgid()
        pid = await self.start("-w", "2", twistd=(f"--gid={group}",))
        self.assertEqual(await self.ask_chat(), 200)
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self.assertEqual(len(workers), 2)
        for one in (str(pid), *workers):
            status = Path(f"/proc/{one}/status").read_text()
            [groups] = [line for line in status.splitlines() if line.startswith("Gid:")]
            self.assertEqual(set(groups.split()[1:]), {str(group)})
        for name in ("state", "access.log"):
            self.assertEqual((self.folder / name).stat().st_gid, group)

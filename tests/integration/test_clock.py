"""A machine whose time of day is set while calls run."""

from __future__ import annotations

from tests.integration.servers import ServersTestCase, write_chat

WORDS = "one two three four five six seven eight nine ten " * 5
#: Python reads it at its start: the time of day is an hour later once the file is there.
_SITE = """
import os
import time

now = time.time
time.time = lambda: now() + 3600 * os.path.exists({path!r})
"""


class ClockTests(ServersTestCase):
    """The time of day is set forward, by more than a call may take."""

    async def check_step(self, *options: str) -> None:
        """A stream that runs ends whole."""
        step = self.folder / "step"
        self.write(_SITE.format(path=str(step)), "sitecustomize.py")
        server = await self.serve(*options, env={"PYTHONPATH": str(self.folder)})
        stream = await self.connect(server.port, write_chat(WORDS, stream=True))
        await stream.until_bytes(b"two ")
        self.assertNotIn(b"[DONE]", stream.received)
        step.touch()
        self.assertIn(b"data: [DONE]", await stream.end())

    async def test_step(self) -> None:
        """With one process."""
        await self.check_step()

    async def test_workers(self) -> None:
        """With workers."""
        await self.check_step("-w", "1")

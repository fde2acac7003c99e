"""What systemd is told."""

from __future__ import annotations

import socket
from pathlib import Path
from tempfile import TemporaryDirectory

from twisted.trial.unittest import SynchronousTestCase

from aiproxy.notify import notify


class NotifyTests(SynchronousTestCase):
    """Over a datagram socket."""

    def test_told(self) -> None:
        """It arrives, at a path as at an abstract name."""
        with (
            TemporaryDirectory() as folder,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as at_path,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract,
        ):
            path = str(Path(folder, "s"))
            at_path.bind(path)
            abstract.bind(f"\0{path}")
            for receiver, name in ((at_path, path), (abstract, f"@{path}")):
                notify("READY=1", {"NOTIFY_SOCKET": name})
                self.assertEqual(receiver.recv(100), b"READY=1")

    def test_nobody(self) -> None:
        """Without systemd, and where nobody listens, nothing is said, and nothing fails."""
        for environment in ({}, {"NOTIFY_SOCKET": "vsock:2"}, {"NOTIFY_SOCKET": "/nowhere/s"}):
            notify("READY=1", environment)

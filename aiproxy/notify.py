"""
What systemd wants to know of a service of ``Type=notify``.

The protocol is in sd_notify(3): datagrams to the socket that
``$NOTIFY_SOCKET`` names.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress

__all__ = ["notify"]


def notify(state: str, environment: Mapping[str, str] = os.environ) -> None:
    """
    Tell a state, such as ``READY=1``; without systemd nothing happens.

    Its other end is always read; what cannot be told is not told.
    """
    name = environment.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return
    address = "\0" + name[1:] if name.startswith("@") else name
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.connect(address)
        sender.send(state.encode("utf-8"))

"""What people use at a terminal: a chat, the models, a probe of every upstream, a load test."""

from __future__ import annotations

from typing import Final

__all__ = ["INTERRUPTED"]

#: The exit status after Ctrl-C, as shells say it of a process that SIGINT ended.
INTERRUPTED: Final = 130

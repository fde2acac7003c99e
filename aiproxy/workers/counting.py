"""What the workers count together, and who keeps it over a restart."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from aiproxy.config.sections import Server
from aiproxy.policy.limit_book import LimitBook
from aiproxy.policy.shared_counts import OtherLayout, SharedCounts
from aiproxy.proxy import in_thread
from aiproxy.transport.state import StateStore

__all__ = ["CountKeeper"]


class CountKeeper:
    """
    Owns the memory in which workers count, and ``server.state``.

    :param handed: the descriptor of a memory that was handed to this process.
    """

    def __init__(self, server: Server, reactor: Any, handed: int | None = None) -> None:
        self.counts: SharedCounts
        self._folder = server.state
        self._reactor = reactor
        self._handed = handed
        self._has_counts = False
        self._state: StateStore | None = None

    def open(self) -> None:
        """Take the memory; it is empty if there is none yet."""
        if self._handed is not None:
            try:
                self.counts = SharedCounts.attach(self._handed, 0)
                self._has_counts = True
                return
            except OtherLayout:
                # Hours and days come from the state; minutes begin anew.
                os.close(self._handed)
        self.counts = SharedCounts.create()

    def open_state(self) -> None:
        """
        Keep the counts of hours and days, if that is wanted.

        :raises ConfigurationError: the folder cannot be used.
        """
        if self._folder is None:
            return
        book = LimitBook(self.counts)
        state = StateStore(
            Path(self._folder),
            book,
            self._reactor,
            time.time,
            in_thread(self._reactor),
            has_counts=self._has_counts,
        )
        state.open()
        state.start()
        self._state = state

    @property
    def is_kept(self) -> bool:
        """Whether hours and days are kept, so that :meth:`cover` has to be asked."""
        return self._folder is not None

    async def cover(self, key: tuple[str, ...]) -> None:
        """Make sure that what a worker has admitted is not forgotten."""
        if self._state is not None:
            covering = self._state.cover(key)
            if covering is not None:
                await covering

    def free_place(self, place: int) -> None:
        """A worker is gone: what it held is free."""
        self.counts.free_place(place)

    async def close_state(self) -> None:
        """Store the exact counts, and leave the folder to others."""
        state, self._state = self._state, None
        if state is not None:
            await state.close()

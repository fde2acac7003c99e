"""The numbers of all workers, with those of workers that are gone: a count never falls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiproxy.gateway.metric_families import BY_NAME
from aiproxy.gateway.metrics import Dump, merge

__all__ = ["Tally"]


class Tally:
    """
    Keeps the latest numbers of each worker.

    What a worker has counted after its last dump is lost if it is killed.
    """

    def __init__(self) -> None:
        self._gone: Dump = {}
        self._latest: dict[int, Mapping[str, Any]] = {}

    def note(self, place: int, dump: Mapping[str, Any]) -> None:
        """A worker has told its numbers."""
        self._latest[place] = dump

    def leave(self, place: int) -> None:
        """A worker is gone: what it has counted stays, what it had is over."""
        dump = self._latest.pop(place, {})
        counts = {
            name: samples
            for name, samples in dump.items()
            if name in BY_NAME and BY_NAME[name].kind != "gauge"
        }
        self._gone = merge([self._gone, counts])

    def read(self) -> Dump:
        """Return all of it, put together."""
        return merge([self._gone, *self._latest.values()])

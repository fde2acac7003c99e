"""The owner of every limit's state: it outlives what is configured."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final, NamedTuple

from attrs import astuple

from aiproxy.config.schema import Limits
from aiproxy.policy.limits import SAVED, Admission
from aiproxy.policy.pacing import MAX_WAIT
from aiproxy.policy.shared_admission import SharedAdmission, is_idle
from aiproxy.policy.shared_counts import SharedCounts

__all__ = ["LimitBook", "SavedCount"]

#: Seconds between two sweeps of a full book.
_SWEEP_INTERVAL: Final = 60.0


class SavedCount(NamedTuple):
    """
    How many requests began in one sub-window.

    :param key: whose: a key of the :class:`LimitBook`.
    :param limit: ``requests_per_hour`` or ``requests_per_day``.
    :param start: when the sub-window began, in seconds since the epoch.
    """

    key: tuple[str, ...]
    limit: str
    start: int
    requests: int


class LimitBook:
    """
    Every admission, by key.

    :param counts: where they count together with other processes.
    :param capacity: how many there are at most.  Beyond it (a wildcard serves
        as many models as callers think up) those without one of their own share
        one, by their limits: that may hold back too much, not too little.
    """

    def __init__(self, counts: SharedCounts | None = None, capacity: int = 10_000) -> None:
        self._counts = counts
        self._capacity = capacity
        self._admissions: dict[tuple[str, ...], Admission] = {}
        self._swept = -math.inf
        self._claims_seen = 0

    @property
    def is_shared(self) -> bool:
        """Whether others take from it and give back to it, and nobody says so."""
        return self._counts is not None

    def __len__(self) -> int:
        return len(self._admissions)

    def find(
        self,
        key: tuple[str, ...],
        limits: Limits,
        now: float,
        wall: float,
        *,
        min_interval: float = 0.0,
        max_wait: float = MAX_WAIT,
    ) -> Admission:
        """
        Return the admission of ``key``, under the limits that are given now.

        Don't keep it over a wait: one that is idle may be swept, and admit
        beside the next one.

        :param key: of texts that may be stored, such as :func:`limit_key`.
        :param now: of the monotonic clock.
        :param wall: seconds since the epoch.
        """
        admission = self._admissions.get(key)
        if admission is None:
            admission = self._add(key, limits, min_interval, now, wall)
        pace = admission.pace
        if (
            admission.limits is not limits
            or pace.interval != min_interval
            or pace.max_wait != max_wait
        ):
            admission.change(limits, min_interval, max_wait)
        return admission

    def sweep(self, now: float, wall: float) -> None:
        """Drop what is idle."""
        self._swept = now
        for key, admission in list(self._admissions.items()):
            if admission.is_idle(now, wall):
                del self._admissions[key]

    def snapshot(self, *, changed: bool = False) -> list[SavedCount]:
        """
        Return the counts of hours and days, as plain data.

        :param changed: only of those where something was taken since the last time.
        """
        saved = []
        if self._counts is not None:
            self._look_for_keys(self._counts)
        for key, admission in self._admissions.items():
            if admission.take_changed() or not changed:
                saved += [SavedCount(key, *count) for count in admission.saved_counts()]
        return saved

    def _look_for_keys(self, counts: SharedCounts) -> None:
        """Find the keys that others count, and let go of those that lie elsewhere by now."""
        claims = counts.claims
        if claims == self._claims_seen:
            return
        self._claims_seen = claims
        for key, admission in list(self._admissions.items()):
            if isinstance(admission, SharedAdmission) and admission.is_lost:
                del self._admissions[key]
        for key in counts.known_keys():
            if key not in self._admissions:
                self._admissions[key] = self._make(key) or Admission()

    def restore(self, saved: Iterable[SavedCount], wall: float) -> None:
        """
        Add the counts of a :meth:`snapshot`; those that are over count no more.

        Of more keys than there is room for the rest is lost: a snapshot of a
        book no larger than this has none.
        """
        for key, name, start, requests in saved:
            if name not in SAVED or requests <= 0:
                continue
            admission = self._admissions.get(key)
            if admission is None:
                if len(self._admissions) >= self._capacity:
                    continue
                admission = self._admissions[key] = self._make(key) or Admission()
            admission.restore(name, start, requests, wall)

    def _add(
        self, key: tuple[str, ...], limits: Limits, min_interval: float, now: float, wall: float
    ) -> Admission:
        shared = ("", *map(str, astuple(limits)), str(min_interval))

        def shares() -> bool:
            # As long as the shared one counts, it may count something of this key.
            return len(self._admissions) >= self._capacity or shared in self._admissions

        made = None
        if shares() and now - self._swept >= _SWEEP_INTERVAL:
            self.sweep(now, wall)
        if not shares():
            made = self._make(key)
            if made is None and now - self._swept >= _SWEEP_INTERVAL:
                self._swept = now
                self._sweep_counts(now, wall)
                made = self._make(key)
        if made is None:
            key = shared
            made = self._admissions.get(key) or self._make(key, reserved=True) or Admission()
        made.change(limits)
        return self._admissions.setdefault(key, made)

    def _make(self, key: tuple[str, ...], *, reserved: bool = False) -> Admission | None:
        """Make an admission; ``None``: others have all the room."""
        if self._counts is None:
            return Admission()
        slot = self._counts.claim(key, reserved=reserved)
        return None if slot is None else SharedAdmission(self._counts, key, slot)

    def _sweep_counts(self, now: float, wall: float) -> None:
        assert self._counts is not None
        self._counts.sweep(lambda slot: is_idle(slot, now, wall))

"""
What several processes count together: one memory, and a lock for each key in it.

The memory is a file without a name, which a process hands to others as a
descriptor.  It is a table of slots, one for each key, found by the key's hash.
A lock is the kernel's, of a slot's bytes (fcntl(2)): it ends with its holder,
so nobody waits for who has died.

====== =================================================================
bytes  of a slot
====== =================================================================
16     the key's hash; zeros: never used, ones: used before and free now
8      of the key's text, how many bytes; 0: it is too long to be kept
8      whether counts that survive a restart have changed
8      when the last paced request goes, on the monotonic clock
984    the key's text, a JSON array
2048   four windows, see :mod:`aiproxy.policy.windows`
256    leases that are not released, of each place
====== =================================================================
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from attrs import define

from aiproxy.policy.windows import WINDOW_BYTES

__all__ = ["OtherLayout", "SharedCounts", "Slot"]

Key = tuple[str, ...]

#: Processes that may count at the same time; the first place is for who has made the memory.
_PLACES: Final = 64

_MAGIC: Final = b"aiproxy counts 2"
_HEADER_BYTES: Final = 4096
_COUNT: Final = 32
_HASH_BYTES: Final = 16
_LENGTH, _CHANGED, _PACED = 2, 3, 4  # in words of 8 bytes
_TEXT: Final = 40
_WINDOWS: Final = 1024
_IN_FLIGHT: Final = _WINDOWS + 4 * WINDOW_BYTES
_SLOT_BYTES: Final = 3584

_NEVER: Final = bytes(_HASH_BYTES)
_FREE: Final = b"\xff" * _HASH_BYTES


class OtherLayout(Exception):
    """The memory is of another version."""


@define(eq=False)
class Slot:
    """
    One key's part of the memory.

    :param hash: of the key.
    :param memory: all of the slot.
    :param words: the same, as whole numbers of 64 bits.
    :param paced: when the last paced request goes: one float.
    :param windows: :data:`~aiproxy.policy.limits.ADMISSION_BYTES`.
    :param in_flight: a whole number of 32 bits for each place.
    """

    hash: bytes
    offset: int
    memory: memoryview
    words: memoryview
    paced: memoryview[float]
    windows: memoryview
    in_flight: memoryview

    @property
    def is_ours(self) -> bool:
        """Whether it is still the key's; ask under the lock."""
        return self.memory[:_HASH_BYTES] == self.hash

    @property
    def changed(self) -> bool:
        """Whether counts that survive a restart have changed since this was last set to false."""
        return bool(self.words[_CHANGED])

    @changed.setter
    def changed(self, changed: bool) -> None:
        self.words[_CHANGED] = changed


class SharedCounts:
    """
    See the module.  Make one by :meth:`create` or :meth:`attach`.

    :ivar fd: the descriptor, which other processes are given.
    :ivar place: this process's.
    """

    def __init__(self, fd: int, place: int, capacity: int) -> None:
        self.fd = fd
        self.place = place
        self._capacity = capacity
        self._slots = _slot_count(capacity)
        self._map = mmap.mmap(fd, _HEADER_BYTES + self._slots * _SLOT_BYTES)
        self._memory = memoryview(self._map)
        #: How many slots are used, and how many were ever claimed.
        self._count = self._memory[_COUNT : _COUNT + 16].cast("q")

    @classmethod
    def create(cls, capacity: int = 10_000) -> SharedCounts:
        """
        Make an empty memory, at place 0; it takes what is used of it.

        :param capacity: keys that it has room for.
        """
        fd = os.memfd_create("aiproxy counts", os.MFD_CLOEXEC)
        os.truncate(fd, _HEADER_BYTES + _slot_count(capacity) * _SLOT_BYTES)
        os.pwrite(fd, _MAGIC + capacity.to_bytes(8, "little"), 0)
        return cls(fd, 0, capacity)

    @classmethod
    def attach(cls, fd: int, place: int) -> SharedCounts:
        """
        Use the memory that somebody else has made.

        :param place: from 1 to 63, nobody else's as long as this process lives;
            or 0 for who takes over from the one that has made it.
        :raises OtherLayout: it is of another version.
        """
        header = os.pread(fd, len(_MAGIC) + 8, 0)
        if not header.startswith(_MAGIC):
            raise OtherLayout("the counts in memory are of another version")
        return cls(fd, place, int.from_bytes(header[len(_MAGIC) :], "little"))

    def claim(self, key: Key, *, reserved: bool = False) -> Slot | None:
        """
        Return the slot of a key, the same for all processes.

        :param reserved: of the few that have room beyond the capacity.
        :return: ``None``: there is no room.
        """
        text = json.dumps(key).encode("ascii")
        digest = hashlib.sha256(text).digest()[:_HASH_BYTES]
        with self._lock(0, _HEADER_BYTES):
            free = None
            for number in self._probe(digest):
                found = self._hash(number)
                if found == digest:
                    return self._slot(number, digest)
                if found in (_FREE, _NEVER) and free is None:
                    free = number
                if found == _NEVER:
                    break
            used = self._count[0]
            if free is None or not (reserved or used < self._capacity):
                return None
            self._count[0] = used + 1
            self._count[1] += 1
            slot = self._slot(free, digest)
            with self.lock(slot):
                slot.memory[:] = bytes(_SLOT_BYTES)
                if len(text) <= _WINDOWS - _TEXT:
                    slot.memory[_TEXT : _TEXT + len(text)] = text
                    slot.words[_LENGTH] = len(text)
                slot.memory[:_HASH_BYTES] = digest
            return slot

    def hold(self, slot: Slot) -> None:
        """Keep all others out of a slot, until :meth:`let_go`.  Not while it is held."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX, _SLOT_BYTES, slot.offset)

    def let_go(self, slot: Slot) -> None:
        """Let others in again."""
        fcntl.lockf(self.fd, fcntl.LOCK_UN, _SLOT_BYTES, slot.offset)

    @contextmanager
    def lock(self, slot: Slot) -> Iterator[None]:
        """Hold a slot for a block."""
        self.hold(slot)
        try:
            yield
        finally:
            self.let_go(slot)

    @property
    def claims(self) -> int:
        """How many slots were claimed so far: as long as it stays, so do the known keys."""
        return int(self._count[1])

    def known_keys(self) -> list[Key]:
        """Return the keys that have a slot, but for those whose text is too long."""
        with self._lock(0, _HEADER_BYTES):
            slots = [self._slot(number, found) for number, found in self._used()]
            texts = [
                bytes(slot.memory[_TEXT : _TEXT + slot.words[_LENGTH]])
                for slot in slots
                if slot.words[_LENGTH]
            ]
        return [tuple(json.loads(text)) for text in texts]

    def sweep(self, is_idle: Callable[[Slot], bool]) -> None:
        """
        Give back the slots of keys that need none.

        :param is_idle: says so; the slot's lock is held.
        """
        with self._lock(0, _HEADER_BYTES):
            for number, found in self._used():
                slot = self._slot(number, found)
                with self.lock(slot):
                    if is_idle(slot):
                        slot.memory[:_HASH_BYTES] = _FREE
                        self._count[0] -= 1

    def free_place(self, place: int) -> None:
        """Release the leases of a process that has ended."""
        for number, found in self._used():
            slot = self._slot(number, found)
            if slot.in_flight[place]:
                with self.lock(slot):
                    if slot.is_ours:
                        slot.in_flight[place] = 0

    # --- the table ---------------------------------------------------------------------

    @contextmanager
    def _lock(self, start: int, length: int) -> Iterator[None]:
        fcntl.lockf(self.fd, fcntl.LOCK_EX, length, start)
        try:
            yield
        finally:
            fcntl.lockf(self.fd, fcntl.LOCK_UN, length, start)

    def _probe(self, digest: bytes) -> Iterator[int]:
        """Yield the slots where a key may be, in order."""
        first = int.from_bytes(digest[:8], "little")
        return ((first + step) % self._slots for step in range(self._slots))

    def _hash(self, number: int) -> bytes:
        offset = _HEADER_BYTES + number * _SLOT_BYTES
        return bytes(self._memory[offset : offset + _HASH_BYTES])

    def _used(self) -> Iterator[tuple[int, bytes]]:
        for number in range(self._slots):
            found = self._hash(number)
            if found not in (_NEVER, _FREE):
                yield number, found

    def _slot(self, number: int, digest: bytes) -> Slot:
        offset = _HEADER_BYTES + number * _SLOT_BYTES
        memory = self._memory[offset : offset + _SLOT_BYTES]
        return Slot(
            digest,
            offset,
            memory,
            memory[:_WINDOWS].cast("q"),
            memory[8 * _PACED : 8 * _PACED + 8].cast("d"),
            memory[_WINDOWS:_IN_FLIGHT],
            memory[_IN_FLIGHT : _IN_FLIGHT + 4 * _PLACES].cast("i"),
        )


def _slot_count(capacity: int) -> int:
    """Return how many slots there are: a quarter more than keys, or looking for one takes long."""
    return capacity + capacity // 4 + 16

"""What a reader of a stream is told of its attempts and waits, as comments (``server.explain``)."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime

__all__ = ["Notes"]

#: Seconds; who has waited no longer has not waited.
_SHORT: Final = 0.05


class Notes:
    """
    One call's.

    :param wanted: they are told to somebody; else nothing is kept.
    """

    __slots__ = ("_clock", "_noted", "_texts", "_wanted")

    def __init__(self, clock: IReactorTime, *, wanted: bool) -> None:
        self._clock = clock
        self._wanted = wanted
        self._noted = clock.seconds() if wanted else 0.0
        self._texts: list[str] = []

    def add(self, what: str) -> None:
        """Note something."""
        if self._wanted:
            self._noted = self._clock.seconds()
            self._texts.append(what)

    def add_after_wait(self, what: str) -> None:
        """Note something, and how long the call has waited for it."""
        if self._wanted:
            waited = self._clock.seconds() - self._noted
            self.add(f"{what} after {waited:.1f} s" if waited >= _SHORT else what)

    def take(self) -> bytes:
        """Return what was noted since the last time, as comments of a stream."""
        if not self._texts:
            return b""
        texts, self._texts = self._texts, []
        # A name may be the caller's own, with line ends and halves of characters in it.
        lines = (" ".join(text.split()) for text in texts)
        return b"".join(f": aiproxy: {line}\n\n".encode("utf-8", "replace") for line in lines)

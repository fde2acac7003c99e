"""
Server-sent events: an incremental, bounded decoder, and the encoder.

The format is the WHATWG HTML standard's, 9.2.6 "Interpreting an event
stream".  Where providers differ from it, they are followed:

- a last event without its blank line is delivered, for some providers end so
  (the standard drops it); whether the stream was whole is not told by this
  layer but by what the events say;
- lines that are no field of the format are kept in :attr:`SSEDecoder.stray`
  (the standard drops them), for some providers send a bare JSON error in a
  body that is labelled ``text/event-stream``.

``id`` and ``retry`` serve reconnection, which no provider of ours offers:
they are read and dropped.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, NoReturn

from aiproxy.errors import AnswerTooLarge

__all__ = ["DONE", "STRAY_BYTES", "Event", "SSEDecoder", "write_comment", "write_event"]

#: What ends a stream of OpenAI's.
DONE: Final = b"data: [DONE]\n\n"

#: Of the text that is no event, this much is kept.
STRAY_BYTES: Final = 64 * 1024

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n|\r|\n")


class Event(NamedTuple):  # A frozen attrs class takes half as long again to make.
    """
    One event.

    ``data`` is as it came, lines joined by LF: bytes, for its reader decodes
    it anyway and knows what to do with broken UTF-8.  ``event`` is the name
    from the ``event:`` field, empty where there was none.
    """

    data: bytes
    event: str = ""


class SSEDecoder:
    """
    Turns the bytes of an event stream into events, the same for any split.

    Between calls it holds one unfinished event at most: no more bytes than
    *max_event_bytes*, however many lines or pieces they came in.

    :param max_event_bytes: the bound on one event: the lines of its fields,
        and any line by itself, without line ends.
    """

    __slots__ = (
        "_after_cr",
        "_data",
        "_dead",
        "_event",
        "_event_bytes",
        "_max_event_bytes",
        "_start",
        "_stray",
        "_tail",
    )

    def __init__(self, max_event_bytes: int) -> None:
        self._max_event_bytes = max_event_bytes
        self._stray = bytearray()
        self._start = True
        self._after_cr = False
        self._dead = False
        # The unfinished line; the fields so far of the unfinished event.
        self._tail = bytearray()
        self._data: bytes | bytearray | None = None
        self._event: bytes = b""
        self._event_bytes = 0

    @property
    def stray(self) -> bytes:
        """The first :data:`STRAY_BYTES` of the lines that were no fields, each with an LF."""
        return bytes(self._stray)

    @property
    def between_events(self) -> bool:
        """Whether what comes next begins a line, outside of any event."""
        return not (self._tail or self._event_bytes or self._after_cr or self._start)

    def feed(self, data: bytes) -> list[Event]:
        """
        Take the next bytes; return the events that they complete.

        :raises AnswerTooLarge: an event is longer than the bound; events before
            it in *data* are lost.  The decoder is of no use from then on: every
            later call raises the same.
        """
        if self._dead:
            self._die()
        if self._after_cr or b"\r" in data:
            data = self._with_lf(data)
        events: list[Event] = []
        if self._start:
            data = self._without_bom(data)
            if self._start:
                return events
        begin = 0
        # Finish, line by line, the event that earlier bytes began.
        while self._tail or self._event_bytes:
            end = data.find(b"\n", begin)
            if end < 0:
                self._keep(data[begin:])
                return events
            self._read_line(self._take_line(data[begin:end]), events)
            begin = end + 1
        if begin:
            data = data[begin:]
        # From here on data begins with a line, outside of any event.
        if len(data) > self._max_event_bytes:
            self._read_lines(data, events)
        else:
            self._read_events(data, events)
        return events

    def close(self) -> list[Event]:
        """
        The stream has ended: return the last event, if only its blank line was missing.

        :raises AnswerTooLarge: as :meth:`feed` did before.
        """
        if self._dead:
            self._die()
        events: list[Event] = []
        if self._tail:
            self._read_line(self._take_line(b""), events)
        self._dispatch(events)
        return events

    # --- bytes to lines ----------------------------------------------------------

    def _with_lf(self, data: bytes) -> bytes:
        """Make every line end an LF; a CR is one at once, an LF after it is part of it."""
        if not data:
            return data
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        self._after_cr = data.endswith(b"\r")
        lines = data.splitlines()
        if data.endswith((b"\n", b"\r")):
            lines.append(b"")
        return b"\n".join(lines)

    def _without_bom(self, data: bytes) -> bytes:
        """Drop a byte order mark at the start; wait while what came may be a piece of one."""
        data = bytes(self._tail) + data
        self._tail.clear()
        if data != _BOM and _BOM.startswith(data):
            self._tail += data
            return b""
        self._start = False
        return data.removeprefix(_BOM)

    def _keep(self, part: bytes) -> None:
        """Keep a part of a line until the rest comes."""
        self._check_size(len(self._tail) + len(part))
        self._tail += part

    def _take_line(self, rest: bytes) -> bytes:
        """Return the line that *rest* completes."""
        if not self._tail:
            return rest
        self._keep(rest)
        line = bytes(self._tail)
        self._tail = bytearray()
        return line

    def _check_size(self, line_bytes: int) -> None:
        if self._event_bytes + line_bytes > self._max_event_bytes:
            self._tail = bytearray()
            self._data = None
            self._dead = True
            self._die()

    def _die(self) -> NoReturn:
        raise AnswerTooLarge(f"one event is longer than {self._max_event_bytes} bytes")

    # --- lines to events ---------------------------------------------------------

    def _read_events(self, data: bytes, events: list[Event]) -> None:
        """Read what begins outside of any event and is shorter than the bound."""
        if data.startswith(b"data: ") and data.endswith(b"\n\n"):
            # Most packets: whole events of one line each, each with a blank one.
            lines = data.split(b"\n")
            payloads = [line[6:] for line in lines[:-1:2] if line.startswith(b"data: ")]
            if 2 * len(payloads) + 1 == len(lines) and not any(lines[1::2]):
                events += map(Event, payloads)
                return
        *blocks, rest = data.split(b"\n\n")
        for block in blocks:
            first, lf, second = block.partition(b"\n")
            if not lf and first.startswith(b"data: "):
                events.append(Event(first[6:]))
            elif (
                first.startswith(b"event: ")
                and second.startswith(b"data: ")
                and b"\n" not in second
            ):
                events.append(Event(second[6:], first[7:].decode("utf-8", "replace")))
            else:
                for line in block.split(b"\n"):
                    self._read_line(line, events)
                self._dispatch(events)
        if rest:
            self._read_lines(rest, events)

    def _read_lines(self, data: bytes, events: list[Event]) -> None:
        begin = 0
        while (end := data.find(b"\n", begin)) >= 0:
            self._read_line(data[begin:end], events)
            begin = end + 1
        self._keep(data[begin:])

    def _read_line(self, line: bytes, events: list[Event]) -> None:
        if not line:
            self._dispatch(events)
            return
        self._check_size(len(line))
        name, _, value = line.partition(b":")
        if value.startswith(b" "):
            value = value[1:]
        if name == b"data":
            self._event_bytes += len(line)
            if self._data is None:
                self._data = value
            else:
                if isinstance(self._data, bytes):
                    self._data = bytearray(self._data)
                self._data += b"\n"
                self._data += value
        elif name == b"event":
            self._event_bytes += len(line)
            self._event = value
        elif name not in (b"", b"id", b"retry"):  # Without a name it is a comment.
            self._stray += (line + b"\n")[: STRAY_BYTES - len(self._stray)]

    def _dispatch(self, events: list[Event]) -> None:
        """A blank line: the event is whole; one without data is none, by the standard."""
        if self._data is not None:
            events.append(Event(bytes(self._data), self._event.decode("utf-8", "replace")))
            self._data = None
        self._event = b""
        self._event_bytes = 0


def write_event(data: bytes) -> bytes:
    """Write one event; line ends in *data* (JSON has none) become several ``data:`` lines."""
    if b"\n" in data or b"\r" in data:
        data = b"\ndata: ".join(_LINE_END.split(data))
    return b"data: " + data + b"\n\n"


def write_comment(text: str) -> bytes:
    """Write a comment: clients ignore it, the ways between stay open."""
    lines = _LINE_END.split(text.encode("utf-8", "replace"))
    return b": " + b"\n: ".join(lines) + b"\n\n"

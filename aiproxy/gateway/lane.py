"""
The quick way for the steady state of a stream: text after text in one frame.

Most events of a stream differ from the one before only in their text.  From an
event that went the ordinary way, a template is made; as long as the events
that follow directly have its frame, they pass without being read, and what is
written is byte for byte what the ordinary way would have written: for what it
makes of such an event depends on nothing but the text, and changes nothing
but the count of what was said (:meth:`OpenAIStreamReader.follow`).  Whatever
differs goes the ordinary way, and the next event gives a new template.

Some tell their usage with each event.  It goes out at the end of the stream, if
at all, so that of all events that pass the last one's is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.shapes import ChatChunk
from aiproxy.gateway.lane_template import Template, learn
from aiproxy.gateway.takeover import Takeover
from aiproxy.wire.json import loads

__all__ = ["Lane"]

#: So many events of one packet are tried for a template.
_MOST_TRIES: Final = 6
#: After that many tries in vain, or more, as many packets go to the reader before the
#: next try, but no more than these.
_MOST_PAUSE: Final = 32
#: So few events behind those that have passed are read at once.
_FEW_EVENTS: Final = 3
#: A longer event is no template, and none is kept from the reader until it is whole.
_MOST_BYTES: Final = 16 * 1024


#: Writes chunks.
Take: TypeAlias = Callable[[list[ChatChunk]], bytes]


class Lane:
    """
    Feeds a reader, or passes it by.

    :param takeover: is told of what passes.
    """

    def __init__(
        self,
        reader: OpenAIStreamReader,
        takeover: Takeover | None,
    ) -> None:
        self._reader = reader
        self._takeover = takeover
        self._template: Template | None = None
        #: Part of an event that the reader has nothing of.
        self._tail = b""
        #: How many tries in a row were in vain; how many packets go to the reader before the next.
        self._vain = 0
        self._pause = 0

    def feed(self, data: bytes, take: Take) -> bytes:
        """
        Take some bytes of the upstream's body; give what goes to the client.

        :param take: writes what was read the ordinary way.
        """
        if b"\r" in data and data.count(b"\r") == data.count(b"\r\n"):
            data = data.replace(b"\r\n", b"\n")
        if self._tail:
            data, self._tail = self._tail + data, b""
        if self._pause:
            self._pause -= 1
            return self._read(data, take)
        if len(data) > self._reader.max_event_bytes:
            return self._read(data, take)
        written: list[bytes] = []
        bare = self._template is None
        tries = 0
        while True:
            before = len(data)
            data = self._pass(data, written)
            if not (data or self._vain):  # All has passed: mostly a packet is one event.
                return written[0] if len(written) == 1 else b"".join(written)
            end = data.find(b"\n\n") + 2
            if end < 2 or self._over or tries == _MOST_TRIES:
                break
            if len(data) < before and data.count(b"\n\n") <= _FEW_EVENTS:
                break  # The stream's end, mostly: a template would come too late.
            tries += 1
            written.append(self._learn(data[:end], take))
            data = data[end:]
        # After a pause the first template has to be tried, if only on the next packet.
        untried = bare and self._template is not None and not data
        if self._vain >= _MOST_TRIES and not untried:
            self._pause = min(self._vain, _MOST_PAUSE)
        if self._may_hold(data):
            self._tail = data
        elif data and not self._over:
            written.append(self._read(data, take))
        return b"".join(written)

    def close(self, take: Take) -> bytes:
        """No more bytes come: give what was held back to the reader."""
        data, self._tail = self._tail, b""
        return self._read(data, take) if data else b""

    def _pass(self, data: bytes, written: list[bytes]) -> bytes:
        """Let those events pass that have the template's frame; return what follows."""
        template = self._template
        passed = None if template is None else template.read(data)
        if template is None or passed is None:
            return data
        text, out, used, usage = passed
        self._vain = 0
        self._reader.follow(len(text))
        if usage:
            self._reader.recount(loads(usage))
        if self._takeover is not None:
            self._takeover.follow(template.say(text))
        written.append(out)
        return data[used:]

    def _may_hold(self, data: bytes) -> bool:
        """Whether the reader would make nothing of these bytes: they end within an event."""
        whole = b"\n\n" in data or b"\r" in data
        return not whole and len(data) <= _MOST_BYTES and self._reader.between_events

    def _learn(self, event: bytes, take: Take) -> bytes:
        """Let an event go the ordinary way, and try to make a template of it."""
        reader = self._reader
        whole = reader.between_events
        chunks = reader.feed(event)
        written = take(chunks)
        self._vain += 1
        self._template = None
        if (
            whole
            and len(event) <= _MOST_BYTES
            and len(chunks) == 1
            and not self._over
            and reader.follow(0)
        ):
            self._template = learn(event, written, chunks[0], reader)
        return written

    def _read(self, data: bytes, take: Take) -> bytes:
        self._template = None
        return take(self._reader.feed(data))

    @property
    def _over(self) -> bool:
        takeover = self._takeover
        return self._reader.ended or (takeover is not None and takeover.failed is not None)

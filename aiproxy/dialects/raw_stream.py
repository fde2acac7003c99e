"""
A stream on its way from a provider to a client of the same dialect.

Its bytes are not changed.  Events go one by one, each as soon as it is whole,
so that an error of ours never lands inside of one; what is no event stream
goes as it comes.  A tap looks on and knows how it ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import holds_error, read_facts
from aiproxy.dialects.raw_taps import Tap
from aiproxy.dialects.raw_usage import find_raw_usage
from aiproxy.dialects.shapes import ChatChunk, Usage
from aiproxy.errors import AIProxyError, AnswerTooLarge, StreamCut, UpstreamFailed
from aiproxy.wire.json import JSONError, loads
from aiproxy.wire.sse import Event, SSEDecoder

__all__ = ["RawStreamReader", "check_whole"]

#: Two line ends; a CR before an LF is one with it.
_BLANK_LINE: Final = re.compile(rb"(?:\r\n|\r(?!\n)|\n){2}")
_SPACE: Final = b" \t\r\n\xef\xbb\xbf"
#: How an event stream begins.
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:", b":")
#: No field's name is longer, with its colon.
_MOST_BEGUN: Final = max(map(len, _FIELDS))
_EMPTY: Final = "the upstream's stream ended before any content"
_HTML: Final = (b"<!doctype html", b"<html")


def check_whole(body: bytes, tap: Tap) -> Usage | None:
    """
    Look at a whole answer; return what it tells of its usage.

    :raises UpstreamError: it is an error inside a 200, or no answer at all.
    """
    if tap.only_bytes and body:
        return None
    try:
        document = loads(body)
    except JSONError:
        start = body[:512].lstrip(_SPACE).lower()
        if tap.takes_bytes and start and not start.startswith(_HTML):
            return None
        if not start:
            raise UpstreamFailed("the upstream's answer is empty") from None
        raise judge(None, read_facts(body)) from None
    if holds_error(document):
        raise judge(None, read_facts(document))
    if tap.is_object and not (document and isinstance(document, dict)):
        raise UpstreamFailed("the upstream's answer is empty")
    return find_raw_usage(document) if isinstance(document, dict) else None


class RawStreamReader:
    """
    See :class:`aiproxy.dialects.dialect.StreamReader`.

    A chunk has ``raw``, the bytes, and ``events``, whether they are an event.
    """

    def __init__(self, tap: Tap, *, max_event_bytes: int) -> None:
        self.ended = False
        self.error: AIProxyError | None = None
        self.said = False
        self.skipped = 0
        self.usage: Usage | None = None
        self._tap = tap
        self._max_event_bytes = max_event_bytes
        self._decoder = SSEDecoder(max_event_bytes)
        self._held = bytearray()
        #: No other line end has come.
        self._only_lf = True
        #: Of what is held, this much has no blank line in it.
        self._searched = 0
        self._feed = self._feed_bytes if tap.only_bytes else self._feed_unknown

    @property
    def finished(self) -> bool:
        """Only what nobody needs may follow."""
        return self._tap.finished

    @property
    def characters(self) -> int:
        """What was said so far, as far as it is text."""
        return self._tap.characters

    @property
    def tool_call_open(self) -> bool:
        """The arguments of a call are on their way."""
        return self._tap.tool_call_open

    def feed(self, data: bytes) -> list[ChatChunk]:
        """Take some bytes; give what can go on."""
        chunks = self._feed(data) if data and not self.ended else []
        self.said, self.usage = self._tap.said, self._tap.usage
        return chunks

    def close(self) -> list[ChatChunk]:
        """No more bytes come."""
        chunks = self._close() if not self.ended else []
        self.said, self.usage = self._tap.said, self._tap.usage
        return chunks

    def cut(self) -> None:
        """The body has broken off, which its bytes alone cannot tell."""
        if not self.ended and not self._tap.finished:
            self._fail(StreamCut("the upstream's answer was cut before its end"))

    def _close(self) -> list[ChatChunk]:
        if self._feed == self._feed_events:
            return self._close_events()
        if self._feed == self._feed_bytes and self.said:
            self.ended = True
            return []
        body = bytes(self._held)
        try:
            self._tap.usage = check_whole(body, self._tap)
        except AIProxyError as error:
            self._fail(error)
            return []
        self.ended = self._tap.said = True
        return _give(body, events=False)

    # --- what it is ---------------------------------------------------------------

    def _feed_unknown(self, data: bytes) -> list[ChatChunk]:
        """Find out by its beginning what the body is."""
        # What is held so far is nothing but blanks, and a field that may yet begin.
        begun = bytes(self._held[-_MOST_BEGUN:]) + data
        self._held += data
        start = begun.lstrip(_SPACE)[:8]
        if start.startswith(_FIELDS):
            self._feed = self._feed_events
        elif start and not any(field.startswith(start) for field in _FIELDS):
            holds = start[:1] in b"{[<" or not self._tap.takes_bytes
            self._feed = self._feed_whole if holds else self._feed_bytes
        else:
            self._check_held()
            return []
        data = bytes(self._held)
        self._held.clear()
        return self._feed(data)

    def _feed_whole(self, data: bytes) -> list[ChatChunk]:
        """Hold a body that is no events, for it may be an error: JSON, or a page."""
        self._held += data
        self._check_held()
        return []

    def _check_held(self) -> None:
        if len(self._held) > self._max_event_bytes:
            self._fail(
                AnswerTooLarge(f"more than {self._max_event_bytes} bytes would have to be held")
            )

    def _feed_bytes(self, data: bytes) -> list[ChatChunk]:
        self._tap.said = True
        return _give(data, events=False)

    # --- events ---------------------------------------------------------------------

    def _feed_events(self, data: bytes) -> list[ChatChunk]:
        self._held += data
        self._only_lf = self._only_lf and b"\r" not in data
        chunks: list[ChatChunk] = []
        try:
            for block in self._blocks():
                if self._read_block(block, self._decoder.feed(block)):
                    chunks += _give(block, events=True)
                if self.ended:
                    return chunks
        except AIProxyError as error:
            self._fail(error)
            return chunks
        self._check_held()
        return chunks

    def _blocks(self) -> Iterator[bytes]:
        """Take the whole events out of what is held, blank lines included."""
        begin = 0
        search_from = max(0, self._searched - 4)
        while end := self._find_end(search_from):
            yield bytes(self._held[begin:end])
            begin = search_from = end
        del self._held[:begin]
        self._searched = len(self._held)

    def _find_end(self, begin: int) -> int:
        """Find where the next blank line ends; 0 if there is none."""
        if self._only_lf:
            place = self._held.find(b"\n\n", begin)
            return place + 2 if place >= 0 else 0
        found = _BLANK_LINE.search(self._held, begin)
        return found.end() if found else 0

    def _read_block(self, block: bytes, events: list[Event]) -> bool:
        """Note what a block says; whether it goes on to the client."""
        for event in events:
            if event.data.startswith(b"[DONE]"):
                if not (self._tap.said or self._tap.complete):
                    self._fail(UpstreamFailed(_EMPTY))
                    return False
                self.ended = True
                return True
            try:
                document = loads(event.data)
            except JSONError:
                document = None
            if event.event == "error" or holds_error(document):
                if isinstance(document, dict):
                    self._tap.usage = find_raw_usage(document) or self._tap.usage
                self._fail(judge(None, read_facts(document or event.data)))
                return False
            if isinstance(document, dict):
                self._note(document)
                if self.error is not None:
                    return False
            elif event.data.strip():
                self._pass_over(event.data)
                return False
        return True

    def _note(self, document: dict[str, Any]) -> None:
        self._tap.note(document)
        if self._tap.error is not None:
            self._fail(self._tap.error)
        elif self._tap.ended:
            self.ended = True

    def _pass_over(self, data: bytes) -> None:
        """Leave out what cannot be decoded; where something may be lost the stream is cut."""
        if not self.finished and (b"delta" in data or b'"choices"' in data or self.tool_call_open):
            self._fail(StreamCut("the upstream sent an event that cannot be decoded"))
        else:
            self.skipped += 1

    def _close_events(self) -> list[ChatChunk]:
        rest = bytes(self._held)
        goes_on = False
        try:
            events = [*self._decoder.feed(rest), *self._decoder.close()]
            # Half an event is none; but some leave out the last blank line.
            goes_on = bool(events) and self._read_block(rest, events)
        except AIProxyError as error:
            self._fail(error)
        if self.error is None and not self.ended:
            if self._tap.complete:
                self.ended = True
            elif self._tap.said:
                self._fail(StreamCut("the upstream's stream was cut before its end"))
            else:
                self._fail(UpstreamFailed(_EMPTY))
        return _give(rest, events=True) if goes_on and self.error is None else []

    def _fail(self, error: AIProxyError) -> None:
        self.ended = True
        if self.error is None:
            self.error = error
        self._held.clear()


def _give(data: bytes, *, events: bool) -> list[ChatChunk]:
    return [{"raw": data, "events": events}]

"""
A look at an answer of an OpenAI-compatible server while it comes: is it good, and how fast was it?

No sockets and no clock: who feeds it says when bytes came.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import frozen

from aiproxy.dialects.openai_facts import holds_error, read_facts
from aiproxy.errors import AIProxyError, AnswerTooLarge
from aiproxy.terminal.chat_stream import printable
from aiproxy.wire.json import JSONError, loads
from aiproxy.wire.sse import SSEDecoder

__all__ = ["Answer", "Failed", "StreamCheck", "WholeCheck", "read_reason"]

_MOST_BYTES: Final = 16 * 1024 * 1024
_MOST_WORDS: Final = 300
#: Where a token is in a delta or a message; reasoning's names are DeepSeek's and OpenRouter's.
_TOKENS: Final = ("content", "reasoning_content", "reasoning", "tool_calls", "refusal")


@frozen
class Answer:
    """
    A good answer.  Times are seconds.

    :param total: from when its request was due to its end.
    :param first: to its first token, whatever it is of: text, reasoning, a tool
        call; ``None`` for one that came as a whole.
    :param gap: the longest between two events; ``None`` where there were no two.
    :param tokens: of the completion, where the usage was told.
    """

    total: float
    first: float | None = None
    gap: float | None = None
    tokens: int | None = None


@frozen
class Failed:
    """
    What is wrong with an answer.

    :param kind: its status and code, as far as there are any.
    :param words: what was said.
    """

    kind: str
    words: str


class WholeCheck:
    """An answer that comes as a whole, or any that is not a 200."""

    first: float | None = None
    gap: float | None = None

    def __init__(self, status: int) -> None:
        self.tokens: int | None = None
        self._status = status
        self._body = bytearray()

    def feed(self, data: bytes, now: float) -> None:
        """Take some bytes of it."""
        self._body += data
        if len(self._body) > _MOST_BYTES:
            raise AnswerTooLarge("the answer is too long")

    def judge(self) -> Failed | None:
        """Say what is wrong with it, now that it has ended."""
        body = bytes(self._body)
        if self._status != 200:
            return _read_error(self._status, body)
        try:
            document = loads(body)
        except JSONError:
            return Failed("200 not_json", "the answer is not JSON")
        if holds_error(document):
            return _read_error(200, document)
        self.tokens = _read_tokens(document)
        if _holds_token(document, "message"):
            return None
        return Failed("200 empty", "the answer holds nothing")


class StreamCheck:
    """
    An answer that comes in events.

    :ivar first: when its first token came.
    :ivar gap: see :class:`Answer`; events of one packet have come at once.
    """

    def __init__(self) -> None:
        self.first: float | None = None
        self.gap: float | None = None
        self.tokens: int | None = None
        self._decoder = SSEDecoder(_MOST_BYTES)
        self._latest: float | None = None
        self._failed: Failed | None = None
        self._done = False

    def feed(self, data: bytes, now: float) -> None:
        """Take some bytes of it, which came at a time."""
        events = self._decoder.feed(data)
        if not events:
            return
        if self._latest is not None:
            self.gap = max(self.gap or 0.0, now - self._latest)
        self._latest = now
        for event in events:
            self._read(event.data, now)

    def judge(self) -> Failed | None:
        """Say what is wrong with it, now that it has ended."""
        for event in self._decoder.close():
            self._read(event.data, self._latest or 0.0)
        if self._failed is not None:
            return self._failed
        if self._latest is None and not self._done:
            return Failed("200 no_event", "the answer is not an event stream, or an empty one")
        if not self._done:
            return Failed("200 no_done", "the stream has ended without [DONE]")
        if self.first is None:
            return Failed("200 empty", "the stream holds nothing")
        return None

    def _read(self, data: bytes, now: float) -> None:
        if data == b"[DONE]":
            self._done = True
            return
        try:
            document = loads(data)
        except JSONError:
            self._failed = self._failed or Failed("200 not_json", "an event is not JSON")
            return
        if holds_error(document):
            self._failed = self._failed or _read_error(200, document)
        elif self.first is None and _holds_token(document, "delta"):
            self.first = now
        self.tokens = _read_tokens(document) or self.tokens


def read_reason(status: int, reason: BaseException | None) -> Failed:
    """
    Tell of a request without an answer, or without all of it.

    :param status: of the answer; 0 where there is none.
    """
    if not isinstance(reason, AIProxyError):
        return Failed("internal_error", repr(reason))
    return Failed(f"{status or ''} {reason.code}".strip(), reason.message)


def _read_error(status: int, error: Any) -> Failed:
    """Read an error's code and words."""
    facts = read_facts(error)
    code = "" if facts.code is None else printable(str(facts.code))
    kind = str(status) if code in ("", str(status)) else f"{status} {code}"
    words = " ".join(printable(facts.message).split())[:_MOST_WORDS]
    return Failed(kind, words or "the answer is an error")


def _read_tokens(document: Any) -> int | None:
    usage = document.get("usage") if isinstance(document, dict) else None
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else None


def _holds_token(document: Any, name: str) -> bool:
    """Whether a chunk's delta, or an answer's message, holds anything."""
    choices = document.get("choices") if isinstance(document, dict) else None
    if not isinstance(choices, list):
        return False
    parts = [choice.get(name) for choice in choices if isinstance(choice, dict)]
    return any(isinstance(part, dict) and any(map(part.get, _TOKENS)) for part in parts)

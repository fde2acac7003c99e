"""
A whole answer where a stream was asked for, told as a stream.

Some upstreams cannot stream, or not every model, and answer ``stream: true``
with plain JSON (Cloudflare's gpt-oss, recorded).  The caller gets its stream
all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from aiproxy.dialects.answers import misshapen
from aiproxy.dialects.shapes import ChatAnswer, ChatChunk, Usage, is_short, says_something
from aiproxy.errors import AIProxyError, AnswerTooLarge

__all__ = ["WholeAnswerReader", "unfold"]

#: What OpenAI's chunks all have, beside what they say.
_REPEATED: Final = ("id", "object", "created", "model", "system_fingerprint", "service_tier")


def unfold(answer: ChatAnswer) -> list[ChatChunk]:
    """Tell a whole answer as chunks: what is said, the finish reasons, the usage."""
    frame = {name: value for name, value in answer.items() if name not in ("choices", "usage")}
    frame["object"] = "chat.completion.chunk"
    # All else stands in the first chunk: it may be long, and choices many.
    identity: ChatChunk = {
        name: value
        for name, value in frame.items()
        if name in _REPEATED and (isinstance(value, int | None) or is_short(value))
    }
    said: list[ChatChunk] = []
    finishes: list[ChatChunk] = []
    for choice in answer["choices"]:
        delta: dict[str, Any] = {"role": "assistant", **choice["message"]}
        if "tool_calls" in delta:
            calls = enumerate(delta["tool_calls"])
            delta["tool_calls"] = [{**call, "index": number} for number, call in calls]
        rest = {
            name: value
            for name, value in choice.items()
            if name not in ("message", "finish_reason", "native_finish_reason")
        }
        around = identity if said else frame
        said.append({**around, "choices": [{**rest, "delta": delta, "finish_reason": None}]})
        finish = {
            name: choice[name]
            for name in ("index", "finish_reason", "native_finish_reason")
            if name in choice
        }
        finishes.append({**identity, "choices": [{**finish, "delta": {}}]})
    usage = answer.get("usage")
    if isinstance(usage, dict):
        finishes.append({**identity, "choices": [], "usage": usage})
    return said + finishes


class WholeAnswerReader:
    """
    A :class:`aiproxy.dialects.dialect.StreamReader` over a body that is one whole answer.

    :param read_reply: the dialect's own.
    :param limit_bytes: a longer body is an error (``server.max_response_bytes``).
    """

    #: There is nothing to wait for beside the end.
    finished = False
    tool_call_open = False

    def __init__(self, read_reply: Callable[[bytes], ChatAnswer], *, limit_bytes: int) -> None:
        self.ended = False
        self.error: AIProxyError | None = None
        self.said = False
        self.skipped = 0
        self.usage: Usage | None = None
        self._read_reply = read_reply
        self._limit_bytes = limit_bytes
        self._body = bytearray()

    def feed(self, data: bytes) -> list[ChatChunk]:
        """Take some bytes; nothing can be told before the last."""
        if not self.ended:
            self._body += data
            if len(self._body) > self._limit_bytes:
                self._fail(
                    AnswerTooLarge(
                        f"the upstream's answer is longer than {self._limit_bytes} bytes"
                    )
                )
        return []

    def close(self) -> list[ChatChunk]:
        """The body is here: tell it."""
        if self.ended:
            return []
        try:
            answer = self._read_reply(bytes(self._body))
        except Exception as error:
            self._fail(error if isinstance(error, AIProxyError) else misshapen(error))
            return []
        self.ended = True
        self.said = any(says_something(choice["message"]) for choice in answer["choices"])
        self._body.clear()
        chunks = unfold(answer)
        self.usage = chunks[-1].get("usage")
        return chunks

    def _fail(self, error: AIProxyError) -> None:
        self.ended = True
        self.error = error
        self._body.clear()

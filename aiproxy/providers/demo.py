"""
The built-in provider: it repeats the last user message, word by word.

A newcomer sees a stream within a minute, without a key; and it is an example
of an :class:`~aiproxy.interfaces.IProvider` that is not HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from aiproxy.dialects.dialect import AnswerReader
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.interfaces import IBodyConsumer, IProvider, IReply
from aiproxy.providers.call import Call
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import DONE, write_event

__all__ = ["DemoProvider"]

#: Time between two steps of a stream, and how many steps there are at most: a
#: stream looks like one, and the longest takes four seconds.
_STEP_SECONDS = 0.04
_STEPS = 100

_WORD = re.compile(r"\S+\s*|\s+")
_DIALECT = OpenAIDialect()


@implementer(IProvider)
@frozen
class DemoProvider:
    """See the module."""

    #: It does nothing beside chat.
    operations: ClassVar[frozenset[str]] = frozenset()

    clock: IReactorTime

    def start(self, call: Call) -> Deferred[IReply]:
        """Answer at once."""
        words = _WORD.findall(_last_user_text(call.request)) or ["(you said nothing)"]
        usage = _usage(call.request, words)
        if call.stream:
            return succeed(_DemoReply(self.clock, _stream(words, usage), True))
        return succeed(_DemoReply(self.clock, [dumps(_whole("".join(words), usage))], False))


@implementer(IReply, IPushProducer)
class _DemoReply:
    """Tells its pieces in steps; it is the producer of its own body."""

    dialect: AnswerReader = _DIALECT
    dropped: tuple[str, ...] = ()

    def __init__(self, clock: IReactorTime, pieces: list[bytes], streamed: bool) -> None:
        self.headers: Mapping[str, str] = {}
        self.streamed = streamed
        self._clock = clock
        self._pieces = pieces
        self._told = 0
        self._at_once = -(-len(pieces) // _STEPS)
        self._consumer: IBodyConsumer | None = None
        self._step: IDelayedCall | None = None
        self._paused = False

    def deliver(self, consumer: IBodyConsumer) -> None:
        self._consumer = consumer
        consumer.begin(self)
        self._go_on()

    def abandon(self) -> None:
        self.stopProducing()

    def pauseProducing(self) -> None:
        self._paused = True
        if self._step is not None:
            self._step.cancel()
            self._step = None

    def resumeProducing(self) -> None:
        self._paused = False
        self._go_on()

    def _go_on(self) -> None:
        if self._step is None and self._consumer is not None and not self._paused:
            self._step = self._clock.callLater(0 if self._told == 0 else _STEP_SECONDS, self._tell)

    def stopProducing(self) -> None:
        self._consumer = None
        self.pauseProducing()

    def _tell(self) -> None:
        self._step = None
        consumer = self._consumer
        assert consumer is not None  # Who stops us cancels the step.
        pieces = self._pieces[self._told : self._told + self._at_once]
        self._told += len(pieces)
        for piece in pieces:
            consumer.received(piece)
            if self._consumer is None:
                return
        if self._told >= len(self._pieces):
            self._consumer = None
            consumer.finished()
        else:
            self._go_on()


def _last_user_text(request: ChatRequest) -> str:
    """Return the text of the last user message, its text parts joined."""
    for message in reversed(request["messages"]):
        if message.get("role") != "user":
            continue
        text = _text(message.get("content"))
        if text is not None:
            return text
    return ""


def _text(content: object) -> str | None:
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return " ".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else None


def _usage(request: ChatRequest, words: list[str]) -> dict[str, int]:
    """Count words as tokens."""
    texts = (_text(message.get("content")) or "" for message in request["messages"])
    prompt = sum(len(text.split()) for text in texts)
    completion = len(words)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _whole(text: str, usage: dict[str, int]) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return {"object": "chat.completion", "choices": [choice], "usage": usage}


def _stream(words: list[str], usage: dict[str, int]) -> list[bytes]:
    deltas: list[dict[str, Any]] = [{"content": word} for word in words]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage}
    return [
        *(write_event(dumps(chunk)) for chunk in chunks),
        write_event(dumps(finish)) + DONE,
    ]

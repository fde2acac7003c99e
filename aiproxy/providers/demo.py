"""
The built-in provider: it repeats the last user message, word by word.

A newcomer sees a stream within a minute, without a key; and it is an example
of an :class:`~aiproxy.interfaces.IProvider` that is not HTTP.  It ends where
the caller's limit or stop sequences say so, each word being a token.  What
else it is asked for is refused, or named as dropped, as a real one's is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from attrs import frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from zope.interface import implementer

from aiproxy.dialects.dialect import AnswerReader
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.dialects.request_fields import asks
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.dialects.stop_words import find_stop, stops_of
from aiproxy.errors import InvalidRequest
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

_LIMITS: Final = ("max_completion_tokens", "max_tokens")
_CHOICES: Final = ("tool_choice", "function_call")
#: What is read here, or by the gateway.  An echo is the same each time, as a seed asks.
_READ: Final = frozenset(
    {*_LIMITS, *_CHOICES, *("messages", "model", "n", "seed", "stop", "stream", "stream_options")}
)
#: What of these asks for nothing special.
_USUAL: Final[Mapping[str, Any]] = {
    "modalities": ["text"],
    "parallel_tool_calls": True,
    "response_format": {"type": "text"},
    "temperature": 1,
    "top_p": 1,
}
#: Another name is no field of any API, and no word for a header.
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@implementer(IProvider)
@frozen
class DemoProvider:
    """See the module."""

    #: It does nothing beside chat.
    operations: ClassVar[frozenset[str]] = frozenset()

    clock: IReactorTime

    def start(self, call: Call) -> Deferred[IReply]:
        """Answer at once."""
        request = call.request
        try:
            words, reason = _answer(request)
        except InvalidRequest as error:
            return fail(error)
        usage = _usage(request, words)
        if call.stream:
            pieces = _stream(words, reason, usage)
        else:
            pieces = [dumps(_whole("".join(words), reason, usage))]
        return succeed(_DemoReply(self.clock, pieces, call.stream, _find_dropped(request)))


@implementer(IReply, IPushProducer)
class _DemoReply:
    """Tells its pieces in steps; it is the producer of its own body."""

    dialect: AnswerReader = _DIALECT

    def __init__(
        self, clock: IReactorTime, pieces: list[bytes], streamed: bool, dropped: tuple[str, ...]
    ) -> None:
        self.headers: Mapping[str, str] = {}
        self.streamed = streamed
        self.dropped = dropped
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


def _answer(request: ChatRequest) -> tuple[list[str], str]:
    """
    Return the words of the answer, and why it ends.

    :raises InvalidRequest: it cannot be as it is asked for.
    """
    if (request.get("n") or 1) != 1:
        raise InvalidRequest("the demo gives one choice only: n must be 1", param="n")
    for name in _CHOICES:
        if request.get(name) not in (None, "auto", "none"):
            raise InvalidRequest(
                f"the demo calls no tools: {name} must be auto or none",
                param=name,
                code="unsupported_value",
            )
    text = _last_user_text(request) or "(you said nothing)"
    words = _WORD.findall(text[: find_stop(text, stops_of(request))])
    most = _find_limit(request)
    return (words, "stop") if most is None or len(words) <= most else (words[:most], "length")


def _find_limit(request: ChatRequest) -> int | None:
    """
    Return how many words the answer may have.

    :raises InvalidRequest: it is no number of words.
    """
    for name in _LIMITS:
        most = request.get(name)
        if most is None:
            continue
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise InvalidRequest(
                f"{name} must be a whole number from 1", param=name, code="invalid_value"
            )
        return most
    return None


def _find_dropped(request: ChatRequest) -> tuple[str, ...]:
    """Name what an echo cannot do."""
    asked = (
        name for name, value in request.items() if asks(name, value) and value != _USUAL.get(name)
    )
    return tuple(name for name in asked if name not in _READ and _NAME.fullmatch(name))


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


def _whole(text: str, reason: str, usage: dict[str, int]) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"object": "chat.completion", "choices": [choice], "usage": usage}


def _stream(words: list[str], reason: str, usage: dict[str, int]) -> list[bytes]:
    deltas: list[dict[str, Any]] = [{"content": word} for word in words]
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage}
    return [
        *(write_event(dumps(chunk)) for chunk in chunks),
        write_event(dumps(finish)) + DONE,
    ]

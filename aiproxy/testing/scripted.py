"""
A provider that a test plays, call by call.

A :class:`ScriptedProvider` stands in a ``Proxy(providers={…})`` in the place of
a configured provider.  Everything above it is real, and the test decides when
headers, content and the end come::

    provider = ScriptedProvider()
    …                                      # a client asks
    reply = provider.calls[-1].answer()    # the headers are in
    reply.send(*chat_stream("Hello"))      # content comes
    reply.finish()                         # the body ends in order
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from aiproxy.dialects.dialect import AnswerReader
from aiproxy.dialects.openai import OpenAIDialect
from aiproxy.errors import AIProxyError, StreamCut
from aiproxy.interfaces import IBodyConsumer, IProvider, IReply
from aiproxy.providers.call import Call
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import DONE, write_event

__all__ = ["ScriptedCall", "ScriptedProvider", "ScriptedReply", "chat_answer", "chat_stream"]

_USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def chat_answer(text: str, usage: Mapping[str, int] = _USAGE) -> bytes:
    """Return the body of a whole answer in OpenAI's dialect."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return dumps({"object": "chat.completion", "choices": [choice], "usage": dict(usage)})


def chat_stream(*words: str, usage: Mapping[str, int] = _USAGE) -> list[bytes]:
    """
    Return the events of a streamed answer in OpenAI's dialect.

    They are one for each word, one with the finish reason and the usage, and
    the last, ``[DONE]``.
    """
    chunks = [
        {"choices": [{"index": 0, "delta": {"role": "assistant", "content": word}}]}
        for word in words
    ]
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": dict(usage)}
    return [*(write_event(dumps(chunk)) for chunk in (*chunks, finish)), DONE]


@implementer(IReply, IPushProducer)
class ScriptedReply:
    """
    A reply whose body the test sends, piece by piece; it is its own producer.

    What is sent before somebody takes the body waits.  What is sent while it
    is paused comes nevertheless, as it can from a real upstream.

    :param streamed: see :class:`~aiproxy.interfaces.IReply`.
    :param headers: names in lower case.
    :ivar delivered: somebody takes the body.
    :ivar paused: whoever takes it wants no more for now.
    :ivar stopped: it was abandoned, or stopped: the connection is closed.
    """

    def __init__(
        self,
        *,
        streamed: bool = True,
        headers: Mapping[str, str] | None = None,
        dialect: AnswerReader | None = None,
        dropped: tuple[str, ...] = (),
    ) -> None:
        self.headers: Mapping[str, str] = dict(headers or {})
        self.dialect: AnswerReader = dialect or OpenAIDialect()
        self.dropped = dropped
        self.streamed = streamed
        self.paused = False
        self.stopped = False
        self._consumer: IBodyConsumer | None = None
        self._waiting: list[bytes] = []
        self._end: AIProxyError | bool = False

    @classmethod
    def whole(cls, body: bytes, *, headers: Mapping[str, str] | None = None) -> ScriptedReply:
        """Make the reply to a plain request, with all of its body."""
        reply = cls(streamed=False, headers=headers)
        reply.send(body)
        reply.finish()
        return reply

    @property
    def delivered(self) -> bool:
        """Whether somebody takes the body."""
        return self._consumer is not None

    # --- the test's side --------------------------------------------------------

    def send(self, *pieces: bytes) -> None:
        """Send pieces of the body."""
        for piece in pieces:
            self._waiting.append(piece)
            self._flush()

    def finish(self) -> None:
        """End the body in order."""
        self._end = True
        self._flush()

    def cut(self, reason: AIProxyError | None = None) -> None:
        """Let the connection break."""
        self._end = reason or StreamCut("the connection was lost")
        self._flush()

    # --- the other side -----------------------------------------------------------

    def deliver(self, consumer: IBodyConsumer) -> None:
        """Start the body."""
        self._consumer = consumer
        consumer.begin(self)
        self._flush()

    def abandon(self) -> None:
        """Close the connection."""
        self.stopProducing()

    def pauseProducing(self) -> None:
        """Note that no more is wanted for now."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Note that more is wanted."""
        self.paused = False

    def stopProducing(self) -> None:
        """Close the connection: nothing more is delivered."""
        self.stopped = True

    def _flush(self) -> None:
        consumer = self._consumer
        if consumer is None:
            return
        while self._waiting and not self.stopped:
            consumer.received(self._waiting.pop(0))
        if self.stopped:
            return
        end, self._end = self._end, False
        if isinstance(end, AIProxyError):
            consumer.failed(end)
        elif end:
            consumer.finished()


class ScriptedCall:
    """
    One call of a :class:`ScriptedProvider`, which the test answers.

    :ivar call: what was asked.
    :ivar result: what the caller waits for.
    :ivar reply: the reply that was given, if any.
    :ivar cancelled: the caller wants no answer any more.
    """

    def __init__(self, call: Call) -> None:
        self.call = call
        self.cancelled = False
        self.reply: ScriptedReply | None = None
        self.result: Deferred[IReply] = Deferred(self._cancel)

    def connect(self) -> None:
        """Let the connection stand."""
        self.call.connected()

    def take(self) -> None:
        """Take the request's last byte."""
        self.call.sent()

    def answer(self, reply: ScriptedReply | None = None) -> ScriptedReply:
        """Let the headers come; return the reply, whose body is to be sent."""
        self.reply = reply or ScriptedReply(streamed=self.call.stream)
        self.result.callback(self.reply)
        return self.reply

    def fail(self, error: AIProxyError) -> None:
        """Answer with an error."""
        self.result.errback(error)

    def _cancel(self, _: Deferred[IReply]) -> None:
        self.cancelled = True


@implementer(IProvider)
class ScriptedProvider:
    """
    A provider that a test plays.

    :param script: what the first calls are answered with, one after the other
        and at once; the calls after them wait for the test.
    :ivar calls: all calls so far.
    """

    def __init__(self, *script: ScriptedReply | AIProxyError) -> None:
        self.calls: list[ScriptedCall] = []
        self._script = deque(script)

    def start(self, call: Call) -> Deferred[IReply]:
        """Take a call."""
        scripted = ScriptedCall(call)
        self.calls.append(scripted)
        if self._script:
            step = self._script.popleft()
            if isinstance(step, AIProxyError):
                scripted.fail(step)
            else:
                scripted.answer(step)
        return scripted.result

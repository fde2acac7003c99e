"""What an HTTP provider answers: a response, its reader, and what is to be done after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import define, field
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from aiproxy.dialects.dialect import AnswerReader
from aiproxy.interfaces import IBodyConsumer, IReply
from aiproxy.transport.client import UpstreamResponse

__all__ = ["Afterwards", "HTTPReply"]


class Afterwards:
    """What has to be done when a call is over, however it ends."""

    def __init__(self) -> None:
        self._tasks: list[Callable[[], object]] = []

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def add(self, task: Callable[[], object]) -> None:
        """Add what is to be done."""
        self._tasks.append(task)

    def run(self) -> None:
        """Do it, the last first; there is nothing left then."""
        while self._tasks:
            self._tasks.pop()()


@implementer(IReply)
@define
class HTTPReply:
    """
    See :class:`aiproxy.interfaces.IReply`.

    :param after: runs when the body has ended, or is not wanted any more.
    """

    response: UpstreamResponse
    headers: Mapping[str, str]
    dialect: AnswerReader
    streamed: bool
    dropped: tuple[str, ...] = ()
    after: Afterwards | None = None

    def take_whole(self) -> bytes | None:
        """Take the body if all of it is here and nothing is left to be done."""
        take_whole = getattr(self.response, "take_whole", None)
        if take_whole is None or self.after:
            return None
        whole: bytes | None = take_whole()
        return whole

    def deliver(self, consumer: IBodyConsumer) -> None:
        """Start the body."""
        # Few wait for the end: nothing else stands in the body's way.
        self.response.deliver(_Ending(consumer, self.after.run) if self.after else consumer)

    def abandon(self) -> None:
        """Close the connection."""
        self.response.abandon()
        if self.after is not None:
            self.after.run()


@implementer(IBodyConsumer, IPushProducer)
@define
class _Ending:
    """Between a body and its consumer: notes when it is over, whoever ends it."""

    consumer: IBodyConsumer
    over: Callable[[], None]
    _producer: IPushProducer = field(init=False)

    def begin(self, producer: IPushProducer) -> None:
        self._producer = producer
        self.consumer.begin(self)

    def received(self, data: bytes) -> None:
        self.consumer.received(data)

    def finished(self) -> None:
        self.over()
        self.consumer.finished()

    def failed(self, reason: Exception) -> None:
        self.over()
        self.consumer.failed(reason)

    def pauseProducing(self) -> None:
        self._producer.pauseProducing()

    def resumeProducing(self) -> None:
        self._producer.resumeProducing()

    def stopProducing(self) -> None:
        self._producer.stopProducing()
        self.over()

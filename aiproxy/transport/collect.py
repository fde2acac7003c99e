"""A body as a whole, within a bound."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from aiproxy.errors import AnswerTooLarge
from aiproxy.interfaces import IBodyConsumer

__all__ = ["collect", "collect_now", "collect_some"]

_SOME_BYTES = 64 * 1024
_SOME_SECONDS = 2.0
#: A body may come in chunks of two bytes, and each piece costs an object of some 50: where
#: they are shorter than this on average they are joined now and then.
_PIECE_BYTES = 512
_JOINED_BYTES = 64 * 1024


class Deliverable(Protocol):
    """
    An upstream's response, or an :class:`~aiproxy.interfaces.IReply`.

    It may have a ``take_whole`` as well, which takes the body if all of it is
    here already, and returns ``None`` if not.
    """

    def deliver(self, consumer: IBodyConsumer) -> None:
        """Start the body towards the consumer."""


def collect(reply: Deliverable, limit_bytes: int) -> Deferred[bytes]:
    """
    Take a whole body.

    The Deferred fails with :class:`AnswerTooLarge` beyond ``limit_bytes``, and
    with what the upstream's end is, where it comes early.  Cancelling it
    closes the upstream's connection, as too long a body does.
    """
    collected = collect_now(reply, limit_bytes)
    return collected if isinstance(collected, Deferred) else succeed(collected)


def collect_now(reply: Deliverable, limit_bytes: int) -> bytes | Deferred[bytes]:
    """
    Take a whole body: as it is where it is here already, as short ones are with their head.

    Else, and where it cannot be had, as :func:`collect`.
    """
    take_whole = getattr(reply, "take_whole", None)
    whole: bytes | None = None if take_whole is None else take_whole()
    if whole is not None:
        return whole if len(whole) <= limit_bytes else fail(_too_long(limit_bytes))
    collector = _Collector(limit_bytes)
    reply.deliver(collector)
    return collector.result()


def collect_some(
    reply: Deliverable, limit_bytes: int = _SOME_BYTES, clock: IReactorTime | None = None
) -> Deferred[bytes]:
    """
    Take the beginning of a body: for an error's, of which the first words matter.

    Never fails but by being cancelled: a body that is longer is cut at
    ``limit_bytes``, one that breaks off is what has come of it.

    :param clock: what is not there after two seconds is not waited for; ``None``: it is.
    """
    collector = _SomeCollector(limit_bytes)
    reply.deliver(collector)
    collected = collector.result()
    if not isinstance(collected, Deferred):
        return succeed(collected)
    if clock is None:
        return collected
    timer = clock.callLater(_SOME_SECONDS, collector.expire)

    def ended(result: bytes | Failure) -> bytes | Failure:
        if timer.active():
            timer.cancel()
        return result

    return collected.addBoth(ended)


@implementer(IBodyConsumer)
class _Collector:
    __slots__ = ("_collected", "_length", "_limit_bytes", "_pieces", "_producer", "_result")

    def __init__(self, limit_bytes: int) -> None:
        #: What is waited for, until it has fired: the two know each other.
        self._collected: Deferred[bytes] | None = None
        self._result: bytes | Exception | None = None
        self._producer: IPushProducer
        self._limit_bytes = limit_bytes
        self._pieces: list[bytes] = []
        self._length = 0

    def result(self) -> bytes | Deferred[bytes]:
        """Return the body, or what fires with it."""
        if isinstance(self._result, bytes):
            return self._result
        if self._result is not None:
            return fail(self._result)
        self._collected = Deferred(lambda _: self._producer.stopProducing())
        return self._collected

    def begin(self, producer: IPushProducer) -> None:
        self._producer = producer

    def received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._length += len(data)
        if self._length > self._limit_bytes:
            self._producer.stopProducing()
            self._exceeded()
        elif len(self._pieces) * _PIECE_BYTES > self._length + _JOINED_BYTES:
            self._pieces = [b"".join(self._pieces)]

    def finished(self) -> None:
        self._fire(b"".join(self._pieces))

    def failed(self, reason: Exception) -> None:
        self._fire(reason)

    def _exceeded(self) -> None:
        self._pieces.clear()
        self._fire(_too_long(self._limit_bytes))

    def _fire(self, result: bytes | Exception) -> None:
        if self._result is not None:
            return
        self._result = result
        del self._producer
        collected, self._collected = self._collected, None
        if collected is None:
            return
        if isinstance(result, Exception):
            collected.errback(result)
        else:
            collected.callback(result)


def _too_long(limit_bytes: int) -> AnswerTooLarge:
    return AnswerTooLarge(f"the answer is longer than {limit_bytes} bytes")


class _SomeCollector(_Collector):
    __slots__ = ()

    def failed(self, reason: Exception) -> None:
        self.finished()

    def expire(self) -> None:
        """What has come is enough."""
        self._producer.stopProducing()
        self._exceeded()

    def _exceeded(self) -> None:
        self._fire(b"".join(self._pieces)[: self._limit_bytes])

"""What a call came to, ready for the client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from attrs import Factory, define, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime

from aiproxy.dialects.face import StreamWriter
from aiproxy.dialects.raw_face import RawStreamWriter
from aiproxy.errors import AIProxyError
from aiproxy.gateway.attempt import Attempt
from aiproxy.gateway.usage import CallRecord
from aiproxy.gateway.watch import Watch
from aiproxy.policy.routing import Candidate
from aiproxy.transport.keep_alive import KeepAlive
from aiproxy.transport.timeout_queue import TimeoutQueues

__all__ = ["Course", "PlainAnswer", "Served", "StreamedAnswer"]


@define
class Served:
    """
    Who answered.

    :param attempts: how many were asked, with the one that answered.
    :param headers: the upstream's headers that are for the caller.
    """

    candidate: Candidate
    attempts: int
    headers: Mapping[str, str] = Factory(dict)


@define
class PlainAnswer:
    """A whole answer, in the client's dialect."""

    served: Served
    body: bytes
    content_type: str = "application/json"


class Course(Protocol):
    """How a stream goes on; :class:`aiproxy.gateway.exchange.Exchange` is it."""

    clock: IReactorTime
    timeouts: TimeoutQueues
    watch: Watch
    record: CallRecord

    @property
    def writer(self) -> StreamWriter:
        """What writes to the caller."""

    def take_notes(self) -> bytes:
        """Return what happened since the last time, as comments."""

    def served(self, attempt: Attempt) -> Served:
        """Note who answers."""

    async def go_on(self, cut: Attempt, error: AIProxyError) -> Attempt:
        """
        Let somebody else go on with a stream that was cut.

        :raises AIProxyError: nobody can.
        """


@frozen
class StreamedAnswer:
    """
    An answer that is on its way.

    It must be delivered, for it holds an upstream's connection.

    :param served: who answers; ``None``: nobody has yet, and the client should
        not wait in silence.
    :param opening: fires when somebody has.
    :param ended: called once, with the error where it was cut.
    :param keep_alive: the client hears something at least every so many seconds; 0: not so.
    """

    served: Served | None
    course: Course
    opening: Deferred[Attempt]
    ended: Callable[[BaseException | None], None]
    keep_alive: float = 0.0

    @property
    def content_type(self) -> str:
        """Of the stream."""
        return self.course.writer.content_type

    async def deliver(self, client: IConsumer) -> None:
        """
        Write it to the client, whose backpressure goes to the upstream.

        Where a stream is cut another upstream goes on; if none can, it ends
        in an error event: the status was told long ago.

        :raises ClientStalled: the client does not read.
        """
        failure: BaseException | None = None
        live: KeepAlive | None = None
        if self.keep_alive:
            course = self.course
            queue = course.timeouts.find(self.keep_alive)
            client = live = KeepAlive(client, queue, course.take_notes)
            if self.served is None:
                live.tell()
        try:
            await self._deliver(client)
        except AIProxyError as error:
            failure = error
            client.write(self.course.take_notes() + self.course.writer.fail(error))
        except (CancelledError, Exception) as error:
            failure = error
            raise
        finally:
            if live is not None:
                live.stop()
            self.ended(failure)
            failure = None  # Its traceback holds this frame.

    @property
    def broken(self) -> bool:
        """It is not whole, and only an end without its framing can say so."""
        writer = self.course.writer
        return isinstance(writer, RawStreamWriter) and writer.broken

    async def _deliver(self, client: IConsumer) -> None:
        course = self.course
        attempt = await self.opening
        if self.served is None:
            course.served(attempt)
        while True:
            notes = course.take_notes()
            if notes:
                client.write(notes)
            course.record.asked(course.clock.seconds())
            try:
                await course.watch.wait(attempt.relay.attach(client))
                return
            except AIProxyError as error:
                course.record.heard(course.clock.seconds())
                attempt = await course.go_on(attempt, error)

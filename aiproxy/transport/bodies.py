"""Bodies on their way: a request's towards the upstream, an answer's from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from aiproxy.errors import AIProxyError, InternalError
from aiproxy.interfaces import IBodyConsumer
from aiproxy.transport.failures import read_cut

__all__ = ["BodyDelivery", "BytesBody", "Nobody"]

# A TCP transport asks for more only when its buffer has run dry, so a slice is
# what one turn of the reactor can send; it also bounds the second copy of a
# large body.
_SLICE_BYTES = 256 * 1024


@implementer(IBodyProducer)
class BytesBody:
    """
    A request body that is already in memory.

    It writes at once, unlike ``FileBodyProducer``, which waits for a
    cooperator's tick before each 64 KiB; a large one goes in slices and stops
    while the transport is full.  It can be started again, for a second
    attempt on a fresh connection.

    :param connected: called whenever a connection begins to take the body.
    :param sent: called whenever the last byte was handed to the transport.
    """

    def __init__(
        self, data: bytes, connected: Callable[[], None], sent: Callable[[], None]
    ) -> None:
        self.length = len(data)
        self._data = data
        self._connected = connected
        self._sent = sent
        self._consumer: IConsumer | None = None
        self._offset = 0
        self._paused = False
        self._written: Deferred[None] = Deferred()

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """
        Write to ``consumer`` from the first byte on.

        The Deferred fires when the last byte is written, and never after
        :meth:`stopProducing`.
        """
        self._consumer = consumer
        self._offset = 0
        self._paused = False
        written = self._written = Deferred(lambda _: self.stopProducing())
        self._connected()
        self._write()
        return written

    def pauseProducing(self) -> None:
        """The transport is full."""
        self._paused = True

    def resumeProducing(self) -> None:
        """The transport has room again."""
        self._paused = False
        self._write()

    def stopProducing(self) -> None:
        """Nobody wants the rest."""
        self._consumer = None

    def _write(self) -> None:
        while self._consumer is not None and not self._paused and self._offset < self.length:
            start = self._offset
            # Moved before the write: it may pause and resume us on its way.
            self._offset += _SLICE_BYTES
            self._consumer.write(self._data[start : self._offset])
        if self._consumer is not None and self._offset >= self.length:
            self._consumer = None
            self._sent()
            self._written.callback(None)


@implementer(IPushProducer)
class BodyDelivery(Protocol):
    """
    Brings the body of Twisted's response to an :class:`IBodyConsumer`.

    It is the consumer's producer: pausing goes to the upstream's transport,
    ``stopProducing`` closes the upstream's connection at once.  It is the
    transport's ``stopProducing`` that does so: ``loseConnection`` on paused
    TLS never completes.

    An exception out of the consumer closes the upstream too, and the consumer
    is told by ``failed``: one of our errors as it is, any other as an
    :class:`InternalError`, with the original in the log.

    :param host: what an error calls the upstream.
    """

    _log = Logger()

    def __init__(self, consumer: IBodyConsumer, host: str) -> None:
        self._consumer = consumer
        self._host = host
        self._over = False
        self._paused = False

    def start(self, response: IResponse) -> None:
        """Deliver the body of ``response``."""
        response.deliverBody(self)
        # deliverBody resumes the transport as its last step, whatever the
        # consumer has asked for in between.
        if self._paused:
            self._upstream.pauseProducing()

    # towards the upstream

    @property
    def _upstream(self) -> IPushProducer:
        # Twisted hands bodies a transport that is an IPushProducer and little else.
        return cast(IPushProducer, self.transport)

    def pauseProducing(self) -> None:
        """Read no more from the upstream; what was read already still comes."""
        self._paused = True
        self._upstream.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self._paused = False
        self._upstream.resumeProducing()

    def stopProducing(self) -> None:
        """Close the upstream's connection; nothing more is delivered.  Harmless when repeated."""
        if not self._over:
            self._over = True
            self._upstream.stopProducing()

    # from the upstream

    def connectionMade(self) -> None:
        """The body starts."""
        self._tell(lambda: self._consumer.begin(self))

    def dataReceived(self, data: bytes) -> None:
        """Some bytes of the body came."""
        if not self._over:
            self._tell(lambda: self._consumer.received(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body has ended, one way or another."""
        if self._over:
            return
        self._over = True
        # Without a length the end of the connection is the end of the body
        # (RFC 9112, 6.3); whether the content is whole, its reader knows.
        if reason.check(ResponseDone, PotentialDataLoss):
            with self._log.failuresHandled("a body's consumer failed at its end"):
                self._consumer.finished()
        else:
            self._fail(read_cut(reason, self._host))

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except AIProxyError as error:
            self._give_up(error)
        except Exception:
            self._log.failure("a body's consumer failed")
            self._give_up(InternalError("the answer could not be processed"))

    def _give_up(self, error: AIProxyError) -> None:
        if not self._over:
            self.stopProducing()
            self._fail(error)

    def _fail(self, error: AIProxyError) -> None:
        with self._log.failuresHandled("a body's consumer failed when told of a failure"):
            self._consumer.failed(error)


@implementer(IBodyConsumer)
class Nobody:
    """Wants no body."""

    def begin(self, producer: IPushProducer) -> None:
        """Close the upstream's connection."""
        producer.stopProducing()

    def received(self, data: bytes) -> None:
        """Nothing comes."""

    def finished(self) -> None:
        """There was nothing to close: the answer was complete."""

    def failed(self, reason: Exception) -> None:
        """It had ended early already."""

"""One request to an upstream and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from aiproxy.errors import AIProxyError, InternalError
from aiproxy.interfaces import IBodyConsumer
from aiproxy.transport.bodies import Nobody
from aiproxy.transport.failures import read_failure, read_refusal
from aiproxy.transport.http.fields import read_fields
from aiproxy.transport.http.response_reader import ResponseReader

__all__ = ["HTTPExchange"]

_log = Logger()


class Sender(Protocol):
    """The connection that an exchange has for as long as it lasts."""

    def pause(self) -> None:
        """Read no more."""

    def resume(self) -> None:
        """Read on."""

    def leave(self, exchange: HTTPExchange) -> None:
        """Nobody wants the exchange any more: close at once."""


class Route(Protocol):
    """Where a request can be sent again."""

    def open(self, exchange: HTTPExchange) -> None:
        """Send it on a fresh connection."""

    def refuse(self, status: int) -> AIProxyError | None:
        """Say why an answer with this status is not the upstream's."""


@implementer(IPushProducer)
class HTTPExchange:
    """
    One request, and the answer that :attr:`result` fires with: itself.

    As an answer it is an :class:`~aiproxy.transport.client.UpstreamResponse`,
    and the producer of its body: pausing goes straight to the transport,
    stopping closes the connection at once.

    :param host: what an error calls the upstream.
    :param head: the request's, with the empty line.
    :param body: bytes, or who writes them, framed, to an ``IConsumer``.
    :param bodiless: the answer will have no body, as after HEAD.
    :param connected: called when a connection begins to take the request.
    :param sent: called when the last byte was handed over.
    :ivar status: 0 until the answer's head is there.
    :ivar fields: its headers as they came, names in lower case.
    :ivar encodings: of its body, as they came.
    :ivar reused: the connection had served before.
    """

    __slots__ = (
        "_consumer",
        "_ended",
        "_error",
        "_headers",
        "_over",
        "_pieces",
        "bodiless",
        "body",
        "connected",
        "connection",
        "encodings",
        "fields",
        "head",
        "host",
        "opening",
        "paused",
        "reason",
        "result",
        "reused",
        "route",
        "sent",
        "status",
        "until_close",
        "version",
    )

    def __init__(
        self,
        host: str,
        head: bytes,
        body: bytes | IBodyProducer,
        *,
        bodiless: bool,
        connected: Callable[[], None],
        sent: Callable[[], None],
    ) -> None:
        self.host = host
        self.head = head
        self.body = body
        self.bodiless = bodiless
        self.connected = connected
        self.sent = sent
        self.result: Deferred[HTTPExchange] | None = Deferred(self._cancel)
        self.opening: Deferred[Any] | None = None
        self.connection: Sender | None = None
        self.route: Route
        self.reused = False
        self.status = 0
        self.fields: list[tuple[bytes, bytes]] = []
        self.paused = False
        self._headers: Mapping[str, str] | None = None
        self._consumer: IBodyConsumer | None = None
        self._pieces: list[bytes] | None = None
        self._error: AIProxyError | None = None
        self._ended = False
        self._over = False

    # --- the answer ---------------------------------------------------------------

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, names in lower case, the first value of each."""
        if self._headers is None:
            self._headers = read_fields(self.fields)
            self.fields = []
        return self._headers

    def deliver(self, consumer: IBodyConsumer) -> None:
        """Start the body towards ``consumer``.  Called once, or else :meth:`abandon` is."""
        if self._consumer is not None:
            raise RuntimeError("the body has a consumer already")
        self._consumer = consumer
        try:
            consumer.begin(self)
        except Exception as error:
            self._give_up(error)
        pieces, self._pieces = self._pieces, None
        if pieces:
            self.receive(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if self._ended or self._error is not None:
            self._close()
        elif self.connection is not None and not self.paused:
            self.connection.resume()

    def take_whole(self) -> bytes | None:
        """
        Take the body, if all of it is here, in the place of :meth:`deliver`.

        :return: ``None``: it is not, and has to be delivered.
        """
        if not self._ended or self._over or self._consumer is not None:
            return None
        self._over = True
        pieces, self._pieces = self._pieces, None
        if not pieces:
            return b""
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def abandon(self) -> None:
        """Close the connection, whatever the body's state.  Harmless when repeated."""
        if self._consumer is None:
            self.deliver(Nobody())
        else:
            self.stopProducing()

    def pauseProducing(self) -> None:
        """Read no more from the upstream; what was read already still comes."""
        self.paused = True
        if self.connection is not None:
            self.connection.pause()

    def resumeProducing(self) -> None:
        """Read on."""
        self.paused = False
        if self.connection is not None:
            self.connection.resume()

    def stopProducing(self) -> None:
        """Close the upstream's connection; nothing more is delivered.  Harmless when repeated."""
        self._over = True
        self._pieces = None
        self._leave()

    # --- from the connection --------------------------------------------------------

    @property
    def awaited(self) -> bool:
        """The body has no consumer yet."""
        return self._consumer is None and not self._over

    def begin(self, reader: ResponseReader) -> None:
        """The answer's head has come."""
        self.status = reader.status
        self.version = reader.version
        self.reason = reader.reason
        self.fields = reader.fields
        self.encodings = reader.encodings
        self.until_close = reader.until_close
        # It will not be sent again, and may be long.
        self.head = self.body = b""

    def answer(self) -> None:
        """Tell who has asked, now that the connection is done with what has come."""
        result, self.result = self.result, None
        if result is None:
            return
        refusal: AIProxyError | None = None
        if self.encodings or self.status > 599:
            refusal = read_refusal(self.status, self.encodings)
        elif self.status == 407:
            refusal = self.route.refuse(407)
        if refusal is None:
            result.callback(self)
        else:
            self.stopProducing()
            result.errback(Failure(refusal))

    def receive(self, data: bytes) -> None:
        """Some bytes of the body came; they wait for a consumer."""
        if self._over:
            return
        consumer = self._consumer
        if consumer is None:
            if self._pieces is None:
                self._pieces = []
            self._pieces.append(data)
            return
        try:
            consumer.received(data)
        except Exception as error:
            self._give_up(error)

    def end(self) -> None:
        """The body is complete."""
        self.connection = None
        self._ended = True
        if self._consumer is not None:
            self._close()

    def fail(self, error: AIProxyError) -> None:
        """There is no answer, or not all of it."""
        self.connection = None
        result, self.result = self.result, None
        if result is not None:
            result.errback(Failure(error))
        elif self._consumer is not None:
            self._error = error
            self._close()
        else:
            self._error = error

    def failed_to_send(self, failure: Failure) -> None:
        """There is no connection, or who was to be told of it has failed."""
        self.opening = None
        if not self._over:
            self._leave()
            self.fail(read_failure(failure, self.host))

    # --- inside -----------------------------------------------------------------------

    def _cancel(self, _: Deferred[HTTPExchange]) -> None:
        self.result = None
        self._over = True
        opening, self.opening = self.opening, None
        if opening is not None:
            opening.cancel()
        self._leave()

    def _leave(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.leave(self)

    def _close(self) -> None:
        """Tell the consumer how the body has ended, once."""
        if self._over or self._consumer is None:
            return
        self._over = True
        try:
            if self._error is None:
                self._consumer.finished()
            else:
                self._consumer.failed(self._error)
        except Exception:
            _log.failure("a body's consumer failed when told of its end")

    def _give_up(self, error: Exception) -> None:
        """The consumer has failed."""
        if not isinstance(error, AIProxyError):
            _log.failure("a body's consumer failed")
            error = InternalError("the answer could not be processed")
        if not self._over:
            self._leave()
            self._error = error
            self._close()

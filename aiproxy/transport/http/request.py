"""A client's request on the hot path: as much of Twisted's as our routes use, and no more."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from http import HTTPStatus
from io import BytesIO
from typing import Any, Final, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IConsumer, IProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import parse_qs
from twisted.web.http_headers import Headers
from zope.interface import implementer

from aiproxy.errors import AIProxyError, InternalError
from aiproxy.transport.http.request_reader import ReceivedRequest
from aiproxy.transport.stages import StagedCall, Stages

__all__ = ["LlhttpRequest", "phrase_of", "response_head", "write_lines"]

_log = Logger()
_PHRASES: Final = {int(status): status.phrase.encode() for status in HTTPStatus}
_OTHER_PHRASE: Final = b"Upstream Status"


def _write_status(code: int, phrase: bytes) -> bytes:
    """Write the status line, and what comes before the date."""
    return b"HTTP/1.1 %d %b\r\ndate: " % (code, phrase)


_STATUS_LINES: Final = {code: _write_status(code, phrase) for code, phrase in _PHRASES.items()}
_BODILESS: Final = frozenset((204, 304))


class Site(Protocol):
    """
    What connections belong to.

    :ivar stages: of the reactor's present turn.
    """

    stages: Stages

    @property
    def date(self) -> bytes:
        """Now, for a ``Date`` header."""


class ServerConnection(Protocol):
    """
    The connection that a request has come by.

    :ivar is_last: it ends with the answer that is written now.
    :ivar peer: who is at the other end.
    :ivar secure: it has TLS.
    """

    is_last: bool
    peer: IAddress | None
    secure: bool

    @property
    def site(self) -> Site:
        """What it belongs to."""

    def write(self, data: bytes) -> None:
        """Write."""

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let the client's reading pause a producer."""

    def unregisterProducer(self) -> None:
        """The producer is done."""

    def requestDone(self, request: LlhttpRequest) -> None:
        """The answer was written."""

    def refuse(self, error: AIProxyError) -> None:
        """Answer with an error, take nothing more, close."""

    def abort(self) -> None:
        """Close at once."""


@implementer(IConsumer)
class LlhttpRequest:
    """
    One request, and its answer.

    The names are those of Twisted's ``IRequest``, so that a route does not
    know which it has.  It takes one way to answer that Twisted's has not:
    :meth:`begin`, with the whole head.

    :ivar headers: by name in lower case, the last value of each; until a stream begins.
    :ivar body: as it is, until the answer begins.
    :ivar secure: its connection has TLS.
    :ivar gone: called if the client leaves before the answer's end.
    :ivar running: what answers; it is cancelled then.
    """

    __slots__ = (
        "_chunked",
        "_code",
        "_headers",
        "_lines",
        "_notifications",
        "_peer",
        "_received",
        "body",
        "channel",
        "finished",
        "gone",
        "headers",
        "running",
        "secure",
        "startedWriting",
    )

    def __init__(self, channel: ServerConnection, received: ReceivedRequest) -> None:
        self.channel: ServerConnection | None = channel
        self.finished = 0
        self.startedWriting = 0
        self.gone: Callable[[], None] | None = None
        self.running: StagedCall | None = None
        self.secure = channel.secure
        self._peer = channel.peer
        self.headers = received.headers
        self.body = received.body
        self._received = received
        self._code = 200
        self._headers: dict[bytes, bytes] = {}
        self._lines = b""
        self._chunked = False
        self._notifications: list[Deferred[None]] | None = None

    # --- the request ------------------------------------------------------------

    @property
    def method(self) -> bytes:
        """In capitals."""
        return self._received.method

    @property
    def uri(self) -> bytes:
        """The target as it came, without an authority."""
        return self._received.target

    @property
    def path(self) -> bytes:
        """The target without its query."""
        return self._received.target.partition(b"?")[0]

    @property
    def args(self) -> dict[bytes, list[bytes]]:
        """The query's arguments."""
        args: dict[bytes, list[bytes]] = parse_qs(self._received.target.partition(b"?")[2], True)
        return args

    @property
    def clientproto(self) -> bytes:
        """The protocol's version."""
        return self._received.version

    @property
    def content(self) -> BytesIO:
        """The body; anew each time."""
        return BytesIO(self.body)

    @property
    def requestHeaders(self) -> Headers:
        """All headers."""
        headers = Headers()
        for name, value in self._received.pairs:
            headers.addRawHeader(name, value)
        return headers

    def getHeader(self, key: bytes) -> bytes | None:
        """Return a header's value, the last where there are several."""
        return self.headers.get(key.lower())

    def getHeaders(self, key: bytes) -> list[bytes]:
        """Return all values of a header, as they came; its name is in lower case."""
        return [value for name, value in self._received.pairs if name == key]

    def getClientAddress(self) -> IAddress | None:
        """Return who is at the other end of the connection."""
        return self._peer

    def isSecure(self) -> bool:
        """Whether the connection has TLS."""
        return self.secure

    def notifyFinish(self) -> Deferred[None]:
        """Return what fires at the answer's end, and fails where the client leaves before."""
        notification: Deferred[None] = Deferred()
        if self._notifications is None:
            self._notifications = []
        self._notifications.append(notification)
        return notification

    # --- the answer -------------------------------------------------------------

    def answer_by(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let a coroutine answer, which is cancelled if the client leaves."""
        assert self.channel is not None
        running = StagedCall(self.channel.site.stages, coroutine, self._answered)
        if not running.over:
            self.running = running

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status; the phrase is its own."""
        self._code = code

    def setHeader(self, name: bytes, value: bytes) -> None:
        """Set a header."""
        self._headers[name.lower()] = value

    def begin(self, code: int, headers: dict[bytes, bytes], lines: bytes = b"") -> None:
        """
        Set the status and all headers, whose names are in lower case.

        :param lines: more of them, as they are written.
        """
        self._code = code
        self._headers = headers
        self._lines = lines

    def write(self, data: bytes) -> None:
        """Write some of the body."""
        channel = self.channel
        if channel is None or self.finished:
            return
        if self.startedWriting:
            if self._chunked:
                if data:
                    channel.write(b"%x\r\n%b\r\n" % (len(data), data))
            else:
                channel.write(data)
            return
        channel.write(self._start(data))

    def _start(self, data: bytes) -> bytes:
        """Write the head, with the beginning of the body."""
        self.startedWriting = 1
        self.body = self._received.body = b""
        channel = self.channel
        assert channel is not None
        head = self._headers
        if (
            b"content-length" not in head
            and self._received.version == b"HTTP/1.1"
            and self._code not in _BODILESS
        ):
            self._chunked = True
            # It may last for long, and what was asked was read by now.
            self.headers = self._received.headers = {}
            head[b"transfer-encoding"] = b"chunked"
            if data:
                data = b"%x\r\n%b\r\n" % (len(data), data)
        if channel.is_last:
            head[b"connection"] = b"close"
        self._headers = {}
        return response_head(self._code, head.items(), channel.site.date, self._lines) + data

    def finish(self) -> None:
        """The answer is complete."""
        channel = self.channel
        if channel is None or self.finished:
            return
        if not self.startedWriting:
            if self._code not in _BODILESS:
                self._headers[b"content-length"] = b"0"
            channel.write(self._start(b""))
        elif self._chunked:
            channel.write(b"0\r\n\r\n")
        self.finished = 1
        self.gone = self.running = None
        self.channel = None
        channel.requestDone(self)
        if self._notifications is not None:
            self._notify(None)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let the client's reading pause the producer."""
        if self.channel is None:
            producer.stopProducing()
        else:
            self.channel.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The producer is done."""
        if self.channel is not None:
            self.channel.unregisterProducer()

    def processingFailed(self, reason: Failure) -> None:
        """A bug of ours: the log has it, the client a word of it."""
        _log.failure("a request failed", reason)
        if self.channel is not None:
            if self.startedWriting:
                self.channel.abort()
            else:
                self.channel.refuse(InternalError("an internal error; it is in the server's log"))

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone."""
        self.channel = None
        gone, running = self.gone, self.running
        self.gone = self.running = None
        if gone is not None:
            gone()
        if running is not None:
            running.cancel()
        self._notify(reason)

    def _answered(self, result: object) -> None:
        """What answers has ended; it should have told the client itself of its failures."""
        if isinstance(result, Failure) and not result.check(CancelledError):
            self.processingFailed(result)

    def _notify(self, reason: Failure | None) -> None:
        notifications, self._notifications = self._notifications, None
        for notification in notifications or ():
            if reason is None:
                notification.callback(None)
            else:
                notification.errback(reason)


def phrase_of(status: int) -> bytes:
    """Return the phrase of a status."""
    return _PHRASES.get(status, _OTHER_PHRASE)


def response_head(
    code: int, headers: Iterable[tuple[bytes, bytes]], date: bytes, lines: bytes = b""
) -> bytes:
    """
    Write the head of an answer; line ends in what others have said become spaces.

    :param lines: of :func:`write_lines`; they go first.
    """
    written = [*map(b": ".join, headers)]
    head = b"\r\n".join(written)
    if head.count(b"\n") != len(written) - 1 or head.count(b"\r") != len(written) - 1:
        head = b"\r\n".join([b" ".join(line.splitlines()) for line in written])
    first = _STATUS_LINES.get(code) or _write_status(code, _OTHER_PHRASE)
    return b"".join((first, date, b"\r\n", lines, head, b"\r\n\r\n"))


def write_lines(headers: Mapping[bytes, bytes]) -> bytes:
    """Write headers of ours, which have no line ends, once for many answers."""
    return b"".join(b"%b: %b\r\n" % pair for pair in headers.items())

"""Comments to a client that waits for a stream: proxies between us close what is silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IConsumer, IProducer, IReactorTime
from zope.interface import implementer

from aiproxy.transport.deadline import Deadline

__all__ = ["KeepAlive"]

#: A comment: clients of server-sent events pass over it (WHATWG HTML, "Server-sent events").
_COMMENT: Final = b": keep-alive\n\n"


@implementer(IConsumer)
class KeepAlive:
    """
    A client as a consumer, to whom something is written at least every so many seconds.

    Each write must be whole events.

    :param seconds: the silence after which a comment is written.
    :param news: returns comments to be written in its place, if there are any.
    """

    def __init__(
        self,
        client: IConsumer,
        clock: IReactorTime,
        seconds: float,
        news: Callable[[], bytes] = lambda: b"",
    ) -> None:
        self._client: Any = client
        self._seconds = seconds
        self._news = news
        self._deadline = Deadline(clock, self.tell)
        self._deadline.set(seconds)

    @property
    def channel(self) -> Any:
        """As the client's: ``None`` once it is gone."""
        return getattr(self._client, "channel", self)

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Let the client pause the producer."""
        self._client.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The producer is done."""
        self._client.unregisterProducer()

    def write(self, data: bytes) -> None:
        """Write."""
        self._client.write(data)
        self._deadline.set(self._seconds)

    def stop(self) -> None:
        """Write nothing more by itself.  Harmless when repeated."""
        self._deadline.close()

    def tell(self) -> None:
        """Write a comment now."""
        self.write(self._news() or _COMMENT)

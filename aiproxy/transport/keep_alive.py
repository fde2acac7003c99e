"""Comments to a client that waits for a stream: proxies between us close what is silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IConsumer, IReactorTime

from aiproxy.transport.deadline import Deadline
from aiproxy.transport.wrapped_client import WrappedClient

__all__ = ["KeepAlive"]

#: A comment: clients of server-sent events pass over it (WHATWG HTML, "Server-sent events").
_COMMENT: Final = b": keep-alive\n\n"


class KeepAlive(WrappedClient):
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
        super().__init__(client)
        self._seconds = seconds
        self._news = news
        self._deadline = Deadline(clock, self.tell)
        self._deadline.set(seconds)

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

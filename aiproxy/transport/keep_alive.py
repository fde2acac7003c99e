"""Comments to a client that waits for a stream: proxies between us close what is silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IConsumer

from aiproxy.transport.timeout_queue import TimeoutQueue
from aiproxy.transport.wrapped_client import WrappedClient
from aiproxy.wire.sse import write_comment

__all__ = ["KeepAlive"]

#: A comment: clients of server-sent events pass over it (WHATWG HTML, "Server-sent events").
_COMMENT: Final = write_comment("keep-alive")


class KeepAlive(WrappedClient):
    """
    A client as a consumer, to whom something is written at least every so many seconds.

    Each write must be whole events.

    :param queue: of those to whom a comment is written after the same silence.
    :param news: returns comments to be written in its place, if there are any.
    """

    def __init__(
        self,
        client: IConsumer,
        queue: TimeoutQueue,
        news: Callable[[], bytes] = lambda: b"",
    ) -> None:
        super().__init__(client)
        self._news = news
        self._queue = queue
        self._stopped = False
        queue.add(self)

    def write(self, data: bytes) -> None:
        """Write."""
        self._client.write(data)
        if not self._stopped:
            self._queue.add(self)

    def stop(self) -> None:
        """Write nothing more by itself.  Harmless when repeated."""
        self._stopped = True
        self._queue.discard(self)

    def expire(self) -> None:
        """There was nothing for long enough."""
        self.tell()

    def tell(self) -> None:
        """Write a comment now."""
        self.write(self._news() or _COMMENT)

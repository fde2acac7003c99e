"""A client as a consumer, for who looks at what it is written."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IConsumer, IProducer
from zope.interface import implementer

__all__ = ["WrappedClient"]


@implementer(IConsumer)
class WrappedClient:
    """Passes everything on; its heirs see each write."""

    def __init__(self, client: IConsumer) -> None:
        self._client: Any = client

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

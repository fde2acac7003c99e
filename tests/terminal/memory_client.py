"""A client whose answers a test gives, for whoever asks through it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from aiproxy.interfaces import IBodyConsumer
from aiproxy.transport.client import UpstreamResponse

DONE = b"data: [DONE]\n\n"


def write_delta(text: str, **more: object) -> bytes:
    """Write an event with a piece of text."""
    chunk = {"choices": [{"index": 0, "delta": {"content": text}}], **more}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@implementer(IPushProducer)
class MemoryRequest:
    """
    One request, and the answer to it.

    :ivar closed: who asked has broken it off.
    """

    def __init__(self, url: str, headers: Mapping[str, str], body: bytes) -> None:
        self.url = url
        self.request_headers = headers
        self.body: dict[str, Any] = json.loads(body)
        self.closed = False
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.consumer: IBodyConsumer
        self.asked: Deferred[UpstreamResponse] = Deferred(lambda _: self.stopProducing())

    @property
    def prompt(self) -> str:
        """What was asked."""
        text: str = self.body["messages"][0]["content"]
        return text

    def begin(self, status: int = 200) -> None:
        """Send the head."""
        self.status = status
        self.asked.callback(self)

    def send(self, data: bytes) -> None:
        """Send some of the body."""
        self.consumer.received(data)

    def end(self) -> None:
        """End the body."""
        self.consumer.finished()

    def answer(self, body: bytes = write_delta("hi") + DONE, status: int = 200) -> None:
        """Send all of it."""
        self.begin(status)
        self.send(body)
        self.end()

    def deliver(self, consumer: IBodyConsumer) -> None:
        self.consumer = consumer
        consumer.begin(self)

    def abandon(self) -> None:
        self.stopProducing()

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def stopProducing(self) -> None:
        self.closed = True


class MemoryClient:
    """
    Keeps what it is asked.

    :param error: what every request fails with at once.
    :ivar taken: called with each request.
    """

    taken: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self, error: Exception | None = None) -> None:
        self.requests: list[MemoryRequest] = []
        self._error = error

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        connected: Callable[[], None],
        sent: Callable[[], None],
    ) -> Deferred[UpstreamResponse]:
        """Take one."""
        assert method == "POST"
        request = MemoryRequest(url, headers, body)
        self.requests.append(request)
        self.taken()
        if self._error is not None:
            return fail(self._error)
        connected()
        sent()
        return request.asked

"""What a load asks, of whom, and how often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from aiproxy.transport.client import UpstreamResponse
from aiproxy.wire.json import dumps

__all__ = ["Client", "Plan", "Target"]


class Client(Protocol):
    """Who sends requests: :class:`~aiproxy.transport.client.UpstreamClient`."""

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
        """Send one; fire with the answer's head, fail with our errors, close when cancelled."""


@frozen
class Target:
    """
    What is asked.

    :param url: of chat completions.
    """

    url: str
    headers: Mapping[str, str]
    model: str
    prompt: str
    stream: bool = True
    max_tokens: int | None = None

    def write(self, number: int) -> bytes:
        """Write a body.  The number begins the prompt, so that no cache has any of it."""
        text = f"Request {number}. {self.prompt}"
        messages = [{"role": "user", "content": text}]
        body: dict[str, Any] = {"model": self.model, "messages": messages}
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        if self.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return dumps(body)


@frozen
class Plan:
    """
    How often it is asked, until both bounds' first.

    :param requests: so many; ``None``: until the time is over.
    :param seconds: none is started after that; those on their way are waited for.
    :param connections: of a closed loop.
    :param rate: requests a second of an open loop; ``None``: a closed one.
    :param timeout: seconds for an answer to end.
    """

    requests: int | None = None
    seconds: float | None = None
    connections: int = 1
    rate: float | None = None
    timeout: float = 60.0

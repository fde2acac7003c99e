"""
The client's side of Anthropic's messages, to models of Anthropic's.

Source: Anthropic API reference, "Messages", "Count tokens", "Errors" and
"Streaming messages": a stream that breaks off says so with ``event: error``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from attrs import frozen

from aiproxy.dialects.json_splice import replace_string
from aiproxy.dialects.operations import MESSAGES
from aiproxy.dialects.raw_face import RawFace, RawStreamWriter, rename_event
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import AIProxyError
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import write_event

__all__ = ["MessagesFace", "MessagesStreamWriter", "describe_error"]

_TYPES: Final = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}

#: What ends an event; the last one of a body may be without.
_BLANK_LINES: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")
_STOP: Final = b"event: message_stop\n" + write_event(dumps({"type": "message_stop"}))


def describe_error(error: AIProxyError) -> dict[str, Any]:
    """Return Anthropic's error object."""
    overloaded = getattr(error, "upstream_status", None) == 529
    other = "api_error" if error.status >= 500 else "invalid_request_error"
    kind = "overloaded_error" if overloaded else _TYPES.get(error.status, other)
    return {"type": "error", "error": {"type": kind, "message": error.message}}


class MessagesStreamWriter(RawStreamWriter):
    """
    Writes one streamed answer, under the configured name of its model.

    Where the upstream has left out its end, behind a stop reason, it gets one.
    """

    def __init__(self, model: str) -> None:
        super().__init__(model)
        self._last = b""

    def end(self) -> bytes:
        """End the answer, if the upstream's own end has not passed."""
        if not self._last or b"message_stop" in self._last:
            return b""
        return _STOP if self._last.endswith(_BLANK_LINES) else b"\n\n" + _STOP

    def rename(self, data: bytes, *, events: bool) -> bytes:
        """Put the configured name of the model into the first event."""
        if not events:
            return replace_string(data, self.model, "model")
        self._last = data
        return rename_event(data, self.model, "message") if b"message_start" in data else data

    def write_error(self, error: AIProxyError) -> bytes:
        """Write an error among events."""
        return b"event: error\n" + write_event(dumps(describe_error(error)))


@frozen
class MessagesFace(RawFace):
    """See the module."""

    passed_headers: ClassVar[tuple[str, ...]] = ("anthropic-version", "anthropic-beta")
    passed_query: ClassVar[tuple[str, ...]] = ("beta",)

    operation: str = MESSAGES
    route: str = "/messages"

    def stream_writer(
        self, request: ChatRequest, *, identity: str, created: int, model: str
    ) -> MessagesStreamWriter:
        """Make the writer for one streamed answer."""
        return MessagesStreamWriter(model)

    def rename_answer(self, body: bytes, model: str) -> bytes:
        """Put the configured name of the model in."""
        return replace_string(body, model, "model")

"""
The client's side of OpenAI's responses, to providers that have them.

A stream that breaks off ends in ``error`` and ``response.failed``, as OpenAI's
own do (recorded): some clients look at the one, some at the other.

Source: OpenAI API reference, "Responses" and its "Streaming events".
"""

from __future__ import annotations

import re
from typing import Any, Final

from attrs import frozen

from aiproxy.dialects.json_splice import replace_string
from aiproxy.dialects.operations import RESPONSES
from aiproxy.dialects.raw_face import RawFace, RawStreamWriter, rename_event
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import AIProxyError
from aiproxy.wire.json import JSONError, dumps, loads
from aiproxy.wire.sse import SSEDecoder, write_event

__all__ = ["ResponsesFace", "ResponsesStreamWriter"]

_NUMBER: Final = re.compile(rb'"sequence_number"\s*:\s*([0-9]{1,15})')


class ResponsesStreamWriter(RawStreamWriter):
    """Writes one streamed answer, under the configured name of its model."""

    def __init__(self, model: str, identity: str, created: int) -> None:
        super().__init__(model)
        self._response: dict[str, Any] = {
            "id": identity,
            "object": "response",
            "created_at": created,
            "model": model,
            "output": [],
        }
        #: The event that has told the response, and the last one.
        self._first = self._last = b""

    def rename(self, data: bytes, *, events: bool) -> bytes:
        """Put the configured name of the model into the events that have the whole response."""
        if not events:
            return replace_string(data, self.model, "model")
        data = rename_event(data, self.model, "response")
        self._first = self._first or (data if b'"response"' in data else b"")
        self._last = data
        return data

    def write_error(self, error: AIProxyError) -> bytes:
        """Write the two events of a failure."""
        told = error.envelope()["error"]
        number = self._last_number() + 1
        flat = {name: told[name] for name in ("code", "message", "param")}
        event = {"type": "error", **flat, "error": told, "sequence_number": number}
        failure = {"code": _code(error), "message": error.message}
        response = {**self._read_response(), "status": "failed", "error": failure}
        failed = {
            "type": "response.failed",
            "response": response,
            "sequence_number": number + 1,
        }
        return b"".join(
            f"event: {one['type']}\n".encode() + write_event(dumps(one)) for one in (event, failed)
        )

    def _last_number(self) -> int:
        numbers = _NUMBER.findall(self._last)
        return int(numbers[-1]) if numbers else -1

    def _read_response(self) -> dict[str, Any]:
        """Return the response as its first event has told it."""
        for event in SSEDecoder(len(self._first) + 1).feed(self._first):
            try:
                document = loads(event.data)
            except JSONError:
                continue
            response = document.get("response") if isinstance(document, dict) else None
            if isinstance(response, dict):
                return response
        return self._response


def _code(error: AIProxyError) -> str:
    """Return a code, which clients go by; a number is only a status again."""
    return error.code if isinstance(error.code, str) else "server_error"


@frozen
class ResponsesFace(RawFace):
    """See the module."""

    operation: str = RESPONSES
    route: str = "/responses"

    def stream_writer(
        self, request: ChatRequest, *, identity: str, created: int, model: str
    ) -> ResponsesStreamWriter:
        """Make the writer for one streamed answer."""
        return ResponsesStreamWriter(model, identity, created)

    def rename_answer(self, body: bytes, model: str) -> bytes:
        """Put the configured name of the model in."""
        return replace_string(body, model, "model")

"""
What a face is: the dialect that a client speaks to us.

It is the mirror of :mod:`aiproxy.dialects.dialect`; both meet in the hub's
JSON.  What a face writes is bytes for the client, an error and the end
included, so that nobody above it knows how its client is told.
"""

from __future__ import annotations

from itertools import product
from typing import Any, Final, Protocol

from attrs import define

from aiproxy.dialects.shapes import ChatAnswer, ChatChunk, ChatRequest
from aiproxy.errors import AIProxyError, InvalidRequest
from aiproxy.wire.json import MAX_DEPTH, JSONError, loads

__all__ = ["Face", "StreamWriter", "WrittenAnswer", "read_object"]

#: In other cases: Go's JSON takes each of them for the field, and the last one counts.
_OTHER_MODELS: Final = frozenset(map("".join, product(*zip("model", "MODEL", strict=True)))) - {
    "model"
}


@define
class WrittenAnswer:
    """A whole answer, ready for the client."""

    body: bytes
    content_type: str = "application/json"


class StreamWriter(Protocol):
    """Writes one streamed answer."""

    #: Of the answer.
    @property
    def content_type(self) -> str: ...

    def write(self, chunk: ChatChunk) -> bytes:
        """Write a chunk, which may be changed."""

    def end(self) -> bytes:
        """Write the end of a whole answer."""

    def fail(self, error: AIProxyError) -> bytes:
        """Write the end of an answer that is not whole."""


class Face(Protocol):
    """How a client speaks."""

    #: What it asks for, of :mod:`aiproxy.dialects.operations`.
    @property
    def operation(self) -> str: ...

    def read_request(self, body: bytes) -> ChatRequest:
        """
        Read a request: an object with ``model``, and ``stream`` where a stream is wanted.

        :raises InvalidRequest: with the field at fault.
        """

    def stream_writer(
        self, request: ChatRequest, *, identity: str, created: int, model: str
    ) -> StreamWriter:
        """
        Make the writer for one streamed answer.

        :param identity: the answer's id where the upstream gives none.
        :param created: seconds since the epoch, where the upstream gives none.
        :param model: the configured name of the model that answers.
        """

    def write_answer(
        self, answer: ChatAnswer, *, identity: str, created: int, model: str
    ) -> WrittenAnswer:
        """Write a whole answer; the parameters are those of :meth:`stream_writer`."""


def read_object(body: bytes) -> dict[str, Any]:
    """
    Read a request's body as a JSON object.

    :raises InvalidRequest: it is none.
    """
    if not body or body.isspace():
        raise InvalidRequest(
            "the request body is empty: a JSON object is expected", code="empty_body"
        )
    try:
        request = loads(body, max_depth=MAX_DEPTH)
    except JSONError as problem:
        raise InvalidRequest(
            f"the request body cannot be read: {problem}", code="invalid_json"
        ) from None
    if not isinstance(request, dict):
        raise InvalidRequest("the request body must be a JSON object", code="invalid_type")
    if not _OTHER_MODELS.isdisjoint(request):
        raise InvalidRequest("the field model is written in lower case", param="model")
    return request

"""
The client's side of OpenAI's chat completions: read its request, write its answer.

A *face* is the dialect that a client speaks to us, as a dialect is what we
speak to a provider; both meet in the hub's JSON.  Other faces (Anthropic's
messages, OpenAI's responses) are further modules like this one.
"""

from __future__ import annotations

from types import NoneType
from typing import Any, Final

from aiproxy.dialects.face import WrittenAnswer, read_object
from aiproxy.dialects.operations import CHAT
from aiproxy.dialects.refusals import missing, wrong_type
from aiproxy.dialects.shapes import LONGEST_ID, ChatAnswer, ChatChunk, ChatRequest
from aiproxy.errors import AIProxyError
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import DONE, write_event

__all__ = ["OpenAIFace", "OpenAIStreamWriter"]

_SWITCH: Final = (bool, NoneType)
_OBJECT: Final = (dict, NoneType)
_LIST: Final = (list, NoneType)


class OpenAIFace:
    """See the module."""

    operation = CHAT

    def read_request(self, body: bytes) -> ChatRequest:
        """
        Read a chat request.  Only what the gateway itself relies on is checked;
        the rest is between the client and the provider.

        :raises InvalidRequest: with the field at fault in ``param``.
        """
        request = read_object(body)
        _check(request)
        return request

    def stream_writer(
        self, request: ChatRequest, *, identity: str, created: int, model: str
    ) -> OpenAIStreamWriter:
        """
        Make the writer for one streamed answer.

        :param identity: the id where the upstream gives none.
        :param created: seconds since the epoch, where the upstream gives none.
        :param model: the configured name of the model that answers.
        """
        options = request.get("stream_options") or {}
        return OpenAIStreamWriter(
            identity=identity,
            created=created,
            model=model,
            tells_usage=options.get("include_usage") is True,
        )

    def write_answer(
        self, answer: ChatAnswer, *, identity: str, created: int, model: str
    ) -> WrittenAnswer:
        """Write a whole answer; the parameters are as in :meth:`stream_writer`."""
        frame = {
            "id": _identity(answer, identity),
            "object": "chat.completion",
            "created": _created(answer, created),
            "model": model,
        }
        return WrittenAnswer(dumps({**frame, **answer, **frame}))


class OpenAIStreamWriter:
    """Writes one streamed answer, event by event: one identity throughout."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, *, identity: str, created: int, model: str, tells_usage: bool) -> None:
        self._identity = identity
        self._created = created
        self._model = model
        self._tells_usage = tells_usage
        #: What is the same in each chunk; known with the first.
        self._frame: dict[str, Any] = {}

    def write(self, chunk: ChatChunk) -> bytes:
        """Write a chunk, which is changed; ``b""`` for usage that nobody asked for."""
        if not self._tells_usage and chunk.pop("usage", None) is not None and not chunk["choices"]:
            return b""
        if not self._frame:
            self._frame = {
                "id": _identity(chunk, self._identity),
                "object": "chat.completion.chunk",
                "created": _created(chunk, self._created),
                "model": self._model,
            }
        # Twice: first for the order of the fields, then for their values.
        return b"data: %b\n\n" % dumps({**self._frame, **chunk, **self._frame})

    def end(self) -> bytes:
        """Write the end of a whole answer."""
        return DONE

    def fail(self, error: AIProxyError) -> bytes:
        """Write the end of an answer that is not whole: SDKs raise on it."""
        return write_event(dumps(error.envelope()))


def _identity(document: dict[str, Any], made: str) -> str:
    told = document.get("id")
    return told if isinstance(told, str) and 0 < len(told) <= LONGEST_ID else made


def _created(document: dict[str, Any], now: int) -> int:
    told = document.get("created")
    # Azure writes 0 in the chunk before the first.
    return told if isinstance(told, int) and not isinstance(told, bool) and told > 0 else now


def _check(request: ChatRequest) -> None:
    """Check the fields that the gateway itself relies on."""
    model = request.get("model")
    if model is None or model == "":
        raise missing("model", "a model is required")
    if not isinstance(model, str):
        raise wrong_type("model", "a string")
    messages = request.get("messages")
    if messages is None:
        raise missing("messages", "messages are required")
    if not isinstance(messages, list):
        raise wrong_type("messages", "a list of messages")
    if not messages:
        raise missing("messages", "at least one message is required")
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            raise wrong_type(f"messages[{place}]", "an object")
        if not isinstance(message.get("role"), str):
            raise wrong_type(f"messages[{place}].role", "a string")
    if not isinstance(request.get("stream", False), _SWITCH):
        raise wrong_type("stream", "true or false")
    if not isinstance(request.get("stream_options"), _OBJECT):
        raise wrong_type("stream_options", "an object")
    if not isinstance(request.get("tools"), _LIST):
        raise wrong_type("tools", "a list of tools")
    n = request.get("n")
    if n is not None and (not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= 128):
        raise wrong_type("n", "a whole number from 1 to 128")

"""
Cohere, as it speaks itself: ``/v2/chat``.

Plain answers are one JSON object, streams named events that end with
``[DONE]`` (recorded); an event's type stands in its JSON too, so that the
machine that reads OpenAI's streams reads them, translated one by one.

Source: Cohere API reference, v2, "Chat" and "Chat with Streaming".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

from aiproxy.dialects.answers import load_answer, settle_answer
from aiproxy.dialects.cohere_answer import AnswerTranslator
from aiproxy.dialects.cohere_request import RequestWriter
from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest
from aiproxy.errors import (
    ContentRefused,
    UpstreamError,
    UpstreamModelNotFound,
    UpstreamRefused,
)
from aiproxy.wire.json import dumps

__all__ = ["CohereDialect"]

#: What a status means here where the words do not say: a model that "was removed"
#: (recorded), and a token on the deny list, in the request or in the answer.
_KINDS: Final[Mapping[int, type[UpstreamError]]] = {
    404: UpstreamModelNotFound,
    498: ContentRefused,
}


@frozen
class CohereDialect:
    """
    See :class:`aiproxy.dialects.dialect.Dialect`.

    :param one_call: of an answer, only the first call counts
        (``parallel_tool_calls: false``).
    """

    one_call: bool = False

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write a chat request."""
        writer = RequestWriter(model)
        body = {**writer.write(request), "model": model, "stream": stream}
        one_call = request.get("parallel_tool_calls") is False
        return WireRequest(
            "/chat",
            dumps(body),
            {"content-type": "application/json"},
            dropped=tuple(sorted(writer.dropped)),
            reader=CohereDialect(one_call=True) if one_call else None,
        )

    def read_reply(self, body: bytes) -> ChatAnswer:
        """Read a whole answer."""
        answer = load_answer(body)
        if isinstance(answer, dict):
            answer = AnswerTranslator(one_call=self.one_call).answer(answer)
        return settle_answer(answer)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status: ``{"id", "message"}`` (recorded)."""
        error = judge(status, read_facts(body), headers)
        if type(error) is not UpstreamRefused or status not in _KINDS:
            return error
        meant = _KINDS[status](error.message)
        meant.upstream_status = status
        return meant

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """Make a reader for one streamed answer."""
        return OpenAIStreamReader(
            choices=choices,
            max_event_bytes=max_event_bytes,
            translate=AnswerTranslator(one_call=self.one_call).chunk,
        )

    def locate(self, url: str, wire: WireRequest) -> str:
        """The URL is the whole one."""
        return url

    def wants_images(self, request: ChatRequest, *, model: str) -> bool:
        """Cohere fetches images by itself (recorded)."""
        return False

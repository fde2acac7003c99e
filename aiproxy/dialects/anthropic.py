"""
Anthropic's Messages API.

Events go through the machine that reads OpenAI's streams, translated one by
one; there is no ``[DONE]``, and a stream that breaks off says so with
``event: error`` (recorded).

Source: Anthropic API reference, "Messages", version 2023-06-01.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import field, frozen

from aiproxy.dialects.answers import load_answer, settle_answer
from aiproxy.dialects.anthropic_answer import AnswerTranslator
from aiproxy.dialects.anthropic_request import RequestWriter
from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest
from aiproxy.dialects.signatures import SignatureMemory
from aiproxy.errors import UpstreamError
from aiproxy.wire.json import dumps, loads

__all__ = ["AnthropicDialect"]

_ROUTE: Final = "/messages"
_HEADERS: Final = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
#: Files by their id are still in beta (API reference, "Files API").
_FILES_BETA: Final = {"anthropic-beta": "files-api-2025-04-14"}
#: Under this name thinking blocks are remembered, beside the calls' own: no function has it.
_THINKING: Final = "anthropic/thinking"


@frozen
class AnthropicDialect:
    """
    See :class:`aiproxy.dialects.dialect.Dialect`.

    :param memory: what models have thought before they called a tool.
    """

    memory: SignatureMemory = field(factory=SignatureMemory)

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write a chat request."""
        writer = RequestWriter(model, self._recall)
        body = writer.write(request)
        if stream:
            body["stream"] = True
        return WireRequest(
            _ROUTE,
            dumps(body),
            {**_HEADERS, **_FILES_BETA} if writer.names_files else _HEADERS,
            dropped=tuple(sorted(writer.dropped)),
        )

    def read_reply(self, body: bytes) -> ChatAnswer:
        """Read a whole answer."""
        answer = load_answer(body)
        if isinstance(answer, dict) and isinstance(answer.get("content"), list):
            answer = AnswerTranslator(self._note).answer(answer)
        return settle_answer(answer)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status; a 503 may be plain text (recorded)."""
        return judge(status, read_facts(body), headers)

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """Make a reader for one streamed answer."""
        translator = AnswerTranslator(self._note, most_held=max_event_bytes)
        return OpenAIStreamReader(
            choices=choices,
            max_event_bytes=max_event_bytes,
            translate=translator.chunk,
            follow=translator.follow,
        )

    def locate(self, url: str, wire: WireRequest) -> str:
        """Append to a URL what it lacks of ``/messages``."""
        parts = urlsplit(url)
        path = parts.path.rstrip("/").removesuffix(_ROUTE)
        return parts._replace(path=path + _ROUTE).geturl()

    def wants_images(self, request: ChatRequest, *, model: str) -> bool:
        """Anthropic fetches images by itself."""
        return False

    def _note(self, call_id: str, extra: dict[str, Any]) -> None:
        self.memory.note(call_id, _THINKING, dumps(extra).decode())

    def _recall(self, call_id: str) -> dict[str, Any]:
        noted = self.memory.find(call_id, _THINKING)
        extra: dict[str, Any] = {} if noted is None else loads(noted.encode())
        return extra

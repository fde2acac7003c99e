"""
Google's Gemini, as it speaks itself: ``generateContent`` and ``streamGenerateContent``.

Events go through the machine that reads OpenAI's streams, translated one by
one; there is no ``[DONE]``, and errors come as plain JSON that calls itself an
event stream (recorded).

Source: Gemini API reference, v1beta.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from attrs import field, frozen

from aiproxy.dialects.answers import load_answer, settle_answer
from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.gemini_answer import AnswerTranslator, join_answers, write_usage
from aiproxy.dialects.gemini_request import GeminiModel, RequestWriter
from aiproxy.dialects.model_paths import quote_model
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import holds_error, read_facts
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.parts import image_links
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest
from aiproxy.dialects.signatures import SignatureMemory
from aiproxy.errors import UpstreamError
from aiproxy.wire.json import dumps

__all__ = ["GeminiDialect"]

_PLAIN = ":generateContent"
_STREAM = ":streamGenerateContent"


@frozen
class GeminiDialect:
    """
    See :class:`aiproxy.dialects.dialect.Dialect`.

    :param memory: signatures of the calls that models have made.
    :param one_call: of an answer, only the first call counts
        (``parallel_tool_calls: false``).
    """

    memory: SignatureMemory = field(factory=SignatureMemory)
    one_call: bool = False

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write a chat request."""
        writer = RequestWriter(GeminiModel(model), self.memory.find)
        body = writer.write(request)
        name = model.removeprefix("models/")
        where = quote_model(name if "/" in name else f"models/{name}", safe="/@:")
        one_call = request.get("parallel_tool_calls") is False
        return WireRequest(
            f"/{where}{_STREAM}?alt=sse" if stream else f"/{where}{_PLAIN}",
            dumps(body),
            {"content-type": "application/json"},
            dropped=tuple(sorted(writer.dropped)),
            reader=GeminiDialect(self.memory, one_call=True) if one_call else None,
        )

    def read_reply(self, body: bytes) -> ChatAnswer:
        """Read a whole answer, or a stream that came as one JSON array."""
        answer = load_answer(body)
        if isinstance(answer, list):
            for document in filter(holds_error, answer):
                raise judge(None, read_facts(document))
            answer = join_answers(answer)
        if isinstance(answer, dict):
            answer = self._translator().answer(answer)
        return settle_answer(answer)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status; a 400 may mean a bad key (recorded)."""
        return judge(status, read_facts(body), headers)

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """Make a reader for one streamed answer."""
        translator = self._translator()
        return OpenAIStreamReader(
            choices=choices,
            max_event_bytes=max_event_bytes,
            translate=translator.chunk,
            write_usage=write_usage,
            follow=translator.follow,
            recount=translator.recount,
            usage_name="usageMetadata",
            rest=translator.rest,
        )

    def locate(self, url: str, wire: WireRequest) -> str:
        """
        Append to a URL what it lacks of ``/models/MODEL:METHOD``, and put its
        method right: the Go proxy's configurations name only one.
        """
        parts = urlsplit(url)
        route, _, query = wire.route.partition("?")
        folder, _, method = route.rpartition(":")
        path = parts.path.rstrip("/")
        for known in (_STREAM, _PLAIN):
            path = path.removesuffix(known)
        *_, before, last = ("", "", *path.split("/"))
        if last == "models":
            path += folder.removeprefix("/models")
        elif before not in ("models", "tunedModels"):
            path += folder
        kept = [pair for pair in parts.query.split("&") if pair and not pair.startswith("alt=")]
        return parts._replace(
            path=f"{path}:{method}", query="&".join([*kept, *([query] if query else [])])
        ).geturl()

    def wants_images(self, request: ChatRequest, *, model: str) -> bool:
        """Models before 2.5 fetch nothing from the web."""
        return not GeminiModel(model).fetches and bool(image_links(request))

    def _translator(self) -> AnswerTranslator:
        return AnswerTranslator(self.memory.note, one_call=self.one_call)

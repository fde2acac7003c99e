"""
OpenAI's chat completions, as OpenAI and the many compatible providers write them.

The hub speaks the same language, so most of a request and of an answer passes
untouched.  What is changed in requests stands in :mod:`aiproxy.dialects.quirks`
and :mod:`aiproxy.dialects.openai_request`, what in answers in
:mod:`aiproxy.dialects.openai_repairs`.

Source: OpenAI API reference, "Create chat completion" and "The chat completion
chunk object"; how providers differ from it is known from recorded traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from attrs import Factory, frozen

from aiproxy.dialects.answers import load_answer, settle_answer
from aiproxy.dialects.dialect import AnswerReader, StreamReader, WireRequest
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.openai_request import fit_request
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.parts import image_links
from aiproxy.dialects.quirks import Quirks
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest
from aiproxy.dialects.stop_words import StopReader, cut_answer, stops_of
from aiproxy.errors import AIProxyError, UpstreamError
from aiproxy.wire.json import dumps

__all__ = ["OpenAIDialect"]

_HEADERS: Mapping[str, str] = {"content-type": "application/json"}


@frozen
class OpenAIDialect:
    """
    See :class:`aiproxy.dialects.dialect.Dialect`.

    :param asks_usage: whether streams are asked for usage
        (``stream_options.include_usage``); some compatible servers refuse
        the question.
    :param quirks: in what the provider's requests differ.
    """

    asks_usage: bool = True
    quirks: Quirks = Factory(Quirks)

    def at(self, where: str, api_version: str | None = None) -> Self:
        """
        Give the dialect as it is spoken at one place.

        :param where: the URL, the base URL or the whole one.
        :param api_version: the ``api-version`` that is configured for it (Azure).
        """
        return self

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write the caller's request with the upstream's model name."""
        body = {**request, "model": model, "stream": stream}
        options = body.pop("stream_options", None)
        dropped: tuple[str, ...] = ()
        if stream:
            options = dict(options) if isinstance(options, Mapping) else {}
            options.pop("include_usage", None)
            if self.quirks.usage_unasked:
                dropped = tuple(f"stream_options.{name}" for name in options if options[name])
                options = {}
            elif self.asks_usage:
                options["include_usage"] = True
            if options:
                body["stream_options"] = options
        dropped += fit_request(body, self.quirks, model)
        reader: AnswerReader | None = None
        if self.quirks.cuts_for is not None and self.quirks.cuts_for.match(model):
            body.pop("stop", None)
            stops = stops_of(request)
            reader = _CuttingReader(self, stops) if stops else None
        return WireRequest("/chat/completions", dumps(body), _HEADERS, dropped, reader)

    def read_reply(self, body: bytes) -> ChatAnswer:
        """Read a whole answer; an error inside a 200 is raised as what it stands for."""
        return settle_answer(load_answer(body))

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status."""
        return judge(status, read_facts(body), headers)

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """Make a reader for one streamed answer."""
        return OpenAIStreamReader(choices=choices, max_event_bytes=max_event_bytes)

    def locate(self, url: str, wire: WireRequest) -> str:
        """The URL is the whole one."""
        return url

    def wants_images(self, request: ChatRequest, *, model: str) -> bool:
        """Most providers fetch images by themselves."""
        return not self.quirks.fetches_images and bool(image_links(request))


@frozen
class _CuttingReader:
    """Reads as another one does, and ends the answer before its first stop sequence."""

    reader: AnswerReader
    stops: tuple[str, ...]

    def read_reply(self, body: bytes) -> ChatAnswer:
        answer = self.reader.read_reply(body)
        cut_answer(answer, self.stops)
        return answer

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> AIProxyError:
        return self.reader.read_error(status, headers, body)

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        reader = self.reader.stream_reader(choices=choices, max_event_bytes=max_event_bytes)
        return StopReader(reader, self.stops, choices=choices)

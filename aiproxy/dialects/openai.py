"""
OpenAI's chat completions, as OpenAI and the many compatible providers write them.

The hub speaks the same language, so most of a request and of an answer passes
untouched.  What is changed is listed in :mod:`aiproxy.dialects.openai_repairs`.

Source: OpenAI API reference, "Create chat completion" and "The chat completion
chunk object"; how providers differ from it is known from recorded traffic.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from aiproxy.dialects.answers import load_answer, settle_answer
from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest
from aiproxy.errors import UpstreamError
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
    """

    asks_usage: bool = True

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write the caller's request with the upstream's model name."""
        body = {**request, "model": model, "stream": stream}
        options = body.pop("stream_options", None)
        if stream:
            options = dict(options) if isinstance(options, Mapping) else {}
            options.pop("include_usage", None)
            if self.asks_usage:
                options["include_usage"] = True
            if options:
                body["stream_options"] = options
        return WireRequest("/chat/completions", dumps(body), _HEADERS)

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
        """The providers fetch images by themselves."""
        return False

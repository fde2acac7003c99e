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

from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.openai_errors import judge, judge_choice
from aiproxy.dialects.openai_facts import holds_error, read_facts
from aiproxy.dialects.openai_repairs import find_usage, repair_choice
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest, says_something
from aiproxy.errors import UpstreamError, UpstreamFailed
from aiproxy.wire.json import JSONError, dumps, loads

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
        try:
            answer = loads(body)
        except JSONError as problem:
            what = "empty" if not body or body.isspace() else "not JSON"
            raise UpstreamFailed(f"the upstream's answer is {what}") from problem
        if holds_error(answer):
            raise judge(None, read_facts(answer))
        if not isinstance(answer, dict):
            raise UpstreamFailed("the upstream's answer is not a JSON object")
        choices = answer.get("choices")
        if not isinstance(choices, list) or not choices:
            raise UpstreamFailed("the upstream's answer has no choices")
        for place, choice in enumerate(choices):
            _check(choice)
            repair_choice(choice, place, answer)
        usage = find_usage(answer)
        if usage is not None:
            answer["usage"] = usage
        answer["object"] = "chat.completion"
        return answer

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status."""
        return judge(status, read_facts(body), headers)

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """Make a reader for one streamed answer."""
        return OpenAIStreamReader(choices=choices, max_event_bytes=max_event_bytes)


def _check(choice: object) -> None:
    """Refuse a choice that is none: an error of its own (OpenRouter), no message, nothing said."""
    if not isinstance(choice, dict):
        raise UpstreamFailed("the upstream's answer has a choice that is not an object")
    error = judge_choice(choice)
    if error is not None:
        raise error
    message = choice.get("message")
    if not isinstance(message, dict):
        raise UpstreamFailed("the upstream's answer has a choice without a message")
    if not choice.get("finish_reason") and not says_something(message):
        raise UpstreamFailed("the upstream's answer is empty")

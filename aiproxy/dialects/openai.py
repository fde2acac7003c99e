"""
OpenAI's chat completions, as OpenAI and the many compatible providers write them.

The hub speaks the same language, so most of a request and of an answer passes
untouched.  What is changed in requests stands in :mod:`aiproxy.dialects.quirks`,
what in answers in :mod:`aiproxy.dialects.openai_repairs`.

Source: OpenAI API reference, "Create chat completion" and "The chat completion
chunk object"; how providers differ from it is known from recorded traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import Factory, frozen

from aiproxy.dialects.answers import load_answer, settle_answer
from aiproxy.dialects.dialect import AnswerReader, StreamReader, WireRequest
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.quirks import Quirks
from aiproxy.dialects.shapes import ChatAnswer, ChatRequest
from aiproxy.dialects.stop_words import StopReader, cut_answer, stops_of
from aiproxy.errors import AIProxyError, InvalidRequest, UpstreamError
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
        dropped = _fit(body, self.quirks, model)
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
        """The providers fetch images by themselves."""
        return False


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


# --- quirks -----------------------------------------------------------------------


def _fit(body: dict[str, Any], quirks: Quirks, model: str) -> tuple[str, ...]:
    """
    Make of a request what the provider takes, in place.

    What stands in it is not changed, but replaced: it is the caller's.

    :returns: the names of what had to be left out.
    """
    n = body.get("n")
    if quirks.one_choice and isinstance(n, int) and n != 1:
        raise InvalidRequest("this model's provider gives one choice only: n must be 1", param="n")
    dropped = _drop(body, quirks.drops)
    for kept, other in quirks.excludes:
        if body.get(kept) is not None and body.pop(other, None) is not None:
            dropped.append(other)
    if quirks.renames_for is None or quirks.renames_for.match(model):
        dropped += _rename(body, quirks.renames)
    effort = body.get("reasoning_effort")
    if effort is not None and quirks.nests_effort:
        del body["reasoning_effort"]
        body["reasoning"] = {"effort": effort}
    elif effort is not None and quirks.parses_for is not None and quirks.parses_for.match(model):
        told = (body.get(name) for name in ("reasoning_format", "include_reasoning"))
        if all(value is None for value in told):
            body["reasoning_format"] = "parsed"
    messages = body.get("messages")
    if isinstance(messages, list):
        fitted = []
        for message in messages:
            message, names = _fit_message(message, quirks)
            fitted.append(message)
            dropped += (f"messages[].{name}" for name in names)
        body["messages"] = fitted
    return tuple(dict.fromkeys(dropped))


def _fit_message(message: Any, quirks: Quirks) -> tuple[Any, list[str]]:
    """Make of a message what the provider takes; with the names of what is left out."""
    if not isinstance(message, dict):
        return message, []
    message = _strip(message, quirks)
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        message["tool_calls"] = [_strip(call, quirks) for call in calls]
    return message, _drop(message, quirks.message_drops) + _rename(message, quirks.message_renames)


def _strip(source: Any, quirks: Quirks) -> Any:
    """Copy a message or a call, without what other providers have left in it for themselves."""
    if not isinstance(source, dict):
        return source
    copy = dict(source)
    extra = copy.pop("extra_content", None)
    if quirks.keeps_extra is not None and isinstance(extra, Mapping):
        extra = {name: extra[name] for name in quirks.keeps_extra if name in extra}
    if extra or (quirks.keeps_extra is None and "extra_content" in source):
        copy["extra_content"] = extra
    return copy


def _drop(target: dict[str, Any], names: tuple[str, ...]) -> list[str]:
    """Leave fields out, in place; give those that ask for anything."""
    return [name for name in names if target.pop(name, None)]


def _rename(target: dict[str, Any], names: Mapping[str, str]) -> list[str]:
    """Rename fields, in place; give those whose new name already says something else."""
    lost = []
    for old, new in names.items():
        value = target.pop(old, None)
        if value is None:
            continue
        if target.get(new) is None:
            target[new] = value
        elif target[new] != value:
            lost.append(old)
    return lost

"""
Cloudflare's own way to run a model: ``POST …/ai/run/@cf/…``.

Its classic models have a shape of their own, newer ones answer in OpenAI's;
both stand in an envelope: ``{"result": …, "success": true, "errors": [],
"messages": []}``, but not in streams.  The compatible route (``…/ai/v1``) is
:mod:`aiproxy.dialects.openai`'s.

Source: Cloudflare's documentation of Workers AI (REST API) and of AI Gateway
("Workers AI"); what streams look like is known from Cloudflare's own client
library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen

from aiproxy.dialects.answers import load_answer, settle_answer
from aiproxy.dialects.cloudflare_errors import judge_envelope
from aiproxy.dialects.cloudflare_request import answers_whole, write_body
from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.model_paths import quote_model
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.openai_repairs import made_call_id, repair_arguments
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.parts import image_links
from aiproxy.dialects.shapes import ChatAnswer, ChatChunk, ChatRequest, says_something
from aiproxy.dialects.stop_words import StopReader, cut_answer, stops_of
from aiproxy.errors import UpstreamError
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import Event
from aiproxy.wire.urls import join_url

__all__ = ["CloudflareDialect", "CloudflareReader"]

_HEADERS: Final = {"content-type": "application/json"}

#: How the path of a URL ends that does not name the model yet: Workers AI's, AI Gateway's.
_RUN_PATHS: Final = ("/ai/run", "/workers-ai", "/workers-ai/run")


@frozen
class CloudflareReader:
    """
    See :class:`aiproxy.dialects.dialect.AnswerReader`.

    :param stops: stop sequences, which Cloudflare does not know of.
    :param max_tokens: what was asked for: a classic model does not tell that
        its answer is cut there.
    :param seed: makes the ids of this answer's tool calls, which have none.
    """

    stops: tuple[str, ...] = ()
    max_tokens: int | None = None
    seed: str = ""

    def read_reply(self, body: bytes) -> ChatAnswer:
        """Read a whole answer; an error inside a 200 is raised as what it stands for."""
        error = judge_envelope(None, body)
        if error is not None:
            raise error
        answer = load_answer(body)
        if isinstance(answer, dict):
            answer = _unwrap(answer)
            if "choices" not in answer:
                answer = self._to_answer(answer)
            _repair_calls(answer, "message")
        answer = settle_answer(answer)
        cut_answer(answer, self.stops)
        return answer

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status."""
        error = judge_envelope(status, body, headers)
        return judge(status, read_facts(body), headers) if error is None else error

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """Make a reader for one streamed answer; there is one choice, whatever was asked for."""
        reader = _EnvelopeStreamReader(
            choices=1, max_event_bytes=max_event_bytes, translate=_Translator(self).translate
        )
        return StopReader(reader, self.stops) if self.stops else reader

    def call_id(self, number: int) -> str:
        """Make an id for one of the answer's tool calls."""
        return made_call_id({"id": self.seed}, 0, number)

    def is_cut(self, usage: object) -> bool:
        """Whether an answer with this usage ends because it has become too long."""
        told = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
        most = self.max_tokens
        return most is not None and isinstance(told, int) and told >= most

    def _to_answer(self, result: dict[str, Any]) -> ChatAnswer:
        """Turn a classic model's result into OpenAI's shape."""
        message: dict[str, Any] = {"content": _to_text(result.get("response"))}
        calls = [_to_call(call) for call in _calls(result)]
        for number, call in enumerate(calls):
            call.setdefault("id", self.call_id(number))
        if calls:
            message["tool_calls"] = calls
        reason = None
        if calls:
            reason = "tool_calls"
        elif self.is_cut(result.get("usage")):
            reason = "length"
        elif says_something(message):
            reason = "stop"
        answer: ChatAnswer = {"choices": [{"message": message, "finish_reason": reason}]}
        if "usage" in result:
            answer["usage"] = result["usage"]
        return answer


@frozen
class CloudflareDialect(CloudflareReader):
    """
    See :class:`aiproxy.dialects.dialect.Dialect`.

    :param default_max_tokens: what is asked for where the caller names no
        limit; Cloudflare's own default, 256, cuts most answers short.  With
        models of little context it may have to be less.
    """

    default_max_tokens: int = 2_048

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write the caller's request as a classic model takes it; newer ones take it too."""
        path = quote_model(model, safe="/@:")
        stream = stream and not answers_whole(request, model)
        body, dropped = write_body(request, stream=stream, max_tokens=self.default_max_tokens)
        written = dumps(body)
        most = body["max_tokens"]
        reader = CloudflareReader(
            stops=stops_of(request),
            max_tokens=most if isinstance(most, int) else None,
            # A conversation goes on, so no two of its requests are the same.
            seed=hashlib.sha256(written).hexdigest() if "tools" in body else "",
        )
        return WireRequest("/" + path, written, _HEADERS, dropped, reader)

    def locate(self, url: str, wire: WireRequest) -> str:
        """Append the model, where the URL does not name it yet."""
        ends = urlsplit(url).path.rstrip("/").endswith(_RUN_PATHS)
        return join_url(url, wire.route) if ends else url

    def wants_images(self, request: ChatRequest, *, model: str) -> bool:
        """Vision models take images as ``data:`` URLs only."""
        return bool(image_links(request))


# --- answers ----------------------------------------------------------------------


class _EnvelopeStreamReader(OpenAIStreamReader):
    """Reads a stream in which an error has the shape of an envelope's."""

    def _read_event(self, event: Event, chunks: list[ChatChunk]) -> None:
        # Few events are worth a second look.
        error = judge_envelope(None, event.data) if b'"error' in event.data else None
        if error is None:
            super()._read_event(event, chunks)
        else:
            self._fail(error)


class _Translator:
    """
    Turns a stream's events into chunks in OpenAI's shape.

    :param reader: whose stream it is.
    """

    def __init__(self, reader: CloudflareReader) -> None:
        self._reader = reader
        #: How many tool calls a classic model has made.
        self._called = 0

    def translate(self, event: dict[str, Any]) -> ChatChunk | None:
        """Translate one event's JSON."""
        chunk = _unwrap(event)
        if "choices" not in chunk:
            return self._to_chunk(chunk)
        # Padding, against who measures the events.
        chunk.pop("p", None)
        _repair_calls(chunk, "delta")
        return chunk

    def _to_chunk(self, event: dict[str, Any]) -> ChatChunk | None:
        """Translate a classic model's event."""
        delta: dict[str, Any] = {}
        text = _to_text(event.get("response"))
        if text:
            delta["content"] = text
        calls = [_to_call(call) for call in _calls(event)]
        for call in calls:
            if call["function"].get("name"):
                call.setdefault("id", self._reader.call_id(self._called))
                self._called += 1
        if calls:
            delta["tool_calls"] = calls
        usage = event.get("usage")
        if not delta and not usage:
            return None
        # The end is told by no other word.
        cut = not self._called and self._reader.is_cut(usage)
        choice = {"index": 0, "delta": delta, "finish_reason": "length" if cut else None}
        chunk: ChatChunk = {"choices": [choice]}
        return {**chunk, "usage": usage} if usage else chunk


def _unwrap(document: dict[str, Any]) -> dict[str, Any]:
    """Take what is meant out of the envelope."""
    result = document.get("result")
    return result if isinstance(result, dict) else document


def _to_text(value: object) -> str | None:
    """Write what stands in a text's place: JSON mode's object, a number for a token of digits."""
    return value if value is None or isinstance(value, str) else dumps(value).decode()


def _calls(holder: dict[str, Any]) -> list[dict[str, Any]]:
    """Give a message's or a delta's tool calls, without the one of nulls that ends them."""
    told = holder.get("tool_calls")
    calls = told if isinstance(told, list) else []
    return [call for call in calls if isinstance(call, dict) and not _is_null(call)]


def _is_null(call: dict[str, Any]) -> bool:
    function = call.get("function")
    sources = (call, function) if isinstance(function, dict) else (call,)
    return not any(source.get(name) for source in sources for name in ("id", "name", "arguments"))


def _to_call(call: dict[str, Any]) -> dict[str, Any]:
    """Write a tool call in OpenAI's shape: a classic model's is flat, arguments an object."""
    function = call.get("function")
    if not isinstance(function, dict):
        function = call
    written = {name: call[name] for name in ("index", "id") if call.get(name) is not None}
    named = {"name": function["name"]} if function.get("name") else {}
    arguments = repair_arguments(function.get("arguments"))
    return {**written, "type": "function", "function": {**named, "arguments": arguments}}


def _repair_calls(document: dict[str, Any], field: str) -> None:
    """
    Put tool calls that are flat, or of nulls, right, in place, in OpenAI's shape.

    :param field: ``message`` or ``delta``.
    """
    choices = document.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        holder = choice.get(field) if isinstance(choice, dict) else None
        if isinstance(holder, dict) and "tool_calls" in holder:
            holder["tool_calls"] = [
                call if "function" in call else _to_call(call) for call in _calls(holder)
            ]

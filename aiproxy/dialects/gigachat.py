"""
GigaChat's chat completions (v1), in OpenAI's shape on our side.

Its answers differ from OpenAI's in a few things.  There is no id; a call is a
``function_call`` whose arguments are an object, whole in one event of a stream.
What a call belongs to, ``functions_state_id``, has to come back with its
result: it is the tool call's id, and stands in ``extra_content.gigachat`` too,
for clients that keep all of a message.

Source: GigaChat API reference, "POST /chat/completions"; answers, streams and
the 404 are recorded, other statuses are not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import Factory, define, frozen

from aiproxy.dialects.answers import load_answer, settle_answer
from aiproxy.dialects.dialect import StreamReader, WireRequest
from aiproxy.dialects.gigachat_request import RequestWriter
from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.openai_repairs import repair_arguments
from aiproxy.dialects.openai_stream import OpenAIStreamReader
from aiproxy.dialects.parts import image_links
from aiproxy.dialects.shapes import ChatAnswer, ChatChunk, ChatRequest, is_short
from aiproxy.dialects.stop_words import StopReader, cut_answer, stops_of
from aiproxy.errors import ContextTooLong, UpstreamError, UpstreamRefused
from aiproxy.wire.json import dumps

__all__ = ["GigaChatDialect", "GigaChatReader"]

_HEADERS: Mapping[str, str] = {"content-type": "application/json"}

#: What a 422 says when it is about the conversation's length.
_LENGTH_WORDS: Final = re.compile(r"token|context|length|too l|limit|токен|контекст|длин", re.I)


@frozen
class GigaChatReader:
    """
    See :class:`aiproxy.dialects.dialect.AnswerReader`.

    :param names: functions that went by another name: that name -> the caller's.
    :param stops: GigaChat knows no stop words; the answer is cut here.
    :param legacy: the caller asked with ``functions``: calls stay
        ``function_call``, as OpenAI's once were.
    """

    names: Mapping[str, str] = Factory(dict)
    stops: tuple[str, ...] = ()
    legacy: bool = False

    def read_reply(self, body: bytes) -> ChatAnswer:
        """Read a whole answer; an error inside a 200 is raised as what it stands for."""
        answer = load_answer(body)
        if isinstance(answer, dict):
            _Translation(self).translate(answer, "message")
        answer = settle_answer(answer)
        if self.stops:
            cut_answer(answer, self.stops)
        return answer

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status; a 422 may be a conversation that is too long."""
        error = judge(status, read_facts(body), headers)
        if status != 422 or type(error) is not UpstreamRefused:
            return error
        if not _LENGTH_WORDS.search(error.message):
            return error
        too_long = ContextTooLong(error.message, param=error.param)
        too_long.upstream_status = status
        return too_long

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """Make a reader for one streamed answer."""
        reader = OpenAIStreamReader(
            choices=choices,
            max_event_bytes=max_event_bytes,
            translate=_Translation(self).translate,
        )
        return StopReader(reader, self.stops, choices=choices) if self.stops else reader


@frozen
class GigaChatDialect:
    """See :class:`aiproxy.dialects.dialect.Dialect`."""

    def write_request(self, request: ChatRequest, *, model: str, stream: bool) -> WireRequest:
        """Write a request; how its answer is read depends on names and stop words in it."""
        writer = RequestWriter(request)
        body = writer.write(model=model, stream=stream)
        reader = GigaChatReader(
            names={other: name for name, other in writer.renamed.items()},
            stops=stops_of(request),
            legacy=bool(request.get("functions")),
        )
        return WireRequest(
            "/chat/completions", dumps(body), _HEADERS, tuple(writer.dropped), reader
        )

    def read_reply(self, body: bytes) -> ChatAnswer:
        """Read a whole answer."""
        return GigaChatReader().read_reply(body)

    def read_error(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """Read an answer with an error status."""
        return GigaChatReader().read_error(status, headers, body)

    def stream_reader(self, *, choices: int, max_event_bytes: int) -> StreamReader:
        """Make a reader for one streamed answer."""
        return GigaChatReader().stream_reader(choices=choices, max_event_bytes=max_event_bytes)

    def locate(self, url: str, wire: WireRequest) -> str:
        """The URL is the whole one."""
        return url

    def wants_images(self, request: ChatRequest, *, model: str) -> bool:
        """Images have to be uploaded, whatever they are."""
        return bool(image_links(request))


# --- answers ------------------------------------------------------------------------


@define
class _Called:
    """
    The calls of one choice, as far as they have come.

    :ivar state: the function state that was told before its call.
    :ivar last: the last call as it came, for it may be told again.
    """

    state: str | None = None
    count: int = 0
    last: object = None


@define
class _Translation:
    """From GigaChat's answer, or the events of one, to OpenAI's shape, in place."""

    reader: GigaChatReader
    _called: dict[int, _Called] = Factory(dict)

    def translate(self, answer: ChatChunk, part: str = "delta") -> ChatChunk:
        """
        Translate an event.

        :param part: what a choice holds: a ``delta``, or a whole ``message``.
        """
        answer["object"] = "chat.completion.chunk" if part == "delta" else "chat.completion"
        choices = answer.get("choices")
        for place, choice in enumerate(choices if isinstance(choices, list) else ()):
            if isinstance(choice, dict):
                self._read_choice(choice, place, part)
        _read_cached(answer.get("usage"))
        return answer

    def _read_choice(self, choice: dict[str, Any], place: int, part: str) -> None:
        index = choice.get("index")
        called = self._called.setdefault(index if type(index) is int else place, _Called())
        said = choice.get(part)
        if isinstance(said, dict):
            self._read_call(said, called, part)
        reason = choice.get("finish_reason")
        if reason == "blacklist":
            choice |= {"finish_reason": "content_filter", "native_finish_reason": reason}
        elif reason == "function_call" and not (self.reader.legacy and called.count):
            # One of GigaChat's own functions is no call of the caller's.
            other = "tool_calls" if called.count else "stop"
            choice |= {"finish_reason": other, "native_finish_reason": reason}

    def _read_call(self, said: dict[str, Any], called: _Called, part: str) -> None:
        """Make a tool call of the function call in a message, if there is one."""
        state = said.get("functions_state_id")
        if is_short(state):
            called.state = state
        call = said.pop("function_call", None)
        if not isinstance(call, dict) or not call or call == called.last:
            return
        called.last = call
        name = call.get("name")
        function = {"name": self.reader.names.get(str(name), name)}
        function["arguments"] = repair_arguments(call.get("arguments"))
        called.count += 1
        if self.reader.legacy:
            said["function_call"] = function
            return
        tool_call: dict[str, Any] = {"type": "function", "function": function}
        if part == "delta":
            tool_call["index"] = called.count - 1
        state = called.state
        if state is not None:
            said.pop("functions_state_id", None)
            tool_call["id"] = state if called.count == 1 else f"{state}-{called.count}"
            tool_call["extra_content"] = {"gigachat": {"functions_state_id": state}}
        said["tool_calls"] = [tool_call]


def _read_cached(usage: object) -> None:
    """Tell the cached tokens by OpenAI's name too."""
    cached = usage.get("precached_prompt_tokens") if isinstance(usage, dict) else None
    if isinstance(usage, dict) and isinstance(cached, int):
        usage.setdefault("prompt_tokens_details", {"cached_tokens": cached})

"""
From Cohere's answers and events to OpenAI's shape.

A whole answer and the deltas of a stream hold the same fields, but where the
whole one has a list of parts, calls or citations, a delta has the one that it
adds to.

Source: Cohere API reference, v2, "Chat" and "Chat with Streaming"; recorded
traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

from aiproxy.dialects.openai_errors import judge
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.shapes import ChatChunk, Usage, is_short
from aiproxy.errors import UpstreamFailed

__all__ = ["AnswerTranslator"]

_REASONS: Final = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}
#: Ends that are none.
_BROKEN_OFF: Final = frozenset({"ERROR", "TIMEOUT"})
#: Events that add to the message.
_DELTAS: Final = frozenset(
    {
        *("message-start", "content-start", "content-delta", "tool-plan-delta"),
        *("tool-call-start", "tool-call-delta", "citation-start"),
    }
)


@define
class AnswerTranslator:
    """
    Translates one answer, event by event.

    :param one_call: only the first call counts (``parallel_tool_calls: false``).
    """

    one_call: bool = False
    #: The id, which only the first event tells.
    _frame: dict[str, Any] = field(init=False, factory=dict)
    #: Arguments that may still become ``null``, by the index of their call.
    _held: dict[int, str] = field(init=False, factory=dict)
    _first_call: int | None = field(init=False, default=None)
    #: How many citations there are so far.
    _citations: int = field(init=False, default=0)

    def chunk(self, event: Mapping[str, Any]) -> ChatChunk | None:
        """
        Translate an event; ``None``: it says nothing.

        :raises UpstreamError: it is an error.
        """
        _check(event)
        kind = event.get("type")
        if kind == "message-start" and is_short(event.get("id")):
            self._frame = {"id": event["id"]}
        delta = event.get("delta")
        delta = delta if isinstance(delta, Mapping) else {}
        if kind == "message-end":
            choice = {"index": 0, "delta": {}, **_finish(delta)}
            return {**self._frame, "choices": [choice], **_usage(delta.get("usage"))}
        if kind not in _DELTAS:
            return None
        message = delta.get("message")
        message = message if isinstance(message, Mapping) else {}
        said = _say(message)
        if "extra_content" in said:
            self._number(said["extra_content"]["cohere"]["citations"])
        calls = [self._call(call, event.get("index")) for call in _listed(message, "tool_calls")]
        if any(calls):
            said["tool_calls"] = [call for call in calls if call is not None]
        choice = {"index": 0, "delta": said, **_logprobs(event)}
        return {**self._frame, "choices": [choice]}

    def answer(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """
        Translate a whole answer.

        :raises UpstreamError: it is an error, or no answer.
        """
        _check(document)
        message = document.get("message")
        if not isinstance(message, Mapping):
            raise UpstreamFailed("the upstream's answer has no message")
        said: dict[str, Any] = {"content": None, **_say(message)}
        calls = _listed(message, "tool_calls")
        if calls:
            told = calls[:1] if self.one_call else calls
            said["tool_calls"] = [_whole_call(call) for call in told]
        choice = {"index": 0, "message": said, **_finish(document), **_logprobs(document)}
        usage = _usage(document.get("usage"))
        return {"id": document.get("id"), "choices": [choice], **usage}

    def _number(self, citations: list[dict[str, Any]]) -> None:
        """Give each its place, in place: openai-python joins lists in deltas by it."""
        for citation in citations:
            citation["index"] = self._citations
            self._citations += 1

    def _call(self, told: Mapping[str, Any], index: Any) -> dict[str, Any] | None:
        """Translate a piece of a call; ``None``: there is nothing of it to tell."""
        index = index if isinstance(index, int) else 0
        if self._first_call is None:
            self._first_call = index
        if self.one_call and index != self._first_call:
            return None
        call = {**told, "index": index}
        function = told.get("function")
        if isinstance(function, Mapping):
            if function.get("name"):
                self._held[index] = ""
            arguments = self._arguments(function.get("arguments"), index)
            if not arguments and not function.get("name"):
                return None
            call["function"] = {**function, "arguments": arguments}
        return call

    def _arguments(self, told: Any, index: int) -> Any:
        """Hold ``null`` back, in whatever pieces: a call with nothing has ``{}`` at its end."""
        if not isinstance(told, str) or index not in self._held:
            return told
        text = self._held[index] + told
        if "null".startswith(text.strip()):
            self._held[index] = text.strip()
            return ""
        del self._held[index]
        return text


def _check(document: Mapping[str, Any]) -> None:
    """Raise the error that a document is: ``{"id", "message"}``, also inside a 200."""
    if isinstance(document.get("message"), str):
        raise judge(None, read_facts(document))


def _say(message: Mapping[str, Any]) -> dict[str, Any]:
    """Put what a message or a delta says in its places, but for calls."""
    texts: list[str] = []
    thoughts: list[str] = []
    others = []
    for part in _listed(message, "content"):
        if isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif isinstance(part.get("thinking"), str):
            thoughts.append(part["thinking"])
        else:
            others.append(dict(part))
    if isinstance(message.get("content"), str):
        texts.append(message["content"])
    if isinstance(message.get("tool_plan"), str):
        thoughts.append(message["tool_plan"])
    said: dict[str, Any] = {
        "content": "".join(texts),
        "reasoning_content": "".join(thoughts),
        "content_parts": others,
    }
    citations = [dict(one) for one in _listed(message, "citations")]
    if citations:
        said["extra_content"] = {"cohere": {"citations": citations}}
    return {name: value for name, value in said.items() if value}


def _listed(message: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """Give the objects of a list; a delta has the one object in its place."""
    told = message.get(name)
    if isinstance(told, Mapping):
        return [told]
    return [one for one in told if isinstance(one, Mapping)] if isinstance(told, list) else []


def _whole_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    if not isinstance(function, Mapping):
        return dict(call)
    arguments = function.get("arguments")
    if isinstance(arguments, str) and arguments.strip() in ("", "null"):
        arguments = "{}"  # Both are said for nothing (recorded).
    return {**call, "function": {**function, "arguments": arguments}}


def _finish(told: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the end of an answer: its finish reason, or its error."""
    reason, error = told.get("finish_reason"), told.get("error")
    if error or reason in _BROKEN_OFF:
        what = error or f"the upstream broke its answer off: {reason}"
        return {"error": what if isinstance(what, Mapping) else {"message": what, "code": reason}}
    if not isinstance(reason, str):
        return {}
    return {"finish_reason": _REASONS.get(reason, reason)}


def _usage(told: Any) -> dict[str, Usage]:
    """Write usage; images are a part of the prompt, what is billed is told beside it."""
    if not isinstance(told, Mapping):
        return {}
    billed = told.get("billed_units")
    tokens = told.get("tokens") or billed
    if not isinstance(tokens, Mapping):
        return {}

    def count(holder: Mapping[str, Any], name: str) -> int:
        value = holder.get(name)
        return int(value) if isinstance(value, int | float) else 0  # Floats by its reference.

    images = count(tokens, "image_tokens")
    prompt = count(tokens, "input_tokens") + images
    completion = count(tokens, "output_tokens")
    usage: Usage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": min(count(told, "cached_tokens"), prompt)},
        "completion_tokens_details": {"reasoning_tokens": count(tokens, "reasoning_tokens")},
    }
    if images:
        usage["prompt_tokens_details"]["image_tokens"] = images
    if billed:
        usage["cohere"] = {"billed_units": billed}
    return {"usage": usage}


def _logprobs(told: Mapping[str, Any]) -> dict[str, Any]:
    """Write log probabilities: of a text of several tokens, that of all of them."""
    content = [
        {
            "token": text,
            "logprob": float(sum(item.get("logprobs") or ())),
            "bytes": list(text.encode("utf-8", "surrogatepass")),
            "top_logprobs": [],
        }
        for item in _listed(told, "logprobs")
        if isinstance(text := item.get("text"), str)
    ]
    return {"logprobs": {"content": content}} if content else {}

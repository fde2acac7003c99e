"""
The good answers of a chaos upstream, in OpenAI's chat dialect.

The text is always the same, so a test knows every character of it; who asks
to go on with a part of it gets the rest, or what the script says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from aiproxy.providers.chaos.script import Script
from aiproxy.wire.json import dumps
from aiproxy.wire.sse import DONE, write_event

__all__ = ["Answer", "PrefillRefused", "make_answer"]

#: As models cut them: with the space before the word.
_PIECE: Final = re.compile(r"\s*\S+(?:\s+\Z)?")
_ARGUMENT_CHARACTERS: Final = 5
#: The instruction to go on names the end of what is there.
_LAST_WORDS: Final = 8
_OVERLAP_CHARACTERS: Final = 20
_PARAPHRASE: Final = "In short, somebody keeps a lamp burning by the sea, and that helps."


class PrefillRefused(Exception):
    """The script refuses to go on with an assistant's message."""


@frozen
class Answer:
    """
    One answer.

    :param pieces: of its text, or of its tool call's arguments; one event each.
    :param tool: the tool that it calls.
    :param created: seconds since the epoch.
    :param usage: of the request and this answer, in words.
    :param tells_usage: a stream has it too.
    """

    id: str
    created: int
    model: str
    pieces: tuple[str, ...]
    tool: str | None
    usage: Mapping[str, int]
    tells_usage: bool

    @property
    def text(self) -> str:
        """The text or the arguments."""
        return "".join(self.pieces)

    def whole(self) -> bytes:
        """Write the body of a plain answer."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.tool:
            message = {"role": "assistant", "content": None, "tool_calls": [self._call(self.text)]}
        choice = {"index": 0, "message": message, "finish_reason": self._reason}
        kind = {"object": "chat.completion"}
        return dumps({**self._about(), **kind, "choices": [choice], "usage": self.usage})

    def opening(self) -> list[bytes]:
        """Write the event before the first piece."""
        delta: dict[str, Any] = {"role": "assistant", "content": "" if not self.tool else None}
        if self.tool:
            delta["tool_calls"] = [{"index": 0, **self._call("")}]
        return [self._event(delta)]

    def middle(self, pieces: tuple[str, ...] | None = None) -> list[bytes]:
        """Write one event for each piece."""
        return [self._piece(piece) for piece in (self.pieces if pieces is None else pieces)]

    def closing(self) -> list[bytes]:
        """Write the events after the last piece, without ``[DONE]``."""
        events = [self._event({}, self._reason)]
        if self.tells_usage:
            events.append(write_event(dumps(self._chunk([], usage=self.usage))))
        return events

    def events(self) -> list[bytes]:
        """Write a whole stream."""
        return [*self.opening(), *self.middle(), *self.closing(), DONE]

    def split(self, characters: int) -> tuple[list[bytes], list[bytes]]:
        """Write a whole stream in two parts, the first with so many characters."""
        before: list[str] = []
        after: list[str] = []
        for piece in self.pieces:
            taken = max(characters, 0)
            characters -= len(piece)
            before += [piece[:taken]] if taken else []
            after += [piece[taken:]] if piece[taken:] else []
        first = [*self.opening(), *self.middle(tuple(before))]
        return first, [*self.middle(tuple(after)), *self.closing(), DONE]

    @property
    def _reason(self) -> str:
        return "tool_calls" if self.tool else "stop"

    def _call(self, arguments: str) -> dict[str, Any]:
        function = {"name": self.tool, "arguments": arguments}
        return {"id": f"call_{self.id}", "type": "function", "function": function}

    def _piece(self, piece: str) -> bytes:
        if self.tool:
            return self._event({"tool_calls": [{"index": 0, "function": {"arguments": piece}}]})
        return self._event({"content": piece})

    def _event(self, delta: Mapping[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return write_event(dumps(self._chunk([choice])))

    def _chunk(self, choices: list[dict[str, Any]], **more: object) -> dict[str, Any]:
        return {**self._about(), "object": "chat.completion.chunk", "choices": choices, **more}

    def _about(self) -> dict[str, Any]:
        return {"id": self.id, "created": self.created, "model": self.model}


def make_answer(request: Mapping[str, Any], settings: Script, name: str, now: float) -> Answer:
    """
    Answer a request well.

    :param settings: of the step.
    :param name: the answer's id.
    :param now: seconds since the epoch.
    :raises PrefillRefused: the script wants it so.
    """
    messages = [each for each in request.get("messages") or () if isinstance(each, dict)]
    tool = _find_tool(request, settings)
    if tool:
        text = dumps(settings.arguments).decode()
        size = _ARGUMENT_CHARACTERS
        pieces = [text[start : start + size] for start in range(0, len(text), size)]
    else:
        text = _continue(settings, messages)
        pieces = _PIECE.findall(text) or [text]
    prompt = sum(len(_read_text(message).split()) for message in messages)
    completion = len(pieces)
    usage = {"prompt_tokens": prompt, "completion_tokens": completion}
    options = request.get("stream_options")
    return Answer(
        name,
        int(now),
        str(request.get("model", "drill")),
        tuple(pieces),
        tool,
        {**usage, "total_tokens": prompt + completion},
        isinstance(options, dict) and bool(options.get("include_usage")),
    )


def _find_tool(request: Mapping[str, Any], settings: Script) -> str | None:
    """Name the tool to call, where the script or the request wants a call."""
    choice = request.get("tool_choice")
    tools = request.get("tools") or [{"function": {"name": "forecast"}}]
    if isinstance(choice, dict):
        return str(choice["function"]["name"])
    if settings.tool or choice == "required":
        return str(tools[0]["function"]["name"])
    return None


def _continue(settings: Script, messages: list[dict[str, Any]]) -> str:
    """Return what to say, with a look at what was said of it before."""
    canonical = settings.answer
    begun, instructed = _find_begun(messages)
    if not begun or not canonical.startswith(begun):
        return canonical
    match settings.continuation:
        case "start_over":
            return canonical
        case "paraphrase":
            return _PARAPHRASE
        case "refuse" if not instructed:
            raise PrefillRefused
        case "overlap":
            return canonical[max(len(begun) - _OVERLAP_CHARACTERS, 0) :]
    if instructed:
        words = list(re.finditer(r"\S+", begun))[-_LAST_WORDS:]
        return canonical[words[0].start() :]
    return canonical[len(begun) :]


def _find_begun(messages: list[dict[str, Any]]) -> tuple[str, bool]:
    """Return the begun answer to go on with, and whether an instruction asks for that."""
    if messages and messages[-1].get("role") == "assistant":
        return _read_text(messages[-1]), False
    if len(messages) > 1 and messages[-2].get("role") == "assistant":
        begun = _read_text(messages[-2])
        words = begun.split()[-_LAST_WORDS:]
        if words and _read_text(messages[-1]).split()[-len(words) :] == words:
            return begun, True
    return "", False


def _read_text(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""

"""
From Anthropic's answers and events to OpenAI's shape.

A message is a list of blocks.  Texts, thoughts and calls are told as they
come; what has to go back as it was (thoughts with their signature, what ran at
Anthropic itself) is put together and told once, at the block's end.  Lists are
numbered as OpenAI's are: its client cannot join the pieces of others.

Source: Anthropic API reference, "Messages" and "Streaming messages"; recorded
traffic.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from aiproxy.dialects.anthropic_layout import THOUGHTS, tell_layout
from aiproxy.dialects.anthropic_usage import write_usage
from aiproxy.dialects.shapes import ChatChunk, add_usage, is_short
from aiproxy.errors import AnswerTooLarge
from aiproxy.wire.json import JSONError, dumps, loads

__all__ = ["AnswerTranslator"]

#: Anthropic's stop reason -> OpenAI's finish reason; all others are a ``stop``.
_REASONS: Final = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
#: What of a message is told in OpenAI's own words; all else goes into ``extra_content``.
_TOLD: Final = frozenset(
    {"id", "type", "role", "model", "content", "delta", "stop_reason", "usage"}
)

#: Counted for each block, for what is kept of it is no text.
_ENTRY_CHARACTERS: Final = 64

#: What a message says in words.
_TEXTS: Final = ("content", "reasoning_content")


@define
class _Block:
    """A block of the answer, as far as it has come."""

    #: How it began.
    told: dict[str, Any]
    #: What came of its fields since then.
    pieces: dict[str, list[str]] = field(factory=dict)
    #: Its place among the calls, if it is one.
    place: int = 0
    #: Of a text: its characters, and its citations.
    length: int = 0
    cited: int = 0
    #: Characters of it that are held back, or nearly so many.
    held: int = 0

    def whole(self) -> dict[str, Any]:
        """Return it as it would be in a whole answer."""
        block = dict(self.told)
        for name, pieces in self.pieces.items():
            text = "".join(pieces)
            if name != "input":
                block[name] = (block.get(name) or "") + text
            elif text.strip():
                try:
                    block[name] = loads(text.encode())
                except JSONError:
                    block[name] = text
        return block


@define
class AnswerTranslator:
    """
    Translates one answer, event by event.

    :param note: told what was thought before a call: the id of the first call
        of an answer, and what it has under ``extra_content``.
    :param most_held: how many characters may be held back.
    """

    note: Callable[[str, dict[str, Any]], None]
    most_held: int = sys.maxsize
    _frame: dict[str, Any] = field(init=False, factory=dict)
    _usage: dict[str, Any] = field(init=False, factory=dict)
    _blocks: dict[Any, _Block] = field(init=False, factory=dict)
    _held: int = field(init=False, default=0)
    _thoughts: list[dict[str, Any]] = field(init=False, factory=list)
    _layout: list[dict[str, Any]] = field(init=False, factory=list)
    #: Of how many of its entries the caller knows by an end.
    _told: int = field(init=False, default=0)
    #: How many entries of each list were told.
    _listed: Counter[str] = field(init=False, factory=Counter)
    _first_call: str = field(init=False, default="")
    #: The block that the last event told a text of, and nothing else.
    _followed: _Block | None = field(init=False, default=None)

    def answer(self, message: Mapping[str, Any]) -> dict[str, Any]:
        """Translate a whole answer."""
        said: dict[str, Any] = {"content": None}
        texts: dict[str, list[str]] = {}
        for block in message["content"]:
            if isinstance(block, Mapping):
                for delta in (self._begin(None, block), self._end(None)):
                    for name in _TEXTS:
                        texts.setdefault(name, []).append(delta.pop(name, ""))
                    _join(said, delta)
        said |= {name: text for name, pieces in texts.items() if (text := "".join(pieces))}
        last, finish = self._finish(message, _others(message))
        _join(said, last)
        kept = _mapping(said.get("extra_content")).get("anthropic", {})
        for name in self._listed:
            for entry in {**said, **kept}.get(name, ()):
                entry.pop("index", None)  # It is for the joining of deltas.
        self._take_frame(message)
        choice = {"index": 0, "message": said, **finish}
        answer = {**self._frame, "choices": [choice]}
        if self._usage:
            answer["usage"] = write_usage(self._usage)
        return answer

    def chunk(self, event: Mapping[str, Any]) -> ChatChunk | None:
        """
        Translate an event; ``None`` for one that says nothing.

        :raises AnswerTooLarge: more has to be held back than may be.
        """
        kind, index = event.get("type"), event.get("index")
        self._followed = None
        choice: dict[str, Any] = {"index": 0}
        if kind == "message_start":
            message = _mapping(event.get("message"))
            self._take_frame(message)
            choice["delta"] = _extra(_others(message))
        elif kind == "message_delta":
            message = _mapping(event.get("delta"))
            self._take_frame(event)
            choice["delta"], finish = self._finish(message, {**_others(event), **_others(message)})
            choice.update(finish)
        else:
            if kind == "content_block_start":
                said = self._begin(index, _mapping(event.get("content_block")))
            elif kind == "content_block_delta":
                said = self._go_on(index, _mapping(event.get("delta")))
            elif kind == "content_block_stop":
                said = self._end(index)
            else:
                return None
            if not any(said.values()):
                return None
            choice["delta"] = said
        chunk: ChatChunk = {**self._frame, "choices": [choice]}
        if kind == "message_delta" and self._usage:
            chunk["usage"] = write_usage(self._usage)
        elif kind == "message_start" and self._usage:
            # Of the answer it counts as good as nothing, and may be all that ever comes.
            chunk["usage"] = write_usage({**self._usage, "output_tokens": 0})
        return chunk

    def follow(self, characters: int) -> bool:
        """
        Count texts that came like the last event's; see :meth:`OpenAIStreamReader.follow`.

        A text's length tells where its block ends, and is all that is kept of it.
        """
        if self._followed is None:
            return False
        self._followed.length += characters
        return True

    def _take_frame(self, message: Mapping[str, Any]) -> None:
        for name in ("id", "model"):
            if is_short(message.get(name)):
                self._frame[name] = message[name]
        # The last counts are the whole ones, but may leave out what the first told (recorded).
        add_usage(self._usage, _mapping(message.get("usage")))

    def _finish(
        self, message: Mapping[str, Any], others: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the last delta, and why the answer has ended, if it has."""
        reason = message.get("stop_reason")
        if not isinstance(reason, str):
            return _extra(others), {}
        layout: list[dict[str, Any]] = []
        if len(self._layout) > self._told:  # An end may come again and again.
            self._told = len(self._layout)
            # Copies: what is told stays so, even if more blocks come behind the end.
            layout, thoughts = tell_layout(list(self._layout)), list(self._thoughts)
            if self._first_call and thoughts:
                self.note(self._first_call, {"thinking_blocks": thoughts, "layout": layout})
        finish = {"finish_reason": _REASONS.get(reason, "stop"), "native_finish_reason": reason}
        return _extra({**others, "layout": layout}), finish

    # --- blocks: each gives a delta -------------------------------------------------------

    def _begin(self, index: Any, told: Mapping[str, Any]) -> dict[str, Any]:
        block = self._blocks[index] = _Block(dict(told))
        self._hold(block, _ENTRY_CHARACTERS + len(dumps(told)))
        kind = told.get("type")
        if kind == "text":
            text = told.get("text")
            text = text if isinstance(text, str) else ""
            block.length = len(text)
            return {"content": text, **self._cite(block, told.get("citations"))}
        if kind == "thinking":
            return {"reasoning_content": told.get("thinking") or ""}
        if kind != "tool_use":
            return {}
        block.place = self._listed["tool_calls"]
        self._listed["tool_calls"] += 1
        self._first_call = self._first_call or str(told.get("id") or "")
        call: dict[str, Any] = {"index": block.place, "id": told.get("id"), "type": "function"}
        call["function"] = {"name": told.get("name"), "arguments": ""}
        caller = _mapping(told.get("caller"))
        if caller.get("type", "direct") != "direct":
            # Code that runs at Anthropic has made the call.
            call.update(_extra({"caller": dict(caller)}))
        return {"tool_calls": [call]}

    def _go_on(self, index: Any, delta: Mapping[str, Any]) -> dict[str, Any]:
        block = self._blocks.get(index)
        if block is None:
            block = self._blocks[index] = _Block({"type": "text"})
            self._hold(block, _ENTRY_CHARACTERS)
        said: dict[str, Any] = {}
        for name, value in delta.items():
            if name == "type":
                continue
            if name == "citation":
                said = self._cite(block, [value])
            elif not isinstance(value, str):
                self._hold(block, len(name) + len(dumps(value)))
                block.told[name] = value
            elif name == "text":
                block.length += len(value)
                said = {"content": value}
                if len(delta) == 2 and "type" in delta:
                    self._followed = block
            elif name == "partial_json" and block.told.get("type") == "tool_use":
                if value:
                    block.pieces["input"] = []  # It is told, and need not be held.
                said = _arguments(block, value)
            else:
                self._hold(block, len(value))
                piece_of = "input" if name == "partial_json" else name
                block.pieces.setdefault(piece_of, []).append(value)
                if name == "thinking":
                    said = {"reasoning_content": value}
        return said

    def _hold(self, block: _Block, characters: int) -> None:
        """Count what is held back until the block's end, or the answer's: there may be none."""
        block.held += characters
        self._held += characters
        if self._held > self.most_held:
            raise AnswerTooLarge("the upstream's answer has too much that must be held back")

    def _end(self, index: Any) -> dict[str, Any]:
        block = self._blocks.pop(index, None)
        if block is None:
            return {}
        kind = block.told.get("type")
        if not isinstance(kind, str):
            self._held -= block.held
            return {}
        if kind not in THOUGHTS:  # They are kept to the answer's end, and of all an entry is.
            self._held -= block.held - _ENTRY_CHARACTERS - len(kind)
        said: dict[str, Any] = {}
        entry: dict[str, Any] = {"type": kind}
        if kind == "text":
            entry["length"] = block.length
            if block.cited:
                entry["citations"] = block.cited
        elif kind == "tool_use":
            told = block.told.get("input")
            if told and "input" not in block.pieces:
                whole = told if isinstance(told, str) else dumps(told).decode()
                said = _arguments(block, whole)
        else:
            held = block.whole()
            if kind == "thinking" and not held.get("signature"):
                return {}
            if kind in THOUGHTS:
                self._thoughts.append(held)
            said = self._list("thinking_blocks" if kind in THOUGHTS else "blocks", [held])
        self._layout.append(entry)
        return said

    def _cite(self, block: _Block, citations: Any) -> dict[str, Any]:
        listed = citations if isinstance(citations, list) else []
        entries = [one for one in listed if isinstance(one, Mapping)]
        block.cited += len(entries)
        return self._list("citations", entries)

    def _list(self, name: str, entries: list[Any]) -> dict[str, Any]:
        """Tell further entries of a list, each with its place."""
        start = self._listed[name]
        self._listed[name] += len(entries)
        numbered = [{**entry, "index": place} for place, entry in enumerate(entries, start)]
        return _extra({name: numbered})


def _mapping(told: Any) -> Mapping[str, Any]:
    return told if isinstance(told, Mapping) else {}


def _others(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name not in _TOLD}


def _extra(told: Mapping[str, Any]) -> dict[str, Any]:
    """Write what only Anthropic understands, if it is anything."""
    kept = {name: value for name, value in told.items() if value not in (None, [], {})}
    return {"extra_content": {"anthropic": kept}} if kept else {}


def _arguments(block: _Block, text: str) -> dict[str, Any]:
    if not text:
        return {}
    return {"tool_calls": [{"index": block.place, "function": {"arguments": text}}]}


def _join(said: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add a delta to a message, in place."""
    for name, value in delta.items():
        known: Any = said.get(name)
        if name == "tool_calls" and "id" not in value[0]:
            (piece,) = value
            known[piece["index"]]["function"]["arguments"] += piece["function"]["arguments"]
        elif isinstance(known, dict):
            _join(known, value)
        elif isinstance(known, list):
            known += value
        elif value:
            said[name] = value

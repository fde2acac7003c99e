"""
A streamed answer where a plain one was asked for, folded into one.

The other way of :mod:`whole_answer`.  Pieces are joined as openai-python does
(``openai/lib/streaming/_deltas.py``): texts are joined, entries of a list by
their ``index``, all others appended.  Where that would not give what the
provider's plain answer has, the fold differs:

========================  =====================================================
field                     reason
========================  =====================================================
``format``, ``id``, …     repeated with each piece (OpenRouter, recorded): the
                          last is told, not all of them in a row
numbers                   the last is told, not their sum; bare ones in a delta
                          are about the piece (Together's ``token_id``)
``type``                  an entry of another type is another one, even with
                          the same index (OpenRouter)
``executed_tools``        told again as a whole, with more in it (Groq, recorded)
``images``                whole, whatever index they have
``extra_content``         an entry's field is a whole, which a later one takes
                          the place of (Gemini's ratings come with each event)
fields of the chunk       a whole too; ``id``, ``created`` and ``model`` are the
                          first that say something (Azure's are empty at first)
``obfuscation``, ``p``    padding of streams (OpenAI; Mistral, recorded): left out
========================  =====================================================
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from attrs import Factory, define

from aiproxy.dialects.shapes import ChatAnswer, ChatChunk, Usage

__all__ = ["ChatFold"]

_IDENTITY: Final = frozenset({"id", "created", "model"})
#: Told by themselves, or only in streams.
_NOT_OF_ANSWERS: Final = frozenset({"object", "choices", "usage", "obfuscation", "p"})
#: Perplexity's ``message`` is all so far, Together's ``text`` and ``role`` are the delta's.
_NOT_OF_CHOICES: Final = frozenset({"delta", "message", "text", "role"})
#: Who speaks, told with each piece: plain answers have only the role (Groq, HuggingFace).
_NOT_OF_MESSAGES: Final = frozenset({"role", "name", "channel"})

#: Texts that come whole.
_WHOLE: Final = frozenset({"id", "type", "name", "format"})
#: So many types of entries with one index are told apart.
_MOST_TYPES: Final = 16
#: In place of content.
_WITHOUT_CONTENT: Final = ("tool_calls", "function_call", "refusal", "audio")


@define
class _Text:
    """A text that grows by pieces."""

    pieces: list[str] = Factory(list)


class _Entries(list[Any]):
    """
    A list that grows by entries and their pieces.

    :ivar by_index: the entries with an index, which may be of several types.
    """

    def __init__(self, entries: Iterable[Any] = ()) -> None:
        super().__init__(entries)
        self.by_index: dict[int, deque[dict[str, Any]]] = {}


@define
class _Choice:
    """One choice, as far as it has come."""

    fields: dict[str, Any] = Factory(dict)
    message: dict[str, Any] = Factory(dict)

    def add(self, told: dict[str, Any]) -> None:
        for name, value in told.items():
            if name == "logprobs":
                self.fields[name] = _join(self.fields.get(name), value)
            elif name not in _NOT_OF_CHOICES:
                _put(self.fields, name, value)
        for name, value in told["delta"].items():
            if name not in _NOT_OF_MESSAGES and not isinstance(value, int | float):
                self.message[name] = _join(self.message.get(name), value, name)

    def settle(self, index: int) -> dict[str, Any]:
        """Give the choice of the plain answer."""
        message = {"role": "assistant", "content": None, **_settle(self.message)}
        calls = message.get("tool_calls")
        if calls:
            calls.sort(key=_index)
            _drop_index(calls)
        for one in (message, *(calls or ())):
            for extra in (one.get("extra_content") or {}).values():
                for value in extra.values() if isinstance(extra, dict) else ():
                    _drop_index(value)
        if not message["content"] and any(message.get(name) for name in _WITHOUT_CONTENT):
            message["content"] = None
        return {"index": index, "message": message, "finish_reason": None, **_settle(self.fields)}


class ChatFold:
    """Folds the chunks of one streamed answer."""

    def __init__(self) -> None:
        self._fields: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}

    def add(self, chunk: ChatChunk) -> None:
        """Take the next chunk, as a stream's reader gives it; it is not changed."""
        for name, value in chunk.items():
            if name in _NOT_OF_ANSWERS or (name in _IDENTITY and self._fields.get(name)):
                continue
            _put(self._fields, name, value)
        for told in chunk["choices"]:
            index = told["index"]
            choice = self._choices.get(index)
            if choice is None:
                choice = self._choices[index] = _Choice()
            choice.add({name: value for name, value in told.items() if name != "index"})

    def answer(self, usage: Usage | None) -> ChatAnswer:
        """
        Give what the plain answer would have been.

        :param usage: of the whole answer; ``None``: the upstream told none.
        """
        choices = [choice.settle(index) for index, choice in sorted(self._choices.items())]
        answer = {**self._fields, "object": "chat.completion", "choices": choices}
        if usage is not None:
            answer["usage"] = usage
        return answer


def _put(fields: dict[str, Any], name: str, value: Any) -> None:
    """Put a whole in place of what was told before; an object adds its fields."""
    known = fields.get(name)
    if isinstance(value, dict):
        if isinstance(known, dict):
            known.update(value)
            return
        value = dict(value)  # What is known is ours, and may be changed.
    if value is not None or name not in fields:
        fields[name] = value


def _join(known: Any, told: Any, name: str = "") -> Any:
    """Join a piece of a field to what is known of it; the piece is not changed."""
    if told is None:
        return known
    if isinstance(told, str):
        if name in _WHOLE:
            return told or known
        text = known if isinstance(known, _Text) else _Text()
        text.pieces.append(told)
        return text
    if isinstance(told, dict):
        fields = known if isinstance(known, dict) else {}
        for field, value in told.items():
            if name == "extra_content":
                fields[field] = _join_extra(fields.get(field), value)
            else:
                fields[field] = _join(fields.get(field), value, field)
        return fields
    if isinstance(told, list):
        entries = known
        if not isinstance(entries, _Entries):
            entries = _Entries(known if isinstance(known, list) else ())
        for entry in told:
            _join_entry(entries, entry, name)
        return entries
    return told


def _join_entry(entries: _Entries, told: Any, name: str) -> None:
    """Join an entry of a list to the one with its index, or append it."""
    index = _index(told)
    if index is None or name == "images":
        entries.append(told)
        return
    numbered = entries.by_index.setdefault(index, deque(maxlen=_MOST_TYPES))
    entry = next((one for one in reversed(numbered) if _is_same(one, told)), None)
    if entry is None:
        entry = {}
        entries.append(entry)
        numbered.append(entry)
    if name == "executed_tools":
        entry.update(told)
    else:
        _join(entry, told)


def _join_extra(known: Any, told: Any) -> Any:
    """Join what only one provider understands: Anthropic's blocks, Gemini's parts."""
    if not isinstance(told, dict):
        return known if told is None else told
    fields = known if isinstance(known, dict) else {}
    for name, value in told.items():
        indexed = isinstance(value, list) and any(_index(entry) is not None for entry in value)
        if indexed or (name == "parts" and isinstance(value, list)):
            fields[name] = _join(fields.get(name), value, name)
        else:
            _put(fields, name, value)
    return fields


def _index(entry: Any) -> Any:
    index = entry.get("index") if isinstance(entry, dict) else None
    return index if type(index) is int else None


def _is_same(entry: dict[str, Any], told: dict[str, Any]) -> bool:
    """Whether a piece belongs to an entry with its index."""
    kind, told_kind = entry.get("type"), told.get("type")
    return not kind or not told_kind or bool(kind == told_kind)


def _drop_index(entries: Any) -> None:
    """Leave out what was for the joining only."""
    for entry in entries if isinstance(entries, list) else ():
        if _index(entry) is not None:
            del entry["index"]


def _settle(value: Any) -> Any:
    """Give what was joined as plain JSON, which is the caller's own."""
    if isinstance(value, _Text):
        return "".join(value.pieces)
    if isinstance(value, dict):
        return {name: _settle(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_settle(one) for one in value]
    return value

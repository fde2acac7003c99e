"""
The tool calls of an OpenAI-shaped stream, put right as they come.

The caller knows each call by an index of ours, which counts up, and learns its
id, type and name with its first delta.  Upstreams number all calls 0, leave out
indices or ids, tell a name after arguments, or a new id with each delta: what
belongs to which call is decided here.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import Factory, define, field

from aiproxy.dialects.openai_repairs import find_payload, made_call_id, repair_arguments
from aiproxy.dialects.shapes import ChatChunk
from aiproxy.errors import UpstreamFailed

__all__ = ["StreamedCalls"]

#: More no answer has: what is remembered is bounded.
_MOST_CALLS: Final = 1_024


@define
class _ToolCall:
    """One tool call of a choice, as far as it has come."""

    #: The upstream's id, ``""`` where it has told none.
    identity: str
    name: str = ""
    #: The upstream has told an index for it.
    placed: bool = False
    #: The caller has its first delta, and knows it by this index.
    told: bool = False
    index: int = 0
    #: Arguments that came before the name.
    held: list[str] = Factory(list)
    #: It is called with nothing so far, not even with an empty object.
    bare: bool = True


@define
class StreamedCalls:
    """
    The tool calls of one choice.

    :param choice: its index.
    """

    choice: int
    _calls: list[_ToolCall] = field(init=False, factory=list)
    #: How many of them the caller knows.
    _told: int = field(init=False, default=0)
    _by_id: dict[str, _ToolCall] = field(init=False, factory=dict)
    #: The upstream's own index of a call -> the call that it last stood for.
    _by_index: dict[int, _ToolCall] = field(init=False, factory=dict)
    #: Characters that the delta at hand has put to what is held back.
    _grown: int = field(init=False, default=0)

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def nameless(self) -> bool:
        """Whether the name of one of them has not come."""
        return any(call.held for call in self._calls)

    @property
    def bare(self) -> list[int]:
        """Those, by the caller's index, that are called with nothing, not even an empty object."""
        return [call.index for call in self._calls if call.told and call.bare]

    def read(self, delta: dict[str, Any], chunk: ChatChunk) -> int:
        """
        Put a delta's tool calls right, in place; what is not for now is taken out.

        :param chunk: in which it has come.
        :return: by how many characters what is held back has grown.
        :raises UpstreamFailed: there are too many calls.
        """
        self._grown = 0
        told = delta.pop("tool_calls")
        kept = []
        if isinstance(told, dict):
            told = [told]
        for piece in told if isinstance(told, list) else []:
            if isinstance(piece, dict) and self._read_piece(piece, chunk):
                kept.append(piece)
        if kept:
            delta["tool_calls"] = kept
        return self._grown

    def _read_piece(self, piece: dict[str, Any], chunk: ChatChunk) -> bool:
        """Put one piece of a call right, in place; whether it is for now."""
        told_id = piece.pop("id", None)
        identity = str(told_id) if isinstance(told_id, str | int) else ""
        place = piece.get("index")
        if type(place) is not int:
            place = None
        payload, key = find_payload(piece)
        if payload is None and ("function" in piece or not piece.get("type")):
            piece["function"] = payload = {}
            key = "arguments"
        name, text = "", ""
        if payload is not None:
            told_name = payload.get("name")
            name = told_name if isinstance(told_name, str) else ""
            text = repair_arguments(payload.get(key))
        call = self._find(identity, place, name, text)
        if call.told:
            piece.pop("type", None)
            if payload is not None:
                payload.pop("name", None)
        elif payload is not None and not name:
            call.held.append(text)
            self._grown += len(text)
            return False
        else:
            text = self._tell(call, name, text)
            piece["id"] = call.identity or made_call_id(chunk, self.choice, call.index)
            piece["type"] = piece.get("type") or ("custom" if key == "input" else "function")
        piece["index"] = call.index
        if payload is not None:
            payload[key] = text
        if text or key != "arguments":
            call.bare = False
        return True

    def _tell(self, call: _ToolCall, name: str, text: str) -> str:
        """Let the caller know of a call; return its arguments so far."""
        call.told = True
        call.name = name
        call.index = self._told
        self._told += 1
        self._grown -= sum(map(len, call.held))
        text = "".join([*call.held, text])
        call.held = []
        return text

    def _find(self, identity: str, place: int | None, name: str, text: str) -> _ToolCall:
        """Find the call that a piece belongs to: by id, else by its index, else the last."""
        call = self._by_id.get(identity)
        is_new = place is not None and place not in self._by_index
        if call is not None and call.told and name and is_new:
            # Some number each call 0: such an id names none.
            call, identity = None, ""
        if call is None:
            call = self._calls[-1] if self._calls else None
            if call is not None and place is not None and (call.placed or identity or name):
                call = self._by_index.get(place)
            if call is None or _begins(call, identity, place, name, text):
                if len(self._calls) >= _MOST_CALLS:
                    raise UpstreamFailed("the upstream's answer has too many tool calls")
                call = _ToolCall(identity)
                self._calls.append(call)
            if identity and not self._by_id.get(identity):
                call.identity = call.identity or identity
                # Of the others that name a call (a new one for each delta) not all are kept.
                if call.identity == identity or len(self._by_id) < _MOST_CALLS:
                    self._by_id[identity] = call
                    self._grown += len(identity)
        if place is not None and len(self._by_index) < _MOST_CALLS:
            call.placed = True
            self._by_index[place] = call
        return call


def _begins(call: _ToolCall, identity: str, place: int | None, name: str, text: str) -> bool:
    """
    Whether a piece begins a call of its own, although another one is at its place.

    :param call: the one at its place.
    :param identity: of the piece, unknown so far.
    """
    if identity and call.identity:
        # Arguments alone begin nothing: vLLM once made up a new id for each delta.
        return bool(name) or not text
    if not call.told or not name:
        return False
    return bool(identity) or place is None or name != call.name

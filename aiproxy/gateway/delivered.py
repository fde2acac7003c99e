"""What of an answer has been delivered so far: what a takeover must go on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import Factory, define

from aiproxy.dialects.openai_repairs import find_payload
from aiproxy.dialects.shapes import ChatChunk

__all__ = [
    "DELIVERED_BYTES",
    "LEGACY_CALL",
    "Delivered",
    "DeliveredCall",
    "DeliveredChoice",
    "call_pieces",
    "join_halves",
    "without_half",
]

#: So much of an answer is kept; a longer one is not taken over.
DELIVERED_BYTES: Final = 512 * 1024

#: The index under which the ``function_call`` of before tools is kept.
LEGACY_CALL: Final = -1

#: What cannot be continued by words: it has no seam.
_SEAMLESS: Final = ("audio", "images", "content_parts")


@define
class _Words:
    """Text that grows by pieces."""

    parts: list[str] = Factory(list)

    def __str__(self) -> str:
        if len(self.parts) > 1:
            self.parts[:] = ["".join(self.parts)]
        return join_halves(self.parts[0]) if self.parts else ""


@define
class DeliveredCall:
    """
    A tool call, as far as it was delivered.

    :param kind: ``function``, or ``custom``, whose input is free text.
    """

    id: str = ""
    name: str = ""
    kind: str = "function"
    _text: _Words = Factory(_Words)

    @property
    def arguments(self) -> str:
        """The arguments, or the input, so far."""
        return str(self._text)

    def take(self, piece: Mapping[str, Any]) -> str:
        """Take a piece of the call; return what it says."""
        payload, field = find_payload(dict(piece))
        if piece.get("id"):
            self.id = piece["id"]
        if payload is None:
            return ""
        self.kind = "custom" if field == "input" else "function"
        name = "" if self.name else payload.get("name") or ""
        self.name = self.name or name
        text = payload.get(field)
        if not isinstance(text, str) or not text:
            return name
        self._text.parts.append(text)
        return name + text


@define
class DeliveredChoice:
    """
    One choice, as far as it was delivered.

    :ivar seamless: the name of a part that no other upstream can go on with.
    """

    finished: bool = False
    seamless: str | None = None
    calls: dict[int, DeliveredCall] = Factory(dict)
    _content: _Words = Factory(_Words)
    _reasoning: _Words = Factory(_Words)
    _refusal: _Words = Factory(_Words)

    @property
    def content(self) -> str:
        """The answer's text so far."""
        return str(self._content)

    @property
    def reasoning(self) -> str:
        """The thoughts so far."""
        return str(self._reasoning)

    @property
    def refusal(self) -> str:
        """The refusal so far."""
        return str(self._refusal)

    def take(self, delta: Mapping[str, Any]) -> str:
        """Take a delta; return what it says."""
        content = delta.get("content")
        if len(delta) == 1 and type(content) is str:  # Nearly all are so.
            if content:  # Of empty ones there may be any number.
                self._content.parts.append(content)
            return content
        said = []
        thought = delta.get("reasoning_content") or delta.get("reasoning")
        refusal = delta.get("refusal")
        for words, text in (
            (self._content, content),
            (self._reasoning, thought),
            (self._refusal, refusal),
        ):
            if text and isinstance(text, str):
                words.parts.append(text)
                said.append(text)
        for index, piece in call_pieces(delta):
            said.append(self.calls.setdefault(index, DeliveredCall()).take(piece))
        for name in _SEAMLESS:
            if delta.get(name):
                self.seamless = name
        return "".join(said)


class Delivered:
    """
    Collects what the caller was given.

    :param limit_bytes: of text; beyond it nothing is kept any more.
    :ivar overflowed: it went over the limit: there is no going on.
    """

    def __init__(self, limit_bytes: int = DELIVERED_BYTES) -> None:
        self.choices: dict[int, DeliveredChoice] = {}
        self.overflowed = False
        self._left = limit_bytes

    def take(self, chunk: ChatChunk) -> str:
        """Note a chunk that goes to the caller; return what it says, while that is kept."""
        if self.overflowed:
            return ""
        said = ""
        for choice in chunk["choices"]:
            state = self.choices.get(choice["index"])
            if state is None:
                state = self.choices[choice["index"]] = DeliveredChoice()
            said += state.take(choice["delta"])
            if choice.get("finish_reason"):
                state.finished = True
        self._left -= len(said) if said.isascii() else len(said.encode("utf-8", "surrogatepass"))
        if self._left < 0:
            self.overflowed = True
            self.choices.clear()
        return said

    @property
    def obstacle(self) -> str | None:
        """Why nobody can go on from here; ``None``: somebody can."""
        if self.overflowed:
            return "it is too long to be continued"
        if not self.choices:
            return "there is nothing yet to go on from"
        if len(self.choices) > 1:
            return "answers with several choices cannot be continued"
        (choice,) = self.choices.values()
        if choice.seamless is not None:
            return f"{choice.seamless} cannot be continued"
        return None


def call_pieces(delta: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    """Give the pieces of calls in a delta, each with the index of its call."""
    pieces = [(piece["index"], piece) for piece in delta.get("tool_calls") or ()]
    legacy = delta.get("function_call")
    if isinstance(legacy, dict):
        pieces.append((LEGACY_CALL, {"function": legacy}))
    return pieces


def join_halves(text: str) -> str:
    """Join the halves of characters that came in two deltas; a lone half stays one."""
    if text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def without_half(text: str) -> str:
    """Leave out the first half of a character that was cut: no request may hold it."""
    while text and "\ud800" <= text[-1] <= "\udfff":
        text = text[:-1]
    return text

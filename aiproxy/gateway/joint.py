"""What is new in a continuation's deltas: text, thoughts, refusals and calls, each by its seam."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiproxy.dialects.openai_repairs import find_payload
from aiproxy.errors import AIProxyError, StreamCut
from aiproxy.gateway.continuation import Continuation, wants_json
from aiproxy.gateway.delivered import LEGACY_CALL, DeliveredChoice, call_pieces
from aiproxy.gateway.exact_seam import ExactSeam
from aiproxy.gateway.seam import TextSeam

__all__ = ["Joint"]

_THOUGHTS: Final = ("reasoning_content", "reasoning")


class Joint:
    """Gives what is new in a continuation's deltas, part by part."""

    def __init__(self, delivered: DeliveredChoice, continuation: Continuation) -> None:
        self.error: AIProxyError | None = None
        self._content = _content_seam(delivered.content, continuation)
        self._refusal = TextSeam(delivered.refusal, "restart")
        self._calls = {
            index: (call.name, ExactSeam(call.arguments, json=call.kind == "function"))
            for index, call in delivered.calls.items()
        }
        self._repeated: set[int] = set()
        self._refusing = bool(delivered.refusal)
        self._silent = bool(delivered.content or delivered.calls or delivered.refusal)
        self._thoughts = delivered.reasoning
        self._held_thoughts: str | None = ""

    def feed(self, delta: Mapping[str, Any]) -> dict[str, Any]:
        """Take a delta; give what of it is new, or set :attr:`error`."""
        new: dict[str, Any] = {}
        self._take_thoughts(delta, new)
        self._take_text(delta, new)
        for name, value in delta.items():
            if name not in _KNOWN and self._content.joined:
                new[name] = value
        pieces = call_pieces(delta)
        if pieces:
            self._end_text(new, calls=True)
        for index, piece in pieces:
            self._take_call(index, piece, new)
        return new

    def close(self) -> dict[str, Any]:
        """The continuation is whole: give what was held back, or set :attr:`error`."""
        new: dict[str, Any] = {}
        self._end_text(new, calls=False)
        if not self._calls_repeated:
            self._disagree("a tool call is missing or shorter")
        return new

    @property
    def _calls_repeated(self) -> bool:
        return all(
            index in self._repeated and seam.joined for index, (_, seam) in self._calls.items()
        )

    def _take_thoughts(self, delta: Mapping[str, Any], new: dict[str, Any]) -> None:
        text = next((delta[name] for name in _THOUGHTS if isinstance(delta.get(name), str)), "")
        if self._silent or not (text or delta.get("reasoning_details")):
            return
        told = self._trim_thoughts(text)
        if told:
            new.update({name: told for name in _THOUGHTS if isinstance(delta.get(name), str)})
        if told == text and delta.get("reasoning_details"):
            new["reasoning_details"] = delta["reasoning_details"]

    def _trim_thoughts(self, text: str) -> str:
        if self._held_thoughts is None:
            return text
        held = self._held_thoughts + text
        if not held.startswith(self._thoughts):
            if self._thoughts.startswith(held):
                self._held_thoughts = held
                return ""
            held = f"{self._thoughts}\n\n{held}"
        self._held_thoughts = None
        return held[len(self._thoughts) :]

    def _take_text(self, delta: Mapping[str, Any], new: dict[str, Any]) -> None:
        for name, seam in (("content", self._content), ("refusal", self._refusal)):
            text = delta.get(name)
            if not text or not isinstance(text, str):
                continue
            if name == "refusal" and self._silent and not self._refusing:
                self._disagree("it refuses to go on")
            else:
                self._add_text(name, seam, seam.feed(text), new)

    def _end_text(self, new: dict[str, Any], *, calls: bool) -> None:
        """
        The text is over.

        :param calls: because a call begins: then nothing of the text need be repeated.
        """
        agrees = calls or bool(self._calls)
        for name, seam in (("content", self._content), ("refusal", self._refusal)):
            self._add_text(name, seam, seam.close(silence_agrees=agrees), new)

    def _add_text(
        self, name: str, seam: TextSeam | ExactSeam, told: str, new: dict[str, Any]
    ) -> None:
        """
        Add text that is new.

        A call that was delivered says that the text before it had ended,
        whatever another model writes there; text may follow behind it.
        """
        if told and self._calls_repeated:
            new[name] = new.get(name, "") + told
        if seam.disagrees and not self._calls:
            self._disagree("it says something else")

    def _take_call(self, index: int, piece: Mapping[str, Any], new: dict[str, Any]) -> None:
        payload, field = find_payload(dict(piece))
        if index not in self._calls or payload is None:
            self._add_piece(index, piece, new)
            return
        name, seam = self._calls[index]
        self._repeated.add(index)
        if payload.get("name") and payload["name"] != name:
            self._disagree("it calls another tool")
            return
        told = seam.feed(payload.get(field) or "")
        if seam.disagrees:
            self._disagree("the arguments of a tool call differ")
        elif told:
            kind = "custom" if field == "input" else "function"
            self._add_piece(index, {"index": index, kind: {field: told}}, new)

    def _add_piece(self, index: int, piece: Mapping[str, Any], new: dict[str, Any]) -> None:
        if index == LEGACY_CALL:
            new["function_call"] = piece["function"]
        else:
            new.setdefault("tool_calls", []).append(piece)

    def _disagree(self, why: str) -> None:
        self.error = self.error or StreamCut(f"another upstream's answer does not go on: {why}")


def _content_seam(content: str, continuation: Continuation) -> TextSeam | ExactSeam:
    if continuation.way == "restart" and wants_json(continuation.request):
        return ExactSeam(content)
    return TextSeam(content, continuation.way, unseen=continuation.unseen)


_KNOWN: Final = frozenset(
    {"role", "content", "refusal", "tool_calls", "function_call", "reasoning_details", *_THOUGHTS}
)

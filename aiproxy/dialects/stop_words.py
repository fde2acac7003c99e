"""
Stop sequences for providers that have none: the answer is cut here.

As a server that looks after each character does it: the first sequence to be
complete ends the answer, nothing of it is told, and of two that are complete
at once the longer one counts.  Only the text is looked at, never reasoning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import define

from aiproxy.dialects.dialect import StreamReader
from aiproxy.dialects.shapes import ChatAnswer, ChatChunk, ChatRequest, Usage, says_something
from aiproxy.errors import AIProxyError, InvalidRequest

__all__ = ["StopReader", "cut_answer", "find_stop", "stops_of"]

#: So many sequences are looked for, and so long ones: OpenAI takes four.
_MOST_STOPS: Final = 32
_MOST_CHARACTERS: Final = 4_096

#: Where the calls of a message or a delta stand.
_CALLS: Final = ("tool_calls", "function_call")


def stops_of(request: ChatRequest) -> tuple[str, ...]:
    """
    Give a request's stop sequences, each once.

    Empty ones, which would end every answer, and what is no text are left out;
    a line end is as good a sequence as any.

    :raises InvalidRequest: there is more to look for in each delta than anybody needs.
    """
    told = request.get("stop")
    listed = told if isinstance(told, list) else [told]
    stops = tuple(dict.fromkeys(stop for stop in listed if isinstance(stop, str) and stop))
    if len(stops) > _MOST_STOPS or sum(map(len, stops)) > _MOST_CHARACTERS:
        raise InvalidRequest(
            f"stop must be {_MOST_STOPS} sequences at most, of {_MOST_CHARACTERS:,} characters"
            " together",
            param="stop",
            code="invalid_value",
        )
    return stops


def cut_answer(answer: ChatAnswer, stops: Sequence[str]) -> None:
    """
    End each choice before its first stop sequence, in place.

    Tool calls come after the text: none are left of a choice that is cut.

    :param answer: as :func:`aiproxy.dialects.answers.settle_answer` leaves it.
    """
    for choice in answer["choices"]:
        message = choice["message"]
        text = message.get("content")
        place = find_stop(text, stops) if isinstance(text, str) else None
        if place is not None:
            message["content"] = text[:place]
            for name in _CALLS:
                message.pop(name, None)
            choice["finish_reason"] = "stop"
            choice.pop("native_finish_reason", None)


@define
class _Choice:
    """What is known of one choice of the answer."""

    #: What the finish reason is told with, if the upstream does not come to it.
    frame: ChatChunk
    #: The end of its text, which may be the beginning of a stop sequence.
    held: str = ""
    #: Its text has met a stop sequence.
    cut: bool = False
    #: The caller knows of a call in it, which must become whole.
    called: bool = False

    @property
    def over(self) -> bool:
        """Nothing more is told of it but the finish reason."""
        return self.cut and not self.called


class StopReader:
    """
    A :class:`aiproxy.dialects.dialect.StreamReader` that ends another one's
    answer before its first stop sequence.

    Less than the longest stop sequence is held back of each choice.  As soon as
    all choices are cut, only usage is waited for, and no fault of the upstream
    counts any more: the answer is whole.  A call that the caller already knows
    of when the text is cut goes on to its end.

    :param reader: what gives the answer, by the hub's rules.
    :param stops: see :func:`stops_of`; without any, all passes as it is.
    :param choices: how many the caller asked for (``n``).
    """

    def __init__(self, reader: StreamReader, stops: Sequence[str], *, choices: int = 1) -> None:
        self.ended = False
        self.error: AIProxyError | None = None
        self.said = False
        self.skipped = 0
        self.usage: Usage | None = None
        self._reader = reader
        self._stops = tuple(stops)
        self._longest = max(map(len, self._stops), default=1)
        self._expected = choices
        self._choices: dict[int, _Choice] = {}

    @property
    def finished(self) -> bool:
        """Every choice has its finish reason, or is cut: only usage may follow."""
        return self._reader.finished or self._all_over

    @property
    def tool_call_open(self) -> bool:
        """A call that the caller knows of has no finish reason yet."""
        known = any(choice.called for choice in self._choices.values())
        return known and self._reader.tool_call_open

    @property
    def _all_over(self) -> bool:
        states = self._choices.values()
        return len(states) >= self._expected and all(choice.over for choice in states)

    def feed(self, data: bytes) -> list[ChatChunk]:
        """Take some bytes; give the chunks that they complete."""
        return [] if self.ended else self._follow(self._reader.feed(data))

    def close(self) -> list[ChatChunk]:
        """No more bytes come."""
        return [] if self.ended else self._follow(self._reader.close())

    def _follow(self, told: list[ChatChunk]) -> list[ChatChunk]:
        """Give what is left of the chunks, and become as the other reader is."""
        reader = self._reader
        chunks: list[ChatChunk] = []
        for chunk in told:
            self._read_chunk(chunk, chunks)
        self.ended = reader.ended
        self.skipped = reader.skipped
        self.usage = reader.usage
        if reader.error is not None:
            if self._all_over:
                self._end(chunks)
            else:
                self.error = reader.error
        return chunks

    def _read_chunk(self, chunk: ChatChunk, chunks: list[ChatChunk]) -> None:
        """Cut one chunk, in place, and give what of it is for now."""
        told = chunk["choices"]
        chunk["choices"] = kept = []
        frame = {name: chunk[name] for name in chunk if name not in ("choices", "usage")}
        for choice in told:
            index = choice["index"]
            state = self._choices.setdefault(index, _Choice(frame))
            reason = choice.get("finish_reason")
            if state.over:
                if reason:
                    kept.append(_stopped(index))
                continue
            delta = choice["delta"]
            told_text = delta.get("content")
            if isinstance(told_text, str) and told_text:
                delta["content"] = self._cut(told_text, delta, state)
            if isinstance(told_text, str) and reason:
                # The finish reason stands alone, and last.
                state.held = delta.pop("content") + state.held
            elif told_text and not delta["content"]:
                del delta["content"]
                if not delta:
                    continue
            if reason and state.held:
                self._tell({**frame, "choices": [_saying(index, state.held)]}, chunks)
                state.held = ""
            if reason and state.over:
                choice = _stopped(index)
            state.called = state.called or any(delta.get(name) for name in _CALLS)
            kept.append(choice)
        if kept or not told:
            self._tell(chunk, chunks)

    def _cut(self, text: str, delta: dict[str, Any], state: _Choice) -> str:
        """
        Give what may be told of a choice's text by now.

        :param text: what has come of it.
        :param delta: what it stands in; if this is the answer's end, no call begins in it.
        """
        if state.cut:
            return ""
        text = state.held + text
        place = find_stop(text, self._stops)
        if place is None:
            place = len(text) - _held_length(text, self._stops, self._longest)
            state.held = text[place:]
            return text[:place]
        state.cut = True
        state.held = ""
        if state.over:
            for name in _CALLS:
                delta.pop(name, None)
        return text[:place]

    def _tell(self, chunk: ChatChunk, chunks: list[ChatChunk]) -> None:
        self.said = self.said or any(says_something(choice["delta"]) for choice in chunk["choices"])
        chunks.append(chunk)

    def _end(self, chunks: list[ChatChunk]) -> None:
        """The upstream has failed after all that counts: give what it did not."""
        frame: ChatChunk = {}
        for index, state in sorted(self._choices.items()):
            frame = state.frame
            chunks.append({**frame, "choices": [_stopped(index)]})
        if self.usage is not None:
            chunks.append({**frame, "choices": [], "usage": self.usage})


def find_stop(text: str, stops: Sequence[str]) -> int | None:
    """Find where the first stop sequence begins that is complete."""
    found = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    return min(found)[1] if found else None


def _held_length(text: str, stops: Sequence[str], longest: int) -> int:
    """Count the characters at a text's end that may be the beginning of a stop sequence."""
    for length in range(min(longest - 1, len(text)), 0, -1):
        if any(stop.startswith(text[-length:]) for stop in stops):
            return length
    return 0


def _saying(index: int, text: str) -> dict[str, Any]:
    return {"index": index, "delta": {"content": text}, "finish_reason": None}


def _stopped(index: int) -> dict[str, Any]:
    return {"index": index, "delta": {}, "finish_reason": "stop"}

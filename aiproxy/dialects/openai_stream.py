"""
Reads OpenAI-shaped event streams; what is put right stands in :mod:`openai_repairs`.

A stream is whole only if a finish reason or ``[DONE]`` was seen; any other end
is a cut, and openai-python would take it for a clean one.  Finish reasons and
usage are held back until the end is certain: OpenRouter sends errors, and more
reasoning, after the first of several finish reasons (recorded).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define

from aiproxy.dialects.answers import misshapen
from aiproxy.dialects.openai_errors import judge, judge_choice
from aiproxy.dialects.openai_facts import holds_error, read_facts
from aiproxy.dialects.openai_repairs import (
    find_told_usage,
    repair_finish,
    repair_said,
    repair_usage,
)
from aiproxy.dialects.openai_stream_calls import StreamedCalls
from aiproxy.dialects.shapes import ChatChunk, Usage, says_something
from aiproxy.errors import AIProxyError, AnswerTooLarge, StreamCut, UpstreamFailed
from aiproxy.wire.json import JSONError, loads
from aiproxy.wire.sse import Event, SSEDecoder

__all__ = ["OpenAIStreamReader"]

#: More no answer has: what is remembered is bounded.
_MOST_CHOICES: Final = 128

#: What makes a chunk a part of its answer.
_IDENTITY: Final = ("id", "object", "created", "model", "system_fingerprint")


@define
class _Choice:
    """What is known of one choice of the answer."""

    role_told: bool = False
    #: The chunk with its finish reason, held until the stream's end.
    finish: ChatChunk | None = None
    #: The bytes of the event that it was, 0 if only the reason was taken from it.
    finish_size: int = 0
    #: The finish reason that stands for its calls, as soon as there are any.
    called: str = ""
    calls: StreamedCalls | None = None


class OpenAIStreamReader:
    """
    See :class:`aiproxy.dialects.dialect.StreamReader`.

    :param translate: turns each event's JSON into a chunk in OpenAI's shape,
        for providers of another; ``None``: the event holds nothing.  It may
        raise one of our errors.
    :param write_usage: turns the usage that *translate* left in a chunk into
        OpenAI's: most often only the last one is asked for.
    :param follow: of a translation that knows what :meth:`follow` asks;
        without it each event has to be translated.
    :param recount: of a translation: adds the usage of an event that it has not
        seen to what it knows of it, and returns all that.
    :param usage_name: the name of the field where events tell their usage.
    :param rest: of a translation: gives what of a choice it has kept for the
        chunk with the finish reason.
    """

    def __init__(
        self,
        *,
        choices: int,
        max_event_bytes: int,
        translate: Callable[[dict[str, Any]], ChatChunk | None] | None = None,
        write_usage: Callable[[Usage], Usage] | None = None,
        follow: Callable[[int], bool] | None = None,
        recount: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        usage_name: str = "usage",
        rest: Callable[[int], dict[str, Any]] | None = None,
    ) -> None:
        self.ended = False
        self.error: AIProxyError | None = None
        self.said = False
        self.skipped = 0
        self._usage: Usage | None = None
        #: The last usage that was told, as it was.
        self._told_usage: Usage | None = None
        self.max_event_bytes = max_event_bytes
        self._translate = translate
        self._write_usage = write_usage
        self._follow = follow
        self._recount = recount
        self._rest = rest
        self.usage_name = usage_name
        self._expected = choices
        self._events = SSEDecoder(max_event_bytes)
        self._choices: dict[int, _Choice] = {}
        #: How many of them have their finish reason.
        self._finishes = 0
        #: How the upstream's JSON begins.
        self._opening = b""
        #: What is held back: bytes of finish chunks, characters of arguments without a name.
        self._held = 0
        #: The last chunk that told usage; whether it told nothing else.
        self._usage_frame: ChatChunk = {}
        self._usage_alone = True

    @property
    def finished(self) -> bool:
        """Every choice has its finish reason: only usage may follow."""
        return self._finishes >= self._expected

    @property
    def usage(self) -> Usage | None:
        """The last usage that the upstream told, put right."""
        told, self._told_usage = self._told_usage, None
        if told is not None:
            written = told if self._write_usage is None else self._write_usage(told)
            self._usage = repair_usage(written)
        return self._usage

    @property
    def tool_call_open(self) -> bool:
        """A call has begun whose choice has no finish reason yet."""
        found = False
        for choice in self._choices.values():
            found = found or (bool(choice.called) and choice.finish is None)
        return found

    @property
    def between_events(self) -> bool:
        """Whether what comes next begins an event."""
        return self._events.between_events

    @property
    def followable(self) -> bool:
        """Whether :meth:`follow` may ever allow anything."""
        return self._translate is None or self._follow is not None

    def follow(self, characters: int) -> bool:
        """
        Let events that follow the last one pass unread: the same but for their texts.

        The last event said nothing but a text.  Whatever stands beside it, usage
        or a finish reason, was taken from it and would be the same again.

        :param characters: of all their texts; 0 only asks.
        :return: whether they may pass: all that such an event changes is told
            by *characters*, and what it becomes depends on its text alone.
        """
        return self._translate is None if self._follow is None else self._follow(characters)

    def tells(self, usage: Mapping[str, Any]) -> bool:
        """Whether this usage, or this as a part of it, was told last."""
        told = self._told_usage
        return told is not None and usage.items() <= told.items()

    def recount(self, usage: dict[str, Any]) -> None:
        """Take the usage of the last event that has passed unread."""
        self._told_usage = usage if self._recount is None else self._recount(usage)

    def feed(self, data: bytes) -> list[ChatChunk]:
        """Take some bytes; give the chunks that they complete."""
        chunks: list[ChatChunk] = []
        if self.ended:
            return chunks
        try:
            events = self._events.feed(data)
        except AIProxyError as error:
            self._fail(error)
            return chunks
        for event in events:
            self._read_event(event, chunks)
            if self.ended:
                break
        return chunks

    def close(self) -> list[ChatChunk]:
        """No more bytes come."""
        chunks: list[ChatChunk] = []
        if self.ended:
            return chunks
        for event in self._events.close():
            self._read_event(event, chunks)
        if not self.ended:
            self._read_stray()
        if self.ended:
            return chunks
        started = self._choices.values()
        if started and all(choice.finish is not None for choice in started):
            self._end(chunks)
        elif self.said:
            self._fail(StreamCut("the upstream's stream was cut before its end"))
        else:
            self._fail(UpstreamFailed("the upstream's stream ended before any content"))
        return chunks

    # --- events ---------------------------------------------------------------

    def _read_event(self, event: Event, chunks: list[ChatChunk]) -> None:
        data = event.data
        if data.startswith(b"[DONE]"):
            self._end(chunks)
            return
        try:
            document = loads(data)
        except JSONError:
            document = None
        if event.event == "error":
            self._fail(judge(None, read_facts(data)))
        elif holds_error(document):
            if isinstance(document, dict):
                # What it cost so far may stand beside it (OpenRouter, recorded).
                self._take_usage(document)
            self._fail(judge(None, read_facts(document)))
        elif isinstance(document, dict):
            if not self._opening:
                self._opening = data[:6]
            self._read_document(document, len(data), chunks)
        elif data.strip():
            self._read_garbage(data)

    def _read_document(self, document: dict[str, Any], size: int, chunks: list[ChatChunk]) -> None:
        """Read an event's JSON, whoever's shape it has."""
        chunk: ChatChunk | None = document
        if self._translate is not None:
            try:
                chunk = self._translate(document)
            except Exception as error:
                self._fail(error if isinstance(error, AIProxyError) else misshapen(error))
                return
        if chunk is not None:
            self._read_chunk(chunk, size, chunks)

    def _read_garbage(self, data: bytes) -> None:
        """
        Pass over what is not the upstream's JSON at all; where content may be
        lost (it looks like a chunk, or a tool call is open) the stream is cut.
        """
        if self.finished:
            self.skipped += 1  # The usage, or what one can do without.
            return
        looks_like_chunk = (
            b'"delta"' in data
            or b'"choices"' in data
            or (self._opening and data.startswith(self._opening))
        )
        if looks_like_chunk or self.tool_call_open:
            self._fail(StreamCut("the upstream sent an event that cannot be decoded"))
        else:
            self.skipped += 1

    def _read_stray(self) -> None:
        """Some errors come as bare JSON or text in a body that calls itself an event stream."""
        stray = self._events.stray
        if not stray:
            return
        try:
            document = loads(stray)
        except JSONError:
            document = None
        if holds_error(document) or not self._choices:
            self._fail(judge(None, read_facts(stray)))
        else:
            self.skipped += 1

    # --- chunks ---------------------------------------------------------------

    def _read_chunk(self, chunk: ChatChunk, size: int, chunks: list[ChatChunk]) -> None:
        """
        Put one chunk right, in place, and give what of it is for now.

        :param size: of the event, in bytes.
        """
        tells_usage = self._take_usage(chunk)
        told = chunk.get("choices")
        if not isinstance(told, list):
            told = []
        kept: list[dict[str, Any]] = []
        goes_out = False
        released: list[ChatChunk] = []
        chunk["choices"] = kept
        for place, choice in enumerate(told):
            if not isinstance(choice, dict):
                continue
            error = judge_choice(choice)
            if error is not None:
                self._fail(error)
                return
            if type(choice.get("index")) is not int:
                choice["index"] = place
            state = self._choices.get(choice["index"]) or self._add_choice(choice["index"])
            if state is None:
                return
            says = self._read_delta(choice, chunk, state)
            reason = choice.get("finish_reason")
            if reason:
                self._hold_finish(choice, chunk, state, released, size=0 if says else size)
                goes_out = True
            if self.ended:
                return
            choice["finish_reason"] = None
            if not state.role_told:
                state.role_told = True
                choice["delta"] = {"role": "assistant", **choice["delta"]}
            elif not says and (reason or (tells_usage and _is_bare(choice))):
                # It stands with the finish reason, or has come along with the usage only.
                continue
            kept.append(choice)
        if tells_usage:
            self._usage_frame, self._usage_alone = chunk, not (kept or goes_out)
        if kept or (not told and not tells_usage and len(chunk) > 1):
            chunks.append(chunk)
        chunks += released

    def _take_usage(self, chunk: ChatChunk) -> bool:
        """Take the usage out of a chunk; whether it told any."""
        usage = find_told_usage(chunk)
        chunk.pop("usage", None)
        if usage is None:
            return False
        self._told_usage = usage
        return True

    def _add_choice(self, index: int) -> _Choice | None:
        """Begin a choice, if there may be another."""
        if len(self._choices) >= max(self._expected, _MOST_CHOICES):
            self._fail(UpstreamFailed("the upstream's answer has too many choices"))
            return None
        state = self._choices[index] = _Choice()
        return state

    def _read_delta(self, choice: dict[str, Any], chunk: ChatChunk, state: _Choice) -> bool:
        """Put a choice's delta right, in place; whether it says something."""
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = choice.pop("message", None)
            choice["delta"] = delta = delta if isinstance(delta, dict) else {}
        delta.pop("role", None)
        repair_said(delta)
        if "tool_calls" in delta:
            self._read_calls(delta, chunk, choice["index"], state)
        if delta.get("function_call"):
            state.called = state.called or "function_call"
        if not says_something(delta):
            return False
        self.said = True
        return True

    def _read_calls(
        self, delta: dict[str, Any], chunk: ChatChunk, index: int, state: _Choice
    ) -> None:
        """Put a delta's tool calls right, in place."""
        if state.calls is None:
            state.calls = StreamedCalls(index)
        try:
            self._hold(state.calls.read(delta, chunk))
        except UpstreamFailed as error:
            self._fail(error)
        if state.calls:
            state.called = "tool_calls"

    def _hold_finish(
        self,
        choice: dict[str, Any],
        chunk: ChatChunk,
        state: _Choice,
        released: list[ChatChunk],
        *,
        size: int,
    ) -> None:
        """
        Keep a finish reason for the stream's end.

        :param released: takes what was held with an earlier one.
        :param size: of the event in bytes, if nothing is said beside the
            reason, so that what stands with it (log probabilities, filter
            results) belongs to it; else 0.
        """
        if size:
            delta = {name: value for name, value in choice["delta"].items() if value}
            held = {**choice, "delta": delta}
            frame = chunk
        else:
            held = {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
            native = choice.pop("native_finish_reason", None)
            if native is not None:
                held["native_finish_reason"] = native
            frame = _identity(chunk)
        repair_finish(held, called=state.called)
        if state.finish is None:
            self._finishes += 1
        else:
            (earlier,) = state.finish["choices"]
            if held["finish_reason"] == "stop":
                # The later word is not the more telling one (Together, recorded).
                for name in ("finish_reason", "native_finish_reason"):
                    if name in earlier:
                        held[name] = earlier[name]
            if state.finish_size:
                # One finish reason is told; what stood with the other goes out without it.
                earlier = {**earlier, "finish_reason": None}
                earlier.pop("native_finish_reason", None)
                released.append({**state.finish, "choices": [earlier]})
        self._hold(size - state.finish_size)
        state.finish = {**frame, "choices": [held]}
        state.finish_size = size

    def _hold(self, size: int) -> None:
        """Count what is held back: no more than one event may be."""
        self._held += size
        if self._held > self.max_event_bytes:
            self._fail(AnswerTooLarge("the upstream's answer has too much that must be held back"))

    # --- the end ----------------------------------------------------------------

    def _end(self, chunks: list[ChatChunk]) -> None:
        """The answer is whole: give the finish reasons, then the usage."""
        states = self._choices.values()
        if not self.said and all(state.finish is None for state in states):
            self._fail(UpstreamFailed("the upstream's answer is empty"))
            return
        if any(state.calls is not None and state.calls.nameless for state in states):
            self._fail(UpstreamFailed("the upstream's tool call has no name"))
            return
        self.ended = True
        for index, state in sorted(self._choices.items()):
            # ``[DONE]`` alone is a real end, but the client needs its finish reason.
            finish = state.finish or {"choices": [{"index": index, "delta": {}}]}
            repair_finish(finish["choices"][0], called=state.called)
            if self._rest is not None:
                finish["choices"][0]["delta"].update(self._rest(index))
            if state.calls is not None and (bare := state.calls.bare):
                calls = [{"index": call, "function": {"arguments": "{}"}} for call in bare]
                choice = {"index": index, "delta": {"tool_calls": calls}, "finish_reason": None}
                chunks.append({**_identity(finish), "choices": [choice]})
            chunks.append(finish)
        if self.usage is not None:
            frame = self._usage_frame if self._usage_alone else _identity(self._usage_frame)
            chunks.append({**frame, "choices": [], "usage": self.usage})

    def _fail(self, error: AIProxyError) -> None:
        self.error = error
        self.ended = True


def _identity(chunk: ChatChunk) -> ChatChunk:
    """Give what a chunk shares with its answer."""
    return {name: chunk[name] for name in _IDENTITY if name in chunk}


def _is_bare(choice: dict[str, Any]) -> bool:
    """Whether nothing stands in a choice that says nothing."""
    return not any(value for name, value in choice.items() if name not in ("index", "delta"))

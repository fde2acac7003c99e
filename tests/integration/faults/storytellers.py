"""Upstreams in memory that know one answer only, each in the dialect of its provider."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

from attrs import define
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from aiproxy.dialects.dialect import Dialect
from aiproxy.interfaces import IProvider, IReply
from aiproxy.providers.call import Call
from aiproxy.testing import ScriptedReply
from aiproxy.wire.json import dumps, loads
from aiproxy.wire.sse import DONE

#: What becomes of a request to go on with the begun answer.
Habit = Literal["go_on", "start_over", "overlap", "refuse", "remark", "paraphrase"]
HABITS: tuple[Habit, ...] = ("go_on", "start_over", "overlap", "refuse", "remark")

PARAPHRASE = "In other words: somebody had a dog, once upon a time, and wrote a program for it."
_REMARK = "Sure, continuing where I left off:\n\n"
_OVERLAP_CHARACTERS = 20


@define
class Story:
    """
    What is told, and in how long pieces.

    :param tool: its name, if the text is the arguments of a call.
    """

    text: str
    piece: int = 9
    tool: str | None = None

    @property
    def reason(self) -> str:
        """Its finish reason, as OpenAI tells it."""
        return "tool_calls" if self.tool else "stop"

    def pieces(self, text: str) -> Iterator[str]:
        """Cut a text."""
        for start in range(0, len(text), self.piece):
            yield text[start : start + self.piece]

    def cut(self, events: Sequence[bytes], characters: int) -> Sequence[bytes]:
        """Return as many of a stream's events as tell so many characters, or a few less."""
        opening = 2 if events[0].startswith(b"event") else 1
        return events[: opening + max(0, characters) // self.piece]


def write_openai(story: Story, text: str, identity: str, prompt: int) -> list[bytes]:
    """Write a text's events as OpenAI does, with as little beside it as can be."""

    def event(delta: dict[str, Any], **more: object) -> bytes:
        return b"data: " + dumps({"choices": [{"index": 0, "delta": delta, **more}]}) + b"\n\n"

    def call(**more: object) -> dict[str, Any]:
        return {"tool_calls": [{"index": 0, **more}]}

    if story.tool is None:
        first: dict[str, Any] = {"role": "assistant", "content": ""}
        deltas: list[dict[str, Any]] = [{"content": piece} for piece in story.pieces(text)]
    else:
        named = {"name": story.tool, "arguments": ""}
        first = {"role": "assistant", **call(id=f"call_{identity}", function=named)}
        deltas = [call(function={"arguments": piece}) for piece in story.pieces(text)]
    usage = {"prompt_tokens": prompt, "completion_tokens": len(deltas)}
    end = {"choices": [], "usage": {**usage, "total_tokens": prompt + len(deltas)}}
    return [
        *(event(delta) for delta in (first, *deltas)),
        event({}, finish_reason=story.reason),
        b"data: " + dumps(end) + b"\n\n",
        DONE,
    ]


def write_anthropic(story: Story, text: str, identity: str, prompt: int) -> list[bytes]:
    """Write a text's events as Anthropic does."""

    def event(kind: str, **more: object) -> bytes:
        return f"event: {kind}\ndata: ".encode() + dumps({"type": kind, **more}) + b"\n\n"

    count = -(-len(text) // story.piece)
    kind, field = ("input_json_delta", "partial_json") if story.tool else ("text_delta", "text")
    block: dict[str, Any] = {"type": "text", "text": ""}
    if story.tool:
        block = {"type": "tool_use", "id": f"toolu_{identity}", "name": story.tool, "input": {}}
    message = {"id": identity, "type": "message", "role": "assistant", "model": identity,
               "content": [], "usage": {"input_tokens": prompt, "output_tokens": 1}}  # fmt: skip
    return [
        event("message_start", message=message),
        event("content_block_start", index=0, content_block=block),
        *(
            event("content_block_delta", index=0, delta={"type": kind, field: piece})
            for piece in story.pieces(text)
        ),
        event("content_block_stop", index=0),
        event(
            "message_delta",
            delta={"stop_reason": "tool_use" if story.tool else "end_turn"},
            usage={"output_tokens": count},
        ),
        event("message_stop"),
    ]


@implementer(IProvider)
class Storyteller:
    """
    One upstream.

    :param write: writes its stream.
    :param habit: how it answers who asks to go on.
    :param dies_after: its streams are cut behind so many bytes.
    :param dies_at: for each request in turn, the character of the text where its stream is
        cut; those after them are whole.
    :ivar asked: the bodies of the requests, as they go over the wire.
    """

    def __init__(
        self,
        dialect: Dialect,
        write: Callable[[Story, str, str, int], list[bytes]],
        story: Story,
        habit: Habit = "go_on",
        *,
        dies_after: int | None = None,
        dies_at: Sequence[int] = (),
    ) -> None:
        self.asked: list[dict[str, Any]] = []
        self._dialect = dialect
        self._write = write
        self._story = story
        self._habit = habit
        self._dies_after = dies_after
        self._dies_at = dies_at

    def start(self, call: Call) -> Deferred[IReply]:
        """Take a call."""
        wire = self._dialect.write_request(
            call.request, model=call.candidate.upstream_model, stream=call.stream
        )
        body = loads(wire.body)
        self.asked.append(body)
        shown, instructed = _find_begun(body["messages"])
        if shown and not instructed and self._habit == "refuse":
            words = b'{"error":{"message":"The conversation must end with a user message."}}'
            return fail(self._dialect.read_error(400, {}, words))
        told = self._tell(shown, instructed)
        prompt = sum(len(_text_of(message)) for message in body["messages"]) // 4
        identity = f"{call.candidate.name}-{len(self.asked)}"
        events = self._write(self._story, told, identity, prompt)
        whole = stream = b"".join(events)
        if len(self.asked) <= len(self._dies_at):
            left = len(self._story.text) - self._dies_at[len(self.asked) - 1]
            stream = b"".join(self._story.cut(events, len(told) - left)) if left > 0 else whole
        stream = stream[: self._dies_after]
        reply = ScriptedReply(dialect=self._dialect)
        reply.send(stream)
        if stream == whole:
            reply.finish()
        else:
            reply.cut()
        return succeed(reply)

    def _tell(self, shown: str, instructed: bool) -> str:
        """Say the answer, or what is left of it."""
        text, habit = self._story.text, self._habit
        if not shown or habit == "start_over":
            return text
        assert text.startswith(shown), f"shown what was never told: {shown!r}"
        if habit == "paraphrase":
            return PARAPHRASE
        if habit == "overlap":
            return text[max(0, len(shown) - _OVERLAP_CHARACTERS) :]
        rest = _words_of(shown) + text[len(shown) :] if instructed else text[len(shown) :]
        if habit == "remark":
            # Who was not told to repeat some words says what he goes on with.
            return _REMARK + (rest if instructed else text)
        return rest


def _words_of(shown: str) -> str:
    """Return what an instruction asks to be repeated: the last eight words."""
    start = len(shown)
    for _ in range(8):
        start = len(shown[:start].rstrip())
        start = max(shown.rfind(blank, 0, start) for blank in " \n\t") + 1
        if not start:
            break
    return shown[start:]


def _find_begun(messages: list[dict[str, Any]]) -> tuple[str, bool]:
    """Return the begun answer, and whether an instruction stands behind it."""
    roles = [message["role"] for message in messages]
    if roles[-1] == "assistant":
        return _text_of(messages[-1]), False
    if roles[-2:] == ["assistant", "user"]:
        return _text_of(messages[-2]), True
    return "", False


def _text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)

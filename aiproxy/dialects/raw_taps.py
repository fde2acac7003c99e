"""
What is noted of a stream while it passes: whether something was said, how it ends,
what it has cost.

One tap for each shape of events.  A tap changes nothing.

Sources: OpenAI API reference, "Completions", "Streaming events" of responses and
"Audio"; Anthropic API reference, "Streaming messages"; recorded traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiproxy.dialects.openai_errors import judge, judge_choice
from aiproxy.dialects.openai_facts import read_facts
from aiproxy.dialects.raw_usage import find_raw_usage
from aiproxy.dialects.shapes import Usage, add_usage
from aiproxy.errors import AIProxyError, UpstreamFailed

__all__ = ["AudioTap", "CompletionsTap", "MessagesTap", "ResponsesTap", "Tap"]


#: So many choices more than were asked for may be told.
_MOST_CHOICES: Final = 128


class Tap:
    """
    Takes the events of one stream; as it is, of one that nobody knows the end of.

    :ivar said: something was said: no other upstream can be asked any more.
    :ivar complete: the answer is whole if the body ends now.
    :ivar finished: only what nobody needs may follow.
    :ivar ended: nothing follows that counts.
    :ivar error: the upstream says that there is no answer.
    :ivar tool_call_open: the arguments of a call are on their way.
    :ivar characters: what was said so far, as far as it is text.
    """

    #: What is no events and no JSON may be an answer too: sound, or a text.
    takes_bytes = False
    #: It cannot be anything else: it passes without a look.
    only_bytes = False
    #: A whole answer is an object, and says something.
    is_object = False

    def __init__(self) -> None:
        self.said = False
        self.complete = True
        self.finished = False
        self.ended = False
        self.error: AIProxyError | None = None
        self.usage: Usage | None = None
        self.tool_call_open = False
        self.characters = 0

    def note(self, event: dict[str, Any]) -> None:
        """Take an event's JSON."""
        self.said = True
        self.usage = find_raw_usage(event) or self.usage


class CompletionsTap(Tap):
    """
    OpenAI's old completions.

    :param choices: how many there will be.
    """

    is_object = True

    def __init__(self, choices: int) -> None:
        super().__init__()
        self.complete = False
        self._choices = choices
        #: Of each choice whether it has its finish reason.
        self._finishes: dict[int, bool] = {}

    def note(self, event: dict[str, Any]) -> None:
        """Take an event's JSON."""
        self.usage = find_raw_usage(event) or self.usage
        choices = event.get("choices")
        for place, choice in enumerate(choices if isinstance(choices, list) else ()):
            if not isinstance(choice, Mapping):
                continue
            self.error = self.error or judge_choice(choice)
            index = choice.get("index")
            known = index if isinstance(index, int) else place
            done = bool(choice.get("finish_reason"))
            if known not in self._finishes and len(self._finishes) >= self._choices + _MOST_CHOICES:
                self.error = UpstreamFailed("the upstream's answer has too many choices")
                return
            self._finishes[known] = self._finishes.get(known, False) or done
            self.said = self.said or bool(choice.get("text"))
            self.characters += _length(choice.get("text"))
        self.complete = bool(self._finishes) and all(self._finishes.values())
        self.finished = self.complete and len(self._finishes) >= self._choices


class MessagesTap(Tap):
    """Anthropic's messages: they are whole with a stop reason, and end with ``message_stop``."""

    is_object = True

    def __init__(self) -> None:
        super().__init__()
        self.complete = False
        self._usage: dict[str, Any] = {}

    def note(self, event: dict[str, Any]) -> None:
        """Take an event's JSON."""
        kind = event.get("type")
        if kind == "message_start":
            self._take_usage(event.get("message"))
            if self.usage is not None:
                self.usage["completion_tokens"] = 0  # As good as nothing was said yet.
        elif kind == "content_block_start":
            block = event.get("content_block")
            block_kind = block.get("type") if isinstance(block, Mapping) else None
            if block_kind not in ("text", "thinking"):
                self.said = True
            self.tool_call_open = block_kind in ("tool_use", "server_tool_use", "mcp_tool_use")
        elif kind == "content_block_delta":
            self.said = True
            delta = event.get("delta")
            if isinstance(delta, Mapping):
                # In each there is one of them: words, thoughts, or a call's input.
                text = delta.get("text") or delta.get("thinking") or delta.get("partial_json")
                self.characters += _length(text)
        elif kind == "content_block_stop":
            self.tool_call_open = False
        elif kind == "message_delta":
            self._take_usage(event)
            delta = event.get("delta")
            if isinstance(delta, Mapping) and delta.get("stop_reason"):
                self.complete = self.finished = True
        elif kind == "message_stop":
            self.complete = self.ended = True

    def _take_usage(self, source: object) -> None:
        """The last event's numbers count, with those that it does not repeat (Vertex, recorded)."""
        told = source.get("usage") if isinstance(source, Mapping) else None
        if isinstance(told, Mapping):
            add_usage(self._usage, told)
            self.usage = find_raw_usage({"usage": self._usage})


#: The output items that are told by deltas; others are there at once.
_TOLD_IN_DELTAS: Final = ("message", "reasoning")
_RESPONSE_ENDS: Final = ("response.completed", "response.incomplete")
_RESPONSE_FAILURES: Final = ("response.failed", "response.cancelled")


class ResponsesTap(Tap):
    """
    OpenAI's responses.

    They end with ``response.completed`` or ``response.incomplete``, after
    which OpenRouter still sends ``[DONE]`` (recorded).
    """

    is_object = True

    def __init__(self) -> None:
        super().__init__()
        self.complete = False

    def note(self, event: dict[str, Any]) -> None:
        """Take an event's JSON."""
        kind = str(event.get("type") or "")
        item, response = event.get("item"), event.get("response")
        item_kind = item.get("type") if isinstance(item, Mapping) else None
        if kind.endswith(".delta"):
            self.said = True
            self.characters += _length(event.get("delta"))
        elif kind == "response.output_item.added":
            self.said = self.said or item_kind not in _TOLD_IN_DELTAS
            self.tool_call_open = item_kind in ("function_call", "custom_tool_call")
        elif kind == "response.output_item.done":
            self.said = True
            self.tool_call_open = False
        elif kind in (*_RESPONSE_ENDS, *_RESPONSE_FAILURES) and isinstance(response, Mapping):
            self.usage = find_raw_usage(response) or self.usage
        if kind in _RESPONSE_ENDS:
            self.complete = self.finished = True
        elif kind in _RESPONSE_FAILURES:
            error = response.get("error") if isinstance(response, Mapping) else None
            facts = {"error": error or f"the upstream says: {kind.replace('.', ' ')}"}
            self.error = judge(None, read_facts(facts))


class AudioTap(Tap):
    """
    Transcripts and speech, as events or as what they are.

    :param only_bytes: it is sound.
    """

    takes_bytes = True

    def __init__(self, *, only_bytes: bool) -> None:
        super().__init__()
        self.only_bytes = only_bytes

    def note(self, event: dict[str, Any]) -> None:
        """Take an event's JSON."""
        super().note(event)
        if event.get("type") in ("transcript.text.done", "speech.audio.done"):
            self.finished = True


def _length(text: object) -> int:
    return len(text) if isinstance(text, str) else 0

"""
From OpenAI's messages to Anthropic's.

Anthropic knows two roles, ``user`` and ``assistant``; neighbors of one role
are one message, made of blocks.  What tools gave back stands first in a user's
message, all of a turn together.  What was thought before a call goes back with
it, as it came and in its place; blank texts are refused, and so left out.

Source: Anthropic API reference, "Messages"; "Tool use" and "Extended thinking".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from aiproxy.dialects.anthropic_layout import THOUGHTS, lay_out
from aiproxy.dialects.anthropic_parts import Block, is_blank, write_part
from aiproxy.dialects.earlier_turns import find_extra, read_arguments
from aiproxy.dialects.refusals import cannot, wrong_value
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import InvalidRequest

__all__ = ["Conversation"]

#: What an id of a call must look like.
_CALL_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")
#: What a user says who says nothing, where Anthropic wants a user to speak.
_NOTHING: Final = "."


@define
class Conversation:
    """
    The conversation, as it is written.

    :param recall: finds what was thought before a call, by the id of the first
        call of a message, as it stood under ``extra_content``.
    :ivar system: what stands above the conversation: blocks of text.
    :ivar dropped: what of the messages is not in it.
    """

    recall: Callable[[str], Mapping[str, Any]]
    messages: list[dict[str, Any]] = field(factory=list)
    system: list[Block] = field(factory=list)
    dropped: set[str] = field(factory=set)
    #: Ids of calls, the caller's -> as they are written.
    _ids: dict[str, str] = field(init=False, factory=dict)
    _written: set[str] = field(init=False, factory=set)
    #: What tools gave back, to the last message.
    _results: list[Block] = field(init=False, factory=list)

    def read(self, request: ChatRequest) -> None:
        """
        Write all messages of a request.

        :raises InvalidRequest: with the place that Anthropic has no words for.
        """
        last = ""
        for place, message in enumerate(request["messages"]):
            where = f"messages[{place}]"
            role = message["role"]
            if role in ("system", "developer"):
                blocks = self._parts(message.get("content"), where)
                if any(block["type"] != "text" for block in blocks):
                    raise cannot("anthropic", f"{where}.content", "instructions but in words")
                self.system += self._cached(blocks, message)
                continue
            last = role
            if role == "user":
                blocks = self._parts(message.get("content"), where)
                self._add("user", self._cached(blocks, message))
            elif role == "assistant":
                self._add("assistant", self._cached(self._answer(message, where), message))
            elif role in ("tool", "function"):
                self._add("user", [self._result(message, where)])
            else:
                raise cannot("anthropic", f"{where}.role", f"messages of the role {role!r}")
            if message.get("name") and role != "function":
                self.dropped.add("messages[].name")
        self._settle(last)

    @property
    def names_files(self) -> bool:
        """Whether a file is named by its id, which is a feature of its own."""
        blocks = [block for message in self.messages for block in message["content"]]
        results = [block for block in blocks if block["type"] == "tool_result"]
        blocks += [block for result in results for block in result.get("content", ())]
        sources = [block["source"] for block in blocks if isinstance(block.get("source"), Mapping)]
        return any(source.get("type") == "file" for source in sources)

    @property
    def forgot_thoughts(self) -> bool:
        """Whether the last calls have lost what was thought before them."""
        answers = [message for message in self.messages if message["role"] == "assistant"]
        kinds = {block["type"] for block in answers[-1]["content"]} if answers else set()
        return "tool_use" in kinds and not kinds & THOUGHTS

    def _add(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if not self.messages or self.messages[-1]["role"] != role:
            self._put_results()
            self.messages.append({"role": role, "content": []})
        is_result = blocks[0]["type"] == "tool_result"
        target = self._results if is_result else self.messages[-1]["content"]
        target += blocks

    def _put_results(self) -> None:
        """Results come first in the last message, even if something was said between them."""
        if self._results:
            self.messages[-1]["content"][:0] = self._results
            self._results.clear()

    def _settle(self, last: str) -> None:
        """Let a user begin, and end what a user has ended; the last answer ends without space."""
        self._put_results()
        nothing = {"type": "text", "text": _NOTHING}
        if not self.messages and self.system:
            # It must say something: then the instructions are the question.
            self._add("user", self.system)
            self.system = []
        if not self.messages or self.messages[0]["role"] != "user":
            self.messages.insert(0, {"role": "user", "content": [nothing]})
        if last == "user" and self.messages[-1]["role"] == "assistant":
            self._add("user", [nothing])
        final = self.messages[-1]
        if final["role"] == "assistant" and final["content"][-1]["type"] == "text":
            final["content"][-1]["text"] = final["content"][-1]["text"].rstrip()

    # --- what is said -----------------------------------------------------------------

    def _parts(self, content: Any, where: str) -> list[Block]:
        if content is None:
            return []
        if isinstance(content, str):
            return [] if is_blank(content) else [{"type": "text", "text": content}]
        if not isinstance(content, list):
            raise wrong_value(f"{where}.content", "a text or a list of parts")
        blocks: list[Block] = []
        for place, part in enumerate(content):
            block = write_part(part, f"{where}.content[{place}]", self.dropped)
            if block is not None:
                blocks.append(block)
        return blocks

    def _cached(self, blocks: list[Block], message: Mapping[str, Any]) -> list[Block]:
        """Put a message's mark for the cache at its last block that can have one."""
        mark = message.get("cache_control")
        if mark:
            markable = [block for block in blocks if block["type"] not in THOUGHTS]
            if markable:
                markable[-1]["cache_control"] = mark
            else:
                self.dropped.add("messages[].cache_control")
        return blocks

    def _answer(self, message: Mapping[str, Any], where: str) -> list[Block]:
        extra = find_extra(message, "anthropic")
        calls = self._calls(message, where)
        # LiteLLM's clients have them beside the content.
        thoughts = _kept(extra, "thinking_blocks") or _kept(message, "thinking_blocks")
        first = message.get("tool_calls")
        if not thoughts and calls and isinstance(first, list):
            extra = {**extra, **self.recall(str(first[0].get("id") or ""))}
            thoughts = _kept(extra, "thinking_blocks")
        if not thoughts and (message.get("reasoning_content") or message.get("reasoning")):
            # Another model's, or without their signature: Anthropic takes no such thoughts.
            self.dropped.add("messages[].reasoning_content")
        content = message.get("content")
        said = self._parts(content, where)
        if message.get("refusal"):
            said += self._parts(message["refusal"], where)
        if message.get("audio"):
            self.dropped.add("messages[].audio")
        ran = _kept(extra, "blocks")
        laid_out = None
        if not message.get("refusal") and (content is None or isinstance(content, str)):
            laid_out = lay_out(
                extra.get("layout"),
                thoughts=thoughts,
                ran=ran,
                text=content or "",
                citations=_kept(extra, "citations"),
                calls=calls,
            )
        return laid_out or [*thoughts, *ran, *said, *calls]

    def _calls(self, message: Mapping[str, Any], where: str) -> list[Block]:
        told = message.get("tool_calls")
        if not isinstance(told, list):
            told = []
        legacy = message.get("function_call")
        if isinstance(legacy, Mapping):
            told = [{"id": f"function {legacy.get('name')}", "function": legacy}]
        blocks: list[Block] = []
        for place, call in enumerate(told):
            function = call.get("function") if isinstance(call, Mapping) else None
            name = function.get("name") if isinstance(function, Mapping) else None
            if not isinstance(function, Mapping) or not isinstance(name, str):
                raise cannot(
                    "anthropic", f"{where}.tool_calls[{place}]", "tool calls but those of functions"
                )
            block: Block = {
                "type": "tool_use",
                "id": self._new_id(str(call.get("id") or "")),
                "name": name,
                "input": read_arguments(function.get("arguments")),
            }
            for field_, holder in (
                ("caller", find_extra(call, "anthropic")),
                ("cache_control", call),
            ):
                if holder.get(field_):
                    block[field_] = holder[field_]
            blocks.append(block)
        return blocks

    def _new_id(self, told: str) -> str:
        """Return the id of a call as Anthropic takes it: each once, of few characters."""
        written = told
        while not _CALL_ID.fullmatch(written) or written in self._written:
            seed = f"{told} {len(self._written)} {written}"
            written = "call_" + hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:24]
        self._written.add(written)
        self._ids[told] = written
        return written

    # --- what a tool gave back ----------------------------------------------------------

    def _result(self, message: Mapping[str, Any], where: str) -> Block:
        told = message.get("tool_call_id")
        if message["role"] == "function":
            told = f"function {message.get('name')}"
        written = self._ids.get(str(told or ""))
        if written is None:
            raise InvalidRequest(
                f"{where} answers no tool call of the conversation",
                param=f"{where}.tool_call_id",
                code="invalid_value",
            )
        result: Block = {"type": "tool_result", "tool_use_id": written}
        blocks = self._parts(message.get("content"), where)
        if blocks:
            result["content"] = blocks
        for name in ("is_error", "cache_control"):
            if message.get(name):
                result[name] = message[name]
        return result


def _kept(extra: Mapping[str, Any], name: str) -> list[Block]:
    """Return the entries of a list that the caller has kept, without their places in it."""
    told = extra.get(name)
    return [
        {name: value for name, value in entry.items() if name != "index"}
        for entry in (told if isinstance(told, list) else ())
        if isinstance(entry, Mapping) and isinstance(entry.get("type"), str)
    ]

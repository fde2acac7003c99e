"""
From OpenAI's request to Anthropic's.

Source: Anthropic API reference, "Create a Message"; which model takes what
stands in :mod:`aiproxy.dialects.anthropic_models`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from aiproxy.dialects.anthropic_messages import Conversation
from aiproxy.dialects.anthropic_models import ClaudeModel
from aiproxy.dialects.anthropic_parts import Block, is_blank
from aiproxy.dialects.anthropic_schema import fit_schema
from aiproxy.dialects.anthropic_thinking import Thinking, limit_of
from aiproxy.dialects.anthropic_tools import write_choice, write_tools
from aiproxy.dialects.request_fields import OPENAI_ONLY
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import InvalidRequest
from aiproxy.wire.json import dumps

__all__ = ["RequestWriter"]

#: Tokens that are left to answer with, beside the thoughts, where the caller names no limit.
_ANSWER_ROOM: Final = 4_096
#: With thoughts, ``top_p`` must not be lower.
_LEAST_TOP_P: Final = 0.95
#: OpenAI's tiers of service that Anthropic has too.
_TIERS: Final = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}

#: What other providers have, and Anthropic has not.
_UNKNOWN: Final = frozenset(
    {
        *("seed", "presence_penalty", "frequency_penalty", "logprobs", "top_logprobs"),
        *OPENAI_ONLY,
    }
)
#: What is read here, in :class:`Conversation` or in :mod:`anthropic_tools`; all else passes.
_READ: Final = frozenset(
    {
        *("messages", "model", "stream", "stream_options", "n", "stop", "max_tokens"),
        *("max_completion_tokens", "temperature", "top_p", "top_k", "response_format"),
        *("modalities", "tools", "tool_choice", "parallel_tool_calls", "web_search_options"),
        *("functions", "function_call", "reasoning_effort", "reasoning", "thinking"),
        *("user", "metadata", "safety_identifier", "service_tier"),
    }
)


@define
class RequestWriter:
    """
    Writes one request.

    :param name: the upstream's name of the model.
    :param recall: finds what was thought before a call, by its id (see :class:`Conversation`).
    :ivar dropped: what of the request is not in it.
    :ivar names_files: it names a file by its id.
    """

    name: str
    recall: Callable[[str], Mapping[str, Any]]
    dropped: set[str] = field(init=False, factory=set)
    names_files: bool = field(init=False, default=False)
    _model: ClaudeModel = field(init=False)
    _thinking: Thinking = field(init=False)
    _body: dict[str, Any] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self._model = ClaudeModel(self.name)
        self._thinking = Thinking(self._model, self.dropped)

    def write(self, request: ChatRequest) -> dict[str, Any]:
        """
        Return the body.

        :raises InvalidRequest: for what Anthropic cannot do.
        """
        asked = {name: value for name, value in request.items() if value is not None}
        if asked.get("n", 1) != 1:
            raise InvalidRequest("anthropic gives one choice only: n must be 1", param="n")
        conversation = Conversation(self.recall)
        conversation.read(request)
        self.names_files = conversation.names_files
        body = self._body
        body |= {"model": self.name, "messages": conversation.messages}
        tools = write_tools(asked, self.dropped, strict=self._model.follows_schemas)
        choice = write_choice(asked, tools, self.dropped)
        self._thinking.read(asked, forgotten=conversation.forgot_thoughts)
        self._thinking.make_room(choice)
        body |= self._thinking.body
        self._limit(asked)
        self._sample(asked)
        self._format(asked.get("response_format"), conversation.system)
        if conversation.system:
            body["system"] = _joined(conversation.system)
        if tools:
            body["tools"] = tools
        if choice:
            body["tool_choice"] = choice
        self._account(asked)
        self.dropped |= conversation.dropped
        modalities = asked.get("modalities")
        if modalities and modalities != ["text"]:
            self.dropped.add("modalities")
        for name, value in asked.items():
            if name in _READ:
                continue
            if name in _UNKNOWN:
                if value or name == "seed":
                    self.dropped.add(name)
            elif isinstance(value, Mapping) and isinstance(body.get(name), dict):
                body[name] = {**body[name], **value}
            else:
                body[name] = value
        return body

    # --- how it answers -------------------------------------------------------------------

    def _limit(self, asked: Mapping[str, Any]) -> None:
        most = limit_of(asked)
        if most is None:
            most = self._model.answer_tokens
            if self._thinking.budget:
                most = max(most, self._thinking.budget + _ANSWER_ROOM)
        self._body["max_tokens"] = most
        stop = asked.get("stop")
        stops = stop if isinstance(stop, list) else [stop] if stop else []
        kept = [one for one in stops if not (isinstance(one, str) and is_blank(one))]
        if kept:
            self._body["stop_sequences"] = kept
        if len(kept) < len(stops):
            self.dropped.add("stop")

    def _sample(self, asked: Mapping[str, Any]) -> None:
        """Write the sampling parameters, as far as the model takes them."""
        told = {name: asked[name] for name in ("temperature", "top_p", "top_k") if name in asked}
        model = self._model
        temperature, top_p = told.get("temperature"), told.get("top_p")
        refused: set[str] = set()
        if not model.samples:
            refused = set(told)
        elif self._thinking.is_on:
            refused = {"temperature", "top_k"} & set(told)
            if isinstance(top_p, int | float) and top_p < _LEAST_TOP_P:
                refused.add("top_p")
        elif model.samples_one_way and temperature is not None and top_p is not None:
            refused = {"temperature" if temperature == 1 else "top_p"}
        if isinstance(temperature, int | float) and temperature > 1:
            told["temperature"] = 1
            self.dropped.add("temperature")
        self._body |= {name: value for name, value in told.items() if name not in refused}
        # To leave out a 1 changes nothing.
        self.dropped |= {name for name in refused if asked[name] != 1 or name == "top_k"}

    def _format(self, told: Any, system: list[Block]) -> None:
        kind = told.get("type") if isinstance(told, Mapping) else None
        if kind not in ("json_object", "json_schema"):
            return
        named = told.get("json_schema")
        schema = named.get("schema") if isinstance(named, Mapping) else None
        fitted = fit_schema(schema) if self._model.follows_schemas else None
        if schema is not None and fitted is not None:
            schema, lost = fitted
            self.dropped |= {f"response_format.json_schema.schema.{name}" for name in lost}
            wanted = {"type": "json_schema", "schema": schema}
            self._body.setdefault("output_config", {})["format"] = wanted
            return
        # There is no such mode: so it is asked in words.
        words = "Answer in JSON only, without a code fence."
        if schema is not None:
            self.dropped.add("response_format")
            words += f" The answer must match this JSON schema: {dumps(schema).decode()}"
        system.append({"type": "text", "text": words})

    def _account(self, asked: Mapping[str, Any]) -> None:
        """Write who asks, and for which tier of service."""
        metadata = asked.get("metadata")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        names = {"user": asked, "safety_identifier": asked, "user_id": metadata}
        told = {name: holder[name] for name, holder in names.items() if holder.get(name)}
        if told:
            user = next(iter(told.values()))
            self._body["metadata"] = {"user_id": user}
            self.dropped |= {name for name, value in told.items() if value != user}
        if set(metadata) - {"user_id"}:
            self.dropped.add("metadata")
        tier = asked.get("service_tier")
        if tier is not None:
            if isinstance(tier, str) and tier in _TIERS:
                self._body["service_tier"] = _TIERS[tier]
            else:
                self.dropped.add("service_tier")


def _joined(system: list[Block]) -> str | list[Block]:
    """Return the instructions as one text, or as blocks if the cache has to know them."""
    if any(set(block) != {"type", "text"} for block in system):
        return system
    return "\n\n".join(block["text"] for block in system)

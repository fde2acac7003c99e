"""
From OpenAI's request to Cohere's ``/v2/chat``.

Messages, tools and calls have OpenAI's shape there, but Cohere refuses fields
that it does not know: so they are written anew, field by field.

Source: Cohere API reference, v2, "Chat"; its guides to tool use, structured
outputs and reasoning; its list of errors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import define, field

from aiproxy.dialects.refusals import cannot, wrong_value
from aiproxy.dialects.request_fields import OPENAI_ONLY
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.dialects.thought_wish import read_thought_wish
from aiproxy.wire.json import dumps

__all__ = ["RequestWriter"]

#: OpenAI's name of a parameter -> Cohere's, where the value is the same.
_SAME: Final = {"temperature": "temperature", "top_k": "k", "seed": "seed"}
_PENALTIES: Final = ("frequency_penalty", "presence_penalty")
_MOST_STOPS: Final = 5
#: ``reasoning_effort`` -> tokens of thought; with a higher one there is no bound.
_BUDGETS: Final = {"minimal": 1_024, "low": 1_024, "medium": 8_192}
#: Models that cannot think: Command and Command R, Command A as it was first, Aya.
_UNTHINKING: Final = re.compile(
    r"command(?:-r|-light|-nightly|-a-\d|-a-vision|-a-translate|$)|(?:c4ai|aya|tiny-aya)-"
)
#: What Cohere has nothing for, beside :data:`OPENAI_ONLY`.
_DROPPED: Final = OPENAI_ONLY | {"top_logprobs", "web_search_options"}
#: What is read here; all else passes.
_READ: Final = frozenset(
    {
        *_SAME,
        *_PENALTIES,
        *("messages", "model", "stream", "stream_options", "n", "top_p", "stop", "modalities"),
        *("max_tokens", "max_completion_tokens", "logprobs", "response_format", "tools"),
        *("tool_choice", "parallel_tool_calls", "reasoning_effort", "reasoning"),
    }
)
#: Fields of messages that are read.
_MESSAGE_READ: Final = frozenset(
    {
        *("role", "content", "refusal", "tool_calls", "tool_call_id", "tool_plan", "citations"),
        *("reasoning_content", "reasoning"),
    }
)


@define
class RequestWriter:
    """
    Writes one request.

    :param model: the upstream's name of the model.
    :ivar dropped: what of the request is not in it.
    """

    model: str
    dropped: set[str] = field(init=False, factory=set)

    def write(self, request: ChatRequest) -> dict[str, Any]:
        """
        Return the body, but for the model and the way of the answer.

        :raises InvalidRequest: for what Cohere cannot do.
        """
        asked = {name: value for name, value in request.items() if value is not None}
        if asked.get("n", 1) != 1:
            raise cannot("cohere", "n", "n: it gives one answer at a time")
        for name in ("functions", "function_call"):
            if asked.get(name):
                raise cannot("cohere", name, f"{name}: write them as tools")
        messages = self._messages(request["messages"])
        body = {**self._generation(asked), **self._tools(asked)}
        instruction = self._format(asked, body, messages)
        body["messages"] = _instruct(messages, instruction) if instruction else messages
        for name, value in asked.items():
            if name in _DROPPED:
                if value or name != "top_logprobs":
                    self.dropped.add(name)
            elif name not in _READ:
                body[name] = value
        return body

    # --- messages -------------------------------------------------------------------------

    def _messages(self, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Write the messages; a system message must be the first one, so all are one."""
        system: list[Any] = []
        others = []
        for place, message in enumerate(told):
            where = f"messages[{place}]"
            if message["role"] in ("system", "developer"):
                self._name_unread(message)
                system += filter(None, [self._content(message.get("content"), where)])
            else:
                others.append(self._message(message, where))
        if len(system) > 1:
            system = [[part for content in system for part in _parts(content)]]
        return [*({"role": "system", "content": content} for content in system), *others]

    def _message(self, message: Mapping[str, Any], where: str) -> dict[str, Any]:
        role = message["role"]
        if role not in ("user", "assistant", "tool"):
            raise cannot("cohere", f"{where}.role", f"messages of the role {role!r}")
        if message.get("function_call"):
            raise cannot(
                "cohere", f"{where}.function_call", "function_call: write it as tool_calls"
            )
        self._name_unread(message)
        written: dict[str, Any] = {"role": role}
        content = self._content(message.get("content"), where) or message.get("refusal")
        if role == "assistant":
            written.update(self._called(message, where))
        elif role == "tool":
            written["tool_call_id"] = _text(message.get("tool_call_id"), f"{where}.tool_call_id")
        if content or "tool_calls" not in written:
            written["content"] = content or ""
        return written

    def _called(self, message: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Write what an answer of the model says beside its content."""
        written = {name: message[name] for name in ("tool_plan", "citations") if message.get(name)}
        told = message.get("tool_calls")
        calls = [
            _call(call, f"{where}.tool_calls[{place}]")
            for place, call in enumerate(told if isinstance(told, list) else ())
        ]
        if calls:
            written["tool_calls"] = calls
        for name in ("reasoning_content", "reasoning"):
            if message.get(name) and calls:
                written.setdefault("tool_plan", message[name])
            elif message.get(name):
                self.dropped.add(f"messages[].{name}")
        return written

    def _name_unread(self, message: Mapping[str, Any]) -> None:
        unread = (name for name in message if name not in _MESSAGE_READ and message[name])
        self.dropped.update(f"messages[].{name}" for name in unread)

    def _content(self, content: Any, where: str) -> Any:
        if content is None or isinstance(content, str):
            return content
        if not isinstance(content, list):
            raise wrong_value(f"{where}.content", "a text or a list of parts")
        return [self._part(part, f"{where}.content[{place}]") for place, part in enumerate(content)]

    def _part(self, part: Any, where: str) -> dict[str, Any]:
        kind = part.get("type") if isinstance(part, Mapping) else None
        told = part.get(kind) if isinstance(kind, str) else None
        if kind not in ("text", "refusal", "image_url", "document", "thinking"):
            raise cannot("cohere", where, f"content parts of the type {kind!r}")
        more = (name for name in part if name not in ("type", kind) and part[name])
        self.dropped.update(f"messages[].content[].{name}" for name in more)
        if kind == "image_url" and isinstance(told, str):
            told = {"url": told}
        kind = "text" if kind == "refusal" else kind
        return {"type": kind, kind: told}

    # --- how the model answers ----------------------------------------------------------

    def _generation(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        body = {theirs: asked[name] for name, theirs in _SAME.items() if name in asked}
        most = asked.get("max_completion_tokens", asked.get("max_tokens"))
        if most is not None:
            body["max_tokens"] = most
        if "top_p" in asked:
            body["p"] = _clip(asked["top_p"], 0.01, 0.99)
        for name in _PENALTIES:
            # 0 is no penalty, and some models refuse both fields together.
            if asked.get(name):
                body[name] = _clip(asked[name], 0, 1)
                if body[name] != asked[name]:
                    self.dropped.add(name)
        stop = asked.get("stop")
        if stop:
            body["stop_sequences"] = stops = [stop] if isinstance(stop, str) else stop
            if not isinstance(stops, list) or len(stops) > _MOST_STOPS:
                raise wrong_value("stop", f"a text or a list of {_MOST_STOPS} at most")
        if asked.get("logprobs"):
            body["logprobs"] = True
        if asked.get("modalities", ["text"]) != ["text"]:
            self.dropped.add("modalities")
        return {**body, **self._thinking(asked)}

    def _thinking(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        wish = read_thought_wish(asked)
        if not wish.is_told:
            return {}
        off = wish.effort == "none"
        if _UNTHINKING.match(self.model.rpartition("/")[2].lower()):
            if not off:
                self.dropped.add(wish.field)
            return {}
        if off:
            return {"thinking": {"type": "disabled"}}
        if wish.hides:
            self.dropped.add("reasoning.exclude")
        budget = wish.budget or _BUDGETS.get(str(wish.effort))
        return {"thinking": {"type": "enabled", **({"token_budget": budget} if budget else {})}}

    def _format(
        self, asked: Mapping[str, Any], body: dict[str, Any], messages: list[dict[str, Any]]
    ) -> str:
        """Write the format of the answer; return an instruction that it wants in words."""
        told = asked.get("response_format")
        if not isinstance(told, Mapping) or told.get("type") == "text":
            return ""
        if told.get("type") not in ("json_object", "json_schema"):
            raise cannot("cohere", "response_format", f"answers of the type {told.get('type')!r}")
        named = told.get("json_schema")
        schema = named.get("schema") if isinstance(named, Mapping) else None
        if "tools" in body or asked.get("documents"):
            # Both together are refused.
            self.dropped.add("response_format")
            words = "When you give the final answer, answer in JSON only, without a code fence."
            if schema is not None:
                words += f" It must match this JSON schema: {dumps(schema).decode()}"
            return words
        body["response_format"] = {"type": "json_object"}
        if schema is not None:
            body["response_format"]["json_schema"] = schema
        # Without a schema it must be asked for in words, or the model may never end.
        elif b"json" not in dumps(messages).lower():
            return "Answer with a JSON object."
        return ""

    # --- tools --------------------------------------------------------------------------

    def _tools(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        told = asked.get("tools") or ()
        functions = [_function(tool, f"tools[{place}]") for place, tool in enumerate(told)]
        functions, choice = _chosen(functions, asked.get("tool_choice"))
        body: dict[str, Any] = {}
        strict = [function.pop("strict", False) for function in functions]
        if functions:
            body["tools"] = [{"type": "function", "function": one} for one in functions]
        # It is for all tools or none, and none without a required parameter can be strict.
        if any(strict):
            if all(strict) and all(one["parameters"].get("required") for one in functions):
                body["strict_tools"] = True
            else:
                self.dropped.add("tools[].function.strict")
        if choice and functions:
            body["tool_choice"] = choice
        return body


def _parts(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _instruct(messages: list[dict[str, Any]], words: str) -> list[dict[str, Any]]:
    """Return the messages with a further instruction in the system message."""
    if messages and messages[0]["role"] == "system":
        system, *others = messages
        content = [*_parts(system["content"]), *_parts(words)]
        return [{"role": "system", "content": content}, *others]
    return [{"role": "system", "content": words}, *messages]


def _call(call: Any, where: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        raise cannot("cohere", where, "tool calls but those of functions")
    arguments = function.get("arguments") or "{}"
    if not isinstance(arguments, str):
        arguments = dumps(arguments).decode()
    written = {"name": function.get("name"), "arguments": arguments}
    return {"id": _text(call.get("id"), f"{where}.id"), "type": "function", "function": written}


def _function(tool: Any, where: str) -> dict[str, Any]:
    """Read a tool: a function, with ``strict`` if it says so."""
    told = tool.get("function") if isinstance(tool, Mapping) else None
    if not isinstance(told, Mapping):
        kind = tool.get("type") if isinstance(tool, Mapping) else None
        raise cannot("cohere", where, f"tools of the type {kind!r}")
    more = {name: told[name] for name in ("description", "strict") if told.get(name)}
    parameters = told.get("parameters") or {"type": "object", "properties": {}}
    if not isinstance(parameters, Mapping):
        raise wrong_value(f"{where}.function.parameters", "an object")
    return {"name": told.get("name"), **more, "parameters": parameters}


def _chosen(functions: list[dict[str, Any]], told: Any) -> tuple[list[dict[str, Any]], str]:
    """Return the functions that may be called, and the word for how."""
    words = {"none": "NONE", "auto": "", "required": "REQUIRED"}
    if told is None or (isinstance(told, str) and told in words):
        return functions, words.get(told or "auto", "")
    allowed: Any = None
    mode = "required"
    if isinstance(told, Mapping) and isinstance(told.get("function"), Mapping):
        allowed = [told]
    elif isinstance(told, Mapping) and isinstance(told.get("allowed_tools"), Mapping):
        allowed, mode = told["allowed_tools"].get("tools"), told["allowed_tools"].get("mode")
    listed = allowed if isinstance(allowed, list) else ()
    tools = (tool for tool in listed if isinstance(tool, Mapping))
    named = (tool.get("function") for tool in tools)
    names = {str(function.get("name")) for function in named if isinstance(function, Mapping)}
    chosen = [function for function in functions if str(function["name"]) in names]
    if not chosen:
        raise wrong_value("tool_choice", "none, auto, required, or name a function of the tools")
    return chosen, words.get(str(mode), "")


def _clip(value: Any, least: float, most: float) -> Any:
    return min(max(value, least), most) if isinstance(value, int | float) else value


def _text(told: Any, where: str) -> str:
    if not isinstance(told, str) or not told:
        raise wrong_value(where, "a text")
    return told

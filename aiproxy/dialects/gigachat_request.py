"""
From OpenAI's request to GigaChat's (v1).

GigaChat knows functions, not tools, and one call at a time.  Some names of
functions are its own: a caller's function with one of them goes by another.

Source: GigaChat API reference, "POST /chat/completions"; ``functions`` and
``response_format`` are recorded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from attrs import Factory, define

from aiproxy.dialects.gigachat_messages import write_messages
from aiproxy.dialects.request_fields import OPENAI_ONLY, asks
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import InvalidRequest

__all__ = ["RequestWriter"]

#: Functions of GigaChat's own.
_BUILT_IN: Final = frozenset(
    {"get_file_content", "text2image", "text2model3d", "text2video", "web_search"}
)

_DROPPED: Final = OPENAI_ONLY | {
    *("frequency_penalty", "logprobs", "modalities", "presence_penalty", "seed"),
    *("top_logprobs", "web_search_options"),
}

#: Written in their own way, or meant for the gateway.
_TAKEN: Final = frozenset(
    {
        *("max_completion_tokens", "max_tokens", "messages", "model", "parallel_tool_calls"),
        *("reasoning_effort", "response_format", "stop", "stream", "stream_options"),
        *("temperature", "tool_choice", "tools", "top_p"),
    }
)

#: GigaChat's words are low, medium and high.
_EFFORTS: Final = {"minimal": "low", "xhigh": "high", "max": "high"}

#: ``json_object`` is refused by GigaChat.
_ONLY_JSON: Final = "Answer with one valid JSON object and nothing else."

#: Where schemas keep what they refer to.
_HOMES: Final = frozenset({"$defs", "definitions"})
#: A schema of more parts, or of more levels, is left with its references.
_MOST_PARTS: Final = 5_000
_DEEPEST: Final = 200
#: Nor what would have more text than this, or has it; references may lead there again and again.
_MOST_CHARACTERS: Final = 256 * 1024
#: Nor are longer references followed, in characters.
_LONGEST_POINTER: Final = 1_000


@define
class RequestWriter:
    """
    Writes one request.

    :param request: it is not changed.
    :ivar dropped: see :class:`aiproxy.dialects.dialect.WireRequest`.
    :ivar renamed: functions that go by another name -> that name.
    """

    request: ChatRequest
    dropped: dict[str, None] = Factory(dict)
    renamed: dict[str, str] = Factory(dict)

    def write(self, *, model: str, stream: bool) -> dict[str, Any]:
        """
        Write the body.

        :raises InvalidRequest: GigaChat has no words for something in it, and
            without that it would be another request.
        """
        self.renamed = _rename(self.request)
        body: dict[str, Any] = {"model": model}
        instruction = self._write_format(body)
        body["messages"] = write_messages(
            self.request, instruction=instruction, renamed=self.renamed, dropped=self.dropped
        )
        for name, value in self.request.items():
            if name in _DROPPED:
                self._drop(name, value)
            elif name not in _TAKEN and value is not None:
                body[name] = value
        if stream:
            body["stream"] = True
        self._write_sampling(body)
        self._write_functions(body)
        return body

    def _drop(self, name: str, value: object) -> None:
        """Leave a field out, and name it if it asks for anything."""
        if (asks(name, value) or (name == "seed" and value == 0)) and value != ["text"]:
            self.dropped[name] = None

    def _write_sampling(self, body: dict[str, Any]) -> None:
        request = self.request
        effort, most = request.get("reasoning_effort"), request.get("max_completion_tokens")
        written = {
            "temperature": request.get("temperature"),
            "top_p": request.get("top_p"),
            "max_tokens": request.get("max_tokens") if most is None else most,
            "reasoning_effort": None if effort == "none" else _EFFORTS.get(str(effort), effort),
        }
        if written["temperature"] == 0:
            # It is refused; none but the likeliest word is the same.
            written |= {"temperature": None, "top_p": 0}
        body.update({name: value for name, value in written.items() if value is not None})

    def _write_format(self, body: dict[str, Any]) -> str:
        """Write the form of the answer; return what the model has to be told of it."""
        told = self.request.get("response_format")
        kind = told.get("type") if isinstance(told, dict) else None
        if told is None or kind == "text":
            return ""
        if kind == "json_object":
            return _ONLY_JSON
        named = told.get("json_schema") if isinstance(told, dict) else None
        if kind == "json_schema" and isinstance(named, dict):
            self._drop("response_format.json_schema.description", named.get("description"))
            told = {"type": kind, "schema": named.get("schema") or {"type": "object"}}
            if named.get("strict") is not None:
                told["strict"] = named["strict"]
        body["response_format"] = told
        return ""

    # --- functions --------------------------------------------------------------

    def _write_functions(self, body: dict[str, Any]) -> None:
        """Write the tools; a caller's ``functions`` are GigaChat's already."""
        tools = self.request.get("tools")
        if not tools:
            return
        self._drop("parallel_tool_calls", self.request.get("parallel_tool_calls"))
        if body.get("functions"):
            raise InvalidRequest("functions cannot stand beside tools", param="functions")
        functions = [self._write_function(tool, place) for place, tool in enumerate(tools)]
        body["functions"] = functions
        # Without a word it calls none.
        body["function_call"] = self._write_choice([function["name"] for function in functions])

    def _write_choice(self, names: list[str]) -> object:
        choice = self.request.get("tool_choice") or "auto"
        if choice == "required":
            if len(names) == 1:
                return {"name": names[0]}
            self._drop("tool_choice", choice)
            return "auto"
        if choice in ("none", "auto"):
            return choice
        told = choice.get("function") if isinstance(choice, dict) else None
        name = told.get("name") if isinstance(told, dict) else None
        if not isinstance(name, str):
            raise InvalidRequest(
                "the provider takes none, auto, required or a function", param="tool_choice"
            )
        return {"name": self.renamed.get(name, name)}

    def _write_function(self, tool: object, place: int) -> dict[str, Any]:
        told = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(told, dict) or not isinstance(told.get("name"), str):
            raise InvalidRequest("the provider takes functions only", param=f"tools[{place}]")
        schema = told.get("parameters") or {}
        if not isinstance(schema, dict) or schema.get("type", "object") != "object":
            raise InvalidRequest(
                "the parameters of a function must be the schema of an object",
                param=f"tools[{place}].function.parameters",
            )
        self._drop("tools[].function.strict", told.get("strict"))
        function = {name: value for name, value in told.items() if name != "strict"}
        function["name"] = self.renamed.get(told["name"], told["name"])
        function["parameters"] = _write_schema({"type": "object", **schema})
        return function


def _rename(request: ChatRequest) -> dict[str, str]:
    """Find other names for a caller's tools that have one of GigaChat's functions."""
    taken = {
        str(tool["function"].get("name"))
        for tool in request.get("tools") or ()
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict)
    }
    renamed = {}
    for name in sorted(_BUILT_IN & taken):
        other = f"{name}_tool"
        while other in taken:
            other += "_"
        taken.add(other)
        renamed[name] = other
    return renamed


# --- schemas ------------------------------------------------------------------------


class _Endless(Exception):
    """A schema that refers to itself, to nothing, or grows beyond any use."""


def _write_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """
    Write a schema as GigaChat takes it: without references, with ``properties`` in objects.

    One whose references have no end is left as it is.
    """
    try:
        written: dict[str, Any] = _SchemaWriter(schema).write(schema, (), 0)
    except _Endless:
        written = schema
    return written if "properties" in written else {**written, "properties": {}}


@define
class _SchemaWriter:
    """Puts what a schema refers to in the place of its references."""

    root: dict[str, Any]
    _parts: int = 0
    _characters: int = 0

    def write(self, part: Any, inside: tuple[str, ...], depth: int) -> Any:
        """
        Write a part of the schema.

        :param inside: the references that led here.
        """
        self._parts += 1
        if self._parts > _MOST_PARTS or depth > _DEEPEST:
            raise _Endless
        if isinstance(part, str):
            self._count(part)
        if isinstance(part, list):
            return [self.write(item, inside, depth + 1) for item in part]
        if not isinstance(part, dict):
            return part
        self._count(*part)
        pointer = part.get("$ref")
        if isinstance(pointer, str) and pointer.startswith("#"):
            if pointer in inside:
                raise _Endless
            rest = {name: value for name, value in part.items() if name != "$ref"}
            self._parts += len(rest)  # A chain of references copies it again and again.
            part = {**self._find(pointer), **rest}
            return self.write(part, (*inside, pointer), depth + 1)
        written = {
            name: self._write_part(name, value, inside, depth + 1)
            for name, value in part.items()
            if name not in _HOMES
        }
        if written.get("type") == "object":
            written.setdefault("properties", {})
        return written

    def _count(self, *texts: str) -> None:
        self._characters += sum(map(len, texts))
        if self._characters > _MOST_CHARACTERS:
            raise _Endless

    def _write_part(self, name: str, value: Any, inside: tuple[str, ...], depth: int) -> Any:
        """Write what stands under a keyword; properties may be called as keywords are."""
        if name != "properties" or not isinstance(value, dict):
            return self.write(value, inside, depth)
        self._count(*value)
        return {key: self.write(one, inside, depth + 1) for key, one in value.items()}

    def _find(self, pointer: str) -> Mapping[str, Any]:
        """Follow a JSON pointer (RFC 6901)."""
        if len(pointer) > _LONGEST_POINTER:
            raise _Endless
        found: Any = self.root
        for name in pointer.split("/")[1:]:
            name = unquote(name).replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, dict) or found is self.root:
            raise _Endless
        return found

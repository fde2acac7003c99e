"""
From OpenAI's tools to Anthropic's: functions, and what runs at Anthropic itself.

Source: Anthropic API reference, "Create a Message", "Web search tool".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from aiproxy.dialects.anthropic_schema import fit_schema
from aiproxy.dialects.refusals import cannot, wrong_value
from aiproxy.errors import InvalidRequest

__all__ = ["write_choice", "write_tools"]

_OBJECT: Final = {"type": "object", "properties": {}}
_WEB_SEARCH: Final = {"type": "web_search_20250305", "name": "web_search"}
#: OpenAI's names of a tool that searches the web.
_SEARCHES: Final = ("web_search", "web_search_preview")
#: Types of tools that Anthropic knows: each has its date.
_DATED: Final = re.compile(r".+_[0-9]{8}")
_MODES: Final = {"none": "none", "auto": "auto", "required": "any"}


def write_tools(
    asked: Mapping[str, Any], dropped: set[str], *, strict: bool
) -> list[dict[str, Any]]:
    """
    Write the tools of a request.

    :param dropped: takes the names of what is not in them.
    :param strict: whether the model knows strict tools.
    :raises InvalidRequest: Anthropic has no such tool.
    """
    if asked.get("functions") or asked.get("function_call"):
        raise InvalidRequest(
            "anthropic takes no functions: write them as tools",
            param="functions",
            code="unsupported_parameter",
        )
    tools = [
        _write_tool(tool, f"tools[{place}]", dropped, strict=strict)
        for place, tool in enumerate(asked.get("tools") or ())
    ]
    options = asked.get("web_search_options")
    if options is not None and not any(tool.get("name") == "web_search" for tool in tools):
        tools.append(_write_search(options, "web_search_options", dropped))
    choice = asked.get("tool_choice")
    allowed = choice.get("allowed_tools") if isinstance(choice, Mapping) else None
    if isinstance(allowed, Mapping):
        listed = allowed.get("tools")
        names = {str(_named(tool)) for tool in (listed if isinstance(listed, list) else ())}
        tools = [tool for tool in tools if str(tool.get("name")) in names]
    return tools


def write_choice(
    asked: Mapping[str, Any], tools: list[dict[str, Any]], dropped: set[str]
) -> dict[str, Any]:
    """
    Write which tools must be called, and whether several may be at once.

    :raises InvalidRequest: it is no choice.
    """
    told = asked.get("tool_choice")
    choice: dict[str, Any] = {}
    if isinstance(told, str) and told in _MODES:
        choice["type"] = _MODES[told]
    elif isinstance(told, Mapping) and _named(told) is not None:
        choice = {"type": "tool", "name": _named(told)}
    elif isinstance(told, Mapping) and isinstance(told.get("allowed_tools"), Mapping):
        choice["type"] = _MODES.get(str(told["allowed_tools"].get("mode")), "auto")
    elif isinstance(told, Mapping) and told.get("type") in (*_MODES.values(), "tool"):
        choice = dict(told)  # Anthropic's own.
    elif told is not None:
        raise wrong_value("tool_choice", "none, auto, required, or name a function")
    if asked.get("parallel_tool_calls") is False and choice.get("type") != "none":
        choice = {"type": "auto", **choice, "disable_parallel_tool_use": True}
    if tools:
        return choice
    if choice.get("type") in ("any", "tool"):
        dropped.add("tool_choice")
    return {}


def _write_tool(tool: Any, where: str, dropped: set[str], *, strict: bool) -> dict[str, Any]:
    kind = tool.get("type") if isinstance(tool, Mapping) else None
    told = tool.get("function") if isinstance(tool, Mapping) else None
    if isinstance(told, Mapping) and isinstance(told.get("name"), str):
        return _write_function(tool, told, dropped, strict=strict)
    if kind in _SEARCHES:
        return _write_search(tool, where, dropped)
    own = isinstance(tool, Mapping) and (
        "input_schema" in tool or (isinstance(kind, str) and _DATED.fullmatch(kind))
    )
    if own or kind == "mcp_toolset":
        return {name: value for name, value in tool.items() if value is not None}
    raise cannot("anthropic", where, f"tools of the type {kind!r}")


def _write_function(
    tool: Mapping[str, Any], told: Mapping[str, Any], dropped: set[str], *, strict: bool
) -> dict[str, Any]:
    """Write a function; what else the caller says of it is Anthropic's own."""
    others = {**tool, **told}
    for name in ("type", "function", "description", "parameters", "strict"):
        others.pop(name, None)
    written = {name: value for name, value in others.items() if value is not None}
    if told.get("description"):
        written["description"] = told["description"]
    schema = told.get("parameters")
    if not isinstance(schema, Mapping):
        schema = {}
    if schema.get("type") != "object":
        schema = {**_OBJECT, **schema, "type": "object"}
    written["input_schema"] = schema
    if told.get("strict"):
        fitted = fit_schema(schema) if strict else None
        if fitted is not None:
            written["input_schema"], lost = fitted
            written["strict"] = True
            dropped |= {f"tools[].function.parameters.{name}" for name in lost}
        else:
            dropped.add("tools[].function.strict")
    return written


def _write_search(options: Any, where: str, dropped: set[str]) -> dict[str, Any]:
    """Write OpenAI's search of the web, with the user's place; it has no size there."""
    tool: dict[str, Any] = dict(_WEB_SEARCH)
    told = dict(options) if isinstance(options, Mapping) else {}
    told.pop("type", None)
    place = told.pop("user_location", None)
    if isinstance(place, Mapping):
        nested = place.get("approximate")
        told_place = nested if isinstance(nested, Mapping) else place
        kept = {name: value for name, value in told_place.items() if value is not None}
        tool["user_location"] = {**kept, "type": "approximate"}
    for name, value in told.items():
        if value is not None:
            dropped.add(f"{where}.{name}")
    return tool


def _named(choice: Any) -> str | None:
    """Return the name of the function that a choice names."""
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None

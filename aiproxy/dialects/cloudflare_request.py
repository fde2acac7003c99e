"""
From OpenAI's request to what Cloudflare's classic models take.

Source: Cloudflare's documentation of Workers AI: the models' input schemas,
"Function calling" and "JSON Mode".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from aiproxy.dialects.request_fields import OPENAI_ONLY, asks
from aiproxy.dialects.shapes import ChatRequest
from aiproxy.errors import InvalidRequest

__all__ = ["answers_whole", "write_body"]

#: The least that it takes.
_LEAST: Final = {"top_p": 0.001, "seed": 1}

#: Left out, beside what is OpenAI's alone.
_DROPPED: Final = OPENAI_ONLY | {
    *("logprobs", "top_logprobs", "modalities", "web_search_options", "parallel_tool_calls", "n"),
}
#: What of these asks for nothing special.
_USUAL: Final[Mapping[str, Any]] = {"n": 1, "modalities": ["text"], "parallel_tool_calls": True}
#: Done in another way: the URL names the model, usage is told unasked, ``stop`` is done here.
_DONE: Final = ("model", "stop", "stream_options", "function_call")


def write_body(
    request: ChatRequest, *, stream: bool, max_tokens: int
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """
    Write a request's body; with the names of what is left out.

    :param stream: whether a stream is asked for.
    :param max_tokens: what is asked for where the caller names no limit.
    :raises InvalidRequest: for what cannot be done.
    """
    body = {name: value for name, value in request.items() if value is not None}
    if "functions" in body:
        raise InvalidRequest("functions are not supported: use tools", param="functions")
    dropped: dict[str, None] = {}
    for name in sorted(_DROPPED & body.keys()):
        value = body.pop(name)
        if value != _USUAL[name] if name in _USUAL else asks(name, value):
            dropped[name] = None
    for name in _DONE:
        body.pop(name, None)
    max_tokens = body.pop("max_tokens", max_tokens)
    body["max_tokens"] = body.pop("max_completion_tokens", max_tokens)
    body["stream"] = stream
    body["messages"] = _messages(body["messages"], dropped)
    tools = body.pop("tools", None)
    if tools:
        body["tools"] = [_tool(tool, f"tools[{place}]") for place, tool in enumerate(tools)]
    for name, least in _LEAST.items():
        value = body.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            body[name] = max(value, least)
    if "response_format" in body:
        _fit_format(body, dropped)
    return body, tuple(dropped)


def answers_whole(request: ChatRequest, model: str) -> bool:
    """
    Whether a model cannot stream the answer, so that a whole one is asked for.

    Neither JSON mode ("JSON Mode currently doesn't support streaming") nor
    gpt-oss, whose answer to ``stream: true`` is JSON, and may be empty.
    """
    told = request.get("response_format")
    kind = told.get("type") if isinstance(told, Mapping) else None
    return kind in ("json_object", "json_schema") or "gpt-oss" in model


def _messages(messages: list[dict[str, Any]], dropped: dict[str, None]) -> list[dict[str, Any]]:
    written = []
    for place, message in enumerate(messages):
        message = {name: value for name, value in message.items() if value is not None}
        for name in ("name", "audio"):
            if message.pop(name, None):
                dropped[f"messages[].{name}"] = None
        # What other providers have left in it for themselves.
        message.pop("extra_content", None)
        if isinstance(message.get("tool_calls"), list):
            message["tool_calls"] = [_call(call) for call in message["tool_calls"]]
        refusal = message.pop("refusal", "")
        # Null is refused.
        content = message.get("content", refusal)
        if isinstance(content, list):
            content = _content(content, f"messages[{place}].content")
        role = "system" if message["role"] == "developer" else message["role"]
        written.append({**message, "role": role, "content": content})
    return written


def _call(call: Any) -> Any:
    if not isinstance(call, dict):
        return call
    return {name: value for name, value in call.items() if name != "extra_content"}


def _content(parts: list[Any], param: str) -> str | list[Any]:
    """Join parts of text; parts with images stay as they are, for models that see."""
    texts = []
    images = False
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "image_url":
            images = True
        elif kind in ("text", "refusal") and isinstance(part.get(kind), str):
            texts.append(part[kind])
        else:
            raise InvalidRequest(
                "this model's provider takes text and images only", param=param, code="invalid_type"
            )
    return parts if images else "\n".join(texts)


def _tool(tool: Any, param: str) -> dict[str, Any]:
    """Write a tool; its description and its parameters are required."""
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise InvalidRequest("this model's provider takes functions only", param=param)
    filled = {
        "description": function.get("description") or function["name"],
        "parameters": function.get("parameters") or {"type": "object", "properties": {}},
    }
    return {**tool, "type": "function", "function": {**function, **filled}}


def _fit_format(body: dict[str, Any], dropped: dict[str, None]) -> None:
    """Write the schema bare, in place; its name and description become the schema's own."""
    told = body["response_format"]
    if not isinstance(told, Mapping):
        return
    if told.get("type") == "text":
        del body["response_format"]
        return
    wrapped = told.get("json_schema")
    if told.get("type") != "json_schema" or not isinstance(wrapped, Mapping):
        return
    schema = wrapped.get("schema")
    if not isinstance(schema, dict):
        return
    own = {"title": wrapped.get("name"), "description": wrapped.get("description")}
    schema = {**{name: value for name, value in own.items() if value}, **schema}
    body["response_format"] = {"type": "json_schema", "json_schema": schema}
    if wrapped.get("strict"):
        dropped["response_format.json_schema.strict"] = None
